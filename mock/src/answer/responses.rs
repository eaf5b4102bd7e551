//! `/v1/responses`.
//!
//! Owns this endpoint's JSON and the order of its events. Nothing is stored: an id leads nowhere.

mod item;
mod stream;

use serde::Serialize;
use serde_json::{Value, json};

use super::error::Complaint;
use super::object::Object;
use super::speech::{Choice, Speech, Wish, any_object, content, functions, speak};
use super::usage::{Told, cached};
use super::{Body, Context, Event, Part, Question, models, prose, whole};
use item::items;
use stream::Script;

/// A response, whole or on its way. The order is OpenAI's.
#[derive(Clone, Debug, Serialize)]
struct Response {
    id: String,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    background: bool,
    error: Option<Value>,
    incomplete_details: Option<Value>,
    instructions: Value,
    max_output_tokens: Option<u64>,
    model: String,
    output: Vec<Object>,
    parallel_tool_calls: bool,
    previous_response_id: Value,
    reasoning: Value,
    service_tier: &'static str,
    store: bool,
    temperature: Value,
    text: Value,
    tool_choice: Value,
    tools: Value,
    top_p: Value,
    truncation: &'static str,
    usage: Option<Object>,
    user: Option<()>,
    metadata: Value,
}

pub(super) fn answer(body: &Value, context: Context<'_>) -> Result<Body, Complaint> {
    let wish = wish(body)?;
    let speech = speak(&wish, context, 0);
    let response = completed(body, &wish, &speech, context);
    if wish.stream {
        return Ok(Body::Events(
            Script::new(&wish, context).play(&speech, &response),
        ));
    }
    Ok(whole(&response))
}

/// A run that failed inside of a 200. `failure` is a code and a message.
pub(super) fn failed(question: &Question<'_>, context: Context<'_>, failure: (&str, &str)) -> Body {
    if question.stream() {
        return Body::Events(vec![failed_event(question, context, failure, 0)]);
    }
    whole(&failed_response(question, context, failure))
}

/// The event by which a stream tells that its run failed.
pub(super) fn failed_event(
    question: &Question<'_>,
    context: Context<'_>,
    failure: (&str, &str),
    sequence: usize,
) -> Event {
    let response = failed_response(question, context, failure);
    event(
        "response.failed",
        Object::new().with("response", response),
        sequence,
        Part::Terminal,
    )
}

/// The event by which a stream tells that it broke.
pub(super) fn error_event((code, message): (&str, &str), sequence: usize) -> Event {
    let data = Object::new().with("code", code).with("message", message);
    let data = data.with("param", Value::Null);
    event("error", data, sequence, Part::Terminal)
}

fn failed_response(
    question: &Question<'_>,
    context: Context<'_>,
    (code, message): (&str, &str),
) -> Response {
    let body = question.body.as_ref().unwrap_or(&Value::Null);
    let wish = wish(body).unwrap_or_default();
    let error = Some(json!({"code": code, "message": message}));
    Response {
        status: "failed",
        error,
        ..begun(body, &wish, context)
    }
}

fn wish(body: &Value) -> Result<Wish, Complaint> {
    let input = body
        .get("input")
        .ok_or_else(|| Complaint::missing("input"))?;
    let items = input.as_array().map(Vec::as_slice).unwrap_or_default();
    let said = input
        .as_str()
        .map_or_else(|| last_said(items), str::to_owned);
    let instructions = body
        .get("instructions")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let of_items = items
        .iter()
        .map(|item| prose::tokens(&content(item.get("content"))) + 4);
    let of_text = input.as_str().map_or(0, prose::tokens);
    let result = Some(json!("function_call_output"));
    Ok(Wish {
        said,
        input_tokens: of_items.sum::<u64>() + of_text + prose::tokens(instructions) + 3,
        limit: body.get("max_output_tokens").and_then(Value::as_u64),
        functions: functions(body, |tool| {
            (tool.get("type")? == "function").then_some(tool)
        }),
        choice: Choice::read(body.get("tool_choice"), |choice| {
            choice.get("name")?.as_str()
        }),
        has_result: items
            .last()
            .is_some_and(|item| item.get("type") == result.as_ref()),
        schema: schema(body),
        // This endpoint has no stops.
        stops: Vec::new(),
        ..Wish::common(body)
    })
}

/// What the user said last.
fn last_said(items: &[Value]) -> String {
    let user = items
        .iter()
        .rev()
        .find(|item| item.get("role") == Some(&json!("user")));
    content(user.and_then(|item| item.get("content")))
}

fn schema(body: &Value) -> Option<Value> {
    let format = body.pointer("/text/format")?;
    match format.get("type")?.as_str()? {
        "json_schema" => format.get("schema").cloned(),
        "json_object" => Some(any_object()),
        _ => None,
    }
}

/// A response before anything was said.
fn begun(body: &Value, wish: &Wish, context: Context<'_>) -> Response {
    let or = |name: &str, default: Value| body.get(name).cloned().unwrap_or(default);
    let flag = |name: &str, default| body.get(name).and_then(Value::as_bool).unwrap_or(default);
    Response {
        id: prose::id("resp_", context, 0),
        object: "response",
        created_at: context.now,
        status: "in_progress",
        background: false,
        error: None,
        incomplete_details: None,
        instructions: or("instructions", Value::Null),
        max_output_tokens: wish.limit,
        model: models::dated(&wish.model),
        output: Vec::new(),
        parallel_tool_calls: flag("parallel_tool_calls", true),
        previous_response_id: or("previous_response_id", Value::Null),
        reasoning: or("reasoning", json!({"effort": null, "summary": null})),
        service_tier: "default",
        store: flag("store", true),
        temperature: or("temperature", json!(1.0)),
        text: or("text", json!({"format": {"type": "text"}})),
        tool_choice: or("tool_choice", json!("auto")),
        tools: or("tools", json!([])),
        top_p: or("top_p", json!(1.0)),
        truncation: "disabled",
        usage: None,
        user: None,
        metadata: or("metadata", json!({})),
    }
}

fn completed(body: &Value, wish: &Wish, speech: &Speech, context: Context<'_>) -> Response {
    let details = speech
        .cut_short
        .then(|| json!({"reason": "max_output_tokens"}));
    let status = if speech.cut_short {
        "incomplete"
    } else {
        "completed"
    };
    Response {
        status,
        incomplete_details: details,
        output: items(speech, context)
            .iter()
            .map(|item| item.whole(status))
            .collect(),
        usage: Told::unary(context).then(|| usage(wish.input_tokens, speech)),
        ..begun(body, wish, context)
    }
}

fn usage(input: u64, speech: &Speech) -> Object {
    let cache = Object::new()
        .with("cached_tokens", cached(input))
        .with("cache_write_tokens", 0);
    let output = Object::new().with("reasoning_tokens", speech.thoughts.len());
    Object::new()
        .with("input_tokens", input)
        .with("input_tokens_details", cache)
        .with("output_tokens", speech.tokens())
        .with("output_tokens_details", output)
        .with("total_tokens", input + speech.tokens())
}

/// An event whose data begins with its name and its number.
fn event(name: &'static str, data: Object, sequence: usize, part: Part) -> Event {
    let head = Object::new()
        .with("type", name)
        .with("sequence_number", sequence);
    Event {
        name: Some(name),
        data: super::json(&head.and(data)),
        part,
    }
}
