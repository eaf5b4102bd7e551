//! Bytes of chance, from either side, against one running gateway.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, FileFailurePersistence, TestRunner};
use tokio::runtime::Runtime;

use super::*;

/// Runs an asynchronous property over many values, each with the same stack.
fn check<T: std::fmt::Debug>(
    (cases, values): (u32, impl Strategy<Value = T>),
    runtime: &Runtime,
    property: impl AsyncFn(T),
) {
    let mut runner = TestRunner::new(Cases {
        cases,
        max_shrink_iters: 100,
        failure_persistence: None::<Box<FileFailurePersistence>>.map(|one| one as _),
        ..Cases::default()
    });
    let run = |value| {
        runtime.block_on(property(value));
        Ok(())
    };
    runner.run(&values, run).unwrap();
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// Pieces that requests are made of, and chance between them.
fn request_bytes() -> impl Strategy<Value = Vec<u8>> {
    let whole = request(chat("chat").to_string());
    let known = prop::sample::select(vec![
        b"POST /v1/chat/completions HTTP/1.1\r\n".to_vec(),
        b"GET /v1/models HTTP/1.1\r\n".to_vec(),
        format!("authorization: Bearer {KEY}\r\n").into(),
        b"content-type: application/json\r\n".to_vec(),
        b"content-length: 30\r\n".to_vec(),
        b"transfer-encoding: chunked\r\n".to_vec(),
        b"connection: close\r\n".to_vec(),
        b"expect: 100-continue\r\n".to_vec(),
        b"\r\n".to_vec(),
        b"5\r\n".to_vec(),
        b"0\r\n\r\n".to_vec(),
        br#"{"model":"chat","messages":[]}"#.to_vec(),
        whole.clone(),
    ]);
    let mixed = vec(prop_oneof![4 => known, 1 => vec(any::<u8>(), 0..20)], 0..12);
    let bitten = (0..whole.len(), any::<u8>(), any::<bool>()).prop_map(move |(at, byte, cut)| {
        let mut bytes = whole.clone();
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] = byte;
        }
        bytes
    });
    prop_oneof![
        mixed.prop_map(|pieces| pieces.concat()),
        bitten,
        vec(any::<u8>(), 0..200)
    ]
}

#[test]
fn whatever_a_caller_sends_the_gateway_serves_on() {
    let runtime = runtime();
    let stack = runtime.block_on(start());
    check((400, request_bytes()), &runtime, async |bytes| {
        let mut caller = Socket::connect(&stack).await;
        caller.try_write(&bytes).await;
        caller.finish().await;
        let heard = caller.rest().await;
        assert!(heard.is_empty() || heard.starts_with("HTTP/1."), "{heard}");
    });
    runtime.block_on(assert_unharmed(&stack));
}

#[test]
fn whatever_body_a_caller_sends_gets_an_answer() {
    let runtime = runtime();
    let stack = runtime.block_on(start());
    let json = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\"model\"",
        "\"chat\"",
        "\"stream\"",
        "true",
        "null",
        "1e9",
        "\"messages\":[]",
        "\"model\":\"chat\"",
        " ",
        "\\u00e9",
        "é",
        "\u{7f}",
    ]);
    let text = vec(json, 0..20).prop_map(|pieces| pieces.concat().into_bytes());
    let bodies = prop_oneof![3 => text, 1 => vec(any::<u8>(), 0..100)];
    check((400, bodies), &runtime, async |body| {
        let mut caller = Socket::connect(&stack).await;
        caller.write(request(&body)).await;
        let answer = caller.answer().await;
        // What is let through is JSON to any other reader too.
        let is_json = serde_json::from_slice::<serde_json::Value>(&body).is_ok();
        let status = answer.status.as_u16();
        assert!(
            status == 400 || is_json,
            "{status}: {}",
            body.escape_ascii()
        );
        assert!([200, 400, 404].contains(&status), "{status}");
    });
    runtime.block_on(assert_unharmed(&stack));
}

/// Pieces that answers are made of, and chance between them.
fn answer_bytes() -> impl Strategy<Value = Vec<u8>> {
    let length = COMPLETION.len();
    let known = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_owned(),
        "HTTP/1.1 429 Too Many\r\n".to_owned(),
        "HTTP/1.1 500 No\r\n\r\n".to_owned(),
        "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
        "content-type: application/json\r\n".to_owned(),
        "retry-after: 0\r\n".to_owned(),
        "connection: close\r\n".to_owned(),
        "transfer-encoding: chunked\r\n".to_owned(),
        format!("content-length: {length}\r\n"),
        "\r\n".to_owned(),
        "5\r\ndata:\r\n".to_owned(),
        "0\r\n\r\n".to_owned(),
        "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n".to_owned(),
        "data: [DONE]\n\n".to_owned(),
        "data: {\"error\":{\"code\":\"x\"}}\n\n".to_owned(),
        "event: error\n".to_owned(),
        COMPLETION.to_owned(),
    ]);
    let known = known.prop_map(String::into_bytes);
    let pieces = vec(prop_oneof![5 => known, 1 => vec(any::<u8>(), 0..20)], 0..10);
    pieces.prop_map(|pieces| pieces.concat())
}

#[test]
fn whatever_a_provider_answers_the_caller_gets_an_answer() {
    let runtime = runtime();
    let (stack, scribe) = runtime.block_on(upstream::scripted());
    let caller = (answer_bytes(), any::<bool>());
    check((300, caller), &runtime, async |(bytes, is_stream)| {
        // Kept open it would only be waited for; that has a test of its own.
        let bytes = String::from_utf8_lossy(&bytes).replace("content-length: ", "content-length:");
        scribe.say(bytes);
        let body = if is_stream {
            chat_stream("chat")
        } else {
            chat("chat")
        };
        let answer = within(stack.post("/v1/chat/completions", &body)).await;
        assert!(answer.status.as_u16() >= 200);
    });
    runtime.block_on(assert_unharmed(&stack));
}
