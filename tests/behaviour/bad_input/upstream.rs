//! What a provider answers.

use super::*;

#[tokio::test]
async fn every_broken_answer_is_a_clear_error() {
    let stack = start().await;
    let bad = (502, "bad_upstream_response");
    let failed = (502, "upstream_error");
    let late = (504, "upstream_timeout");
    let cases = [
        ("garbage=bytes", bad),
        ("garbage=head", bad),
        ("garbage=chunk-size", bad),
        ("cut=before-head", bad),
        ("cut=after-head", bad),
        ("cut=mid-body", bad),
        ("end=before-head", bad),
        ("end=after-head", bad),
        ("end=mid-body", bad),
        ("framing=chunked,cut=mid-body", bad),
        ("framing=close,end=mid-body", bad),
        ("status=200,style=html", bad),
        ("status=200,style=plain", bad),
        ("status=200,style=empty", bad),
        ("status=200,style=binary", bad),
        ("status=204", bad),
        ("status=304", bad),
        ("status=302,header.location=http://127.0.0.1:1/", bad),
        ("status=200,error=server-error", failed),
        ("status=200,error=overloaded", failed),
        ("stall=before-head", late),
        ("stall=after-head", late),
        ("stall=mid-body", late),
        ("drip=1/100ms", late),
    ];
    for (text, (status, code)) in cases {
        stack.providers[0].script(fault(text));
        let answer = within(stack.chat("chat")).await;
        assert_eq!(answer.status.as_u16(), status, "{text}: {}", answer.text());
        assert_eq!(answer.code(), code, "{text}");
        assert_eq!(answer.header("x-weighbridge-attempts"), "1", "{text}");
        stack.providers[0].script(Script::default());
        assert_eq!(stack.chat("chat").await.status, 200, "after {text}");
    }
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn a_stream_that_breaks_before_its_content_is_a_clear_error() {
    let stack = start().await;
    let bad = (502, "bad_upstream_response");
    let failed = (502, "upstream_error");
    let late = (504, "upstream_timeout");
    let cases = [
        ("garbage=bytes", bad),
        ("garbage=head", bad),
        ("garbage=chunk-size", bad),
        ("cut=before-head", bad),
        ("cut=after-head", bad),
        ("cut=before-content", bad),
        ("end=after-head", bad),
        ("end=before-content", bad),
        ("error-event=0", failed),
        ("error-event=1,error=overloaded", failed),
        ("status=200,style=html", bad),
        ("status=200,error=server-error", failed),
        ("content-type=text/event-stream,status=200,style=html", bad),
        ("stall=before-head", late),
        ("stall=before-content", late),
    ];
    for (text, (status, code)) in cases {
        stack.providers[0].script(fault(text));
        let body = chat_stream("chat");
        let answer = within(stack.post("/v1/chat/completions", &body)).await;
        assert_eq!(answer.status.as_u16(), status, "{text}: {}", answer.text());
        assert_eq!(answer.code(), code, "{text}");
    }
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn answers_that_are_only_large_or_odd_arrive() {
    let stack = start().await;
    for text in [
        "huge-line=8000000",
        "header-bytes=60000",
        "framing=close",
        "framing=chunked,chop=1000",
        "content-type=text/plain",
        "voice=silent",
        "usage=missing",
    ] {
        stack.providers[0].script(fault(text));
        let answer = within(stack.chat("chat")).await;
        assert_eq!(answer.status, 200, "{text}: {}", answer.code());
        assert!(answer.is_whole, "{text}");
        assert_eq!(answer.json()["object"], "chat.completion", "{text}");
    }
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn a_huge_head_is_passed_on_or_refused_and_held_by_nobody() {
    let stack = start().await;
    for bytes in [100_000, 1_000_000, 20_000_000] {
        stack.providers[0].script(fault(&format!("header-bytes={bytes}")));
        let answer = within(stack.chat("chat")).await;
        let filler = answer.header("x-filler").len();
        match answer.status.as_u16() {
            200 => assert_eq!(filler, bytes),
            502 => assert_eq!(answer.code(), "bad_upstream_response"),
            other => panic!("{other}"),
        }
    }
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn a_huge_line_of_a_stream_arrives_whole() {
    let stack = start().await;
    for bytes in [70_000, 1_000_000, 5_000_000] {
        for wire in ["", ",chop=999", ",sse=crlf"] {
            stack.providers[0].script(fault(&format!("huge-line={bytes}{wire}")));
            let body = chat_stream("chat");
            let answer = within(stack.post("/v1/chat/completions", &body)).await;
            assert!(answer.is_whole, "{bytes}{wire}");
            let events = answer.events();
            assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
            let longest = events.iter().map(String::len).max().unwrap();
            assert!(longest > bytes, "{bytes}{wire}: {longest}");
        }
    }
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn a_refused_connection_is_a_502_and_over_when_the_provider_is_back() {
    let stack = start().await;
    stack.providers[0].stop().await;
    let answer = within(stack.chat("chat")).await;
    assert_error(&answer, 502, "upstream_unreachable", "no connection");
    let stream = within(stack.post("/v1/chat/completions", &chat_stream("chat"))).await;
    assert_error(&stream, 502, "upstream_unreachable", "no connection");
    stack.providers[0].start_again().await.unwrap();
    assert_eq!(stack.chat("chat").await.status, 200);
    assert_unharmed(&stack).await;
}

/// A gateway whose Provider `one` is a scribe.
pub(super) async fn scripted() -> (Stack, Scribe) {
    watch_for_panics();
    let scribe = Scribe::start().await;
    // Mock 0 stands unused, so that the calm one keeps its place.
    let mocks = vec![mock().await, mock().await];
    let stack = Stack::with(mocks, &resources(&scribe.endpoint())).await;
    (stack, scribe)
}

#[tokio::test]
async fn bytes_that_are_hardly_http_are_a_502() {
    let (stack, scribe) = scripted().await;
    let json = "content-type: application/json\r\n";
    let length = COMPLETION.len();
    let many: Vec<String> = (0..300).map(|place| format!("x-{place}: y\r\n")).collect();
    let many = many.concat();
    let answers = [
        String::new(),
        "\r\n\r\n\r\n".to_owned(),
        "ICY 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 99999 X\r\n\r\n".to_owned(),
        "HTTP/2 200\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK".to_owned(),
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_owned(),
        "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        format!(
            "HTTP/1.1 200 OK\r\n{json}content-length: {}\r\nconnection: close\r\n\r\n{COMPLETION}",
            length - 5
        ),
        format!("HTTP/1.1 200 OK\r\n{json}content-length: -1\r\n\r\n{COMPLETION}"),
        format!(
            "HTTP/1.1 200 OK\r\n{json}content-length: 5\r\ncontent-length: 6\r\n\r\n{COMPLETION}"
        ),
        format!("HTTP/1.1 200 OK\r\n{json}transfer-encoding: chunked\r\n\r\n{COMPLETION}"),
        format!(
            "HTTP/1.1 200 OK\r\n{json}transfer-encoding: chunked\r\n\r\nfffffffffffffffffff\r\n"
        ),
        format!("HTTP/1.1 200 OK\r\n{json}content-encoding: gzip\r\n\r\n\u{1f}\u{8b}\u{8}nonsense"),
        format!("HTTP/1.1 200 OK\r\n{many}{json}\r\n{COMPLETION}"),
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\0\0\0\0".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"choices\":".to_owned(),
        "HTTP/1.0 200 OK\r\n\r\nhello".to_owned(),
    ];
    for bytes in answers {
        for body in [chat("chat"), chat_stream("chat")] {
            scribe.say(bytes.clone());
            let answer = within(stack.post("/v1/chat/completions", &body)).await;
            assert_eq!(answer.status, 502, "{bytes:?}: {}", answer.text());
            assert_eq!(answer.code(), "bad_upstream_response", "{bytes:?}");
        }
    }
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn a_length_that_promises_too_much_ends_in_time() {
    let (stack, scribe) = scripted().await;
    scribe.say(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999\r\n\r\n{COMPLETION}"
    ));
    let answer = within(stack.chat("chat")).await;
    assert_error(&answer, 504, "upstream_timeout", "timeouts.request");
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn what_follows_an_answer_is_nobodys() {
    let (stack, scribe) = scripted().await;
    let whole = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{COMPLETION}",
        COMPLETION.len()
    );
    // A second answer that nobody asked for must not become the next caller's.
    scribe.say(whole.clone() + &whole.replace("hi", "for another"));
    for _ in 0..5 {
        let answer = within(stack.chat("chat")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), COMPLETION);
    }
    assert_unharmed(&stack).await;
}

/// What a caller of that version hears of a stream.
async fn stream_as(stack: &Stack, version: &str) -> (Answer, Socket) {
    let bytes = String::from_utf8(request(chat_stream("chat").to_string())).unwrap();
    let mut caller = Socket::connect(stack).await;
    caller.write(bytes.replace("HTTP/1.1", version)).await;
    let answer = within(caller.answer()).await;
    (answer, caller)
}

#[tokio::test]
async fn a_broken_stream_never_looks_whole_to_a_caller_of_either_version() {
    let stack = start().await;
    for text in [
        "cut=7",
        "end=7",
        "stall=7",
        "error-event=7,error=overloaded",
    ] {
        stack.providers[0].script(fault(text));
        for version in ["HTTP/1.0", "HTTP/1.1"] {
            let (answer, caller) = stream_as(&stack, version).await;
            assert!(!answer.is_whole, "{version} {text}");
            let last = answer.events().pop().unwrap();
            assert!(last.contains("\"error\""), "{version} {text}: {last}");
            // Where the end of the connection is the stream's, nothing else tells.
            assert_eq!(
                caller.was_reset(),
                version == "HTTP/1.0",
                "{version} {text}"
            );
        }
    }
    stack.providers[0].script(Script::default());
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let (answer, caller) = stream_as(&stack, version).await;
        assert!(answer.is_whole, "{version}");
        assert!(!caller.was_reset(), "{version}");
    }
    assert_unharmed(&stack).await;
}
