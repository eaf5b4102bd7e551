//! What the gateway must know of a request body. Being written.

use std::ops::Range;

/// What was found in a request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) model: String,
    pub(crate) model_at: Range<usize>,
    pub(crate) stream: bool,
    pub(crate) state: Option<&'static str>,
    pub(crate) include_usage: bool,
}

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("the body is empty")]
    Empty,
}

/// Reads a body piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Probe;

impl Probe {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn feed(&mut self, _bytes: &[u8]) -> Result<(), ProbeError> {
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Facts, ProbeError> {
        Err(ProbeError::Empty)
    }
}

/// A text as a JSON string with its quotes.
pub(crate) fn json_string(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}
