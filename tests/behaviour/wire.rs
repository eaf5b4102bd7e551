//! What crosses the gateway: everything but the model's name and the credential, byte for byte.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;
use weighbridge_mock::Fault;

use crate::socket::{COMPLETION, Heard, Scribe, Socket, head, request, within};
use crate::stack::{
    Answer, KEY, Stack, chat, chat_stream, key, provider, route, settings, snapshot_of,
    two_accounts,
};

mod tls;

/// An upstream model's name that must be escaped in JSON.
const ODD: &str = r#"we"ird\name"#;

fn backend(model: &str) -> String {
    format!(
        "  targets: [{{name: only, backends: [{{name: one, providerRef: {{name: one}}{model}}}]}}]\n"
    )
}

/// Routes of every kind over one Provider at `endpoint`.
fn routes_to(endpoint: &str) -> String {
    [
        provider("one", 0, &[("large", 1)], ""),
        route("named", "chat", &backend(", model: gpt-5-mini")),
        route("odd", "odd", &backend(&format!(", model: '{ODD}'"))),
        route("star", "openai/*", &backend(", model: \"*\"")),
        route("same", "same-*", &backend("")),
        key("team", KEY),
    ]
    .concat()
    .replace("{0}", endpoint)
}

/// A gateway in front of a scribe.
async fn written_down() -> (Stack, Scribe) {
    let scribe = Scribe::start().await;
    let stack = Stack::start(0, &routes_to(&scribe.endpoint())).await;
    (stack, scribe)
}

async fn post_raw(stack: &Stack, body: impl Into<Bytes>) -> Answer {
    let request = Request::post(stack.url("/v1/chat/completions"))
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {KEY}"))
        .body(Full::new(body.into()))
        .unwrap();
    Answer::read(stack.send(request).await).await
}

/// What the provider hears when the gateway is sent these bytes.
async fn heard_of(bytes: impl AsRef<[u8]>) -> Heard {
    let (stack, scribe) = written_down().await;
    let mut caller = Socket::connect(&stack).await;
    caller.write(bytes).await;
    let answer = caller.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut heard = scribe.heard();
    assert_eq!(heard.len(), 1);
    heard.remove(0)
}

#[tokio::test]
async fn bodies_are_identical_but_for_the_models_name() {
    let (stack, scribe) = written_down().await;
    let bodies = [
        r#"{"model":MODEL,"messages":[]}"#,
        r#"{"messages":[],"model":MODEL}"#,
        "\n\t { \"z\" : 1 ,\r\n \"model\"\t:\n MODEL\r\n, \"a\":[ ] }\n ",
        r#"{"future":{"model":"inner","deep":[{"model":"chat"}]},"model":MODEL,"model_x":"chat"}"#,
        r#"{"x":1,"x":2,"model":MODEL,"x":3}"#,
        r#"{"messages":[{"content":"\"model\":\"chat\" \\ \u00e9 \ud83d\ude00 é 😀 \/"}],"model":MODEL}"#,
        r#"{"n":[1e400,-0,1.0,0.10,123456789012345678901234567890,1E+2],"model":MODEL,"t":true}"#,
        r#"{"mo\u0064el":MODEL,"":null,"\u0000":"\u0000"}"#,
        r#"{"model":MODEL}"#,
    ];
    // How it is asked for, and how it is to be written upstream, both as JSON.
    let names = [
        (r#""chat""#, r#""gpt-5-mini""#),
        (r#""ch\u0061t""#, r#""gpt-5-mini""#),
        (r#""odd""#, r#""we\"ird\\name""#),
        (r#""openai/gpt-5""#, r#""gpt-5""#),
        (r#""openai\/a\"b\\c""#, r#""a\"b\\c""#),
        (r#""openai/é😀""#, r#""é😀""#),
        (r#""same-\u0061\/x""#, r#""same-\u0061\/x""#),
        (r#""same-é""#, r#""same-é""#),
    ];
    for template in bodies {
        for (asked, written) in names {
            let answer = post_raw(&stack, template.replace("MODEL", asked)).await;
            assert_eq!(answer.status, 200, "{template} {asked}: {}", answer.text());
            let heard = scribe.heard().pop().unwrap();
            let expected = template.replace("MODEL", written);
            assert_eq!(String::from_utf8_lossy(&heard.body), expected, "{asked}");
        }
    }
    assert_eq!(scribe.heard().len(), bodies.len() * names.len());
}

#[tokio::test]
async fn ten_megabytes_go_through_unchanged() {
    let (stack, scribe) = written_down().await;
    let image: String = (0..10_u32 << 20)
        .map(|place| char::from(b'A' + u8::try_from(place % 7 * (place % 11) % 26).unwrap()))
        .collect();
    for (asked, written) in [("chat", "gpt-5-mini"), ("same-x", "same-x")] {
        let body = |model: &str| format!(r#"{{"messages":["{image}"],"model":"{model}","z":1}}"#);
        assert_eq!(post_raw(&stack, body(asked)).await.status, 200);
        let heard = scribe.heard().pop().unwrap();
        // Not assert_eq: a failure would print it all.
        assert!(heard.body == body(written).as_bytes(), "{asked}");
    }
    within(stack.until_metric("weighbridge_buffered_bytes 0")).await;
}

#[tokio::test]
async fn the_wildcard_keeps_what_it_stood_for() {
    let stack = Stack::start(1, &routes_to("{0}")).await;
    for (asked, expected) in [
        ("openai/gpt-5", "gpt-5"),
        ("openai/a/b/c", "a/b/c"),
        ("openai/openai/x", "openai/x"),
        // The star stands for nothing: an empty name is for the provider to judge.
        ("openai/", ""),
    ] {
        assert_eq!(stack.chat(asked).await.status, 200, "{asked}");
        let log = stack.providers[0].log();
        assert_eq!(log.last().unwrap().model.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn the_credential_is_replaced_whichever_header_the_key_comes_in() {
    let (stack, scribe) = written_down().await;
    let bearer = format!("Bearer {KEY}");
    let ways = [
        vec![("authorization", bearer.as_str())],
        vec![("x-api-key", KEY)],
        vec![("api-key", KEY)],
        vec![("x-goog-api-key", KEY)],
        vec![
            ("x-goog-api-key", KEY),
            ("api-key", KEY),
            ("x-api-key", KEY),
            ("authorization", bearer.as_str()),
        ],
    ];
    for way in ways {
        let mut request = Request::post(stack.url("/v1/chat/completions"))
            .header("content-type", "application/json")
            .header("openai-organization", "org-of-the-caller")
            .header("openai-project", "proj-of-the-caller")
            .header("proxy-authorization", "Basic Y2FsbGVy");
        for (name, value) in &way {
            request = request.header(*name, *value);
        }
        let body = Full::from(chat("chat").to_string());
        let answer = Answer::read(stack.send(request.body(body).unwrap()).await).await;
        assert_eq!(answer.status, 200, "{way:?}: {}", answer.text());
        let heard = scribe.heard().pop().unwrap();
        assert_eq!(heard.all("authorization"), ["Bearer sk-large"], "{way:?}");
        for name in ["x-api-key", "api-key", "x-goog-api-key", "cookie"] {
            assert!(heard.all(name).is_empty(), "{name}: {way:?}");
        }
        for secret in [KEY, "of-the-caller", "Y2FsbGVy"] {
            assert!(!heard.head.contains(secret), "{secret}: {}", heard.head);
        }
    }
}

#[tokio::test]
async fn an_account_without_credential_sends_none() {
    let scribe = Scribe::start().await;
    let resources = [
        format!(
            "---\napiVersion: weighbridge.dev/v1alpha1\nkind: Provider\nmetadata: {{name: one}}\n\
             spec: {{dialect: OpenAI, endpoint: \"{}\"}}\n",
            scribe.endpoint()
        ),
        route("chat", "chat", &backend("")),
        key("team", KEY),
    ];
    let stack = Stack::start(0, &resources.concat()).await;
    assert_eq!(stack.chat("chat").await.status, 200);
    let heard = scribe.heard().pop().unwrap();
    assert!(!heard.head.contains(KEY));
    assert!(heard.all("authorization").is_empty());
}

#[tokio::test]
async fn unknown_headers_and_the_query_go_on() {
    let body = chat("chat").to_string();
    let bytes = head(&format!(
        "x-future: kept\r\nX-Twice: 1\r\nx-twice: 2\r\nopenai-beta: assistants=v9\r\nx-empty:\r\n\
         x-accent: caf\u{e9}\r\nuser-agent: mine/1\r\nidempotency-key: k-1\r\naccept: text/x-odd\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let bytes = bytes.replace(
        "/v1/chat/completions",
        "/v1/chat/completions?api-version=2026&x=%2F%20&flag&y=a+b",
    );
    let heard = heard_of(bytes).await;
    let line = heard.head.lines().next().unwrap();
    assert_eq!(
        line,
        "POST /v1/chat/completions?api-version=2026&x=%2F%20&flag&y=a+b HTTP/1.1"
    );
    for (name, expected) in [
        ("x-future", &["kept"][..]),
        ("x-twice", &["1", "2"]),
        ("openai-beta", &["assistants=v9"]),
        ("x-accent", &["caf\u{e9}"]),
        ("user-agent", &["mine/1"]),
        ("idempotency-key", &["k-1"]),
        ("accept", &["text/x-odd"]),
        ("content-type", &["application/json"]),
    ] {
        assert_eq!(heard.all(name), expected, "{name}");
    }
    assert!(heard.head.to_lowercase().contains("x-empty:"));
}

#[tokio::test]
async fn what_belongs_to_one_hop_stays_on_it() {
    let body = chat("chat").to_string();
    let bytes = head(&format!(
        "connection: keep-alive, X-Hop-One\r\nconnection: x-hop-two\r\nx-hop-one: 1\r\nx-hop-two: 2\r\n\
         keep-alive: timeout=5\r\nte: trailers\r\ntrailer: x-end\r\nupgrade: h2c\r\n\
         proxy-connection: keep-alive\r\naccept-encoding: gzip, br\r\nx-weighbridge-route: forged\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let heard = heard_of(bytes).await;
    for name in [
        "connection",
        "x-hop-one",
        "x-hop-two",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "proxy-connection",
        "transfer-encoding",
        "x-weighbridge-route",
    ] {
        assert!(heard.all(name).is_empty(), "{name}: {}", heard.head);
    }
    // An answer that is encoded could be neither read nor ended properly.
    assert_eq!(heard.all("accept-encoding"), ["identity"]);
    assert_eq!(heard.all("host").len(), 1);
    assert_ne!(heard.all("host"), ["gateway"]);
}

#[tokio::test]
async fn nobodys_session_and_nobodys_address_reaches_a_provider() {
    let body = chat("chat").to_string();
    let bytes = head(&format!(
        "Cookie: sso=private\r\ncookie: other=private\r\nforwarded: for=private\r\nX-Forwarded-For: private\r\n\
         x-forwarded-host: private\r\nx-forwarded-access-token: private\r\nX-Real-IP: private\r\n\
         cf-connecting-ip: private\r\ntrue-client-ip: private\r\nvia: 1.1 private\r\nx-kept: yes\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let heard = heard_of(bytes).await;
    assert!(!heard.head.contains("private"), "{}", heard.head);
    assert_eq!(heard.all("x-kept"), ["yes"]);
}

#[tokio::test]
async fn a_connection_header_cannot_take_the_framing_or_the_credential_away() {
    let body = chat("chat").to_string();
    let bytes = head(&format!(
        "connection: content-length, host, authorization, content-type\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let heard = heard_of(bytes).await;
    assert_eq!(heard.all("authorization"), ["Bearer sk-large"]);
    let length = heard.body.len().to_string();
    assert_eq!(heard.all("content-length"), [length.as_str()]);
}

#[tokio::test]
async fn the_answers_headers_are_kept_and_ours_added() {
    let stack = Stack::start(1, &two_accounts()).await;
    let fault = "header.x-kept=yes,header.set-cookie=a=b,header.x-weighbridge-route=forged,\
                 header.x-weighbridge-cost=7,header.x-should-retry=true,header.keep-alive=timeout=9,\
                 header.x-request-id=req_7";
    stack.providers[0].script(fault.parse::<Fault>().unwrap());
    for body in [chat("chat"), chat_stream("chat")] {
        let answer = stack.post("/v1/chat/completions", &body).await;
        assert_eq!(answer.status, 200);
        for (name, expected) in [
            ("x-kept", "yes"),
            ("x-request-id", "req_7"),
            ("openai-version", "2020-10-01"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-weighbridge-route", "default/chat"),
            ("x-weighbridge-provider", "default/one"),
            ("x-weighbridge-attempts", "1"),
            ("x-weighbridge-cost", ""),
            ("set-cookie", ""),
            ("x-should-retry", ""),
            ("keep-alive", ""),
        ] {
            assert_eq!(answer.header(name), expected, "{name}");
        }
        assert_eq!(
            answer.headers.get_all("x-weighbridge-route").iter().count(),
            1
        );
        assert!(["large", "small"].contains(&answer.header("x-weighbridge-account")));
        let kind = answer.header("content-type");
        let is_stream = body["stream"] == json!(true);
        assert_eq!(kind.starts_with("text/event-stream"), is_stream);
    }
}

#[tokio::test]
async fn answers_arrive_byte_for_byte_however_they_are_framed() {
    let odd = "{ \"choices\":[ ],\"z\":1.0,\"a\":\"\\u00e9\" }\r\n";
    let long = format!("{{\"choices\":[],\"x\":\"{}\"}}", "y".repeat(300_000));
    let framed = |body: &str| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        let middle = body.len() / 2;
        [
            format!("{head}content-length: {}\r\n\r\n{body}", body.len()),
            format!("{head}connection: close\r\n\r\n{body}"),
            format!(
                "{head}transfer-encoding: chunked\r\n\r\n{:x};ext=1\r\n{}\r\n{:x}\r\n{}\r\n0\r\nx-trailer: 1\r\n\r\n",
                middle,
                &body[..middle],
                body.len() - middle,
                &body[middle..]
            ),
        ]
    };
    for body in [odd, long.as_str(), COMPLETION] {
        for bytes in framed(body) {
            let scribe = Scribe::saying(bytes).await;
            let stack = Stack::start(0, &routes_to(&scribe.endpoint())).await;
            let answer = stack.chat("chat").await;
            assert_eq!(answer.status, 200);
            assert!(answer.is_whole);
            assert!(answer.text() == body, "{} bytes", body.len());
        }
    }
}

#[tokio::test]
async fn chunked_request_bodies_arrive_whole_and_with_a_length() {
    let body = r#"{"messages":["é"],"model":"chat","x":1}"#;
    let mut chunks: Vec<u8> = head("transfer-encoding: chunked\r\n\r\n").into();
    for byte in body.as_bytes() {
        chunks.extend_from_slice(b"1;name=value\r\n");
        chunks.push(*byte);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\nx-trailer: dropped\r\n\r\n");
    let heard = heard_of(chunks).await;
    let expected = body.replace("chat", "gpt-5-mini");
    assert_eq!(heard.body, expected.as_bytes());
    let length = expected.len().to_string();
    assert_eq!(heard.all("content-length"), [length.as_str()]);
    assert!(!heard.head.contains("x-trailer"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (stack, scribe) = written_down().await;
    let models = ["openai/a", "openai/b", "openai/c", "openai/d"];
    let all: Vec<u8> = models
        .iter()
        .flat_map(|model| request(chat(model).to_string()))
        .collect();
    let mut caller = Socket::connect(&stack).await;
    caller.write(all).await;
    for _ in models {
        let answer = caller.answer().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), COMPLETION);
    }
    let heard: Vec<String> = scribe
        .heard()
        .iter()
        .map(|heard| {
            serde_json::from_slice::<serde_json::Value>(&heard.body).unwrap()["model"].to_string()
        })
        .collect();
    assert_eq!(heard, [r#""a""#, r#""b""#, r#""c""#, r#""d""#]);
}

#[tokio::test]
async fn http_1_0_is_served_and_closed() {
    let stack = Stack::start(1, &two_accounts()).await;
    let as_1_0 = |body: String| {
        let bytes = String::from_utf8(request(body)).unwrap();
        bytes.replace("HTTP/1.1", "HTTP/1.0")
    };
    let mut caller = Socket::connect(&stack).await;
    caller.write(as_1_0(chat("chat").to_string())).await;
    let answer = caller.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["object"], "chat.completion");
    assert_eq!(caller.rest().await, "");
    // A stream of unknown length can only end by closing.
    let mut caller = Socket::connect(&stack).await;
    caller.write(as_1_0(chat_stream("chat").to_string())).await;
    let answer = caller.answer().await;
    assert_eq!(answer.header("transfer-encoding"), "");
    assert_eq!(answer.events().last().map(String::as_str), Some("[DONE]"));
}

#[tokio::test]
async fn a_caller_that_expects_100_is_told_to_continue() {
    let (stack, scribe) = written_down().await;
    let body = chat("chat").to_string();
    let mut caller = Socket::connect(&stack).await;
    let length = body.len();
    caller
        .write(head(&format!(
            "expect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )))
        .await;
    caller.hear("HTTP/1.1 100 Continue\r\n\r\n").await;
    caller.write(body).await;
    assert_eq!(caller.answer().await.status, 200);
    assert!(scribe.heard()[0].all("expect").is_empty());
}

#[tokio::test]
async fn an_absolute_target_is_read_like_a_path() {
    let bytes = request(chat("chat").to_string());
    let bytes = String::from_utf8(bytes).unwrap();
    let heard = heard_of(bytes.replace("POST /v1", "POST http://elsewhere.example/v1")).await;
    assert!(heard.head.starts_with("POST /v1/chat/completions HTTP/1.1"));
    assert!(!heard.head.contains("elsewhere"));
}

/// Length and coding together are how requests are smuggled: one reading only, and one request.
#[tokio::test]
async fn a_request_with_length_and_coding_is_one_request_or_none() {
    let (stack, scribe) = written_down().await;
    let body = chat("chat").to_string();
    let smuggled = String::from_utf8(request(chat("openai/smuggled").to_string())).unwrap();
    let mut caller = Socket::connect(&stack).await;
    caller
        .write(head(&format!(
            "content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len() + smuggled.len(),
            body.len()
        )))
        .await;
    let answer = caller.answer().await;
    let heard = scribe.heard();
    match answer.status.as_u16() {
        200 => assert_eq!(
            heard[0].body.len(),
            body.len() + "gpt-5-mini".len() - "chat".len()
        ),
        400 => assert!(heard.is_empty()),
        other => panic!("{other}"),
    }
    assert!(
        heard
            .iter()
            .all(|one| one.all("transfer-encoding").is_empty())
    );
}

#[tokio::test]
async fn a_stale_pooled_connection_costs_no_request() {
    let long = "x".repeat(1 << 20);
    for hang_up in ["on-reuse", "unannounced"] {
        let stack = Stack::start(1, &two_accounts()).await;
        let fault = format!("hang-up={hang_up}").parse::<Fault>().unwrap();
        stack.providers[0].script(fault);
        for call in 1..=20_u64 {
            let mut body = if call % 2 == 0 {
                chat("chat")
            } else {
                chat_stream("chat")
            };
            if call % 5 == 0 {
                body["filler"] = json!(long);
            }
            let answer = stack.post("/v1/chat/completions", &body).await;
            assert_eq!(answer.status, 200, "{hang_up} {call}: {}", answer.text());
            assert!(answer.is_whole, "{hang_up} {call}");
            assert_eq!(answer.header("x-weighbridge-attempts"), "1");
            assert_eq!(stack.seen(0), call, "{hang_up}");
        }
        if hang_up == "on-reuse" {
            // The race was there: connections did close under a request.
            let hang_ups = stack.providers[0].counters().hang_ups;
            assert!(hang_ups > 0);
            let stale = format!("weighbridge_upstream_stale_connections_total {hang_ups}");
            within(stack.until_metric(&stale)).await;
        }
    }
}

#[tokio::test]
async fn a_connection_that_a_provider_will_close_is_not_used_again() {
    let stack = Stack::start(1, &two_accounts()).await;
    stack.providers[0].script("hang-up=announced".parse::<Fault>().unwrap());
    for _ in 0..5 {
        assert_eq!(stack.chat("chat").await.status, 200);
    }
    let counters = stack.providers[0].counters();
    assert_eq!((counters.requests, counters.connections_accepted), (5, 5));
    within(stack.until_metric("weighbridge_upstream_stale_connections_total 0")).await;
}
