//! When a stream has begun to answer, and whether it ended well.
//!
//! Owns what counts as content: the first of it commits the stream, before it another provider may
//! still be asked. Before the commit events are read one by one ([`classify`]); after it bytes are
//! only watched ([`Watch`]). Must never change or delay a byte.

mod chunk;
mod member;
mod run;
mod watch;

use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use weighbridge_snapshot::Operation;

use crate::answer::{UpstreamError, error_of};
use crate::sse::Event;

pub(crate) use watch::Watch;

/// What an event before the commit means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing yet.
    Hold,
    /// The first of the answer: text, reasoning, a refusal, sound, an image, a tool call's name.
    Content,
    /// The stream ends well, without content.
    Terminal,
    /// The provider gives up, or sends what isn't an answer.
    Failed(UpstreamError),
}

/// Tells what an event before the commit means. Fields of an unexpected type mean nothing; data that
/// isn't JSON is a failure.
pub(crate) fn classify(operation: Operation, event: &Event<'_>) -> Step {
    if event.data.trim_ascii().is_empty() {
        return Step::Hold;
    }
    let step = match operation {
        Operation::Responses => run::classify(event),
        // Embeddings have no stream; a server that sends one anyway is read like any other.
        Operation::ChatCompletions | Operation::Completions | Operation::Embeddings => {
            chunk::classify(event)
        }
    };
    step.unwrap_or_else(|| {
        if serde_json::from_slice::<IgnoredAny>(event.data).is_ok() {
            Step::Hold
        } else {
            // Not JSON: an error that says nothing.
            Step::Failed(UpstreamError::default())
        }
    })
}

/// The error that an event carries.
fn failed(event: &Event<'_>) -> Step {
    // 200: the stream's status, which says nothing about the error.
    Step::Failed(error_of(200, event.data))
}

/// Whether a field has something to say: a text that isn't empty, or a list or object with one
/// (Mistral's content may be a list of parts).
fn speaks(field: Option<&RawValue>) -> bool {
    let text = field.map_or("", RawValue::get);
    match text.as_bytes().first() {
        Some(b'"') => text != "\"\"",
        Some(b'[' | b'{') => serde_json::from_str(text).is_ok_and(|value| says_something(&value)),
        _ => false,
    }
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(says_something),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name != "type" && name != "id" && says_something(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A string's text, where no escape is expected in it.
fn plain(field: Option<&RawValue>) -> Option<&str> {
    field?.get().strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests;
