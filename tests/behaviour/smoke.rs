//! The thin thread: a call goes through and comes back.

use crate::stack::{Stack, chat_stream, two_accounts};

#[tokio::test]
async fn a_call_reaches_a_provider_and_its_answer_comes_back() {
    let stack = Stack::start(1, &two_accounts()).await;
    let answer = stack.chat("chat").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["object"], "chat.completion");
    assert_eq!(answer.header("x-weighbridge-route"), "default/chat");
    assert_eq!(answer.header("x-weighbridge-provider"), "default/one");
    assert_eq!(answer.header("x-weighbridge-account"), "large");
    assert_eq!(answer.header("x-weighbridge-attempts"), "1");
    let log = stack.providers[0].log();
    assert_eq!(log[0].model.as_deref(), Some("gpt-5-mini"));
}

#[tokio::test]
async fn a_stream_comes_back_whole() {
    let stack = Stack::start(1, &two_accounts()).await;
    let answer = stack
        .post("/v1/chat/completions", &chat_stream("chat"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.is_whole);
    assert_eq!(answer.events().last().map(String::as_str), Some("[DONE]"));
}

#[tokio::test]
async fn connections_to_a_provider_are_used_again() {
    let stack = Stack::start(1, &two_accounts()).await;
    for _ in 0..20 {
        assert_eq!(stack.chat("chat").await.status, 200);
        let stream = chat_stream("chat");
        let answer = stack.post("/v1/chat/completions", &stream).await;
        assert!(answer.is_whole, "{}", answer.text());
    }
    let counters = stack.providers[0].counters();
    assert_eq!(counters.requests, 40);
    assert!(counters.connections_accepted <= 2, "{counters:?}");
}
