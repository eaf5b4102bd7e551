//! Changes apply without a restart and without a failed request.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;
use weighbridge_mock::{Fault, Rule};

use crate::socket::{Socket, request, within};
use crate::stack::{KEY, Stack, chat, chat_stream, key, provider, route, two_accounts};

fn targets(backends: &str) -> String {
    format!("  targets: [{{name: only, backends: [{backends}]}}]\n")
}

const ONE: &str = "{name: one, providerRef: {name: one}}";
const TWO: &str = "{name: two, providerRef: {name: two}}";

/// Worlds in which `chat` can be served, each an edit of the one before: weights, accounts added and
/// taken away, Providers moved, deleted and made again, Routes beside it, other keys.
fn worlds() -> Vec<String> {
    let keys = key("team", KEY);
    let other = || {
        [
            route("other", "other", &targets(ONE)),
            key("other", "wb-other-0123456789abcdef"),
        ]
        .concat()
    };
    let one = |accounts: &[(&str, u32)]| provider("one", 0, accounts, "");
    let chat = |backends: &str| route("chat", "chat", &targets(backends));
    let both = [ONE, TWO].join(", ");
    let two = || provider("two", 1, &[("elsewhere", 1)], "");
    vec![
        [one(&[("a", 70), ("b", 30)]), chat(ONE), keys.clone()].concat(),
        [
            one(&[("a", 30), ("b", 70)]),
            chat(ONE),
            keys.clone(),
            other(),
        ]
        .concat(),
        [one(&[("b", 1)]), chat(ONE), keys.clone()].concat(),
        [one(&[("b", 1)]), two(), chat(&both), keys.clone(), other()].concat(),
        [two(), chat(TWO), keys.clone()].concat(),
        [
            one(&[("a", 1), ("b", 0), ("c", 2)]),
            two(),
            chat(&both),
            keys.clone(),
        ]
        .concat(),
        // The Provider moves to the other server.
        [provider("one", 1, &[("a", 1)], ""), chat(ONE), keys.clone()].concat(),
        [
            one(&[("a", 1)]),
            chat("{name: one, providerRef: {name: one}, model: renamed, weight: 5}"),
            keys,
        ]
        .concat(),
    ]
}

#[tokio::test]
async fn edits_deletes_and_re_creations_fail_no_request() {
    const CALLERS: usize = 16;
    const EDITS: usize = 80;
    let worlds = worlds();
    let stack = Stack::start(2, &worlds[0]).await;
    let address = stack.gateway.listen_address();
    let is_over = AtomicBool::new(false);
    let caller = async |place: usize| {
        let mut connection = Socket::connect_to(address).await;
        let body = if place.is_multiple_of(2) {
            chat("chat")
        } else {
            chat_stream("chat")
        };
        let mut served = 0_u64;
        while !is_over.load(Ordering::Relaxed) {
            connection.write(request(body.to_string())).await;
            let answer = connection.answer().await;
            assert_eq!(answer.status, 200, "after {served}: {}", answer.text());
            assert!(answer.is_whole, "after {served}");
            assert_eq!(answer.header("x-weighbridge-attempts"), "1");
            served += 1;
        }
        served
    };
    let edit = async {
        for edit in 1..=EDITS {
            let seen = stack.seen(0) + stack.seen(1);
            stack.apply(&worlds[edit % worlds.len()]);
            // Each edit meets requests: some of either provider's.
            let (one, two) = (&stack.providers[0], &stack.providers[1]);
            let before = (stack.seen(0), stack.seen(1));
            let more = async {
                tokio::select! {
                    _ = one.until(|counters| counters.requests > before.0 + 8) => {}
                    _ = two.until(|counters| counters.requests > before.1 + 8) => {}
                }
            };
            within(more).await;
            assert!(stack.seen(0) + stack.seen(1) > seen);
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let callers = futures::future::join_all((0..CALLERS).map(caller));
    let (served, ()) = tokio::join!(callers, edit);
    assert!(served.iter().all(|served| *served > 0), "{served:?}");
    // One answer for each request: nothing was asked twice or dropped.
    assert_eq!(stack.seen(0) + stack.seen(1), served.iter().sum::<u64>());
}

#[tokio::test]
async fn a_rotated_secret_counts_from_the_next_request_on() {
    let stack = Stack::start(1, &two_accounts()).await;
    for round in 0..5_u64 {
        let fresh = format!("sk-{round}-{round}{round}{round}{round}");
        let rotated = two_accounts()
            .replace("sk-large", &fresh)
            .replace("sk-small", &fresh);
        stack.apply(&rotated);
        assert_eq!(stack.chat("chat").await.status, 200);
        let log = stack.providers[0].log();
        let last = log.last().unwrap().account.clone();
        assert_eq!(last.unwrap(), fresh[fresh.len() - 4..]);
    }
}

#[tokio::test]
async fn a_rotated_secret_brings_a_refused_account_back() {
    let resources = |secret: &str| {
        [
            provider("one", 0, &[("only", 1)], ""),
            route("chat", "chat", &targets(ONE)),
            key("team", KEY),
        ]
        .concat()
        .replace("sk-only", secret)
    };
    let stack = Stack::start(1, &resources("sk-revoked")).await;
    let revoked: Fault = "error=invalid-key".parse().unwrap();
    stack.providers[0].script(Rule::always(revoked).account("oked"));
    for _ in 0..3 {
        let answer = stack.chat("chat").await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (502, "upstream_auth".into())
        );
    }
    // Refused once, it isn't asked again.
    assert_eq!(stack.seen(0), 1);
    stack.apply(&resources("sk-fresh"));
    assert_eq!(stack.chat("chat").await.status, 200);
}

#[tokio::test]
async fn an_edit_elsewhere_leaves_a_refused_account_out() {
    let resources = two_accounts();
    let stack = Stack::start(1, &resources).await;
    let revoked: Fault = "error=invalid-key".parse().unwrap();
    stack.providers[0].script(Rule::always(revoked).account("arge"));
    for _ in 0..4 {
        assert_eq!(stack.chat("chat").await.status, 200);
        let edited = resources.replace("weight: 70", "weight: 60");
        stack.apply(&edited);
        stack.apply(&resources);
    }
    assert_eq!(stack.by_account(0)["arge"], 1);
}

#[tokio::test]
async fn a_long_stream_survives_the_deletion_of_its_route_provider_and_key() {
    let stack = Stack::start(1, &two_accounts()).await;
    stack.providers[0].script("words=60,event-delay=10ms".parse::<Fault>().unwrap());
    let mut caller = Socket::connect(&stack).await;
    caller.write(request(chat_stream("chat").to_string())).await;
    caller.hear("\"content\":\"").await;
    stack.apply(&key("other", "wb-other-0123456789abcdef"));
    assert_eq!(stack.chat("chat").await.status, 401);
    assert_eq!(stack.providers[0].counters().in_flight, 1);
    let answer = within(caller.answer()).await;
    assert!(answer.is_whole);
    assert_eq!(answer.events().last().map(String::as_str), Some("[DONE]"));
    assert_eq!(stack.providers[0].counters().answered, 1);
}

/// The accounts that served, call by call, with an edit before each.
async fn accounts_with_edits(stack: &Stack, calls: usize, edit: impl Fn(usize)) -> Vec<String> {
    let mut accounts = Vec::new();
    for call in 0..calls {
        edit(call);
        let answer = stack.chat("chat").await;
        assert_eq!(answer.status, 200);
        accounts.push(answer.header("x-weighbridge-account").to_owned());
    }
    accounts
}

fn share(accounts: &[String], of: &str) -> usize {
    accounts.iter().filter(|account| *account == of).count()
}

#[tokio::test]
async fn an_equal_snapshot_changes_nothing_and_shares_go_on() {
    let resources = two_accounts();
    let stack = Stack::start(1, &resources).await;
    let revision = async || stack.admin("/config").await.json()["revision"].clone();
    let before = revision().await;
    let accounts = accounts_with_edits(&stack, 20, |_| stack.apply(&resources)).await;
    assert_eq!(
        (share(&accounts, "large"), share(&accounts, "small")),
        (14, 6)
    );
    assert_eq!(revision().await, before);
}

#[tokio::test]
async fn an_edit_that_leaves_the_weights_leaves_the_shares() {
    let resources = two_accounts();
    let stack = Stack::start(1, &resources).await;
    let accounts = accounts_with_edits(&stack, 20, |call| {
        let model = format!("model: gpt-{call}");
        stack.apply(&resources.replace("model: gpt-5-mini", &model));
    })
    .await;
    assert_eq!(
        (share(&accounts, "large"), share(&accounts, "small")),
        (14, 6)
    );
}

#[tokio::test]
async fn a_weights_edit_takes_effect_at_once() {
    let stack = Stack::start(1, &two_accounts()).await;
    for (large, small, of_ten) in [(1, 0, 10), (0, 1, 0), (50, 50, 5), (90, 10, 9), (70, 30, 7)] {
        let edited = two_accounts()
            .replace("weight: 70", &format!("weight: {large}"))
            .replace("weight: 30", &format!("weight: {small}"));
        stack.apply(&edited);
        let accounts = accounts_with_edits(&stack, 10, |_| {}).await;
        assert_eq!(share(&accounts, "large"), of_ten, "{large}/{small}");
    }
}

#[tokio::test]
async fn what_is_deleted_and_made_again_works_as_at_first() {
    let resources = two_accounts();
    let stack = Stack::start(1, &resources).await;
    for _ in 0..3 {
        stack.apply("");
        assert_eq!(stack.chat("chat").await.status, 401);
        stack.apply(&resources);
        let accounts = accounts_with_edits(&stack, 10, |_| {}).await;
        assert_eq!(share(&accounts, "large"), 7);
    }
}

#[tokio::test]
async fn the_configuration_in_force_has_a_revision_of_its_content() {
    let (first, second) = (two_accounts(), two_accounts().replace("70", "71"));
    let stack = Stack::start(1, &first).await;
    let revision = async || stack.admin("/config").await.json()["revision"].clone();
    let before = revision().await;
    stack.apply(&second);
    let between = revision().await;
    assert_ne!(before, between);
    stack.apply(&first);
    assert_eq!(revision().await, before);
}

#[tokio::test]
async fn many_edits_at_once_leave_the_last_in_force() {
    let stack = std::sync::Arc::new(Stack::start(1, &two_accounts()).await);
    let mut tasks = JoinSet::new();
    for place in 0..8 {
        let stack = std::sync::Arc::clone(&stack);
        tasks.spawn_blocking(move || {
            for edit in 0..10 {
                let weight = format!("weight: {}", 1 + place * 10 + edit);
                stack.apply(&two_accounts().replace("weight: 70", &weight));
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    stack.apply(&two_accounts().replace("weight: 70", "weight: 0"));
    let accounts = accounts_with_edits(&stack, 5, |_| {}).await;
    assert_eq!(share(&accounts, "small"), 5);
}
