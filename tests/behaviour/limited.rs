//! Point 2, a limit moves on at once: a limited account rests for every call as long as its provider
//! says, a refused one until its credential changes, and the caller hears of it only when nobody is left.

use std::time::{Duration, Instant};

use futures::future::join_all;
use weighbridge_mock::{Rule, Script};

use crate::stack::{KEY, Stack, chat_stream, fault, key, provider, route, targets};

/// One Provider with `accounts` of equal weight, and the Routes `chat` and `other` to it, which ask for
/// different models.
fn two_routes(accounts: &[(&str, u32)]) -> String {
    let other = targets(&[&[("one", 1)]]).replace("gpt-5-mini", "gpt-5");
    [
        provider("one", 0, accounts, ""),
        route("chat", "chat", &targets(&[&[("one", 1)]])),
        route("other", "other", &other),
        key("team", KEY),
    ]
    .concat()
}

/// Calls over both Routes and many connections, which both workers share; all are served.
async fn calls_from_everywhere(stack: &Stack) {
    let models = ["chat", "other"].into_iter().cycle().take(24);
    for answer in join_all(models.map(|model| stack.chat(model))).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Calls, a hundred times a second, until `account` is asked.
async fn call_until_asked(stack: &Stack, account: &str) {
    let before = asked(stack, account);
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while asked(stack, account) == before {
        tick.tick().await;
        assert_eq!(stack.chat("chat").await.status, 200);
    }
}

/// How often the account with this end of its key was asked.
fn asked(stack: &Stack, account: &str) -> u64 {
    stack.by_account(0).get(account).copied().unwrap_or(0)
}

/// Limits `lame` with `limit`, and checks that it rests for at least `rest`.
async fn rests(limit: &str, rest: Duration) {
    let stack = Stack::start(1, &two_routes(&[("lame", 3), ("good", 1)])).await;
    stack.providers[0].script(Rule::always(fault(limit)).account("lame"));
    let limited_at = Instant::now();
    call_until_asked(&stack, "lame").await;
    calls_from_everywhere(&stack).await;
    assert_eq!(asked(&stack, "lame"), 1, "asked within its rest: {limit}");

    stack.providers[0].script(Script::default());
    call_until_asked(&stack, "lame").await;
    let rested = limited_at.elapsed();
    assert!(rested >= rest, "{limit}: back after {rested:?}");
}

#[tokio::test]
async fn a_limited_account_rests_as_long_as_its_provider_says_in_any_way() {
    let seconds = Duration::from_secs;
    tokio::join!(
        rests("status=429,retry-after=2", seconds(2)),
        // A date has whole seconds: up to one is cut off.
        rests("status=429,retry-after-date=3s", seconds(2)),
        rests(
            "status=429,retry-after-ms=1500",
            Duration::from_millis(1500)
        ),
        rests("status=429,reset-requests=2s,reset-tokens=1s", seconds(2)),
        rests(
            "error=token-limit,reset-tokens=1s500ms",
            Duration::from_millis(1500)
        ),
        rests("error=slow-down", seconds(5)),
        rests("status=429,retry-after=soon", seconds(5)),
        rests("status=200,error=rate-limit", seconds(5)),
        rests("status=429,style=html", seconds(5)),
    );
}

#[tokio::test]
async fn the_call_that_meets_a_limit_is_served_by_another_account() {
    let stack = Stack::start(1, &two_routes(&[("lame", 1), ("good", 1)])).await;
    stack.providers[0].script(Rule::always(fault("status=429,retry-after=60")).account("lame"));
    let bodies = ["chat", "chat"].map(chat_stream);
    for body in bodies {
        let answer = stack.post("/v1/chat/completions", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.is_whole);
        assert_eq!(answer.header("x-weighbridge-account"), "good");
    }
    assert_eq!(asked(&stack, "lame"), 1);
    assert_eq!(asked(&stack, "good"), 2);
}

#[tokio::test]
async fn an_account_that_is_refused_or_spent_is_out_for_all_later_calls() {
    for refusal in [
        "error=invalid-key",
        "status=401,style=html",
        "error=billing",
        "error=insufficient-quota,retry-after=1",
        "error=credit-balance",
        "status=200,error=insufficient-quota",
    ] {
        let stack = Stack::start(1, &two_routes(&[("lame", 3), ("good", 1)])).await;
        stack.providers[0].script(Rule::always(fault(refusal)).account("lame"));
        calls_from_everywhere(&stack).await;
        let met_it = asked(&stack, "lame");
        assert!(met_it >= 1, "{refusal}");
        calls_from_everywhere(&stack).await;
        assert_eq!(asked(&stack, "lame"), met_it, "{refusal}");
    }
}

#[tokio::test]
async fn a_forbidden_model_is_out_on_that_account_and_no_other_model_is() {
    let stack = Stack::start(1, &two_routes(&[("lame", 1), ("good", 1)])).await;
    let forbidden = Rule::always(fault("error=forbidden")).account("lame");
    stack.providers[0].script(forbidden.model("gpt-5-mini"));
    for _ in 0..10 {
        assert_eq!(stack.chat("chat").await.status, 200);
    }
    assert_eq!(asked(&stack, "lame"), 1);
    for _ in 0..10 {
        assert_eq!(stack.chat("other").await.status, 200);
    }
    assert_eq!(
        asked(&stack, "lame"),
        6,
        "the other model has its share there"
    );
}

#[tokio::test]
async fn names_that_a_caller_invents_take_no_account_out() {
    let star = targets(&[&[("one", 1)]]).replace("gpt-5-mini", "\"*\"");
    let resources = [
        provider("one", 0, &[("only", 1)], ""),
        route("star", "any/*", &star),
        key("team", KEY),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    let forbidden = Rule::always(fault("error=forbidden")).model("invented-*");
    stack.providers[0].script(forbidden);
    for number in 0..100 {
        let answer = stack.chat(&format!("any/invented-{number}")).await;
        assert_eq!(answer.code(), "upstream_auth", "{}", answer.text());
    }
    assert_eq!(stack.seen(0), 100);
    assert_eq!(stack.chat("any/invented-99").await.status, 502);
    assert_eq!(stack.seen(0), 100, "the last one is remembered");
    assert_eq!(stack.chat("any/real").await.status, 200);
}

#[tokio::test]
async fn an_answer_that_was_under_way_does_not_bring_a_refused_account_back() {
    let stack = Stack::start(1, &two_routes(&[("only", 1)])).await;
    stack.providers[0].script(Rule::always(fault("delay=300ms")));
    let under_way = stack.chat("chat");
    let meanwhile = async {
        stack.providers[0].until(|seen| seen.requests == 1).await;
        stack.providers[0].script(fault("error=invalid-key"));
        assert_eq!(stack.chat("chat").await.code(), "upstream_auth");
    };
    let (under_way, ()) = tokio::join!(under_way, meanwhile);
    assert_eq!(under_way.status, 200, "{}", under_way.text());
    assert_eq!(stack.chat("chat").await.code(), "upstream_auth");
    assert_eq!(stack.seen(0), 2);
}

#[tokio::test]
async fn a_refusal_of_our_credential_is_never_the_callers() {
    for (refusal, code) in [
        ("error=invalid-key", "upstream_auth"),
        ("error=forbidden", "upstream_auth"),
        ("error=billing", "upstream_billing"),
        ("error=insufficient-quota", "upstream_billing"),
    ] {
        let stack = Stack::start(1, &two_routes(&[("secret", 1)])).await;
        let header = ",header.www-authenticate=Bearer";
        stack.providers[0].script(fault(&format!("{refusal}{header}")));
        // The call that meets it, and those after it, which ask nobody.
        for _ in 0..3 {
            for body in [crate::stack::chat("chat"), chat_stream("chat")] {
                let answer = stack.post("/v1/chat/completions", &body).await;
                assert_eq!(answer.status, 502, "{refusal}: {}", answer.text());
                assert_eq!(answer.code(), code, "{refusal}");
                assert_eq!(answer.header("www-authenticate"), "");
                assert!(!answer.text().contains("secret"), "{}", answer.text());
            }
        }
        assert_eq!(stack.seen(0), 1, "{refusal}");
    }
}

#[tokio::test]
async fn a_refused_account_is_asked_again_as_soon_as_its_credential_changes() {
    let resources = two_routes(&[("one", 1)]);
    let stack = Stack::start(1, &resources).await;
    stack.providers[0].script(Rule::always(fault("error=invalid-key")).account("sk-one"));
    assert_eq!(stack.chat("chat").await.code(), "upstream_auth");

    // An edit of something else gives no new hope.
    let edited = resources.replace("models: [\"other\"]", "models: [\"another\"]");
    stack.apply(&edited);
    assert_eq!(stack.chat("chat").await.code(), "upstream_auth");
    assert_eq!(stack.seen(0), 1);

    stack.apply(&edited.replace("sk-one", "sk-new"));
    assert_eq!(stack.chat("chat").await.status, 200);
    assert_eq!(stack.seen(0), 2);
}

#[tokio::test]
async fn a_short_rest_of_all_accounts_is_waited_for() {
    let stack = Stack::start(1, &two_routes(&[("a", 1), ("b", 1)])).await;
    stack.providers[0].script([
        Rule::always(fault("status=429,retry-after-ms=900")).times(1),
        Rule::always(fault("status=429,retry-after-ms=400")).times(1),
    ]);
    let begun = Instant::now();
    let answer = stack.chat("chat").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert_eq!(answer.header("x-weighbridge-attempts"), "3");
    // The one that recovers first, and nobody before.
    assert_eq!(stack.seen(0), 3);
}

#[tokio::test]
async fn calls_that_come_into_a_short_rest_wait_for_it_too() {
    let stack = Stack::start(1, &two_routes(&[("only", 1)])).await;
    let limit = Rule::always(fault("status=429,retry-after-ms=600")).times(1);
    stack.providers[0].script(limit);
    let first = stack.chat("chat");
    let later = async {
        stack.providers[0]
            .until(|seen| seen.by_status.contains_key(&429))
            .await;
        calls_from_everywhere(&stack).await;
    };
    let (first, ()) = tokio::join!(first, later);
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(stack.providers[0].counters().by_status.get(&429), Some(&1));
}

#[tokio::test]
async fn a_long_rest_of_all_accounts_is_told_with_the_time_of_the_first_to_recover() {
    let stack = Stack::start(1, &two_routes(&[("a", 1), ("b", 1)])).await;
    stack.providers[0].script([
        Rule::always(fault("status=429,retry-after=90")).account("sk-a"),
        Rule::always(fault("status=429,retry-after=30")).account("sk-b"),
    ]);
    for _ in 0..3 {
        let answer = stack.chat("chat").await;
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert_eq!(answer.code(), "rate_limit_exceeded");
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=30).contains(&seconds), "{seconds}");
        let milliseconds: u64 = answer.header("retry-after-ms").parse().unwrap();
        assert!((1..=30_000).contains(&milliseconds), "{milliseconds}");
    }
    assert_eq!(stack.seen(0), 2, "nobody is asked within its rest");
}

#[tokio::test]
async fn a_rest_longer_than_what_is_left_of_the_window_is_not_waited_for() {
    let bounds = "  failover: {window: 1s}\n";
    let resources = [
        provider("one", 0, &[("only", 1)], ""),
        route("chat", "chat", &(targets(&[&[("one", 1)]]) + bounds)),
        key("team", KEY),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    stack.providers[0].script(fault("status=429,retry-after=2"));
    let answer = stack.chat("chat").await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), "2");
    assert_eq!(stack.seen(0), 1);
}

#[tokio::test]
async fn when_some_rest_and_the_others_cannot_serve_the_caller_is_told_when_to_come_back() {
    let resources = [
        provider("one", 0, &[("one", 1)], ""),
        provider("two", 1, &[("two", 1)], "  retry: {maxRetries: 0}\n"),
        route("chat", "chat", &targets(&[&[("one", 1)], &[("two", 1)]])),
        key("team", KEY),
    ];
    for is_down in [true, false] {
        let stack = Stack::start(2, &resources.concat()).await;
        stack.providers[0].script(fault("status=429,retry-after=40"));
        if is_down {
            stack.providers[1].stop().await;
        } else {
            stack.providers[1].script(fault("error=invalid-key"));
        }
        for _ in 0..2 {
            let answer = stack.chat("chat").await;
            assert_eq!(answer.status, 503, "{}", answer.text());
            let seconds: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=40).contains(&seconds), "{seconds}");
        }
        assert_eq!(stack.seen(0), 1);
    }
}

#[tokio::test]
async fn the_walk_over_accounts_is_not_bounded_by_retries_or_attempts() {
    let accounts: Vec<String> = (1..=8).map(|number| format!("key{number}")).collect();
    let accounts: Vec<(&str, u32)> = accounts.iter().map(|name| (name.as_str(), 1)).collect();
    let bounds = "  failover: {maxAttempts: 1}\n";
    for refusal in [
        "status=429,retry-after=60",
        "error=invalid-key",
        "error=billing",
    ] {
        let resources = [
            provider("one", 0, &accounts, "  retry: {maxRetries: 0}\n"),
            route("chat", "chat", &(targets(&[&[("one", 1)]]) + bounds)),
            key("team", KEY),
        ];
        let stack = Stack::start(1, &resources.concat()).await;
        let refused = Rule::always(fault(refusal)).times(7);
        stack.providers[0].script(refused);
        let answer = stack.chat("chat").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-weighbridge-attempts"), "8");
        assert!(
            stack.by_account(0).values().all(|seen| *seen == 1),
            "{refusal}"
        );
        // The one that served is the only one left.
        assert_eq!(
            stack.chat("chat").await.header("x-weighbridge-attempts"),
            "1"
        );
    }
}

#[tokio::test]
async fn an_edit_that_leaves_the_credential_alone_does_not_end_a_rest() {
    let resources = two_routes(&[("lame", 1), ("good", 1)]);
    let stack = Stack::start(1, &resources).await;
    stack.providers[0].script(Rule::always(fault("status=429,retry-after=60")).account("lame"));
    call_until_asked(&stack, "lame").await;
    stack.apply(&resources.replace("weight: 1}", "weight: 2}"));
    calls_from_everywhere(&stack).await;
    assert_eq!(asked(&stack, "lame"), 1);
}
