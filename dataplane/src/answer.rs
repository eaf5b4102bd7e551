//! What the gateway must know of a whole answer: whether it is one, what it used, and what an error
//! means.
//!
//! Owns the error shapes of OpenAI and of the servers that imitate it, and which of them are whose
//! fault. Must never fail on anything a server may send: what isn't understood is `None`.

mod fault;
mod glance;
mod shape;

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;
use weighbridge_snapshot::Operation;

use crate::json::{Flaw, Scanner, Value, Visitor};

/// Tokens that an answer says it used. A number that is missing counts as 0 beside one that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Tokens read, cached ones included.
    pub(crate) input_tokens: u64,
    /// Tokens written, reasoning included.
    pub(crate) output_tokens: u64,
}

/// What an error says, in whatever shape it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UpstreamError {
    /// The stable code; a number is written out.
    pub(crate) code: Option<String>,
    /// The error's type.
    pub(crate) kind: Option<String>,
    /// For people, at most 512 bytes. It may quote the request: never log it.
    pub(crate) message: Option<String>,
}

/// What an answer with a successful status is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inspection {
    /// An answer.
    Good {
        /// `None` when it doesn't say.
        usage: Option<Usage>,
    },
    /// An error under a successful status.
    Failed(UpstreamError),
    /// Not JSON, or not an object.
    Garbage,
}

/// Looks at a whole answer, which came with a successful status. Tokens are taken by either of their
/// names, whatever the operation: servers mix them.
pub(crate) fn inspect(operation: Operation, bytes: &[u8]) -> Inspection {
    match glance::glance(bytes) {
        Some(usage) => Inspection::Good { usage: Some(usage) },
        None => inspect_thoroughly(operation, bytes),
    }
}

/// The same, with the structure read to its end: an answer that was cut is [`Inspection::Garbage`].
pub(crate) fn inspect_thoroughly(operation: Operation, bytes: &[u8]) -> Inspection {
    let mut finds = Finds::default();
    let mut scanner = Scanner::new();
    let fed = scanner.feed(bytes, &mut finds);
    if fed.and_then(|()| scanner.finish()).is_err() {
        return Inspection::Garbage;
    }
    let is_failed = match operation {
        // The object of a run has an `error` member in any case, and a status that decides.
        Operation::Responses => {
            finds.status == Some(Status::Failed) || finds.status.is_none() && finds.has_error
        }
        Operation::ChatCompletions | Operation::Completions | Operation::Embeddings => {
            finds.has_error
        }
    };
    if is_failed || finds.is_error {
        return Inspection::Failed(shape::read(bytes));
    }
    Inspection::Good {
        usage: finds.usage(),
    }
}

/// Reads the body of an answer whose status says error. A body that names neither code nor type gets
/// the status as its code.
pub(crate) fn error_of(status: u16, bytes: &[u8]) -> UpstreamError {
    let mut error = shape::read(bytes);
    if error.code.is_none() && error.kind.is_none() && status >= 400 {
        error.code = Some(status.to_string());
    }
    error
}

/// Reads a `usage` object that was cut out of a stream; `None` when it names no tokens.
pub(crate) fn usage_of(object: &[u8]) -> Option<Usage> {
    usage(&serde_json::from_slice(object).ok()?)
}

fn usage(usage: &UsageObject<'_>) -> Option<Usage> {
    let first = |names: [Option<&RawValue>; 2]| {
        let mut found = names.into_iter().flatten();
        found.find_map(|raw| tokens(Some(raw.get().as_bytes())))
    };
    let finds = Finds {
        input: first([usage.prompt, usage.input]),
        output: first([usage.completion, usage.output]),
        ..Finds::default()
    };
    finds.usage()
}

#[derive(Deserialize)]
struct UsageObject<'a> {
    #[serde(borrow, rename = "prompt_tokens")]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, rename = "input_tokens")]
    input: Option<&'a RawValue>,
    #[serde(borrow, rename = "completion_tokens")]
    completion: Option<&'a RawValue>,
    #[serde(borrow, rename = "output_tokens")]
    output: Option<&'a RawValue>,
}

/// The members acted upon.
#[derive(Debug, Default)]
struct Finds {
    field: Option<Field>,
    in_usage: bool,
    input: Option<u64>,
    output: Option<u64>,
    /// `error` is there and isn't null.
    has_error: bool,
    /// `object` is `error`: the flat shape.
    is_error: bool,
    status: Option<Status>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Error,
    Object,
    Status,
    Usage,
    Input,
    Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Failed,
    Other,
}

impl Visitor for Finds {
    type Error = Flaw;

    fn key(&mut self, depth: usize, name: &[u8]) -> Result<bool, Flaw> {
        self.in_usage &= depth > 1;
        self.field = match (depth, name) {
            (1, b"error") => Some(Field::Error),
            (1, b"object") => Some(Field::Object),
            (1, b"status") => Some(Field::Status),
            (1, b"usage") => Some(Field::Usage),
            (2, b"prompt_tokens" | b"input_tokens") if self.in_usage => Some(Field::Input),
            (2, b"completion_tokens" | b"output_tokens") if self.in_usage => Some(Field::Output),
            _ => None,
        };
        Ok(self.field.is_some())
    }

    fn value(&mut self, value: Value<'_>, _at: Range<usize>) -> Result<(), Flaw> {
        match (self.field, value) {
            (Some(Field::Error), value) => self.has_error |= value != Value::Null,
            (Some(Field::Object), Value::String(Some(text))) => self.is_error = text == b"error",
            (Some(Field::Status), Value::String(text)) => {
                let is_failed = text == Some(b"failed");
                self.status = Some(if is_failed {
                    Status::Failed
                } else {
                    Status::Other
                });
            }
            (Some(Field::Usage), Value::Object) => self.in_usage = true,
            (Some(Field::Input), Value::Number(text)) => self.input = tokens(text),
            (Some(Field::Output), Value::Number(text)) => self.output = tokens(text),
            _ => {}
        }
        Ok(())
    }
}

impl Finds {
    fn usage(&self) -> Option<Usage> {
        if self.input.is_none() && self.output.is_none() {
            return None;
        }
        Some(Usage {
            input_tokens: self.input.unwrap_or_default(),
            output_tokens: self.output.unwrap_or_default(),
        })
    }
}

/// A count of tokens; negative, fractional or absurd ones aren't.
fn tokens(text: Option<&[u8]>) -> Option<u64> {
    std::str::from_utf8(text?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
