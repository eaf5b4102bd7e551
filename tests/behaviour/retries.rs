//! Point 3, retries don't multiply: the same backend is asked again only when nothing else is left, as often
//! as its Provider, its budget and the caller's own retries allow, and every bound names itself.

use std::time::{Duration, Instant};

use serde_json::Value;
use weighbridge_mock::{Fault, HangUp, Rule};

use crate::stack::{Answer, KEY, Stack, chat, chat_stream, fault, key, provider, route, targets};

const CHAT: &str = "/v1/chat/completions";

/// Provider `one` with one account and `spec`, the only backend of the Route `chat`.
fn alone(spec: &str) -> String {
    [
        provider("one", 0, &[("one", 1)], spec),
        route("chat", "chat", &targets(&[&[("one", 1)]])),
        key("team", KEY),
    ]
    .concat()
}

/// Providers `one` and `two`, both with `spec`, as one target after the other; `bounds` is further YAML of
/// the Route's spec.
fn two(spec: &str, bounds: &str) -> String {
    [
        provider("one", 0, &[("one", 1)], spec),
        provider("two", 1, &[("two", 1)], spec),
        route(
            "chat",
            "chat",
            &(targets(&[&[("one", 1)], &[("two", 1)]]) + bounds),
        ),
        key("team", KEY),
    ]
    .concat()
}

/// Repeats that take no time worth speaking of.
fn quick(retries: u32) -> String {
    format!("  retry: {{maxRetries: {retries}, backoff: {{initial: 1ms, max: 2ms}}}}\n")
}

#[tokio::test]
async fn a_single_backend_is_asked_again_as_often_as_max_retries_says() {
    let cases = [
        (quick(0), 1),
        (quick(2), 3),
        (quick(5), 6),
        (String::new(), 2),
    ];
    for (spec, asked) in cases {
        let stack = Stack::start(1, &alone(&spec)).await;
        stack.providers[0].script(fault("status=500,message=broken"));
        let answer = stack.chat("chat").await;
        assert_eq!(answer.status, 500);
        assert_eq!(answer.json()["error"]["message"], "broken");
        assert_eq!(answer.header("x-weighbridge-attempts"), asked.to_string());
        assert_eq!(stack.seen(0), asked);
    }
}

#[tokio::test]
async fn a_repeat_that_succeeds_serves() {
    for failure in [
        "status=500",
        "status=503",
        "cut=before-head",
        "garbage=head",
    ] {
        let stack = Stack::start(1, &alone(&quick(2))).await;
        stack.providers[0].script(Rule::always(fault(failure)).times(2));
        let answer = stack.chat("chat").await;
        assert_eq!(answer.status, 200, "{failure}: {}", answer.text());
        assert_eq!(answer.header("x-weighbridge-attempts"), "3");
    }
}

#[tokio::test]
async fn all_others_are_asked_before_anyone_is_asked_again() {
    let stack = Stack::start(2, &two(&quick(1), "")).await;
    stack.providers[0].script(Rule::always(fault("status=500")).times(1));
    assert_eq!(
        stack.chat("chat").await.header("x-weighbridge-provider"),
        "default/two"
    );
    assert_eq!(stack.seen(0), 1);
    // With all of them broken, only the last one asked is repeated.
    stack.providers[0].script(fault("status=500"));
    stack.providers[1].script(Rule::always(fault("status=500")).times(1));
    let answer = stack.chat("chat").await;
    assert_eq!(
        answer.header("x-weighbridge-attempts"),
        "3",
        "{}",
        answer.text()
    );
    assert_eq!((stack.seen(0), stack.seen(1)), (2, 3));
}

#[tokio::test]
async fn repeats_stop_when_the_providers_budget_is_spent() {
    let budget = "budget: {percent: 10, interval: 10s}";
    let spec = quick(1).replace("}}\n", &format!("}}, {budget}}}\n"));
    let stack = Stack::start(1, &alone(&spec)).await;
    stack.providers[0].script(fault("status=500"));
    for _ in 0..100 {
        assert_eq!(stack.chat("chat").await.status, 500);
    }
    let repeats = stack.seen(0) - 100;
    // A tenth of a hundred, and the reserve of one per second of the interval; every call had one left.
    assert!((10..=25).contains(&repeats), "{repeats}");
}

#[tokio::test]
async fn moving_on_spends_no_budget_and_needs_no_retries() {
    let spec = "  retry: {maxRetries: 0, budget: {percent: 0}}\n";
    let stack = Stack::start(2, &two(spec, "")).await;
    stack.providers[0].script(fault("status=500"));
    for _ in 0..50 {
        assert_eq!(stack.chat("chat").await.status, 200);
    }
    assert_eq!((stack.seen(0), stack.seen(1)), (50, 50));
}

#[tokio::test]
async fn a_budget_of_zero_percent_allows_no_repeat() {
    let stack = Stack::start(
        1,
        &alone("  retry: {maxRetries: 5, budget: {percent: 0}}\n"),
    )
    .await;
    stack.providers[0].script(fault("status=500"));
    assert_eq!(stack.chat("chat").await.status, 500);
    assert_eq!(stack.seen(0), 1);
}

#[tokio::test]
async fn the_callers_own_retries_are_taken_off_ours() {
    for (count, asked) in [("0", 3), ("1", 2), ("2", 1), ("7", 1), ("nonsense", 3)] {
        let stack = Stack::start(1, &alone(&quick(2))).await;
        stack.providers[0].script(fault("status=500"));
        let headers = [("x-stainless-retry-count", count)];
        let answer = stack.post_with(CHAT, &chat("chat"), &headers).await;
        assert_eq!(answer.status, 500);
        assert_eq!(stack.seen(0), asked, "{count}");
    }
}

#[tokio::test]
async fn the_callers_own_retries_do_not_shorten_the_walk() {
    let stack = Stack::start(2, &two(&quick(0), "")).await;
    stack.providers[0].script(fault("status=500"));
    let headers = [("x-stainless-retry-count", "9")];
    let answer = stack.post_with(CHAT, &chat("chat"), &headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn no_attempt_starts_after_the_callers_patience() {
    // The SDK for Python writes what it was given: `1`, `0.3`, `1.0`.
    for (patience, delay) in [("1", "1100ms"), ("0.3", "350ms")] {
        let stack = Stack::start(2, &two(&quick(1), "")).await;
        stack.providers[0].script(fault(&format!("status=500,delay={delay}")));
        let headers = [("x-stainless-read-timeout", patience)];
        let answer = stack.post_with(CHAT, &chat("chat"), &headers).await;
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert_eq!((stack.seen(0), stack.seen(1)), (1, 0), "{patience}");
    }
    // What is no time is no bound.
    for patience in ["none", "-1", "NaN", "inf", "1e300", ""] {
        let stack = Stack::start(2, &two(&quick(0), "")).await;
        stack.providers[0].script(fault("status=500"));
        let headers = [("x-stainless-read-timeout", patience)];
        let answer = stack.post_with(CHAT, &chat("chat"), &headers).await;
        assert_eq!(answer.status, 200, "{patience}: {}", answer.text());
    }
}

#[tokio::test]
async fn repeats_end_with_the_window() {
    let bounds = "  failover: {window: 200ms}\n";
    let resources = [
        provider("one", 0, &[("one", 1)], &quick(10)),
        route("chat", "chat", &(targets(&[&[("one", 1)]]) + bounds)),
        key("team", KEY),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    stack.providers[0].script(fault("status=500,delay=150ms"));
    assert_eq!(stack.chat("chat").await.status, 500);
    assert_eq!(stack.seen(0), 2);
}

#[tokio::test]
async fn after_our_own_retries_the_sdk_is_told_not_to_try_again() {
    let stack = Stack::start(1, &alone(&quick(1))).await;
    // What the provider says about retries was meant for us.
    stack.providers[0].script(fault("status=500,header.x-should-retry=true"));
    assert_eq!(stack.chat("chat").await.header("x-should-retry"), "false");
    stack.providers[0].script(fault("cut=before-head"));
    let answer = stack.chat("chat").await;
    assert_eq!(answer.code(), "bad_upstream_response");
    assert_eq!(answer.header("x-should-retry"), "false");
}

#[tokio::test]
async fn without_our_own_retries_the_sdk_decides_itself() {
    let stack = Stack::start(1, &alone(&quick(0))).await;
    for answer in ["status=500", "status=400", "status=200"] {
        for advice in ["true", "false"] {
            let advised = format!("{answer},header.x-should-retry={advice}");
            let mut advised = fault(&advised);
            if answer == "status=200" {
                advised.status = None;
            }
            stack.providers[0].script(advised);
            let answer = stack.chat("chat").await;
            assert!(
                !answer.headers.contains_key("x-should-retry"),
                "{}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn a_stale_pooled_connection_costs_no_attempt() {
    let stack = Stack::start(1, &alone(&quick(0))).await;
    stack.providers[0].script(Fault {
        hang_up: Some(HangUp::OnReuse),
        ..Fault::default()
    });
    for _ in 0..10 {
        let answer = stack.chat("chat").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-weighbridge-attempts"), "1");
    }
    let counters = stack.providers[0].counters();
    assert_eq!(counters.requests, 10);
    assert!(counters.hang_ups >= 8, "{counters:?}");
}

/// The message of an error, whole or as a stream's last event.
fn told(answer: &Answer) -> String {
    let error: Value = match answer.events().last() {
        Some(event) => serde_json::from_str(event).unwrap(),
        None => answer.json(),
    };
    assert_eq!(error["error"]["code"], "upstream_timeout", "{error}");
    error["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_bound_strikes_and_names_its_field() {
    let only = |field: &str| format!("{}  timeouts: {{{field}: 200ms}}\n", quick(0));
    let at_once = [
        ("request", "stall=before-head", false),
        ("request", "stall=after-head", false),
        ("request", "stall=before-head", true),
        ("request", "drip=1/20ms", false),
        ("firstEvent", "stall=before-head", true),
        ("firstEvent", "stall=after-head", true),
        ("firstEvent", "stall=before-content", true),
        ("firstEvent", "event-delay=300ms", true),
    ];
    let in_between = [
        ("idle", "stall=mid-body"),
        ("idle", "stall=2"),
        ("request", "stall=2"),
        ("request", "words=400,event-delay=20ms"),
    ];
    let at_once = at_once.map(|(field, text, stream)| (field, text, stream, 504));
    let in_between = in_between.map(|(field, text)| (field, text, true, 200));
    for (field, text, stream, status) in at_once.into_iter().chain(in_between) {
        let stack = Stack::start(1, &alone(&only(field))).await;
        stack.providers[0].script(fault(text));
        let body = if stream {
            chat_stream("chat")
        } else {
            chat("chat")
        };
        let begun = Instant::now();
        let answer = stack.post(CHAT, &body).await;
        assert!(begun.elapsed() >= Duration::from_millis(200));
        assert_eq!(answer.status, status, "{field} {text}: {}", answer.text());
        assert_eq!(answer.is_whole, status == 504, "{field} {text}");
        let message = told(&answer);
        assert!(
            message.contains(&format!("timeouts.{field} (200 ms)")),
            "{text}: {message}"
        );
        // Nobody is left waiting for a provider that we gave up.
        let left = |counters: &weighbridge_mock::Counters| counters.in_flight == 0;
        stack.providers[0].until(left).await;
    }
}

#[tokio::test]
async fn the_routes_own_bound_holds_over_all_attempts() {
    let stack = Stack::start(2, &two(&quick(0), "  timeouts: {request: 500ms}\n")).await;
    stack.providers[0].script(fault("status=500,delay=300ms"));
    stack.providers[1].script(fault("delay=300ms"));
    let answer = stack.chat("chat").await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(told(&answer).contains("the Route's timeouts.request (500 ms)"));
    assert_eq!(answer.header("x-weighbridge-attempts"), "2");
}

#[tokio::test]
async fn a_missed_bound_fails_over() {
    let patience = "  timeouts: {request: 200ms, firstEvent: 100ms}\n";
    let stack = Stack::start(2, &two(&(quick(0) + patience), "")).await;
    stack.providers[0].script(fault("stall=before-head"));
    let answer = stack.chat("chat").await;
    assert_eq!(
        answer.header("x-weighbridge-provider"),
        "default/two",
        "{}",
        answer.text()
    );
    let answer = stack.post(CHAT, &chat_stream("chat")).await;
    assert_eq!(
        answer.header("x-weighbridge-provider"),
        "default/two",
        "{}",
        answer.text()
    );
    assert!(answer.is_whole);
}

#[tokio::test]
async fn a_stream_may_last_longer_than_every_bound_but_the_whole() {
    let patience = "  timeouts: {firstEvent: 500ms, idle: 500ms}\n";
    let stack = Stack::start(1, &alone(&(quick(0) + patience))).await;
    stack.providers[0].script(fault("words=40,event-delay=30ms"));
    let begun = Instant::now();
    let answer = stack.post(CHAT, &chat_stream("chat")).await;
    assert!(answer.is_whole, "{}", answer.text());
    assert!(begun.elapsed() > Duration::from_secs(1));
}
