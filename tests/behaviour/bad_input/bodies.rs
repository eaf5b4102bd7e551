//! What a caller sends as its body.

use super::*;

#[tokio::test]
async fn a_body_that_cannot_be_read_is_a_400_that_says_why() {
    let stack = start().await;
    let deep = |open: &str| format!(r#"{{"model":"chat","x":{}"#, open.repeat(100_000));
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(300));
    let cases: Vec<(&[u8], &str)> = vec![
        (b"", "the body is empty"),
        (b" \r\n\t ", "the body is empty"),
        (b"{", "not valid JSON at byte 1"),
        (br#"{"model":"chat""#, "not valid JSON at byte 15"),
        (br#"{"model":"chat",}"#, "not valid JSON at byte 16"),
        (br#"{"model":"chat"} x"#, "not valid JSON at byte 17"),
        (br#"{"model":"chat"}{"model":"chat"}"#, "not valid JSON"),
        (br"{'model':'chat'}", "not valid JSON at byte 1"),
        (br#"{"model":"chat","x":01}"#, "not valid JSON"),
        (br#"{"model":"chat","x":NaN}"#, "not valid JSON"),
        (br#"{"model":"chat","x":"\q"}"#, "not valid JSON"),
        (b"{\"model\":\"chat\",\"x\":\"\n\"}", "not valid JSON"),
        (br#"{"model":"chat","x":tru}"#, "not valid JSON"),
        (b"\xef\xbb\xbf{\"model\":\"chat\"}", "the body is not"),
        (b"[]", "not a JSON object"),
        (b"\"chat\"", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"17", "not a JSON object"),
        (b"{\"model\":\"chat\",\"x\":\"\xff\"}", "not UTF-8"),
        (b"{\"model\":\"ch\xc3\"}", "not UTF-8"),
        (b"{}", "\"model\" is missing"),
        (br#"{"x":{"model":"chat"}}"#, "\"model\" is missing"),
        (
            br#"{"model":"chat","model":"chat"}"#,
            "\"model\" is given more than once",
        ),
        (
            br#"{"model":"chat","x":1,"mod\u0065l":"b"}"#,
            "more than once",
        ),
        (br#"{"model":"chat","Model":"other"}"#, "more than once"),
        (br#"{"model":null}"#, "\"model\" is not a string"),
        (br#"{"model":7}"#, "\"model\" is not a string"),
        (br#"{"model":["chat"]}"#, "\"model\" is not a string"),
        (br#"{"model":{"id":"chat"}}"#, "\"model\" is not a string"),
        (br#"{"model":"\ud800"}"#, "not valid JSON"),
        (long.as_bytes(), "longer than 256 bytes"),
    ];
    // One connection: an error of this kind ends nothing.
    let mut caller = Socket::connect(&stack).await;
    for (body, message) in cases {
        caller.write(request(body)).await;
        assert_error(&caller.answer().await, 400, "invalid_body", message);
    }
    for body in [deep("["), deep(r#"{"x":"#), deep(r#"[{"x":"#)] {
        let mut caller = Socket::connect(&stack).await;
        caller.try_write(request(body)).await;
        assert_error(
            &caller.answer().await,
            400,
            "invalid_body",
            "nested deeper than",
        );
    }
    assert_eq!(stack.seen(0), 0);
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn an_error_never_echoes_what_was_sent() {
    let stack = start().await;
    let bodies = [
        r#"{"model":"chat","x":"top-secret}"#,
        r#"{"model":["top-secret"]}"#,
        r#"{"model":"chat","top-secret":1,"model":"top-secret"}"#,
    ];
    for body in bodies {
        let mut caller = Socket::connect(&stack).await;
        caller.write(request(body)).await;
        let answer = caller.answer().await;
        assert_eq!(answer.status, 400);
        assert!(!answer.text().contains("top-secret"), "{}", answer.text());
    }
}

#[tokio::test]
async fn another_content_type_is_a_415() {
    let stack = start().await;
    let body = chat("chat").to_string();
    let send = async |line: &str| {
        let bytes = String::from_utf8(request(&body)).unwrap();
        let bytes = bytes.replace("content-type: application/json\r\n", line);
        let mut caller = Socket::connect(&stack).await;
        caller.write(bytes).await;
        caller.answer().await
    };
    for kind in [
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "",
        "caf\u{e9}",
    ] {
        let answer = send(&format!("content-type: {kind}\r\n")).await;
        assert_error(&answer, 415, "unsupported_media_type", "application/json");
    }
    for line in ["", "content-type: Application/JSON;charset=UTF-8\r\n"] {
        assert_eq!(send(line).await.status, 200, "{line}");
    }
    assert_unharmed(&stack).await;
}

fn small_bodies() -> Settings {
    Settings {
        max_body_bytes: 1_000,
        ..settings()
    }
}

/// A good body of so many bytes.
fn body_of(bytes: usize) -> String {
    let start = r#"{"model":"chat","messages":[],"x":""#;
    let rest = bytes - start.len() - 2;
    format!("{start}{}\"}}", "y".repeat(rest))
}

fn chunked(body: &str) -> String {
    let pieces: Vec<String> = body
        .as_bytes()
        .chunks(400)
        .map(|piece| {
            format!(
                "{:x}\r\n{}\r\n",
                piece.len(),
                String::from_utf8_lossy(piece)
            )
        })
        .collect();
    head("transfer-encoding: chunked\r\n\r\n") + &pieces.concat() + "0\r\n\r\n"
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413_with_a_length_or_without() {
    let stack = start_with(small_bodies()).await;
    let send = async |bytes: &[u8]| {
        let mut caller = Socket::connect(&stack).await;
        caller.write(bytes).await;
        caller.answer().await
    };
    assert_eq!(send(&request(body_of(1_000))).await.status, 200);
    assert_eq!(send(chunked(&body_of(1_000)).as_bytes()).await.status, 200);
    let message = "larger than the 1000 bytes";
    let answer = send(&request(body_of(1_001))).await;
    assert_error(&answer, 413, "body_too_large", message);
    let answer = send(chunked(&body_of(1_001)).as_bytes()).await;
    assert_error(&answer, 413, "body_too_large", message);
    assert_eq!(stack.seen(0), 2);
    assert_unharmed(&stack).await;
}

/// SDKs write the whole body before they read: a reset instead of the answer would tell them nothing.
#[tokio::test]
async fn a_caller_that_sends_far_too_much_still_reads_the_413() {
    let stack = start_with(small_bodies()).await;
    for _ in 0..5 {
        for bytes in [request(body_of(4 << 20)), chunked(&body_of(4 << 20)).into()] {
            let mut caller = Socket::connect(&stack).await;
            caller.try_write(&bytes).await;
            assert_error(&caller.answer().await, 413, "body_too_large", "1000 bytes");
        }
    }
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn a_length_beyond_any_memory_costs_none() {
    let stack = start().await;
    let mut caller = Socket::connect(&stack).await;
    let length = u64::MAX - 10;
    caller
        .write(head(&format!("content-length: {length}\r\n\r\n{{")))
        .await;
    assert_error(&caller.answer().await, 413, "body_too_large", "larger than");
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn when_too_much_is_held_callers_are_told_to_come_back() {
    let stack = start_with(Settings {
        max_buffered_bytes: 150_000,
        ..settings()
    })
    .await;
    stack.providers[0].script(fault("stall=before-head"));
    let mut first = Socket::connect(&stack).await;
    first.write(request(body_of(100_000))).await;
    within(stack.providers[0].until(|counters| counters.in_flight == 1)).await;
    let mut second = Socket::connect(&stack).await;
    second.try_write(request(body_of(100_000))).await;
    let answer = second.answer().await;
    assert_error(&answer, 503, "gateway_overloaded", "try again soon");
    assert_eq!(answer.header("retry-after"), "1");
    // Small bodies aren't held against anyone.
    assert_eq!(stack.chat("calm").await.status, 200);
    drop(first);
    within(stack.until_metric("weighbridge_buffered_bytes 0")).await;
    stack.providers[0].script(Script::default());
    let mut third = Socket::connect(&stack).await;
    third.write(request(body_of(100_000))).await;
    assert_eq!(third.answer().await.status, 200);
    assert_unharmed(&stack).await;
}
