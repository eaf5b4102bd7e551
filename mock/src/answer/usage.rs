//! Tokens, as chat and text completions tell them.
//!
//! Owns the usage object and when a stream tells it.

use serde::ser::{Serialize, Serializer};
use serde_json::Value;

use super::Context;
use super::object::Object;
use super::speech::{Speech, Wish};
use crate::fault::UsageFault;

/// Tokens, with the details that are parts of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    input: u64,
    output: u64,
    /// Part of the output.
    reasoning: u64,
}

impl Serialize for Usage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let input = Object::new()
            .with("cached_tokens", cached(self.input))
            .with("cache_write_tokens", 0)
            .with("audio_tokens", 0)
            .with("image_tokens", 0)
            .with("text_tokens", self.input);
        let output = Object::new()
            .with("reasoning_tokens", self.reasoning)
            .with("audio_tokens", 0)
            .with("text_tokens", self.output - self.reasoning)
            .with("accepted_prediction_tokens", 0)
            .with("rejected_prediction_tokens", 0);
        let usage = Object::new()
            .with("prompt_tokens", self.input)
            .with("completion_tokens", self.output)
            .with("total_tokens", self.input + self.output)
            .with("prompt_tokens_details", input)
            .with("completion_tokens_details", output);
        usage.serialize(serializer)
    }
}

impl Usage {
    /// Of the output at most all was reasoning.
    pub(super) fn of(input: u64, output: u64, reasoning: u64) -> Self {
        Self {
            input,
            output,
            reasoning: reasoning.min(output),
        }
    }

    pub(super) fn of_speeches(wish: &Wish, speeches: &[Speech]) -> Self {
        let output = speeches.iter().map(Speech::tokens).sum();
        let reasoning = speeches
            .iter()
            .map(|speech| speech.thoughts.len() as u64)
            .sum();
        Self::of(wish.input_tokens, output, reasoning)
    }
}

/// How much of an input was cached: half of it, in blocks of 128, from 1,024 on.
pub(super) fn cached(input: u64) -> u64 {
    if input < 1_024 {
        0
    } else {
        input / 2 / 128 * 128
    }
}

/// A field that is `null` or a usage.
#[derive(Clone, Copy, Debug, serde::Serialize)]
#[serde(untagged)]
pub(super) enum UsageField {
    Null,
    Is(Usage),
}

/// How the usage of a stream is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Not at all, not even as `null`.
    Never,
    /// In a chunk of its own; the others have `null`.
    AtTheEnd,
    /// In every chunk, so far.
    Always,
    /// Asked for, with `null` where it isn't, and never told.
    Withheld,
}

impl Told {
    /// Whether an answer that isn't a stream tells it.
    pub(super) fn unary(context: Context<'_>) -> bool {
        context.fault.usage != Some(UsageFault::Missing)
    }

    /// What the request asks for, and what the fault makes of it.
    pub(super) fn of(body: &Value, context: Context<'_>) -> Self {
        let asked = body
            .pointer("/stream_options/include_usage")
            .and_then(Value::as_bool);
        match (context.fault.usage, asked.unwrap_or(false)) {
            (Some(UsageFault::Continuous), _) => Self::Always,
            (Some(UsageFault::Missing), true) => Self::Withheld,
            (Some(UsageFault::Missing) | None, false) => Self::Never,
            (None, true) => Self::AtTheEnd,
        }
    }

    /// The field of a chunk before the end.
    pub(super) fn before_end(self, so_far: Usage) -> Option<UsageField> {
        match self {
            Self::Never => None,
            Self::AtTheEnd | Self::Withheld => Some(UsageField::Null),
            Self::Always => Some(UsageField::Is(so_far)),
        }
    }

    /// Whether there is a chunk for it at the end.
    pub(super) fn at_end(self) -> bool {
        matches!(self, Self::AtTheEnd | Self::Always)
    }
}
