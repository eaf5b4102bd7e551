//! What the gateway must know of a request body before it chooses where to send it, found while the
//! body arrives.
//!
//! Owns which members are acted upon and what makes a body unreadable; all else is the provider's to
//! judge. Must never echo what was found, and must never look for text without structure: a `model`
//! inside a message isn't the model.
//!
//! The whole body is scanned: SDKs write `messages` before `model`, and a second `model` that a
//! provider would prefer to the first could reach what a virtual key may not use. For the same reason
//! a second spelling that differs in case counts as a second `model`: some servers' JSON decoders
//! ignore case.

use std::ops::Range;

use crate::json::{Flaw, Scanner, Value, Visitor, unescape};

/// The longest model name, in bytes.
pub(crate) const MAX_MODEL: usize = 256;

/// What was found in a request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The model asked for, unescaped.
    pub(crate) model: String,
    /// Where it lies in the body, its quotes included.
    pub(crate) model_at: Range<usize>,
    /// `stream` is `true`.
    pub(crate) stream: bool,
    /// The first member that refers to state which only one account has.
    pub(crate) state: Option<&'static str>,
}

/// Why a body is refused, in a sentence for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProbeError {
    /// Nothing but white space.
    #[error("the body is empty; a JSON object is expected")]
    Empty,
    /// Another kind of value.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// Too many levels.
    #[error("the body is nested deeper than {} levels", crate::json::MAX_DEPTH)]
    TooDeep,
    /// Not text.
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// Not JSON.
    #[error("the body is not valid JSON at byte {offset}")]
    Syntax {
        /// Of the byte that doesn't fit, or where the body ends too early.
        offset: usize,
    },
    /// No `model`.
    #[error("the field \"model\" is missing")]
    MissingModel,
    /// A `model` of another type.
    #[error("the field \"model\" is not a string")]
    ModelNotAString,
    /// A `model` longer than [`MAX_MODEL`].
    #[error("the field \"model\" is longer than {MAX_MODEL} bytes")]
    ModelTooLong,
    /// A field that is acted upon is there twice.
    #[error("the field {0:?} is given more than once")]
    Duplicate(&'static str),
}

/// Reads a body piece by piece. After an error, the body is refused: nothing more is fed.
#[derive(Debug)]
pub(crate) struct Probe {
    scanner: Scanner,
    finds: Finds,
}

/// The members acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Model,
    Stream,
    PreviousResponseId,
    Conversation,
    Background,
    FileId,
}

#[derive(Debug, Default)]
struct Finds {
    /// Whose value comes next.
    field: Option<Field>,
    /// Those that were there.
    seen: Fields,
    /// `stream` is `true`.
    stream: bool,
    /// A key that is `model` in another case.
    has_lookalike: bool,
    model: Option<(String, Range<usize>)>,
    state: Option<&'static str>,
}

/// A set of [`Field`]s, one bit each.
#[derive(Clone, Copy, Debug, Default)]
struct Fields(u8);

impl Probe {
    pub(crate) fn new() -> Self {
        Self {
            scanner: Scanner::new(),
            finds: Finds::default(),
        }
    }

    /// Takes the next piece of the body, however it was split.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), ProbeError> {
        self.scanner.feed(bytes, &mut self.finds)
    }

    /// The body is over.
    pub(crate) fn finish(self) -> Result<Facts, ProbeError> {
        self.scanner.finish()?;
        let finds = self.finds;
        let (model, model_at) = finds.model.ok_or(ProbeError::MissingModel)?;
        if finds.has_lookalike {
            return Err(ProbeError::Duplicate(Field::Model.name()));
        }
        Ok(Facts {
            model,
            model_at,
            stream: finds.stream,
            state: finds.state,
        })
    }
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Stream => "stream",
            Self::PreviousResponseId => "previous_response_id",
            Self::Conversation => "conversation",
            Self::Background => "background",
            Self::FileId => "file_id",
        }
    }

    fn outermost(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"model" => Self::Model,
            b"stream" => Self::Stream,
            b"previous_response_id" => Self::PreviousResponseId,
            b"conversation" => Self::Conversation,
            b"background" => Self::Background,
            b"file_id" => Self::FileId,
            _ => return None,
        })
    }

    fn inner(name: &[u8]) -> Option<Self> {
        (name == b"file_id").then_some(Self::FileId)
    }
}

impl Fields {
    fn contains(self, field: Field) -> bool {
        self.0 & (1 << field as u8) != 0
    }

    fn insert(&mut self, field: Field) {
        self.0 |= 1 << field as u8;
    }
}

impl Visitor for Finds {
    type Error = ProbeError;

    fn key(&mut self, depth: usize, name: &[u8]) -> Result<bool, ProbeError> {
        let field = if depth == 1 {
            self.has_lookalike |= name.eq_ignore_ascii_case(b"model") && name != b"model";
            Field::outermost(name)
        } else {
            Field::inner(name)
        };
        self.field = field;
        let Some(field) = field else {
            return Ok(false);
        };
        // A file may be named any number of times, all else is there once.
        if self.seen.contains(field) && field != Field::FileId {
            return Err(ProbeError::Duplicate(field.name()));
        }
        self.seen.insert(field);
        Ok(true)
    }

    fn value(&mut self, value: Value<'_>, at: Range<usize>) -> Result<(), ProbeError> {
        let Some(field) = self.field else {
            return Ok(());
        };
        match (field, value) {
            (Field::Model, Value::String(raw)) => self.model = Some((model(raw, &at)?, at)),
            (Field::Model, _) => return Err(ProbeError::ModelNotAString),
            (Field::Stream, Value::True) => self.stream = true,
            // A schema's property of that name has an object.
            (Field::FileId, Value::String(_)) | (Field::Background, Value::True) => {
                self.stay(field);
            }
            (Field::PreviousResponseId | Field::Conversation, value) if value != Value::Null => {
                self.stay(field);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Finds {
    fn stay(&mut self, field: Field) {
        self.state.get_or_insert(field.name());
    }
}

impl From<Flaw> for ProbeError {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Empty => Self::Empty,
            Flaw::NotAnObject => Self::NotAnObject,
            Flaw::TooDeep => Self::TooDeep,
            Flaw::NotUtf8 => Self::NotUtf8,
            Flaw::Syntax { offset } => Self::Syntax { offset },
        }
    }
}

/// A text as a JSON string with its quotes.
pub(crate) fn json_string(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}

fn model(raw: Option<&[u8]>, at: &Range<usize>) -> Result<String, ProbeError> {
    let raw = raw.ok_or(ProbeError::ModelTooLong)?;
    let model = unescape(raw).ok_or(ProbeError::Syntax { offset: at.start })?;
    if model.len() > MAX_MODEL {
        return Err(ProbeError::ModelTooLong);
    }
    Ok(model.into_owned())
}

#[cfg(test)]
mod tests;
