//! Answers too long to be held back are relayed, and are counted, metered and bounded like all others.

use serde_json::json;

use crate::socket::{Socket, request};
use crate::stack::{KEY, Stack, chat, fault, key, provider, route, targets, two_accounts};
use weighbridge_mock::Rule;

/// What makes an answer longer than what is held back.
const LONG: &str = "huge-line=200000";

#[tokio::test]
async fn a_long_answer_arrives_whole_counts_as_a_success_and_keeps_its_connection() {
    let stack = Stack::start(1, &two_accounts()).await;
    stack.providers[0].script(Rule::always(fault(LONG)));
    for _ in 0..3 {
        let answer = stack.chat("chat").await;
        assert_eq!(answer.status, 200);
        assert!(answer.is_whole && answer.body.len() > 200_000);
        assert_eq!(answer.json()["object"], "chat.completion");
    }
    stack
        .until_metric(r#"weighbridge_requests_total{route="default/chat",outcome="success"} 3"#)
        .await;
    assert_eq!(stack.providers[0].counters().connections_accepted, 1);
}

#[tokio::test]
async fn a_long_answers_usage_is_read() {
    let stack = Stack::start(1, &two_accounts()).await;
    stack.providers[0].script(Rule::always(fault(LONG)));
    let usage = stack.chat("chat").await.json()["usage"].clone();
    let output = usage["completion_tokens"].as_u64().unwrap();
    assert!(output > 0, "{usage}");
    let text = format!(
        r#"gen_ai_client_token_usage_sum{{provider="default/one",gen_ai_provider_name="openai",gen_ai_token_type="output"}} {output}.0"#
    );
    stack.until_metric(&text).await;
}

#[tokio::test]
async fn a_call_waits_for_its_own_backend_where_failover_does_not_name_rate_limits() {
    let resources = [
        provider("one", 0, &[("a", 1)], ""),
        provider("two", 1, &[("b", 1)], ""),
        route(
            "chat",
            "chat",
            &(targets(&[&[("one", 1), ("two", 0)], &[("two", 1)]])
                + "  failover: {reasons: [ServerError]}\n"),
        ),
        key("team", KEY),
    ]
    .concat();
    let stack = Stack::start(2, &resources).await;
    stack.providers[0].script(Rule::always(fault("status=429,retry-after=1")).times(1));
    let answer = stack.chat("chat").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-weighbridge-provider"), "default/one");
    assert_eq!((stack.seen(0), stack.seen(1)), (2, 0));
}

#[tokio::test]
async fn connecting_ends_with_the_call() {
    // It accepts and never shakes hands.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let resources = [
        provider("one", 0, &[("a", 1)], "  timeouts: {connect: 30s}\n").replace(
            "endpoint: {0}",
            &format!("endpoint: https://{}/v1", silent.local_addr().unwrap()),
        ),
        route(
            "chat",
            "chat",
            &(targets(&[&[("one", 1)]]) + "  timeouts: {request: 300ms}\n"),
        ),
        key("team", KEY),
    ]
    .concat();
    let stack = Stack::start(1, &resources).await;
    let answer = stack.chat("chat").await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(
        answer.text().contains("timeouts.request"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_body_in_very_many_pieces_arrives_as_it_was() {
    let stack = Stack::start(1, &two_accounts()).await;
    let mut body = chat("chat");
    body["messages"][0]["content"] = json!("x".repeat(20_000));
    let body = body.to_string();
    let mut caller = Socket::connect(&stack).await;
    for piece in request(&body).chunks(7) {
        caller.write(piece).await;
    }
    let answer = caller.answer().await;
    assert_eq!(answer.status, 200);
    let seen = stack.providers[0].log()[0].body.clone();
    let expected = body.replace(r#""model":"chat""#, r#""model":"gpt-5-mini""#);
    assert_eq!(seen, expected.as_bytes());
}
