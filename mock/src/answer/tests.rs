//! Golden answers: the whole text that a caller reads, for every endpoint and way of asking.

use serde_json::{Value, json};

use super::*;
use crate::fault::{Style, UsageFault, Voice};

fn config() -> Config {
    Config {
        name: "north".to_owned(),
        ..Config::default()
    }
}

fn request(method: &str, target: &str, body: &[u8]) -> Request {
    Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: vec![(
            "Authorization".to_owned(),
            "Bearer sk-north-a1b2".to_owned(),
        )],
        body: Bytes::copy_from_slice(body),
        keep_alive: true,
    }
}

fn asked(config: &Config, fault: &Fault, request: &Request) -> Answer {
    let question = Question::of(request);
    let account = question.account();
    let context = Context {
        config,
        fault,
        account: account.as_deref(),
        number: 1,
        account_requests: 1,
        now: 1_800_000_000,
    };
    build(&question, context)
}

fn post(path: &str, body: &Value, fault: &Fault) -> Answer {
    asked(
        &config(),
        fault,
        &request("POST", path, body.to_string().as_bytes()),
    )
}

/// An answer as text: status and headers, then the body or the events.
fn shown(answer: &Answer) -> String {
    let mut text = format!("{}\n", answer.status);
    for (name, value) in &answer.headers {
        text.extend([name, ": ", value, "\n"]);
    }
    text.push('\n');
    match &answer.body {
        Body::Whole(bytes) => text.push_str(&String::from_utf8_lossy(bytes)),
        Body::Events(events) => {
            for Event { name, data, part } in events {
                let name = name.map(|name| format!("{name} ")).unwrap_or_default();
                text.extend([&format!("{part:?} "), &name, data, "\n"]);
            }
        }
    }
    text
}

fn datas(answer: &Answer) -> Vec<Value> {
    let Body::Events(events) = &answer.body else {
        panic!("no stream: {answer:?}")
    };
    events
        .iter()
        .filter_map(|event| serde_json::from_str(&event.data).ok())
        .collect()
}

fn body(answer: &Answer) -> Value {
    let Body::Whole(bytes) = &answer.body else {
        panic!("a stream: {answer:?}")
    };
    serde_json::from_slice(bytes).unwrap()
}

fn chat(extra: &Value) -> Value {
    let mut body =
        json!({"model": "gpt-5-mini", "messages": [{"role": "user", "content": "ping"}]});
    body.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    body
}

fn weather() -> Value {
    let parameters = json!({"type": "object", "additionalProperties": false,
        "properties": {"city": {"type": "string"}}, "required": ["city"]});
    json!({"name": "get_weather", "description": "the weather", "parameters": parameters})
}

#[test]
fn chat_is_answered_whole() {
    insta::assert_snapshot!(shown(&post(
        "/v1/chat/completions",
        &chat(&json!({})),
        &Fault::default()
    )));
}

#[test]
fn chat_is_streamed_with_usage_when_asked_for() {
    let body = chat(
        &json!({"stream": true, "stream_options": {"include_usage": true},
        "max_tokens": 3}),
    );
    insta::assert_snapshot!(shown(&post(
        "/v1/chat/completions",
        &body,
        &Fault::default()
    )));
}

#[test]
fn chat_choices_interleave() {
    let body = chat(&json!({"stream": true, "n": 2, "max_tokens": 2,
        "stream_options": {"include_obfuscation": false}}));
    insta::assert_snapshot!(shown(&post(
        "/v1/chat/completions",
        &body,
        &Fault::default()
    )));
}

#[test]
fn chat_calls_a_tool() {
    let body = chat(&json!({"tools": [{"type": "function", "function": weather()}]}));
    insta::assert_snapshot!(shown(&post(
        "/v1/chat/completions",
        &body,
        &Fault::default()
    )));
}

#[test]
fn chat_streams_a_tool_call_in_fragments() {
    let body = chat(
        &json!({"stream": true, "stream_options": {"include_obfuscation": false},
        "tools": [{"type": "function", "function": weather()}]}),
    );
    insta::assert_snapshot!(shown(&post(
        "/v1/chat/completions",
        &body,
        &Fault::default()
    )));
}

#[test]
fn completions_are_answered_whole() {
    let body = json!({"model": "gpt-5-mini", "prompt": ["one", "two"], "max_tokens": 4});
    insta::assert_snapshot!(shown(&post("/v1/completions", &body, &Fault::default())));
}

#[test]
fn completions_are_streamed() {
    let body = json!({"model": "gpt-5-mini", "prompt": "ping", "max_tokens": 2, "stream": true,
        "stream_options": {"include_usage": true}});
    insta::assert_snapshot!(shown(&post("/v1/completions", &body, &Fault::default())));
}

#[test]
fn responses_are_answered_whole() {
    let body = json!({"model": "gpt-5-mini", "input": "ping", "instructions": "be brief"});
    insta::assert_snapshot!(shown(&post("/v1/responses", &body, &Fault::default())));
}

#[test]
fn responses_are_streamed_in_order() {
    let body = json!({"model": "gpt-5-mini", "input": [{"role": "user", "content":
        [{"type": "input_text", "text": "ping"}]}], "stream": true});
    let fault = Fault {
        text: Some("All is well.".to_owned()),
        ..Fault::default()
    };
    insta::assert_snapshot!(shown(&post("/v1/responses", &body, &fault)));
}

#[test]
fn responses_stream_a_tool_call() {
    let mut tool = weather();
    tool["type"] = json!("function");
    let body = json!({"model": "gpt-5-mini", "input": "ping", "stream": true, "tools": [tool],
        "stream_options": {"include_obfuscation": false}});
    insta::assert_snapshot!(shown(&post("/v1/responses", &body, &Fault::default())));
}

#[test]
fn responses_stream_thoughts_and_stop_at_the_limit() {
    let body = json!({"model": "gpt-5-mini", "input": "ping", "stream": true,
        "max_output_tokens": 1, "stream_options": {"include_obfuscation": false}});
    let fault = Fault {
        voice: Some(Voice::Reasoning),
        ..Fault::default()
    };
    let events: Vec<String> = datas(&post("/v1/responses", &body, &fault))
        .iter()
        .map(|data| data["type"].as_str().unwrap().to_owned())
        .collect();
    let thought = "response.reasoning_summary_text.delta";
    assert!(
        events.iter().filter(|name| *name == thought).count() > 3,
        "{events:?}"
    );
    let said = "response.output_text.delta";
    assert_eq!(events.iter().filter(|name| *name == said).count(), 1);
    assert_eq!(events.last().unwrap(), "response.incomplete");
}

#[test]
fn sequence_numbers_count_from_0() {
    let body = json!({"model": "m", "input": "ping", "stream": true});
    let numbers: Vec<u64> = datas(&post("/v1/responses", &body, &Fault::default()))
        .iter()
        .map(|data| data["sequence_number"].as_u64().unwrap())
        .collect();
    assert!(numbers.len() > 10 && numbers.iter().copied().eq(0..numbers.len() as u64));
}

#[test]
fn embeddings_come_as_floats_and_as_base64() {
    let floats = json!({"model": "text-embedding-3-small", "input": "ping", "dimensions": 3});
    insta::assert_snapshot!(shown(&post("/v1/embeddings", &floats, &Fault::default())));
    let mut base64 = floats.clone();
    base64["encoding_format"] = json!("base64");
    insta::assert_snapshot!(shown(&post("/v1/embeddings", &base64, &Fault::default())));
}

#[test]
fn both_forms_of_an_embedding_are_the_same_vector_of_length_1() {
    use base64::Engine;
    let ask = json!({"model": "m", "input": ["a", [1, 2]]});
    let floats = body(&post("/v1/embeddings", &ask, &Fault::default()));
    let mut ask = ask.clone();
    ask["encoding_format"] = json!("base64");
    let encoded = body(&post("/v1/embeddings", &ask, &Fault::default()));
    for index in 0..2 {
        let text = encoded["data"][index]["embedding"].as_str().unwrap();
        let bytes = base64::prelude::BASE64_STANDARD.decode(text).unwrap();
        let parts: Vec<f32> = bytes
            .chunks(4)
            .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
            .collect();
        let told: Vec<f32> =
            serde_json::from_value(floats["data"][index]["embedding"].clone()).unwrap();
        assert_eq!(parts.len(), 1_536);
        assert!(
            parts
                .iter()
                .zip(&told)
                .all(|(one, other)| (one - other).abs() < 1e-6)
        );
        let length: f32 = parts.iter().map(|part| part * part).sum();
        assert!((length - 1.0).abs() < 1e-3, "{length}");
    }
    assert_ne!(
        encoded["data"][0]["embedding"],
        encoded["data"][1]["embedding"]
    );
}

#[test]
fn models_are_listed_and_shown() {
    let config = Config {
        models: vec!["a".to_owned(), "b".to_owned()],
        ..config()
    };
    let get = |target| {
        shown(&asked(
            &config,
            &Fault::default(),
            &request("GET", target, b""),
        ))
    };
    insta::assert_snapshot!(
        [get("/v1/models"), get("/v1/models/b"), get("/v1/models/c")].join("\n\n")
    );
}

#[test]
fn a_request_that_cannot_be_served_is_refused_as_openai_does() {
    let config = Config {
        keys: vec!["sk-north-a1b2".to_owned()],
        models: vec!["gpt-5".to_owned()],
        ..config()
    };
    let none = Fault::default();
    let mut stranger = request("GET", "/v1/models", b"");
    stranger.headers = vec![(
        "authorization".to_owned(),
        "Bearer sk-other-ffff".to_owned(),
    )];
    let mut nobody = stranger.clone();
    nobody.headers.clear();
    let cases = [
        nobody,
        stranger,
        request("POST", "/v1/chat/completions", b"{\"model\":"),
        request("POST", "/v1/chat/completions", b"{}"),
        request(
            "POST",
            "/v1/chat/completions",
            b"{\"model\":\"gpt-4\",\"messages\":[]}",
        ),
        request("POST", "/v1/chat/completions", b"{\"model\":\"gpt-5\"}"),
        request(
            "POST",
            "/v1/embeddings",
            b"{\"model\":\"gpt-5\",\"input\":\"a\",\"dimensions\":0}",
        ),
        request("GET", "/v1/chat/completions", b""),
        request("POST", "/v2/chat", b"{}"),
    ];
    let shown = cases.iter().map(|request| {
        let answer = asked(&config, &none, request);
        format!(
            "{} {}\n{} {}\n",
            request.method,
            request.target,
            answer.status,
            body(&answer)
        )
    });
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_error_is_written_in_every_style() {
    let kinds = [
        "bad-request",
        "context-length",
        "content-policy",
        "invalid-key",
        "billing",
        "forbidden",
        "model-not-found",
        "rate-limit",
        "token-limit",
        "slow-down",
        "insufficient-quota",
        "credit-balance",
        "server-error",
        "overloaded",
    ];
    let styles = [
        "openai", "vllm", "sglang", "tgi", "ollama", "mistral", "azure", "failed", "html", "plain",
        "empty", "binary",
    ];
    let by_kind = kinds.iter().map(|kind| format!("error={kind}"));
    let by_style = styles
        .iter()
        .map(|style| format!("status=429,style={style}"));
    let shown = by_kind.chain(by_style).map(|fault| {
        let answer = post(
            "/v1/chat/completions",
            &chat(&json!({})),
            &fault.parse().unwrap(),
        );
        let Body::Whole(bytes) = &answer.body else {
            panic!("{answer:?}")
        };
        let (_, content_type) = answer
            .headers
            .iter()
            .find(|(name, _)| name == "content-type")
            .unwrap();
        format!(
            "{fault}\n{} {content_type}\n{:?}\n",
            answer.status,
            String::from_utf8_lossy(bytes)
        )
    });
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_run_can_fail_inside_of_a_200() {
    let fault = Fault {
        style: Some(Style::Failed),
        ..Fault::default()
    };
    let whole = post(
        "/v1/responses",
        &json!({"model": "m", "input": "ping"}),
        &fault,
    );
    assert_eq!(
        (whole.status, &body(&whole)["status"]),
        (200, &json!("failed"))
    );
    let code = &body(&whole)["error"]["code"];
    assert_eq!(code, "server_error");
    let stream = json!({"model": "m", "input": "ping", "stream": true});
    let events = datas(&post("/v1/responses", &stream, &fault));
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["type"], "response.failed");
}

#[test]
fn an_error_event_ends_a_stream() {
    let body = chat(&json!({"stream": true}));
    let vllm: Fault = "error-event=2,style=vllm,error=overloaded".parse().unwrap();
    let events = datas(&post("/v1/chat/completions", &body, &vllm));
    assert_eq!(events.len(), 3);
    assert_eq!(events[2]["error"]["code"], 503);
    let responses = json!({"model": "m", "input": "ping", "stream": true});
    let first: Fault = "error-event=0".parse().unwrap();
    let events = datas(&post("/v1/responses", &responses, &first));
    assert_eq!(
        events,
        [
            json!({"type": "error", "sequence_number": 0, "code": "server_error",
        "message": "something broke inside the provider", "param": null})
        ]
    );
}

#[test]
fn structured_output_satisfies_its_schema() {
    let schema = weather()["parameters"].clone();
    let format = json!({"type": "json_schema", "json_schema": {"name": "w", "schema": schema}});
    let answer = post(
        "/v1/chat/completions",
        &chat(&json!({"response_format": format})),
        &Fault::default(),
    );
    let content = body(&answer)["choices"][0]["message"]["content"].clone();
    assert_eq!(content, "{\"city\":\"a \\\"mock\\\" café\"}");
    let format = json!({"type": "json_schema", "name": "w", "schema": schema});
    let ask = json!({"model": "m", "input": "ping", "text": {"format": format}});
    let answer = body(&post("/v1/responses", &ask, &Fault::default()));
    assert_eq!(answer["output"][0]["content"][0]["text"], content);
}

#[test]
fn a_tools_result_is_answered_with_text() {
    let body_with = |choice: Value| {
        let mut ask = chat(&json!({"tools": [{"type": "function", "function": weather()}]}));
        ask["messages"]
            .as_array_mut()
            .unwrap()
            .push(json!({"role": "tool", "content": "42"}));
        ask["tool_choice"] = choice;
        body(&post("/v1/chat/completions", &ask, &Fault::default()))
    };
    assert_eq!(
        body_with(json!("auto"))["choices"][0]["finish_reason"],
        "stop"
    );
    assert_eq!(
        body_with(json!("required"))["choices"][0]["finish_reason"],
        "tool_calls"
    );
}

#[test]
fn functions_that_the_user_names_are_called() {
    let other = json!({"name": "get_time"});
    let tool = |function: Value| json!({"type": "function", "function": function});
    let mut ask = chat(&json!({"tools": [tool(weather()), tool(other)]}));
    ask["messages"][0]["content"] = json!("call get_time and get_weather");
    let answer = body(&post("/v1/chat/completions", &ask, &Fault::default()));
    let calls = answer["choices"][0]["message"]["tool_calls"]
        .as_array()
        .unwrap()
        .clone();
    let names: Vec<_> = calls
        .iter()
        .map(|call| call["function"]["name"].clone())
        .collect();
    assert_eq!(names, ["get_weather", "get_time"]);
    assert_ne!(calls[0]["id"], calls[1]["id"]);
}

#[test]
fn a_stop_ends_the_text_before_it() {
    let answer = body(&post(
        "/v1/chat/completions",
        &chat(&json!({"stop": " is"})),
        &Fault::default(),
    ));
    assert_eq!(answer["choices"][0]["message"]["content"], "This");
}

#[test]
fn a_streams_content_is_the_whole_answers() {
    for path in ["/v1/chat/completions", "/v1/responses"] {
        let mut ask = chat(&json!({"input": "ping"}));
        let whole = body(&post(path, &ask, &Fault::default()));
        let content = whole.pointer("/choices/0/message/content");
        let content = content
            .or_else(|| whole.pointer("/output/0/content/0/text"))
            .unwrap();
        ask["stream"] = json!(true);
        let events = datas(&post(path, &ask, &Fault::default()));
        let delta = |data: &Value| {
            let delta = data
                .pointer("/choices/0/delta/content")
                .or_else(|| data.get("delta"));
            delta.and_then(Value::as_str).map(str::to_owned)
        };
        assert_eq!(
            *content,
            events.iter().filter_map(delta).collect::<String>(),
            "{path}"
        );
    }
}

#[test]
fn usage_can_be_missing_or_in_every_chunk() {
    let body = chat(&json!({"stream": true, "stream_options": {"include_usage": true}}));
    let with = |usage| Fault {
        usage: Some(usage),
        ..Fault::default()
    };
    let missing = datas(&post(
        "/v1/chat/completions",
        &body,
        &with(UsageFault::Missing),
    ));
    assert!(
        missing
            .iter()
            .all(|data| data["usage"].is_null() && data["choices"][0].is_object())
    );
    let all = datas(&post(
        "/v1/chat/completions",
        &body,
        &with(UsageFault::Continuous),
    ));
    let told: Vec<u64> = all
        .iter()
        .map(|data| data["usage"]["completion_tokens"].as_u64().unwrap())
        .collect();
    assert!(told.is_sorted() && told[0] == 0 && *told.last().unwrap() == told.len() as u64 - 3);
}

#[test]
fn a_huge_line_is_one_event_after_the_first_content() {
    let fault = Fault {
        huge_line: Some(1_000_000),
        ..Fault::default()
    };
    let answer = post(
        "/v1/chat/completions",
        &chat(&json!({"stream": true})),
        &fault,
    );
    let Body::Events(events) = &answer.body else {
        panic!("{answer:?}")
    };
    let huge: Vec<bool> = events
        .iter()
        .map(|event| event.data.len() > 1_000_000)
        .collect();
    assert_eq!(huge.iter().filter(|huge| **huge).count(), 1);
    assert!(huge[2]);
}

#[test]
fn a_refusal_is_no_content() {
    let fault = Fault {
        voice: Some(Voice::Refusal),
        ..Fault::default()
    };
    let answer = body(&post("/v1/chat/completions", &chat(&json!({})), &fault));
    let message = &answer["choices"][0]["message"];
    assert!(message["content"].is_null() && message["refusal"].is_string());
}
