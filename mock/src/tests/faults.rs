//! Every fault, as it arrives at a caller.

use std::time::{Duration, Instant, SystemTime};

use super::client::{
    Answer, Client, End, chat, chat_with, mock, post, raw, soon, stream, stream_with,
};
use crate::{Config, Mock, Pace, Rule};

/// The `data:` lines of a plain stream.
fn datas(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .collect()
}

#[tokio::test]
async fn a_healthy_stream_ends_with_done_and_a_clean_end() {
    let (answer, end) = stream_with(&mock().await, "words=3").await;
    let (text, ended) = answer.text();
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(datas(&text).len(), 1 + 3 + 1 + 1, "{text}");
    assert!(text.ends_with("data: [DONE]\n\n"));
    assert!(ended && end == End::Closed);
}

#[tokio::test]
async fn a_status_comes_with_every_way_to_say_when() {
    let mock = mock().await;
    let (answer, _) = chat_with(&mock, "status=429").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, None));
    assert_eq!(answer.json()["error"]["code"], "rate_limit_exceeded");
    let (answer, _) = chat_with(&mock, "status=503,retry-after=2,retry-after-ms=1500").await;
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert_eq!(answer.header("retry-after-ms"), Some("1500"));
    let (answer, _) = chat_with(&mock, "status=429,retry-after-date=90s").await;
    let date = httpdate::parse_http_date(answer.header("retry-after").unwrap()).unwrap();
    let ahead = date.duration_since(SystemTime::now()).unwrap();
    assert!(
        ahead > Duration::from_mins(1) && ahead <= Duration::from_secs(90),
        "{ahead:?}"
    );
    let (answer, _) = chat_with(&mock, "status=429,reset-requests=1m30s,reset-tokens=120ms").await;
    assert_eq!(answer.header("x-ratelimit-reset-requests"), Some("1m30s"));
    assert_eq!(answer.header("x-ratelimit-remaining-tokens"), Some("0"));
    let (answer, _) = chat_with(&mock, "error=insufficient-quota").await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (429, &"insufficient_quota".into())
    );
}

#[tokio::test]
async fn a_success_can_carry_an_error_or_html_or_garbage() {
    let mock = mock().await;
    let (answer, _) = chat_with(&mock, "status=200,error=server-error").await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["type"]),
        (200, &"server_error".into())
    );
    let (answer, _) = stream_with(&mock, "status=200,style=html").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/html"))
    );
    assert!(answer.body.starts_with(b"<html>"));
    let (answer, _) = chat_with(&mock, "status=200,style=binary").await;
    assert!(std::str::from_utf8(&answer.body).is_err());
    let (answer, _) = chat_with(&mock, "body={\"half\":").await;
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (200, b"{\"half\":".as_slice())
    );
}

#[tokio::test]
async fn a_connection_is_cut_where_the_fault_says() {
    let mock = mock().await;
    let with = |fault: &str| format!("x-mock-fault: {fault}\r\n");
    assert_eq!(
        raw(&mock, &chat(&with("cut=before-head"))).await,
        (vec![], End::Reset)
    );
    assert_eq!(
        raw(&mock, &chat(&with("end=before-head"))).await,
        (vec![], End::Closed)
    );
    let (answer, end) = chat_with(&mock, "cut=after-head").await;
    assert_eq!((answer.body.len(), end), (0, End::Reset));
    let (answer, end) = chat_with(&mock, "cut=mid-body").await;
    let length: usize = answer.header("content-length").unwrap().parse().unwrap();
    assert_eq!((answer.body.len(), end), (length / 2, End::Reset));
    let (answer, end) = chat_with(&mock, "end=mid-body").await;
    assert_eq!((answer.body.len(), end), (length / 2, End::Closed));
    let (answer, end) = stream_with(&mock, "cut=3").await;
    let (text, ended) = answer.text();
    assert_eq!((datas(&text).len(), ended, end), (3, false, End::Reset));
    let (answer, end) = stream_with(&mock, "cut=before-content").await;
    let (text, ended) = answer.text();
    assert_eq!((datas(&text).len(), ended, end), (1, false, End::Reset));
    assert!(text.contains("\"role\":\"assistant\""));
    let (answer, end) = stream_with(&mock, "cut=mid-body").await;
    let (text, ended) = answer.text();
    assert!(
        !text.ends_with('\n') && !ended && end == End::Reset,
        "{text}"
    );
}

#[tokio::test]
async fn a_stream_can_end_cleanly_without_its_marker() {
    let mock = mock().await;
    let (answer, end) = stream_with(&mock, "end=3").await;
    let (text, ended) = answer.text();
    assert_eq!((datas(&text).len(), ended, end), (3, true, End::Closed));
    assert!(!text.contains("[DONE]") && !text.contains("\"finish_reason\":\"stop\""));
    let (answer, _) = stream_with(&mock, "sse=no-done").await;
    let (text, ended) = answer.text();
    assert!(text.contains("\"finish_reason\":\"stop\"") && !text.contains("[DONE]") && ended);
}

#[tokio::test]
async fn a_stream_can_report_an_error_at_any_event() {
    let mock = mock().await;
    let (answer, end) = stream_with(&mock, "error-event=0,error=overloaded").await;
    let (text, ended) = answer.text();
    assert_eq!((answer.status, ended, end), (200, true, End::Closed));
    let events = datas(&text);
    assert!(
        events.len() == 1 && events[0].starts_with("{\"error\":{"),
        "{events:?}"
    );
    let (answer, end) = stream_with(&mock, "error-event=3,cut=4").await;
    let (text, ended) = answer.text();
    assert!(datas(&text)[3].contains("server_error") && !ended && end == End::Reset);
    let (answer, _) = stream_with(&mock, "error-event=1,style=vllm").await;
    let (text, _) = answer.text();
    assert!(datas(&text)[1].contains("\"code\":500") && text.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_stall_lasts_until_the_caller_leaves() {
    let mock = mock().await;
    for (fault, events) in [("stall=2", 2), ("stall=before-content", 1)] {
        let mut client = Client::to(&mock).await;
        client
            .send(stream(&format!("x-mock-fault: {fault}\r\n")))
            .await;
        let enough =
            |bytes: &[u8]| String::from_utf8_lossy(bytes).matches("data: ").count() == events;
        client.read_until(enough).await;
        let before = soon(mock.until(|counters| counters.in_flight == 1)).await;
        drop(client);
        let after = soon(mock.until(|counters| counters.in_flight == 0)).await;
        assert_eq!(after.cancelled, before.cancelled + 1);
    }
    let mut client = Client::to(&mock).await;
    client
        .send(chat("x-mock-fault: stall=before-head\r\n"))
        .await;
    soon(mock.until(|counters| counters.in_flight == 1)).await;
    drop(client);
    soon(mock.until(|counters| counters.cancelled == 3)).await;
}

#[tokio::test]
async fn delays_are_kept() {
    let mock = mock().await;
    let cases = [
        ("delay=80ms", 80),
        ("first-event-delay=80ms", 80),
        ("event-delay=20ms,words=4", 6 * 20),
        ("drip=100/10ms,words=1", 100),
    ];
    for (fault, least) in cases {
        let begun = Instant::now();
        let (answer, _) = stream_with(&mock, fault).await;
        assert!(answer.text().1, "{fault}");
        assert!(
            begun.elapsed() >= Duration::from_millis(least),
            "{fault}: {:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test]
async fn the_pace_holds_where_no_fault_changes_it() {
    let pace = Pace {
        first: Duration::from_millis(60),
        between: Duration::from_millis(20),
    };
    let mock = Mock::start(Config {
        pace,
        ..Config::default()
    })
    .await
    .unwrap();
    let begun = Instant::now();
    stream_with(&mock, "words=2").await;
    assert!(begun.elapsed() >= Duration::from_millis(60 + 4 * 20));
    let begun = Instant::now();
    chat_with(&mock, "words=2").await;
    assert!(begun.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn chopped_bytes_fall_apart_inside_of_characters_and_line_ends() {
    let mock = mock().await;
    let (answer, _) = stream_with(&mock, "chop=1,sse=crlf+bom,text=é").await;
    let (chunks, ended) = answer.chunks();
    assert!(ended && chunks.iter().all(|chunk| chunk.len() == 1));
    let text = String::from_utf8(chunks.concat()).unwrap();
    assert!(text.starts_with("\u{feff}data: {"));
    assert!(text.contains("\"content\":\"é\"") && text.ends_with("data: [DONE]\r\n\r\n"));
}

#[tokio::test]
async fn several_events_come_in_one_write() {
    let (answer, _) = stream_with(&mock().await, "batch=1000").await;
    let (chunks, ended) = answer.chunks();
    assert_eq!((chunks.len(), ended), (1, true));
}

#[tokio::test]
async fn quirks_of_the_stream_arrive() {
    let mock = mock().await;
    let (answer, _) = stream_with(&mock, "words=1,sse=comments+pings+no-space").await;
    let (text, _) = answer.text();
    assert!(
        text.starts_with(": keep-alive\n\nevent:ping\ndata:{\"type\": \"ping\"}\n\ndata:{\"id\"")
    );
    let (answer, _) = stream_with(&mock, "huge-line=1000000").await;
    let (text, _) = answer.text();
    assert_eq!(
        text.lines().filter(|line| line.len() > 1_000_000).count(),
        1
    );
}

#[tokio::test]
async fn garbage_comes_instead_of_an_answer() {
    let mock = mock().await;
    let with = |fault: &str| chat(&format!("x-mock-fault: garbage={fault}\r\n"));
    let (bytes, end) = raw(&mock, &with("bytes")).await;
    assert!(!bytes.starts_with(b"HTTP") && !bytes.is_empty() && end == End::Closed);
    let (bytes, _) = raw(&mock, &with("head")).await;
    assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let mut headers = [httparse::EMPTY_HEADER; 16];
    assert!(httparse::Response::new(&mut headers).parse(&bytes).is_err());
    let (bytes, _) = raw(&mock, &with("chunk-size")).await;
    let answer = Answer::parse(&bytes).unwrap();
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert!(answer.body.starts_with(b"xyz\r\n"));
}

#[tokio::test]
async fn a_connection_is_hung_up_announced_or_not() {
    let mock = mock().await;
    let with = |fault: &str| chat(&format!("x-mock-fault: hang-up={fault}\r\n"));
    let (bytes, end) = raw(&mock, &with("announced")).await;
    let answer = Answer::parse(&bytes).unwrap();
    assert_eq!(
        (answer.header("connection"), end),
        (Some("close"), End::Closed)
    );
    let (bytes, end) = raw(&mock, &with("unannounced")).await;
    let answer = Answer::parse(&bytes).unwrap();
    assert_eq!(
        (answer.status, answer.header("connection"), end),
        (200, None, End::Closed)
    );
}

#[tokio::test]
async fn a_stale_connection_dies_on_its_next_request() {
    let mock = mock().await;
    let mut client = Client::to(&mock).await;
    client
        .send(chat("x-mock-fault: hang-up=on-reuse\r\n"))
        .await;
    assert_eq!(client.read_answer().await.status, 200);
    client.send(chat("")).await;
    assert_eq!(client.read_to_end().await.0, b"");
    let counters = soon(mock.until(|counters| counters.connections_open == 0)).await;
    assert_eq!((counters.requests, counters.hang_ups), (1, 1));
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_its_connection() {
    let (answer, end) = stream_with(&mock().await, "framing=close").await;
    assert_eq!(answer.header("transfer-encoding"), None);
    assert!(answer.body.ends_with(b"data: [DONE]\n\n") && end == End::Closed);
}

#[tokio::test]
async fn a_script_strikes_whom_and_when_it_says() {
    let mock = mock().await;
    let fault = crate::Fault::status(500);
    mock.script([
        Rule::always(crate::Fault::status(429)).account("ffff"),
        Rule::always(fault.clone())
            .path("/v1/chat/*")
            .model("gpt-*")
            .stream(true)
            .nth(2),
        Rule::always(fault).stream(false).times(1),
    ]);
    let mut seen = Vec::new();
    for request in [stream(""), stream(""), stream(""), chat(""), chat("")] {
        let request = request.replace("Host: mock", "Connection: close");
        let (bytes, _) = raw(&mock, &request).await;
        seen.push(Answer::parse(&bytes).unwrap().status);
    }
    assert_eq!(seen, [200, 500, 200, 500, 200]);
    let other = chat("Connection: close\r\n").replace("a1b2", "ffff");
    assert_eq!(
        Answer::parse(&raw(&mock, &other).await.0).unwrap().status,
        429
    );
}

#[tokio::test]
async fn a_fault_in_a_header_can_be_meant_for_one_account() {
    let mock = mock().await;
    assert_eq!(
        chat_with(&mock, "when.account=a1b2,status=429")
            .await
            .0
            .status,
        429
    );
    assert_eq!(
        chat_with(&mock, "when.account=ffff,status=429")
            .await
            .0
            .status,
        200
    );
}

#[tokio::test]
async fn a_fault_that_makes_no_sense_is_refused() {
    let mock = mock().await;
    let faults = [
        "statos=429",
        "status=99",
        "cut=1,stall=2",
        "delay=5",
        "cut=soon",
        "drip=0/1ms",
        "sse=crlff",
        "chop=0",
        "when.nth=1,status=429",
        "header.bad name=1",
        "style=opena",
        "words=1000001",
        "huge-line=99999999999",
        "status=x",
    ];
    let mut shown = Vec::new();
    for fault in faults {
        let (answer, _) = chat_with(&mock, fault).await;
        assert_eq!(answer.status, 400, "{fault}");
        shown.push(
            answer.json()["error"]["message"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    insta::assert_snapshot!(shown.join("\n"));
}

#[tokio::test]
async fn faults_are_set_shown_and_taken_away_over_http() {
    let mock = mock().await;
    let send = |method: &str, body: &str| {
        post("/_mock/faults", body, "Connection: close\r\n").replacen("POST", method, 1)
    };
    let yaml = "rules:\n- when: {account: a1b2}\n  fault: {status: 429, retry-after: 2}\n";
    let put = Answer::parse(&raw(&mock, &send("PUT", yaml)).await.0).unwrap();
    assert_eq!((put.status, put.body.len()), (204, 0));
    let shown = Answer::parse(&raw(&mock, &send("GET", "")).await.0)
        .unwrap()
        .json();
    assert_eq!(shown["rules"][0]["fault"]["retry-after"], "2");
    let struck = Answer::parse(&raw(&mock, &chat("Connection: close\r\n")).await.0).unwrap();
    assert_eq!(
        (struck.status, struck.header("retry-after")),
        (429, Some("2"))
    );
    let bad = Answer::parse(&raw(&mock, &send("PUT", "rules: 7")).await.0).unwrap();
    assert_eq!(bad.status, 400);
    raw(&mock, &send("DELETE", "")).await;
    let healthy = Answer::parse(&raw(&mock, &chat("Connection: close\r\n")).await.0).unwrap();
    assert_eq!(healthy.status, 200);
    assert_eq!(mock.counters().requests, 2);
}
