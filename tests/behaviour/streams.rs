//! Point 4, a stream commits at its first content: before it failing over is invisible, after it a stream
//! that breaks ends with one well-formed error event and a reset, and a healthy one is passed on as it is.

use bytes::Bytes;
use futures::future::join_all;
use http::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use weighbridge_mock::{Config, Fault, Mock, Raw};

use crate::stack::{Answer, KEY, Stack, fault, key, provider, route, targets};

/// The operations that stream, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Chat,
    Completions,
    Responses,
}

const ALL: [Dialect; 3] = [Dialect::Chat, Dialect::Completions, Dialect::Responses];

impl Dialect {
    fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
        }
    }

    fn body(self, model: &str) -> Value {
        let (field, said) = match self {
            Self::Chat => ("messages", json!([{"role": "user", "content": "hello"}])),
            Self::Completions => ("prompt", json!("hello")),
            Self::Responses => ("input", json!("hello")),
        };
        json!({"model": model, "stream": true, field: said})
    }

    /// The same with a tool that the model will call.
    fn body_with_tool(self, model: &str) -> Value {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        let mut body = self.body(model);
        body["tools"] = match self {
            Self::Responses => {
                json!([{"type": "function", "name": "weather", "parameters": schema}])
            }
            Self::Chat | Self::Completions => {
                json!([{"type": "function", "function": {"name": "weather", "parameters": schema}}])
            }
        };
        body
    }
}

/// An event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    name: Option<String>,
    data: String,
}

impl Event {
    fn is_error(&self) -> bool {
        match serde_json::from_str::<Value>(&self.data) {
            Ok(data) => data["type"] == "error" || data["error"].is_object(),
            Err(_) => false,
        }
    }
}

/// Reads a stream as the standard says, and fails where it isn't one, or data isn't JSON.
fn events(bytes: &[u8]) -> Vec<Event> {
    let text = std::str::from_utf8(bytes).unwrap();
    let text = text
        .trim_start_matches('\u{feff}')
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "half a line: {text}"
    );
    let mut events = Vec::new();
    for block in text.split("\n\n") {
        let (mut name, mut data) = (None, Vec::new());
        for line in block.lines().filter(|line| !line.starts_with(':')) {
            let (field, value) = line.split_once(':').unwrap();
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => name = Some(value.to_owned()),
                "data" => data.push(value),
                other => panic!("a field {other:?} in {text}"),
            }
        }
        if !data.is_empty() {
            let data = data.join("\n");
            assert!(
                data == "[DONE]" || serde_json::from_str::<Value>(&data).is_ok(),
                "{data}"
            );
            events.push(Event { name, data });
        }
    }
    events
}

/// The bytes with every time of day taken out.
fn timeless(bytes: &[u8]) -> String {
    let mut text = String::from_utf8(bytes.to_vec()).unwrap();
    for label in ["\"created\":", "\"created_at\":"] {
        let parts: Vec<&str> = text.split(label).collect();
        let rest = parts[1..].iter();
        let rest = rest.map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
        let rest: String = rest.flat_map(|part| [label, "0", part]).collect();
        text = [parts[0], &rest].concat();
    }
    text
}

/// Two Providers, one target after the other; a stream of the first may be silent for `patience`.
fn two(patience: &str) -> String {
    let once = "  retry: {maxRetries: 0}\n";
    let spec = format!("{once}  timeouts: {{firstEvent: {patience}, idle: {patience}}}\n");
    [
        provider("one", 0, &[("one", 1)], &spec),
        provider("two", 1, &[("two", 1)], once),
        route("chat", "chat", &targets(&[&[("one", 1)], &[("two", 1)]])),
        key("team", KEY),
    ]
    .concat()
}

/// Short where silence is the fault; else so long that a busy machine is no fault.
fn patience(fault: &str) -> &'static str {
    if fault.starts_with("stall") {
        "500ms"
    } else {
        "60s"
    }
}

/// What a provider that meets `fault` says when it is asked without a gateway, as its first caller.
async fn direct(fault: Fault, path: &str, body: &Value, key: &str) -> Answer {
    let mock = Mock::start(Config::default()).await.unwrap();
    mock.script(fault);
    let request = Request::post(format!("{}{path}", mock.url()))
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(http_body_util::Full::<Bytes>::from(body.to_string()))
        .unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    Answer::read(client.request(request).await.unwrap()).await
}

/// Streams while Provider `one` meets `text`; the healthy `two` must serve as if it had been alone.
async fn fails_over(dialect: Dialect, text: &str) {
    let stack = Stack::start(2, &two(patience(text))).await;
    stack.providers[0].script(fault(text));
    let answer = stack.post(dialect.path(), &dialect.body("chat")).await;
    let alone = dialect.body("gpt-5-mini");
    let expected = direct(Fault::default(), dialect.path(), &alone, "sk-two").await;
    assert_eq!(answer.status, 200, "{dialect:?} {text}: {}", answer.text());
    assert_eq!(
        timeless(&answer.body),
        timeless(&expected.body),
        "{dialect:?} {text}"
    );
    assert!(answer.is_whole, "{dialect:?} {text}");
    assert_eq!(answer.header("x-weighbridge-provider"), "default/two");
    assert_eq!(answer.header("x-weighbridge-attempts"), "2");
    assert_eq!(stack.seen(0), 1);
}

#[tokio::test]
async fn before_the_first_content_failing_over_is_invisible() {
    for text in [
        "status=500",
        "cut=before-head",
        "cut=after-head",
        "cut=before-content",
        "end=0",
        "end=before-content",
        "stall=before-head",
        "stall=before-content",
        "error-event=0",
        "error-event=before-content",
        "error-event=before-content,chop=1,sse=crlf+comments",
        "error-event=0,error=overloaded,style=vllm",
        "error-event=0,error=rate-limit",
        "error-event=before-content,error=invalid-key",
        "error-event=0,style=failed",
        "error-event=before-content,style=failed",
        "status=200,error=server-error",
        "status=200,style=failed",
        "status=200,style=html",
        "status=200,style=empty,content-type=text/event-stream",
        "status=200,style=html,content-type=text/event-stream",
        "garbage=bytes",
        "garbage=chunk-size",
    ] {
        join_all(ALL.map(|dialect| fails_over(dialect, text))).await;
    }
}

#[tokio::test]
async fn a_stream_of_comments_alone_is_no_answer() {
    let stack = Stack::start(2, &two("60s")).await;
    stack.providers[0].script(Fault {
        status: Some(200),
        content_type: Some(Raw("text/event-stream".to_owned())),
        body: Some(": wait\n\n: still\n\ndata: \n\n".to_owned()),
        ..Fault::default()
    });
    let answer = stack
        .post(Dialect::Chat.path(), &Dialect::Chat.body("chat"))
        .await;
    assert_eq!(
        answer.header("x-weighbridge-provider"),
        "default/two",
        "{}",
        answer.text()
    );
}

/// Streams while Provider `one` breaks off by `break_off` after content: what was said before, then one error,
/// then a reset, and nobody else is asked.
async fn breaks(dialect: Dialect, body: Value, voice: &str, break_off: &str, code: &str) {
    let case = format!("{dialect:?} {voice} {break_off}");
    let stack = Stack::start(2, &two(patience(break_off))).await;
    stack.providers[0].script(fault(&format!("{voice},{break_off}")));
    let answer = stack.post(dialect.path(), &body).await;
    let mut alone = body;
    alone["model"] = json!("gpt-5-mini");
    let healthy = direct(fault(voice), dialect.path(), &alone, "sk-one").await;

    assert_eq!(answer.status, 200, "{case}: {}", answer.text());
    assert!(!answer.is_whole, "{case} ends cleanly");
    assert_eq!(answer.header("x-weighbridge-provider"), "default/one");
    assert_eq!(stack.seen(1), 0, "{case} fails over after content");
    let mut told = events(&timeless(&answer.body).into_bytes());
    let error = told.pop().unwrap();
    assert!(error.is_error(), "{case}: {error:?}");
    assert!(
        !told.iter().any(Event::is_error),
        "{case}: more than one error"
    );
    let data: Value = serde_json::from_str(&error.data).unwrap();
    if dialect == Dialect::Responses {
        assert_eq!(error.name.as_deref(), Some("error"), "{case}");
        assert_eq!(
            (&data["type"], &data["code"]),
            (&json!("error"), &json!(code)),
            "{case}"
        );
    } else {
        assert_eq!(error.name, None, "{case}");
        assert_eq!(data["error"]["code"], code, "{case}");
    }
    let expected = events(&timeless(&healthy.body).into_bytes());
    assert!(
        told.len() > 1 || dialect == Dialect::Completions,
        "{case}: {told:?}"
    );
    assert_eq!(told, expected[..told.len()], "{case}");
}

#[tokio::test]
async fn after_the_first_content_of_any_kind_a_broken_stream_ends_in_one_error_and_a_reset() {
    let mut kinds = Vec::new();
    for dialect in ALL {
        kinds.push((dialect, dialect.body("chat"), "voice=text"));
        if dialect != Dialect::Completions {
            kinds.push((dialect, dialect.body("chat"), "voice=refusal"));
            kinds.push((dialect, dialect.body("chat"), "voice=reasoning"));
            kinds.push((dialect, dialect.body_with_tool("chat"), "voice=text"));
        }
    }
    // Inside of the event that follows the first content.
    for (break_off, code) in [
        ("cut=mid-body", "bad_upstream_response"),
        ("end=mid-body", "bad_upstream_response"),
        ("stall=mid-body", "upstream_timeout"),
        ("end=mid-body,chop=1", "bad_upstream_response"),
    ] {
        let all = kinds.iter().cloned();
        let all = all.map(|(dialect, body, voice)| breaks(dialect, body, voice, break_off, code));
        join_all(all).await;
    }
}

#[tokio::test]
async fn a_stream_that_breaks_between_two_events_ends_in_one_error_and_a_reset() {
    for (break_off, code) in [
        ("cut=7", "bad_upstream_response"),
        ("end=7", "bad_upstream_response"),
        ("stall=7", "upstream_timeout"),
        ("end=7,sse=crlf", "bad_upstream_response"),
        ("end=7,sse=cr,chop=1", "bad_upstream_response"),
        ("end=7,batch=7", "bad_upstream_response"),
        ("end=7,framing=close", "bad_upstream_response"),
    ] {
        let all =
            ALL.map(|dialect| breaks(dialect, dialect.body("chat"), "voice=text", break_off, code));
        join_all(all).await;
    }
}

#[tokio::test]
async fn after_a_line_of_a_megabyte_a_broken_stream_still_ends_in_one_error_and_a_reset() {
    for text in [
        "end=7",
        "end=7,chop=1000",
        "end=7,sse=crlf,chop=999",
        "end=7,batch=7",
    ] {
        let all = ALL.map(|dialect| {
            let huge = "huge-line=1000000";
            breaks(
                dialect,
                dialect.body("chat"),
                huge,
                text,
                "bad_upstream_response",
            )
        });
        join_all(all).await;
    }
}

#[tokio::test]
async fn within_a_line_of_a_megabyte_a_broken_stream_is_reset() {
    for break_off in ["cut=mid-body", "end=mid-body", "stall=mid-body"] {
        let stack = Stack::start(2, &two(patience(break_off))).await;
        let huge = format!("huge-line=1000000,{break_off}");
        stack.providers[0].script(fault(&huge));
        let answer = stack
            .post(Dialect::Chat.path(), &Dialect::Chat.body("chat"))
            .await;
        assert!(!answer.is_whole, "{break_off}");
        // An error glued to half an event would make neither readable.
        assert!(!answer.text().contains("\"error\""), "{break_off}");
        assert_eq!(stack.seen(1), 0);
    }
}

#[tokio::test]
async fn a_providers_own_error_after_content_is_the_only_one() {
    for style in ["openai", "vllm", "failed"] {
        for dialect in ALL {
            let stack = Stack::start(2, &two("60s")).await;
            stack.providers[0].script(fault(&format!(
                "error-event=7,error=overloaded,style={style}"
            )));
            let answer = stack.post(dialect.path(), &dialect.body("chat")).await;
            assert!(!answer.is_whole, "{dialect:?} {style}: {}", answer.text());
            assert_eq!(stack.seen(1), 0, "{dialect:?} {style}");
            let told = events(&answer.body);
            let is_failed = |event: &&Event| {
                event.is_error() || event.name.as_deref() == Some("response.failed")
            };
            assert_eq!(
                told.iter().filter(is_failed).count(),
                1,
                "{}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn half_of_a_providers_own_error_is_replaced_by_a_whole_one() {
    let stack = Stack::start(2, &two("60s")).await;
    let half = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\ndata: {\"error\":{\"mess";
    stack.providers[0].script(Fault {
        status: Some(200),
        content_type: Some(Raw("text/event-stream".to_owned())),
        body: Some(half.to_owned()),
        ..Fault::default()
    });
    let answer = stack
        .post(Dialect::Chat.path(), &Dialect::Chat.body("chat"))
        .await;
    assert!(!answer.is_whole);
    let told = events(&answer.body);
    assert_eq!(told.len(), 2, "{}", answer.text());
    assert!(told[1].is_error(), "{}", answer.text());
}

#[tokio::test]
async fn the_callers_own_fault_as_the_first_event_is_the_callers_to_read() {
    for dialect in ALL {
        let stack = Stack::start(2, &two("60s")).await;
        stack.providers[0].script(fault("error-event=0,error=context-length"));
        let answer = stack.post(dialect.path(), &dialect.body("chat")).await;
        let told = events(&answer.body);
        assert_eq!(told.len(), 1, "{}", answer.text());
        assert!(
            told[0].data.contains("context_length_exceeded"),
            "{}",
            answer.text()
        );
        assert_eq!(stack.seen(1), 0);
    }
}

#[tokio::test]
async fn a_long_whole_answer_that_breaks_is_reset_too() {
    let stack = Stack::start(2, &two("60s")).await;
    for break_off in ["cut=mid-body", "end=mid-body"] {
        stack.providers[0].script(fault(&format!("huge-line=400000,{break_off}")));
        let answer = stack.chat("chat").await;
        assert_eq!(answer.status, 200);
        assert!(!answer.is_whole, "{break_off}");
        assert!(answer.body.len() > 64 << 10, "{break_off}");
    }
    assert_eq!(stack.seen(1), 0);
}

/// Streams while Provider `one` meets `text`, which leaves the stream healthy: the caller gets its bytes.
async fn passes(dialect: Dialect, text: &str) {
    let stack = Stack::start(2, &two("60s")).await;
    stack.providers[0].script(fault(text));
    let answer = stack.post(dialect.path(), &dialect.body("chat")).await;
    let alone = dialect.body("gpt-5-mini");
    let expected = direct(fault(text), dialect.path(), &alone, "sk-one").await;
    assert!(expected.is_whole && !expected.body.is_empty());
    assert_eq!(
        timeless(&answer.body),
        timeless(&expected.body),
        "{dialect:?} {text}"
    );
    assert!(answer.is_whole, "{dialect:?} {text}");
    assert_eq!(
        answer.headers.get("content-type"),
        expected.headers.get("content-type")
    );
    assert_eq!(stack.seen(1), 0);
}

#[tokio::test]
async fn a_healthy_stream_passes_byte_for_byte_however_it_is_written() {
    for text in [
        "",
        "chop=1",
        "chop=3,text=Grüße aus Köln 😀 und weiter",
        "batch=4",
        "batch=1000",
        "sse=crlf",
        "sse=cr",
        "sse=bom",
        "sse=comments",
        "sse=no-space",
        "sse=event-names",
        "sse=pings",
        "sse=multi-line",
        "sse=no-done",
        "sse=no-last-blank",
        "sse=no-done+no-last-blank,chop=1",
        "sse=crlf+bom+comments+no-space+multi-line,chop=1",
        "sse=cr+bom+comments+no-space,chop=2",
        "sse=crlf,batch=3",
        "huge-line=1000000",
        "huge-line=1000000,chop=4099,sse=crlf",
        "voice=silent",
        "voice=refusal,chop=1",
        "voice=reasoning",
        "usage=continuous",
        "framing=close",
        "framing=length",
        "hang-up=announced",
        "hang-up=unannounced",
        "words=5000,batch=50",
        "event-delay=5ms,words=20",
    ] {
        join_all(ALL.map(|dialect| passes(dialect, text))).await;
    }
}

#[tokio::test]
async fn a_stream_that_said_it_is_over_is_whole_however_its_connection_ends() {
    for text in ["stall=100000", "cut=100000,batch=100000"] {
        for dialect in ALL {
            let stack = Stack::start(2, &two(patience(text))).await;
            stack.providers[0].script(fault(text));
            let answer = stack.post(dialect.path(), &dialect.body("chat")).await;
            assert!(
                !events(&answer.body).iter().any(Event::is_error),
                "{}",
                answer.text()
            );
            assert!(answer.is_whole, "{dialect:?} {text}");
        }
    }
}

/// Sixteen seconds long: the interval of fifteen seconds is a promise to callers and no setting.
#[tokio::test]
async fn a_silent_provider_is_covered_by_keep_alives_and_failing_over_stays_invisible() {
    let patient = two("16s");
    let dialect = Dialect::Chat;
    let request = |stack: &Stack| {
        Request::post(stack.url(dialect.path()))
            .header("authorization", format!("Bearer {KEY}"))
            .body(dialect.body("chat").to_string().into())
            .unwrap()
    };
    let served = async {
        let stack = Stack::start(2, &patient).await;
        stack.providers[0].script(fault("stall=before-content"));
        let response = stack.send(request(&stack)).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-weighbridge-route"], "default/chat");
        assert_eq!(
            stack.seen(1),
            0,
            "the headers came before anyone else was asked"
        );
        let answer = Answer::read(response).await;
        assert!(answer.is_whole);
        let text = timeless(&answer.body);
        let alone = dialect.body("gpt-5-mini");
        let expected = direct(Fault::default(), dialect.path(), &alone, "sk-two").await;
        assert_eq!(
            text.strip_prefix(": keep-alive\n\n"),
            Some(&*timeless(&expected.body))
        );
    };
    let unserved = async {
        let stack = Stack::start(2, &patient).await;
        stack.providers[0].script(fault("status=500,delay=16s"));
        stack.providers[1].script(fault("status=500"));
        let answer = Answer::read(stack.send(request(&stack)).await).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.is_whole, "{}", answer.text());
        let told = events(&answer.body);
        assert_eq!(told.len(), 1, "{}", answer.text());
        assert!(
            told[0].is_error() && told[0].name.is_none(),
            "{}",
            answer.text()
        );
        assert_eq!((stack.seen(0), stack.seen(1)), (1, 1));
    };
    tokio::join!(served, unserved);
}
