//! The caller's fault isn't retried, and a caller that goes away, or reads nothing any more, takes its calls
//! along.

use std::time::{Duration, Instant};

use weighbridge_dataplane::Settings;
use weighbridge_mock::{Config, Fault, Mock, Script};

use crate::socket::{Socket, head, request, within};
use crate::stack::{KEY, Stack, chat, chat_stream, key, provider, route, settings, two_accounts};

/// Two providers, the second a fallback for the first.
fn with_fallback() -> String {
    [
        provider("one", 0, &[("large", 1), ("small", 1)], ""),
        provider("two", 1, &[("other", 1)], ""),
        route(
            "chat",
            "chat",
            "  targets:\n\
             \x20 - {name: first, backends: [{name: one, providerRef: {name: one}}]}\n\
             \x20 - {name: fallback, backends: [{name: two, providerRef: {name: two}}]}\n",
        ),
        key("team", KEY),
    ]
    .concat()
}

fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

/// Cancelling counts as at once when it takes less than this.
const AT_ONCE: Duration = Duration::from_secs(1);

async fn until_cancelled(mock: &Mock, count: u64) {
    let since = Instant::now();
    within(mock.until(|counters| {
        counters.cancelled >= count && counters.in_flight == 0 && counters.connections_open == 0
    }))
    .await;
    assert!(since.elapsed() < AT_ONCE, "took {:?}", since.elapsed());
}

#[tokio::test]
async fn the_callers_fault_is_not_retried_and_arrives_byte_for_byte() {
    let stack = Stack::start(2, &with_fallback()).await;
    // As no serializer would write it, so that any rewriting shows.
    let body = "{ \"error\" :{\"message\":\"caf\\u00e9  \\/ no\", \"code\":null ,\"x\": 1.0e2} }\n";
    for (count, status) in (1..).zip([400, 404, 405, 409, 413, 415, 422]) {
        let mut refusal = fault("header.x-request-id=req_mine,header.x-hint=look");
        refusal.status = Some(status);
        refusal.body = Some(body.to_owned());
        stack.providers[0].script(refusal);
        let answer = stack.chat("chat").await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.text(), body, "{status}");
        assert_eq!(answer.header("x-request-id"), "req_mine");
        assert_eq!(answer.header("x-hint"), "look");
        assert_eq!(answer.header("x-weighbridge-attempts"), "1");
        assert_eq!((stack.seen(0), stack.seen(1)), (count, 0), "{status}");
    }
}

#[tokio::test]
async fn errors_of_every_server_arrive_in_its_own_words() {
    let stack = Stack::start(2, &with_fallback()).await;
    let styles = [
        "openai", "vllm", "sglang", "tgi", "ollama", "mistral", "azure", "html", "plain", "empty",
        "binary",
    ];
    for style in styles {
        for status in [400, 404, 422] {
            let text = format!("status={status},style={style}");
            stack.providers[0].script(fault(&text));
            let answer = stack.chat("chat").await;
            // What the provider says to one who asks it directly.
            let mut direct = Socket::connect_to(stack.providers[0].address()).await;
            direct.write(request(chat("chat").to_string())).await;
            let direct = direct.answer().await;
            assert_eq!(answer.status, direct.status, "{text}");
            assert_eq!(answer.body, direct.body, "{text}");
            assert_eq!(
                answer.header("content-type"),
                direct.header("content-type"),
                "{text}"
            );
        }
    }
    assert_eq!(stack.seen(1), 0);
}

#[tokio::test]
async fn a_refusal_by_policy_and_too_long_a_prompt_are_not_retried() {
    let stack = Stack::start(2, &with_fallback()).await;
    for (count, error) in (1..).zip(["content-policy", "context-length", "model-not-found"]) {
        stack.providers[0].script(fault(&format!("error={error}")));
        for body in [chat("chat"), chat_stream("chat")] {
            let answer = stack.post("/v1/chat/completions", &body).await;
            assert!(answer.status.is_client_error(), "{error}");
        }
        assert_eq!((stack.seen(0), stack.seen(1)), (2 * count, 0), "{error}");
    }
}

#[tokio::test]
async fn the_callers_fault_inside_of_a_200_is_not_retried_either() {
    let stack = Stack::start(2, &with_fallback()).await;
    stack.providers[0].script(fault("status=200,error=context-length"));
    let answer = stack.chat("chat").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.code(), "context_length_exceeded");
    assert_eq!((stack.seen(0), stack.seen(1)), (1, 0));
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_head_cancels_the_call() {
    let stack = Stack::start(2, &with_fallback()).await;
    stack.providers[0].script(fault("stall=before-head"));
    let mut caller = Socket::connect(&stack).await;
    caller.write(request(chat("chat").to_string())).await;
    within(stack.providers[0].until(|counters| counters.in_flight == 1)).await;
    drop(caller);
    until_cancelled(&stack.providers[0], 1).await;
    // Nobody waits for the answer, so nobody else is asked for one.
    assert_eq!((stack.seen(0), stack.seen(1)), (1, 0));
}

#[tokio::test]
async fn a_caller_that_leaves_within_a_whole_answer_cancels_the_call() {
    let stack = Stack::start(1, &two_accounts()).await;
    // Larger than what is held back, so that the caller reads its beginning.
    stack.providers[0].script(fault("huge-line=1000000,stall=mid-body"));
    let mut caller = Socket::connect(&stack).await;
    caller.write(request(chat("chat").to_string())).await;
    caller.hear("chat.completion").await;
    drop(caller);
    until_cancelled(&stack.providers[0], 1).await;
}

#[tokio::test]
async fn a_caller_that_leaves_a_stream_before_its_content_cancels_it() {
    let stack = Stack::start(2, &with_fallback()).await;
    stack.providers[0].script(fault("stall=before-content"));
    let mut caller = Socket::connect(&stack).await;
    caller.write(request(chat_stream("chat").to_string())).await;
    within(stack.providers[0].until(|counters| counters.events == 1)).await;
    drop(caller);
    until_cancelled(&stack.providers[0], 1).await;
    assert_eq!((stack.seen(0), stack.seen(1)), (1, 0));
}

#[tokio::test]
async fn a_caller_that_leaves_a_stream_after_content_cancels_it() {
    let stack = Stack::start(1, &two_accounts()).await;
    stack.providers[0].script(fault("stall=5"));
    let mut caller = Socket::connect(&stack).await;
    caller.write(request(chat_stream("chat").to_string())).await;
    caller.hear("\"content\":\"").await;
    drop(caller);
    until_cancelled(&stack.providers[0], 1).await;
}

#[tokio::test]
async fn a_caller_that_resets_a_busy_stream_cancels_it() {
    let stack = Stack::start(1, &two_accounts()).await;
    stack.providers[0].script(fault("words=5000,event-delay=1ms"));
    let mut caller = Socket::connect(&stack).await;
    caller.write(request(chat_stream("chat").to_string())).await;
    caller.hear("\"content\":\"").await;
    // With bytes unread, closing is a reset.
    within(stack.providers[0].until(|counters| counters.events > 50)).await;
    drop(caller);
    until_cancelled(&stack.providers[0], 1).await;
}

/// A stream of more than the buffers of all sockets on its way hold.
const ENDLESS: &str = "words=100000";

/// Two accounts behind a gateway that lets a caller take nothing for a second.
async fn impatient() -> Stack {
    let settings = Settings {
        write_timeout_seconds: 1,
        ..settings()
    };
    let mock = Mock::start(Config::default()).await.unwrap();
    Stack::with_settings(vec![mock], &two_accounts(), settings).await
}

#[tokio::test]
async fn a_caller_that_reads_nothing_of_its_stream_is_let_go() {
    let stack = impatient().await;
    stack.providers[0].script(fault(ENDLESS));
    let mut caller = Socket::connect(&stack).await;
    caller.write(request(chat_stream("chat").to_string())).await;
    within(stack.providers[0].until(|counters| {
        counters.cancelled == 1 && counters.in_flight == 0 && counters.connections_open == 0
    }))
    .await;
    within(stack.until_metric("weighbridge_connections 0")).await;
    within(stack.until_metric("outcome=\"cancelled\"} 1")).await;
    // What was in the way is thrown away, not kept for a caller that never comes for it.
    assert!(!caller.answer().await.is_whole);
    assert!(caller.was_reset());
}

#[tokio::test]
async fn a_caller_that_reads_none_of_many_whole_answers_is_let_go() {
    let stack = impatient().await;
    stack.providers[0].script(fault("words=8000"));
    let mut caller = Socket::connect(&stack).await;
    let many = request(chat("chat").to_string()).repeat(400);
    caller.write(many).await;
    within(stack.until_metric("weighbridge_connections 1")).await;
    within(stack.until_metric("weighbridge_connections 0")).await;
    assert!(stack.seen(0) < 400, "everything fitted into the buffers");
}

#[tokio::test]
async fn a_caller_that_reads_slowly_gets_everything() {
    let stack = impatient().await;
    stack.providers[0].script(fault(ENDLESS));
    let mut caller = Socket::connect(&stack).await;
    caller.write(request(chat_stream("chat").to_string())).await;
    let since = Instant::now();
    let answer = within(caller.slow_answer(Duration::from_millis(10))).await;
    // Longer than anything may stand still.
    assert!(
        since.elapsed() > Duration::from_secs(2),
        "took {:?}",
        since.elapsed()
    );
    assert!(answer.is_whole);
    assert_eq!(answer.events().last().map(String::as_str), Some("[DONE]"));
}

#[tokio::test]
async fn a_caller_that_leaves_while_an_account_cools_down_is_forgotten() {
    let resources = [
        provider("one", 0, &[("only", 1)], ""),
        route(
            "chat",
            "chat",
            "  targets: [{name: only, backends: [{name: one, providerRef: {name: one}}]}]\n",
        ),
        key("team", KEY),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    let limited = fault("status=429,retry-after=2");
    stack.providers[0].script(weighbridge_mock::Rule::always(limited).times(1));
    let mut caller = Socket::connect(&stack).await;
    caller.write(request(chat("chat").to_string())).await;
    within(stack.providers[0].until(|counters| counters.by_status.contains_key(&429))).await;
    drop(caller);
    within(stack.until_metric(
        "weighbridge_requests_total{route=\"default/chat\",outcome=\"cancelled\"} 1",
    ))
    .await;
    // Another call waits for the same account: had the first still waited, it would have been sent.
    assert_eq!(stack.chat("chat").await.status, 200);
    assert_eq!(stack.seen(0), 2);
}

#[tokio::test]
async fn a_caller_that_leaves_within_its_body_reaches_no_provider() {
    let stack = Stack::start(1, &two_accounts()).await;
    let mut caller = Socket::connect(&stack).await;
    caller
        .write(head("content-length: 1000\r\n\r\n{\"model\":\"chat\","))
        .await;
    within(stack.until_metric("weighbridge_connections 1")).await;
    drop(caller);
    within(stack.until_metric("weighbridge_connections 0")).await;
    assert_eq!(stack.seen(0), 0);
    assert_eq!(stack.chat("chat").await.status, 200);
}

#[tokio::test]
async fn a_hundred_and_fifty_aborted_streams_leak_nothing() {
    const STREAMS: u64 = 150;
    let stack = Stack::start(1, &two_accounts()).await;
    stack.providers[0].script(fault("words=1000,event-delay=50ms"));
    let mut callers = Vec::new();
    for _ in 0..STREAMS {
        let mut caller = Socket::connect(&stack).await;
        caller.write(request(chat_stream("chat").to_string())).await;
        callers.push(caller);
    }
    for caller in &mut callers {
        caller.hear("\"content\":\"").await;
    }
    assert_eq!(stack.providers[0].counters().in_flight, STREAMS);
    drop(callers);
    within(stack.providers[0].until(|counters| {
        counters.cancelled == STREAMS && counters.in_flight == 0 && counters.connections_open == 0
    }))
    .await;
    within(stack.until_metric("weighbridge_connections 0")).await;
    within(stack.until_metric("weighbridge_buffered_bytes 0")).await;
    let cancelled = format!("outcome=\"cancelled\"}} {STREAMS}");
    within(stack.until_metric(&cancelled)).await;
    stack.providers[0].script(Script::default());
    assert_eq!(stack.chat("chat").await.status, 200);
}
