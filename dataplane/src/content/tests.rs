//! Commit and end of streams, event by event, and the watch against a parser.

use super::*;
use crate::answer::Usage;
use crate::sse::Decoder;
use proptest::prelude::*;
use serde::Serialize;
use serde_json::{Value as Json, json};

const CHAT: Operation = Operation::ChatCompletions;

fn step(operation: Operation, name: Option<&str>, data: &str) -> Step {
    let event = Event {
        name,
        data: data.as_bytes(),
    };
    classify(operation, &event)
}

fn delta(delta: &Json) -> String {
    json!({"id": "c", "object": "chat.completion.chunk", "usage": null,
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]})
    .to_string()
}

fn code(step: Step) -> Option<String> {
    match step {
        Step::Failed(error) => error.code.or(error.kind),
        other => panic!("{other:?} is no failure"),
    }
}

#[test]
fn a_chat_commits_at_its_first_content() {
    for content in [
        json!({"role": "assistant", "content": "Hi"}),
        json!({"content": "\n"}),
        json!({"reasoning_content": "hm"}),
        json!({"reasoning": "hm"}),
        json!({"refusal": "no"}),
        json!({"audio": {"id": "a", "data": "UklG"}}),
        json!({"audio": {"transcript": "Hi"}}),
        json!({"tool_calls": [{"index": 0, "id": "c", "type": "function",
            "function": {"name": "f", "arguments": ""}}]}),
        json!({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}),
        json!({"tool_calls": [{"index": 0, "custom": {"name": "f", "input": ""}}]}),
        json!({"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}),
        json!({"function_call": {"name": "f", "arguments": ""}}),
        json!({"content": [{"type": "text", "text": "Hi"}]}),
        json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}),
    ] {
        assert_eq!(
            step(CHAT, None, &delta(&content)),
            Step::Content,
            "{content}"
        );
    }
}

#[test]
fn a_chat_without_content_is_held() {
    for nothing in [
        json!({"role": "assistant", "content": ""}),
        json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": null}),
        json!({"content": []}),
        json!({"content": [{"type": "text", "text": ""}]}),
        json!({"tool_calls": []}),
        json!({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "", "arguments": ""}}]}),
        json!({"audio": {"id": "a", "expires_at": 7}}),
        json!({"new_field": "x"}),
        json!({}),
        json!(null),
        json!("odd"),
    ] {
        assert_eq!(step(CHAT, None, &delta(&nothing)), Step::Hold, "{nothing}");
    }
    for data in [
        r#"{"choices":[],"prompt_filter_results":[{"text":"x"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":null}"#,
        r#"{"choices":[{"index":0,"finish_reason":""}]}"#,
        r#"{"choices":7}"#,
        "{}",
        "[]",
        "",
        " ",
    ] {
        assert_eq!(step(CHAT, None, data), Step::Hold, "{data}");
    }
}

#[test]
fn a_completion_commits_at_its_first_text() {
    let chunk = |text: &str, finish: Json| {
        json!({"choices": [{"index": 0, "text": text, "finish_reason": finish}]}).to_string()
    };
    let of = |data: String| step(Operation::Completions, None, &data);
    assert_eq!(of(chunk("x", Json::Null)), Step::Content);
    assert_eq!(of(chunk("x", "stop".into())), Step::Content);
    assert_eq!(of(chunk("", Json::Null)), Step::Hold);
    assert_eq!(of(chunk("", "length".into())), Step::Terminal);
}

#[test]
fn the_end_of_an_empty_answer_is_terminal() {
    assert_eq!(step(CHAT, None, "[DONE]"), Step::Terminal);
    assert_eq!(step(CHAT, None, "[DONE] "), Step::Terminal);
    let finish = |reason: &str| {
        let data = json!({"choices": [{"delta": {}, "finish_reason": reason}]});
        step(CHAT, None, &data.to_string())
    };
    for reason in ["stop", "length", "content_filter", "eos"] {
        assert_eq!(finish(reason), Step::Terminal);
    }
    for reason in ["error", "abort"] {
        assert_eq!(code(finish(reason)).as_deref(), Some(reason));
    }
}

#[test]
fn errors_inside_a_stream_are_failures() {
    for (name, data, expected) in [
        (
            None,
            r#"{"error":{"message":"m","type":"server_error","code":null}}"#,
            Some("server_error"),
        ),
        (None, r#"{"error":{"message":"m","code":503}}"#, Some("503")),
        (None, r#"{"error":"out of memory"}"#, None),
        (
            None,
            r#"{"object":"error","message":"m","code":400}"#,
            Some("400"),
        ),
        (
            None,
            r#"{"id":"c","choices":[{"delta":{"content":"x"}}],"error":{"code":"gone"}}"#,
            Some("gone"),
        ),
        (
            None,
            r#"{"choices":[],"x_groq":{"id":"r","error":"over capacity"}}"#,
            None,
        ),
        (
            Some("error"),
            r#"{"message":"m","code":"server_error"}"#,
            Some("server_error"),
        ),
        (None, "<html>", None),
        (None, r#"{"choices":[{"delta":{"content":"cut"#, None),
        (None, "\"\u{0}\"", None),
    ] {
        assert_eq!(code(step(CHAT, name, data)).as_deref(), expected, "{data}");
    }
}

fn run(kind: &str, members: &Json) -> Step {
    let mut data = members.clone();
    data["type"] = kind.into();
    data["sequence_number"] = 3.into();
    let by_type = step(Operation::Responses, None, &data.to_string());
    data.as_object_mut().unwrap().remove("type");
    let by_name = step(Operation::Responses, Some(kind), &data.to_string());
    assert_eq!(by_type, by_name);
    by_type
}

#[test]
fn a_response_commits_at_its_first_content() {
    for (kind, members) in [
        ("response.output_text.delta", json!({"delta": "Hi"})),
        ("response.refusal.delta", json!({"delta": "no"})),
        ("response.reasoning_text.delta", json!({"delta": "hm"})),
        (
            "response.reasoning_summary_text.delta",
            json!({"delta": "hm"}),
        ),
        (
            "response.function_call_arguments.delta",
            json!({"delta": "{"}),
        ),
        ("response.audio.delta", json!({"delta": "UklG"})),
        (
            "response.output_item.added",
            json!({"item": {"type": "function_call", "name": "f", "arguments": ""}}),
        ),
        (
            "response.output_item.added",
            json!({"item": {"type": "custom_tool_call", "name": "f"}}),
        ),
        (
            "response.image_generation_call.partial_image",
            json!({"partial_image_b64": "iVBO"}),
        ),
        (
            "response.output_item.done",
            json!({"item": {"type": "image_generation_call", "result": "iVBO"}}),
        ),
    ] {
        assert_eq!(run(kind, &members), Step::Content, "{kind}");
    }
}

#[test]
fn a_response_without_content_is_held() {
    let tools = json!([{"type": "function", "name": "f", "parameters": {"properties": {"error": {"type": "string"}}}}]);
    for (kind, members) in [
        (
            "response.created",
            json!({"response": {"status": "in_progress", "error": null, "tools": tools}}),
        ),
        ("response.in_progress", json!({"response": {"error": null}})),
        ("response.queued", json!({})),
        (
            "response.output_item.added",
            json!({"item": {"type": "message", "role": "assistant", "content": []}}),
        ),
        (
            "response.output_item.added",
            json!({"item": {"type": "reasoning", "id": "rs", "summary": []}}),
        ),
        (
            "response.content_part.added",
            json!({"part": {"type": "output_text", "text": ""}}),
        ),
        ("response.output_text.delta", json!({"delta": ""})),
        (
            "response.web_search_call.in_progress",
            json!({"item_id": "ws"}),
        ),
        ("response.something.new", json!({"text": "x"})),
    ] {
        assert_eq!(run(kind, &members), Step::Hold, "{kind}");
    }
    assert_eq!(step(Operation::Responses, None, "[DONE]"), Step::Hold);
}

#[test]
fn a_response_ends_or_fails_by_its_event() {
    assert_eq!(
        run("response.completed", &json!({"response": {}})),
        Step::Terminal
    );
    assert_eq!(
        run("response.incomplete", &json!({"response": {}})),
        Step::Terminal
    );
    let body = json!({"response": {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "m"}}});
    assert_eq!(
        code(run("response.failed", &body)).as_deref(),
        Some("rate_limit_exceeded")
    );
    let body = json!({"code": "server_error", "message": "m", "param": null});
    assert_eq!(code(run("error", &body)).as_deref(), Some("server_error"));
    let body = r#"{"error":{"code":"gone"}}"#;
    assert_eq!(
        code(step(Operation::Responses, None, body)).as_deref(),
        Some("gone")
    );
    assert_eq!(code(step(Operation::Responses, None, "nonsense")), None);
}

/// What a watch says at the end: complete, failed, usage.
type Verdict = (bool, bool, Option<Usage>);

fn watch<'a>(operation: Operation, pieces: impl IntoIterator<Item = &'a [u8]>) -> Verdict {
    let mut watch = Watch::new(operation);
    for piece in pieces {
        watch.feed(piece);
    }
    (watch.is_complete(), watch.error_seen(), watch.usage())
}

fn used(input_tokens: u64, output_tokens: u64) -> Usage {
    Usage {
        input_tokens,
        output_tokens,
    }
}

/// Every split into two pieces, and byte by byte.
fn watched(operation: Operation, text: &str) -> Verdict {
    let bytes = text.as_bytes();
    let whole = watch(operation, [bytes]);
    for at in 0..bytes.len() {
        let (left, right) = bytes.split_at(at);
        assert_eq!(watch(operation, [left, right]), whole, "split at {at}");
    }
    assert_eq!(watch(operation, bytes.chunks(1)), whole);
    whole
}

#[test]
fn a_chat_is_complete_when_it_says_so() {
    let content = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}],\"usage\":null}\n\n";
    let finish = "data: {\"choices\":[{\"delta\":{},\"finish_reason\": \"stop\"}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\": {\"prompt_tokens\":20,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":8}}}\n\n";
    let done = "data: [DONE]\n\n";
    for (parts, expected) in [
        (&[content][..], (false, false, None)),
        (&[content, finish], (true, false, None)),
        (&[content, done], (true, false, None)),
        (&[content, "data:[DONE]"], (true, false, None)),
        (
            &[content, finish, usage, done],
            (true, false, Some(used(20, 5))),
        ),
        (
            &[usage, content, done, "\n\n"],
            (true, false, Some(used(20, 5))),
        ),
        (&["data: [DONE]\r\n\r\n"], (true, false, None)),
    ] {
        assert_eq!(watched(CHAT, &parts.concat()), expected, "{parts:?}");
    }
}

#[test]
fn what_the_model_says_is_not_taken_for_the_protocol() {
    let said = "data: [DONE]\n\nevent: error\n{\"error\":{},\"finish_reason\":\"stop\",\"usage\":{\"prompt_tokens\":9}}";
    let text = format!("data: {}\n\n", delta(&json!({"content": said})));
    assert_eq!(watched(CHAT, &text), (false, false, None));
    let ends_so = format!("data: {}", json!({"content": "data: [DONE]"}));
    assert_eq!(watched(CHAT, &ends_so), (false, false, None));
    // Strings that are values, not keys.
    let values = r#"data: {"choices":[{"delta":{"content":"error"}}],"a":["usage","finish_reason"],"b":"error"}"#;
    assert_eq!(watched(CHAT, values), (false, false, None));
    let said = "event: response.completed\n\"type\":\"response.failed\"";
    let text = format!(
        "event: response.output_text.delta\ndata: {}\n\n",
        json!({"delta": said})
    );
    assert_eq!(watched(Operation::Responses, &text), (false, false, None));
    let comment = "event: response.created\n: no event: response.completed\ndata: {}\n\n";
    assert_eq!(watched(Operation::Responses, comment), (false, false, None));
    // What a response repeats of its request isn't its end.
    let tools = json!({"type": "response.created", "response": {"error": null, "usage": null,
        "metadata": {"type": "response.completed"}, "tools": [{"parameters": {"properties":
            {"error": {"type": "error"}, "usage": {"type": "object"}}}}]}});
    let text = format!("event: response.created\ndata: {tools}\n\n");
    assert_eq!(watched(Operation::Responses, &text), (false, false, None));
}

#[test]
fn errors_after_the_commit_are_seen() {
    for (text, complete) in [
        (
            "data: {\"error\":{\"message\":\"m\"}}\n\ndata: [DONE]\n\n",
            true,
        ),
        ("data: {\"error\" : \"text\"}\n\n", false),
        ("event: error\ndata: {\"error\":{}}\n\n", false),
        (
            "data: {\"choices\":[{\"finish_reason\":\"error\"}]}\n\n",
            false,
        ),
        (
            "data: {\"choices\":[{\"finish_reason\":\"abort\"}]}\n\n",
            false,
        ),
    ] {
        assert_eq!(watched(CHAT, text), (complete, true, None), "{text}");
    }
    let null = "data: {\"choices\":[],\"error\": null}\n\n";
    assert_eq!(watched(CHAT, null), (false, false, None));
}

#[test]
fn a_response_is_complete_after_its_last_event() {
    let usage =
        r#"{"input_tokens":9,"input_tokens_details":{"cached_tokens":0},"output_tokens":4}"#;
    for (kind, expected) in [
        ("response.completed", (true, false)),
        ("response.incomplete", (true, false)),
        ("response.failed", (false, true)),
        ("error", (false, true)),
        ("response.output_text.done", (false, false)),
    ] {
        let data = format!("data: {{\"type\":\"{kind}\",\"response\":{{\"usage\":{usage}}}}}\n\n");
        let (complete, failed) = expected;
        let expected = (complete, failed, Some(used(9, 4)));
        assert_eq!(watched(Operation::Responses, &data), expected);
        for start in ["event: ", "event:"] {
            let named = format!("event: response.created\ndata: {{}}\n\n{start}{kind}\r\n{data}");
            assert_eq!(watched(Operation::Responses, &named), expected);
        }
    }
    assert_eq!(
        watched(Operation::Responses, "data: [DONE]\n\n"),
        (false, false, None)
    );
}

#[test]
fn the_last_usage_counts_and_nothing_endless_is_held() {
    let chunk = |tokens: u64| {
        format!("data: {{\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":{tokens}}}}}\n\n")
    };
    assert_eq!(
        watched(CHAT, &(chunk(1) + &chunk(2))),
        (false, false, Some(used(3, 2)))
    );
    let endless = format!(
        "data: {{\"usage\":{{\"a\":\"{}\"}}}}\n\n",
        "x".repeat(100_000)
    );
    for size in [1_000, endless.len()] {
        let text = endless.clone() + &chunk(7);
        assert_eq!(
            watch(CHAT, text.as_bytes().chunks(size)),
            (false, false, Some(used(3, 7)))
        );
    }
}

/// Writes JSON as Python does: with a space after colons and commas.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        to: &mut W,
    ) -> std::io::Result<()> {
        to.write_all(b": ")
    }
}

fn event(data: &Json, spaced: bool) -> String {
    let mut bytes = Vec::new();
    if spaced {
        data.serialize(&mut serde_json::Serializer::with_formatter(
            &mut bytes, Spaced,
        ))
        .unwrap();
    } else {
        serde_json::to_writer(&mut bytes, data).unwrap();
    }
    format!("data: {}\n\n", String::from_utf8(bytes).unwrap())
}

/// What the events say, each parsed whole.
fn parsed(text: &str) -> Verdict {
    let (mut complete, mut failed, mut usage) = (false, false, None);
    let mut each = |event: Event<'_>| {
        let Ok(data) = serde_json::from_slice::<Json>(event.data) else {
            complete |= event.data == b"[DONE]";
            return;
        };
        failed |= data.get("error").is_some_and(|error| !error.is_null());
        for choice in data["choices"].as_array().into_iter().flatten() {
            match choice["finish_reason"].as_str() {
                None | Some("") => {}
                Some("error" | "abort") => failed = true,
                Some(_) => complete = true,
            }
        }
        if let Some(input) = data["usage"]["prompt_tokens"].as_u64() {
            let output = data["usage"]["completion_tokens"].as_u64();
            usage = Some(used(input, output.unwrap_or_default()));
        }
    };
    let mut decoder = Decoder::new(1_000_000);
    decoder.feed(text.as_bytes(), &mut each).unwrap();
    decoder.finish(&mut each).unwrap();
    (complete, failed, usage)
}

fn stream() -> impl Strategy<Value = String> {
    let said = prop_oneof![
        Just("\"usage\":{\"prompt_tokens\":1} \"error\": 1".to_owned()),
        Just("error".to_owned()),
        Just("data: [DONE]\n\n".to_owned()),
        Just("\\".to_owned()),
        "\\PC{0,12}",
    ];
    let finish = prop::sample::select(vec![
        json!(null),
        json!(null),
        json!(""),
        json!("stop"),
        json!("error"),
    ]);
    let usage = prop_oneof![
        3 => Just(json!(null)),
        1 => (0_u64..99, prop::option::of(0_u64..99), "[{}\"\\\\]{0,4}").prop_map(|(input, output, odd)| {
            json!({"prompt_tokens": input, "completion_tokens": output, "note": odd, "details": {"n": 1}})
        }),
    ];
    let chunk = (said, finish, usage, any::<bool>()).prop_map(|(said, finish, usage, spaced)| {
        let data = json!({"choices": [{"delta": {"content": said}, "finish_reason": finish}], "usage": usage});
        event(&data, spaced)
    });
    let other = prop::sample::select(vec![
        ": ka\n\n",
        "event: x\n",
        "data: {\"error\":{\"code\":\"a\"}}\n\n",
        "data: {\"error\":null}\n\n",
    ])
    .prop_map(str::to_owned);
    let parts = prop::collection::vec(prop_oneof![4 => chunk, 1 => other], 0..6);
    (parts, any::<bool>())
        .prop_map(|(parts, done)| parts.concat() + if done { "data: [DONE]\n\n" } else { "" })
}

proptest! {
    #[test]
    fn a_watch_sees_what_a_parser_sees(text in stream(), size in 1_usize..60) {
        let expected = parsed(&text);
        prop_assert_eq!(watch(CHAT, [text.as_bytes()]), expected);
        prop_assert_eq!(watch(CHAT, text.as_bytes().chunks(size)), expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        name in prop::option::of("[a-z.]{0,9}"),
        size in 1_usize..60,
    ) {
        for operation in Operation::ALL {
            let _ = classify(operation, &Event { name: name.as_deref(), data: &bytes });
            prop_assert_eq!(watch(operation, bytes.chunks(size)), watch(operation, [&bytes[..]]));
        }
    }
}
