//! The shapes errors come in, read into one. Errors are rare and small: a tree is cheap enough here.
//!
//! Nested (`{"error":{"message","type","code"}}`: OpenAI, `vLLM` with an integer code, Anthropic under
//! a `type`), flat (`{"object":"error","message",…}`: `SGLang`, Mistral, older `vLLM`), a text
//! (`{"error":"…","error_type":"…"}`: TGI, Ollama), `{"detail":…}` (Mistral and whatever is built on
//! `FastAPI`), inside a response (`{"response":{"error":…}}`: Responses events), the first of a list
//! (Gemini's compatible API), `{"statusCode","message"}` (Azure's gateway).

use serde_json::{Map, Value};

use super::UpstreamError;

const MAX_MESSAGE: usize = 512;
const MAX_CODE: usize = 64;

/// What the error says; nothing when the bytes aren't an error that is known.
pub(super) fn read(bytes: &[u8]) -> UpstreamError {
    let value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
    let value = match &value {
        Value::Array(items) => items.first().unwrap_or(&Value::Null),
        other => other,
    };
    value.as_object().map(of_object).unwrap_or_default()
}

fn of_object(body: &Map<String, Value>) -> UpstreamError {
    match body.get("error") {
        Some(Value::Object(error)) => flat(error),
        Some(Value::String(message)) => UpstreamError {
            kind: body.get("error_type").and_then(code),
            code: body.get("code").and_then(code),
            message: Some(cut(message, MAX_MESSAGE)),
        },
        _ => match body.get("response") {
            Some(Value::Object(response)) => of_object(response),
            _ => flat(body),
        },
    }
}

fn flat(error: &Map<String, Value>) -> UpstreamError {
    let first = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| error.get(*name).and_then(code))
    };
    UpstreamError {
        code: first(&["code", "statusCode"]).or_else(|| detailed_code(error)),
        // Of an event, `error` is the event's type and not the error's.
        kind: first(&["type", "status"]).filter(|kind| kind != "error"),
        message: ["message", "detail"]
            .iter()
            .find_map(|name| error.get(*name).and_then(message)),
    }
}

/// Anthropic's finer code.
fn detailed_code(error: &Map<String, Value>) -> Option<String> {
    code(error.get("details")?.get("error_code")?)
}

fn code(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(cut(text, MAX_CODE)),
        Value::Number(number) => Some(cut(&number.to_string(), MAX_CODE)),
        _ => None,
    }
}

/// A text, or the first one of a list of problems.
fn message(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(cut(text, MAX_MESSAGE)),
        Value::Array(items) => message(items.first()?),
        Value::Object(members) => ["msg", "message"]
            .iter()
            .find_map(|name| members.get(*name)?.as_str())
            .map(|text| cut(text, MAX_MESSAGE)),
        _ => None,
    }
}

fn cut(text: &str, limit: usize) -> String {
    text.get(..text.floor_char_boundary(limit))
        .unwrap_or_default()
        .to_owned()
}
