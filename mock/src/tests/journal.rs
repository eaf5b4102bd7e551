//! What the log and the counters say.

use super::client::{Answer, Client, chat, mock, post, raw, soon, stream};
use crate::Outcome;

#[tokio::test]
async fn the_log_has_the_request_byte_for_byte_without_its_credential() {
    let mock = mock().await;
    let body = "{\"model\" : \"gpt-5\",\n \"messages\":[], \"x\": 1.0e0, \"é\":\"\\u00e9\"}";
    let mut client = Client::to(&mock).await;
    client
        .send(post(
            "/v1/chat/completions?a=b",
            body,
            "X-Odd-CASE: Yes\r\napi-key: secret99\r\n",
        ))
        .await;
    client.read_answer().await;
    soon(mock.until(|counters| counters.answered == 1)).await;
    let log = mock.log();
    let entry = &log[0];
    assert_eq!(entry.body, body.as_bytes());
    assert_eq!(entry.body_bytes, body.len() as u64);
    assert_eq!(
        (entry.method.as_str(), entry.path.as_str()),
        ("POST", "/v1/chat/completions?a=b")
    );
    assert_eq!(
        (entry.model.as_deref(), entry.account.as_deref()),
        (Some("gpt-5"), Some("a1b2"))
    );
    assert_eq!(
        (entry.status, entry.outcome),
        (Some(200), Outcome::Answered)
    );
    assert_eq!(entry.header("authorization"), Some("…a1b2"));
    assert_eq!(entry.header("api-key"), Some("…et99"));
    assert!(
        entry
            .headers
            .contains(&("X-Odd-CASE".to_owned(), "Yes".to_owned()))
    );
    assert!(!format!("{log:?}").contains("sk-test"));
}

#[tokio::test]
async fn a_long_body_is_kept_up_to_64_kib_and_counted_whole() {
    let mock = mock().await;
    let body = format!(
        "{{\"model\":\"m\",\"messages\":[],\"x\":\"{}\"}}",
        "y".repeat(200_000)
    );
    let mut client = Client::to(&mock).await;
    client.send(post("/v1/chat/completions", &body, "")).await;
    client.read_answer().await;
    let entry = &mock.log()[0];
    assert_eq!(
        (entry.body.len(), entry.body_bytes),
        (65_536, body.len() as u64)
    );
}

#[tokio::test]
async fn a_chunked_request_is_read_as_its_bytes() {
    let mock = mock().await;
    let mut client = Client::to(&mock).await;
    client
        .send(
            "POST /v1/embeddings HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n\
             d;x=y\r\n{\"model\":\"m\",\r\n",
        )
        .await;
    client
        .send("20\r\n\"input\":\"ab\",\"dimensions\":2    }\r\n0\r\nTrailer: 1\r\n\r\n")
        .await;
    assert_eq!(client.read_answer().await.status, 200);
    assert_eq!(
        mock.log()[0].body,
        "{\"model\":\"m\",\"input\":\"ab\",\"dimensions\":2    }".as_bytes()
    );
}

#[tokio::test]
async fn a_caller_that_expects_a_continue_gets_it() {
    let mock = mock().await;
    let mut client = Client::to(&mock).await;
    let request = chat("Expect: 100-continue\r\n");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    client.send(format!("{head}\r\n\r\n")).await;
    let told = client
        .read_until(|bytes| bytes.ends_with(b"\r\n\r\n"))
        .await;
    assert_eq!(told, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send(body).await;
    assert_eq!(client.read_answer().await.status, 200);
}

#[tokio::test]
async fn a_kept_connection_serves_many_requests_pipelined_ones_too() {
    let mock = mock().await;
    let mut client = Client::to(&mock).await;
    for _ in 0..3 {
        client.send(chat("")).await;
        assert_eq!(client.read_answer().await.status, 200);
    }
    client
        .send([chat(""), chat("Connection: close\r\n")].concat())
        .await;
    let (bytes, _) = client.read_to_end().await;
    assert_eq!(
        String::from_utf8(bytes)
            .unwrap()
            .matches("HTTP/1.1 200 OK")
            .count(),
        2
    );
    let counters = mock.counters();
    assert_eq!((counters.connections_accepted, counters.requests), (1, 5));
    assert!(mock.log().iter().all(|entry| entry.connection == 1));
    assert!(mock.log().iter().map(|entry| entry.number).eq(1..=5));
}

#[tokio::test]
async fn the_most_requests_at_once_are_counted() {
    let mock = mock().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Client::to(&mock).await;
        client.send(stream("x-mock-fault: stall=1\r\n")).await;
        clients.push(client);
    }
    let counters = soon(mock.until(|counters| counters.in_flight == 5)).await;
    assert_eq!((counters.max_in_flight, counters.connections_open), (5, 5));
    drop(clients);
    let counters = soon(mock.until(|counters| counters.connections_open == 0)).await;
    assert_eq!(
        (
            counters.max_in_flight,
            counters.in_flight,
            counters.cancelled
        ),
        (5, 0, 5)
    );
    assert_eq!(counters.by_status[&200], 5);
}

#[tokio::test]
async fn events_are_counted_as_they_are_written() {
    let mock = mock().await;
    let mut client = Client::to(&mock).await;
    client.send(stream("x-mock-fault: stall=3\r\n")).await;
    soon(mock.until(|counters| counters.events == 3)).await;
    assert_eq!(
        (mock.log()[0].events, mock.log()[0].outcome),
        (3, Outcome::Open)
    );
}

#[tokio::test]
async fn counters_tell_accounts_models_and_paths_apart() {
    let mock = mock().await;
    for key in ["a1b2", "a1b2", "ffff"] {
        raw(&mock, &chat("Connection: close\r\n").replace("a1b2", key)).await;
    }
    raw(
        &mock,
        "GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n",
    )
    .await;
    let counters = mock.counters();
    assert_eq!(
        (counters.by_account["a1b2"], counters.by_account["ffff"]),
        (2, 1)
    );
    assert_eq!(
        (counters.by_account["none"], counters.by_model["gpt-5"]),
        (1, 3)
    );
    assert_eq!(counters.by_path["/v1/models"], 1);
}

#[tokio::test]
async fn log_and_counters_are_read_over_http() {
    let mock = mock().await;
    raw(&mock, &chat("Connection: close\r\n")).await;
    let get = |path: &str| format!("GET /_mock/{path} HTTP/1.1\r\nConnection: close\r\n\r\n");
    let log = Answer::parse(&raw(&mock, &get("log")).await.0)
        .unwrap()
        .json();
    assert_eq!(
        (&log[0]["account"], &log[0]["status"]),
        (&"a1b2".into(), &200.into())
    );
    assert!(
        log[0]["body"]
            .as_str()
            .unwrap()
            .starts_with("{\"model\":\"gpt-5\"")
    );
    let counters = Answer::parse(&raw(&mock, &get("counters")).await.0)
        .unwrap()
        .json();
    assert_eq!(
        (&counters["requests"], &counters["answered"]),
        (&1.into(), &1.into())
    );
    raw(
        &mock,
        "DELETE /_mock/log HTTP/1.1\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(mock.log().is_empty());
    assert_eq!(
        Answer::parse(&raw(&mock, &get("nothing")).await.0)
            .unwrap()
            .status,
        404
    );
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let mock = mock().await;
    for bytes in [
        "nonsense\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    ] {
        let answer = Answer::parse(&raw(&mock, bytes).await.0).unwrap();
        assert_eq!(
            (answer.status, answer.header("connection")),
            (400, Some("close")),
            "{bytes}"
        );
    }
    let long = "POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n";
    assert_eq!(
        Answer::parse(&raw(&mock, long).await.0).unwrap().status,
        413
    );
    assert_eq!(mock.counters().requests, 0);
}

#[tokio::test]
async fn a_caller_that_leaves_without_reading_is_noticed_in_the_middle_of_a_write() {
    let mock = mock().await;
    let mut client = Client::to(&mock).await;
    client
        .send(stream("x-mock-fault: huge-line=20000000\r\n"))
        .await;
    soon(mock.until(|counters| counters.events == 2)).await;
    drop(client);
    let counters = soon(mock.until(|counters| counters.connections_open == 0)).await;
    assert_eq!((counters.cancelled, counters.answered), (1, 0));
}
