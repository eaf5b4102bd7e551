//! What a caller does on its connection.

use super::*;

#[tokio::test]
async fn header_bombs_are_a_431() {
    let stack = start().await;
    let many: Vec<String> = (0..5_000)
        .map(|place| format!("x-{place}: y\r\n"))
        .collect();
    let bombs = [
        head(&format!("x-large: {}\r\n\r\n", "y".repeat(200_000))),
        head(&(many.concat() + "\r\n")),
        head(&format!("{}: y\r\n\r\n", "x".repeat(200_000))),
        // Without an end.
        head(&"x-more: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(20_000)),
    ];
    for bomb in bombs {
        let mut caller = Socket::connect(&stack).await;
        caller.try_write(&bomb).await;
        let answer = caller.answer().await;
        assert_eq!(answer.status, 431, "{}", &bomb[..200]);
    }
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn an_endless_target_is_refused() {
    let stack = start().await;
    let mut caller = Socket::connect(&stack).await;
    let target = "x".repeat(300_000);
    caller
        .try_write(format!("POST /{target} HTTP/1.1\r\n\r\n"))
        .await;
    let status = caller.answer().await.status.as_u16();
    assert!([414, 431].contains(&status), "{status}");
    assert_unharmed(&stack).await;
}

fn short_timeouts() -> Settings {
    Settings {
        head_timeout_seconds: 1,
        body_timeout_seconds: 1,
        idle_timeout_seconds: 1,
        ..settings()
    }
}

/// Serves others until `slow` has ended; returns what it ended with and how many were served.
async fn meanwhile<T>(stack: &Stack, slow: impl Future<Output = T>) -> (T, u32) {
    let mut slow = std::pin::pin!(slow);
    let mut served = 0;
    loop {
        tokio::select! {
            biased;
            ended = &mut slow => return (ended, served),
            answer = stack.chat("calm") => {
                assert_eq!(answer.status, 200);
                served += 1;
            }
        }
    }
}

#[tokio::test]
async fn a_slow_head_is_closed_while_others_are_served() {
    let stack = start_with(short_timeouts()).await;
    let mut caller = Socket::connect(&stack).await;
    caller
        .write("POST /v1/chat/completions HTTP/1.1\r\nhost: ga")
        .await;
    let (heard, served) = meanwhile(&stack, caller.rest()).await;
    assert_eq!(heard, "");
    assert!(served > 0);
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn a_head_that_drips_is_as_slow_as_one_that_stops() {
    let stack = start_with(short_timeouts()).await;
    let mut caller = Socket::connect(&stack).await;
    let drip = async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
        caller.write("GET /v1/models HTTP/1.1\r\nx-long: ").await;
        while !caller.is_closed() {
            ticks.tick().await;
            caller.try_write("y").await;
        }
    };
    within(meanwhile(&stack, drip)).await;
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn a_slow_body_is_a_408_while_others_are_served() {
    let stack = start_with(short_timeouts()).await;
    let mut caller = Socket::connect(&stack).await;
    caller
        .write(head("content-length: 100\r\n\r\n{\"model\":"))
        .await;
    let (answer, served) = meanwhile(&stack, caller.answer()).await;
    assert_error(&answer, 408, "body_timeout", "within 1 s");
    assert!(served > 0);
    // What would have followed is not another request.
    assert_eq!(caller.rest().await, "");
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let stack = start_with(short_timeouts()).await;
    let silent = Socket::connect(&stack).await;
    let mut used = Socket::connect(&stack).await;
    used.write(request(chat("chat").to_string())).await;
    assert_eq!(used.answer().await.status, 200);
    assert_eq!(silent.rest().await, "");
    assert_eq!(used.rest().await, "");
}

#[tokio::test]
async fn garbage_on_the_socket_is_refused() {
    let stack = start().await;
    let chunk = |size: &str| head(&format!("transfer-encoding: chunked\r\n\r\n{size}\r\n"));
    let garbage: Vec<Vec<u8>> = vec![
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"\0\0\0\0\r\n\r\n".to_vec(),
        b"hello\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET  /v1/models HTTP/1.1\r\n\r\n".to_vec(),
        b"GET /v1/models HTTP/1.1\r\nbad header: x\r\n\r\n".to_vec(),
        b"GET /v1/models HTTP/1.1\r\nx\x01y: x\r\n\r\n".to_vec(),
        b"GET /v1/models HTTP/1.1\r\nx: a\0b\r\n\r\n".to_vec(),
        b"\xff\xfe\xfd HTTP/1.1\r\n\r\n".to_vec(),
        head("content-length: -1\r\n\r\n{}").into(),
        head("content-length: ten\r\n\r\n{}").into(),
        head("content-length: 2\r\ncontent-length: 3\r\n\r\n{}").into(),
        head("transfer-encoding: gzip\r\n\r\n{}").into(),
        chunk("zz").into(),
        chunk("-5").into(),
        chunk("fffffffffffffffffffff").into(),
    ];
    for bytes in garbage {
        let shown = bytes.escape_ascii().to_string();
        let mut caller = Socket::connect(&stack).await;
        caller.try_write(&bytes).await;
        let heard = caller.rest().await;
        let is_refused = heard.is_empty() || heard.starts_with("HTTP/1.1 4");
        assert!(is_refused, "{shown}: {heard}");
    }
    assert_eq!(stack.seen(0), 0);
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn half_closed_connections_end() {
    let stack = start().await;
    let whole = request(chat("chat").to_string());
    let cut = [1, 30, whole.len() - 10, whole.len()];
    for length in cut {
        let mut caller = Socket::connect(&stack).await;
        caller.write(&whole[..length]).await;
        caller.finish().await;
        let heard = caller.rest().await;
        let is_answer = heard.is_empty() || heard.starts_with("HTTP/1.1 ");
        assert!(is_answer, "{length}: {heard}");
    }
    within(stack.providers[0].until(|counters| counters.in_flight == 0)).await;
    within(stack.until_metric("weighbridge_connections 0")).await;
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn methods_and_paths_that_are_not_served_say_so() {
    let stack = start().await;
    let mut caller = Socket::connect(&stack).await;
    for (method, path, status) in [
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models/chat", 405),
        ("BREW", "/v1/responses", 405),
        ("GET", "/", 404),
        ("POST", "/v1/chat/completions/", 404),
        ("POST", "/v1//chat/completions", 404),
        ("POST", "/v1/../admin", 404),
        ("OPTIONS", "*", 404),
        ("GET", "/metrics", 404),
        ("GET", "/config", 404),
    ] {
        let text = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\n\r\n");
        caller.write(text).await;
        let answer = caller.answer().await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    assert_unharmed(&stack).await;
}
