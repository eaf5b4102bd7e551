//! Point 1, weights are exact: of every prefix of calls each member has its share within one, over all
//! workers, connections and Routes, and whatever fails or cools down meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use weighbridge_mock::{Rule, Script};

use crate::stack::{KEY, Stack, chat, fault, key, provider, route, targets, two_accounts};

/// The member that served each of `calls` calls, one after the other, by the answers' header `by`.
async fn served(stack: &Stack, calls: usize, by: &str) -> Vec<String> {
    let mut served = Vec::new();
    for _ in 0..calls {
        let answer = stack.chat("chat").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        served.push(answer.header(by).to_owned());
    }
    served
}

/// Fails when some prefix of `served` strays from `weights` by a whole call or more.
fn assert_within_one(served: &[String], weights: &[(&str, u64)]) {
    let sum: u64 = weights.iter().map(|(_, weight)| weight).sum();
    for (name, weight) in weights {
        let mut count = 0;
        for (calls, one) in (1..).zip(served) {
            count += u64::from(one == name);
            assert!(
                (count * sum).abs_diff(calls * weight) < sum,
                "{name} has {count} of {calls} and should have {weight}/{sum} of them: {served:?}"
            );
        }
    }
}

fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

#[tokio::test]
async fn seventy_to_thirty_is_exact_over_two_workers_and_many_connections() {
    let stack = Stack::start(1, &two_accounts()).await;
    for round in 1..=3 {
        let caller = async || {
            for _ in 0..5 {
                assert_eq!(stack.chat("chat").await.status, 200);
            }
        };
        join_all((0..20).map(|_| caller())).await;
        let expected = counts(&[("arge", 70 * round), ("mall", 30 * round)]);
        assert_eq!(stack.by_account(0), expected);
    }
}

#[tokio::test]
async fn every_prefix_of_calls_is_within_one_of_its_share() {
    // Weights on which the usual smooth round robin strays by more than one.
    let weights = [("a", 2), ("b", 61), ("c", 324), ("d", 372), ("e", 2)];
    let resources = [
        provider("one", 0, &weights, ""),
        route("chat", "chat", &targets(&[&[("one", 1)]])),
        key("team", KEY),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    let served = served(&stack, 800, "x-weighbridge-account").await;
    let weights = weights.map(|(name, weight)| (name, u64::from(weight)));
    assert_within_one(&served, &weights);
}

#[tokio::test]
async fn two_routes_to_a_provider_share_its_accounts() {
    let resources = [
        two_accounts(),
        route("other", "other", &targets(&[&[("one", 1)]])),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    // Five of one Route alone could not be seventy to thirty; all ten together are.
    for round in 1..=4 {
        for _ in 0..5 {
            assert_eq!(stack.chat("chat").await.status, 200);
            assert_eq!(stack.chat("other").await.status, 200);
        }
        let expected = counts(&[("arge", 7 * round), ("mall", 3 * round)]);
        assert_eq!(stack.by_account(0), expected);
    }
}

#[tokio::test]
async fn backends_and_their_accounts_are_both_weighted() {
    let resources = [
        provider("one", 0, &[("one-a", 1), ("one-b", 3)], ""),
        provider("two", 1, &[("two-a", 1), ("two-b", 4)], ""),
        route("chat", "chat", &targets(&[&[("one", 60), ("two", 40)]])),
        key("team", KEY),
    ];
    let stack = Stack::start(2, &resources.concat()).await;
    join_all((0..100).map(|_| stack.chat("chat"))).await;
    assert_eq!(stack.by_account(0), counts(&[("ne-a", 15), ("ne-b", 45)]));
    assert_eq!(stack.by_account(1), counts(&[("wo-a", 8), ("wo-b", 32)]));
}

#[tokio::test]
async fn a_backend_shares_among_the_accounts_that_it_keeps_to() {
    let backends = "  targets:\n  - name: only\n    backends:\n    \
        - {name: one, providerRef: {name: one}, model: m, accounts: [a, c]}\n";
    let resources = [
        provider("one", 0, &[("a", 1), ("b", 5), ("c", 3)], ""),
        route("chat", "chat", backends),
        key("team", KEY),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    let served = served(&stack, 40, "x-weighbridge-account").await;
    assert_within_one(&served, &[("a", 1), ("c", 3), ("b", 0)]);
}

#[tokio::test]
async fn a_weight_of_zero_gets_nothing() {
    let resources = [
        provider("one", 0, &[("used", 5), ("rest", 0)], ""),
        provider("two", 1, &[("two", 1)], ""),
        provider("three", 2, &[("three", 1)], ""),
        route(
            "chat",
            "chat",
            &targets(&[&[("two", 0)], &[("three", 0), ("one", 1)]]),
        ),
        key("team", KEY),
    ];
    let stack = Stack::start(3, &resources.concat()).await;
    served(&stack, 20, "x-weighbridge-account").await;
    assert_eq!(stack.by_account(0), counts(&[("used", 20)]));

    // Nor when all else fails: then the call fails.
    stack.providers[0].script(fault("error=invalid-key"));
    assert_eq!(stack.chat("chat").await.code(), "upstream_auth");
    assert_eq!((stack.seen(1), stack.seen(2)), (0, 0));
    assert_eq!(stack.by_account(0), counts(&[("used", 21)]));
}

#[tokio::test]
async fn failing_first_attempts_do_not_bend_the_split() {
    let resources = [
        provider("one", 0, &[("one", 1)], ""),
        provider("two", 1, &[("two", 1)], ""),
        provider("three", 2, &[("three", 1)], ""),
        route(
            "chat",
            "chat",
            &targets(&[&[("one", 2), ("two", 1), ("three", 1)]]),
        ),
        key("team", KEY),
    ];
    let stack = Stack::start(3, &resources.concat()).await;
    stack.providers[0].script(fault("status=500"));
    let mut at_once = Vec::new();
    for _ in 0..40 {
        let answer = stack.chat("chat").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        at_once.push(match answer.header("x-weighbridge-attempts") {
            "1" => answer.header("x-weighbridge-provider").to_owned(),
            _ => "default/one".to_owned(),
        });
    }
    let split = [("default/one", 2), ("default/two", 1), ("default/three", 1)];
    assert_within_one(&at_once, &split);
    // What failed at the first went to its siblings, by their weights.
    assert_eq!([stack.seen(0), stack.seen(1), stack.seen(2)], [20, 20, 20]);
}

/// A narrowed key's set of backends is the very set that the other key's failures leave.
#[tokio::test]
async fn failovers_do_not_bend_the_split_of_calls_that_begin_with_the_same_set() {
    const NARROWED: &str = "wb-test-narrowed-0123456789";
    let resources = [
        provider("one", 0, &[("used", 1), ("idle", 0)], ""),
        provider("two", 1, &[("two", 1)], ""),
        provider("three", 2, &[("three", 1)], ""),
        route(
            "chat",
            "chat",
            &targets(&[&[("one", 1), ("two", 1), ("three", 1)]]),
        ),
        key("team", KEY),
        key("narrowed", NARROWED)
            + "  accounts: [{namespace: default, provider: one, names: [idle]}]\n",
    ];
    let stack = Stack::start(3, &resources.concat()).await;
    stack.providers[0].script(fault("status=500"));
    let bearer = format!("Bearer {NARROWED}");
    let mut narrowed = Vec::new();
    for _ in 0..30 {
        assert_eq!(stack.chat("chat").await.status, 200);
        let headers = [("authorization", bearer.as_str())];
        let answer = stack
            .post_with("/v1/chat/completions", &chat("chat"), &headers)
            .await;
        assert_eq!(answer.header("x-weighbridge-attempts"), "1");
        narrowed.push(answer.header("x-weighbridge-provider").to_owned());
    }
    assert!(stack.seen(0) >= 9, "the other key's calls failed over");
    assert_within_one(&narrowed, &[("default/two", 1), ("default/three", 1)]);
}

#[tokio::test]
async fn an_unresolvable_backend_fails_its_share_over_to_the_next_target() {
    let resources = [
        provider("one", 0, &[("one", 1)], ""),
        provider("two", 1, &[("two", 1)], ""),
        route(
            "chat",
            "chat",
            &targets(&[&[("gone", 3), ("one", 2)], &[("two", 1)]]),
        ),
        key("team", KEY),
    ];
    let stack = Stack::start(2, &resources.concat()).await;
    let served = served(&stack, 50, "x-weighbridge-provider").await;
    assert_within_one(&served, &[("default/two", 3), ("default/one", 2)]);
}

#[tokio::test]
async fn a_backend_without_any_resolved_account_keeps_its_share_too() {
    let without_secret =
        provider("one", 0, &[("one", 1)], "").replace("  one: sk-one", "  other: x");
    let resources = [
        without_secret,
        provider("two", 1, &[("two", 1)], ""),
        provider("three", 2, &[("three", 1)], ""),
        route(
            "chat",
            "chat",
            &targets(&[&[("one", 1), ("two", 1)], &[("three", 1)]]),
        ),
        key("team", KEY),
    ];
    let stack = Stack::start(3, &resources.concat()).await;
    let served = served(&stack, 20, "x-weighbridge-provider").await;
    assert_within_one(&served, &[("default/two", 1), ("default/three", 1)]);
    assert_eq!(stack.seen(0), 0);
}

#[tokio::test]
async fn an_unresolved_accounts_share_goes_to_its_siblings_by_their_weights() {
    let accounts = [("a", 5), ("b", 3), ("c", 1)];
    let resources = [
        provider("one", 0, &accounts, "").replace("  a: sk-a\n", ""),
        route("chat", "chat", &targets(&[&[("one", 1)]])),
        key("team", KEY),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    let served = served(&stack, 24, "x-weighbridge-account").await;
    assert_within_one(&served, &[("a", 0), ("b", 3), ("c", 1)]);
}

#[tokio::test]
async fn the_share_of_a_cooling_account_goes_to_its_siblings_by_their_weights() {
    let resources = [
        provider("one", 0, &[("a", 6), ("b", 3), ("c", 1)], ""),
        route("chat", "chat", &targets(&[&[("one", 1)]])),
        key("team", KEY),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    stack.providers[0].script(Rule::always(fault("status=429,retry-after=60")).account("sk-a"));
    while !stack.by_account(0).contains_key("sk-a") {
        served(&stack, 1, "x-weighbridge-account").await;
    }
    let served = served(&stack, 48, "x-weighbridge-account").await;
    assert_within_one(&served, &[("a", 0), ("b", 3), ("c", 1)]);
    assert_eq!(stack.by_account(0)["sk-a"], 1);
}

/// The one test of the ramp's whole length: it is ten seconds by definition, and no clock of the
/// gateway can be moved from outside.
#[tokio::test]
async fn a_recovered_account_gets_no_burst_and_grows_into_its_share() {
    let resources = [
        provider("one", 0, &[("limited", 1), ("steady", 1)], ""),
        route("chat", "chat", &targets(&[&[("one", 1)]])),
        key("team", KEY),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    let limit = Rule::always(fault("status=429,retry-after-ms=300")).account("limited");
    stack.providers[0].script(limit);
    while !stack.by_account(0).contains_key("ited") {
        served(&stack, 1, "x-weighbridge-account").await;
    }
    let back_at = Instant::now() + Duration::from_millis(300);
    stack.providers[0].script(Script::default());

    // Fifty calls a second, so that shares can be told from chance.
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let mut ramp: Vec<(Duration, String)> = Vec::new();
    while back_at.elapsed() < Duration::from_secs(10) {
        tick.tick().await;
        let since = back_at.elapsed();
        let account = served(&stack, 1, "x-weighbridge-account").await.remove(0);
        ramp.push((since, account));
    }
    let between = |from: u64, to: u64| {
        let span = Duration::from_secs(from)..Duration::from_secs(to);
        let inside = ramp.iter().filter(move |(since, _)| span.contains(since));
        let limited = inside.clone().filter(|(_, account)| account == "limited");
        (limited.count(), inside.count())
    };
    // Expected are 7 and 43 of a hundred.
    let (early, all) = between(0, 3);
    assert!(early * 4 < all, "a burst: {early} of {all}");
    let (late, all) = between(7, 10);
    assert!(late * 4 > all, "no growth: {late} of {all}");
    let longest = ramp.chunk_by(|left, right| left.1 == right.1);
    let longest = longest.filter(|run| run[0].1 == "limited").map(<[_]>::len);
    assert!(
        longest.max() <= Some(2),
        "what it missed is not made up for"
    );
    let after = served(&stack, 20, "x-weighbridge-account").await;
    assert_eq!(after.iter().filter(|one| *one == "limited").count(), 10);
}
