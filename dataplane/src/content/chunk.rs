//! Chunks of chat completions and completions: nameless events, `[DONE]` at the end.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Step, failed, plain, speaks};
use crate::answer::UpstreamError;
use crate::sse::Event;

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    /// `error` in the flat shape.
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    x_groq: Option<Groq<'a>>,
}

#[derive(Deserialize)]
struct Groq<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    /// Of a completion.
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    audio: Option<Audio<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow)]
    function_call: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Audio<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    transcript: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    function: Option<Function<'a>>,
    #[serde(borrow)]
    custom: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

/// `None`: the data isn't such a chunk.
pub(super) fn classify(event: &Event<'_>) -> Option<Step> {
    if event.data.starts_with(b"[DONE]") {
        return Some(Step::Terminal);
    }
    let chunk: Chunk<'_> = serde_json::from_slice(event.data).ok()?;
    let groq = chunk.x_groq.and_then(|groq| groq.error);
    if event.name == Some("error")
        || chunk.error.or(groq).is_some()
        || plain(chunk.object) == Some("error")
    {
        return Some(failed(event));
    }
    let choices = chunk.choices.unwrap_or_default();
    if choices.iter().any(Choice::has_content) {
        return Some(Step::Content);
    }
    let finish = choices
        .iter()
        .find_map(|choice| plain(choice.finish_reason));
    Some(match finish {
        None | Some("") => Step::Hold,
        Some(reason) if is_failure(reason) => Step::Failed(UpstreamError {
            code: Some(reason.to_owned()),
            ..UpstreamError::default()
        }),
        Some(_) => Step::Terminal,
    })
}

/// Finish reasons that are none: Mistral's `error`, `SGLang`'s `abort`.
pub(super) fn is_failure(finish_reason: &str) -> bool {
    matches!(finish_reason, "error" | "abort")
}

impl Choice<'_> {
    fn has_content(&self) -> bool {
        speaks(self.text) || self.delta.as_ref().is_some_and(Delta::has_content)
    }
}

impl Delta<'_> {
    fn has_content(&self) -> bool {
        let texts = [
            self.content,
            self.reasoning_content,
            self.reasoning,
            self.refusal,
        ];
        let calls = self.tool_calls.iter().flatten();
        texts.into_iter().any(speaks)
            || self.audio.as_ref().is_some_and(Audio::has_content)
            || calls
                .flat_map(|call| [&call.function, &call.custom])
                .chain([&self.function_call])
                .flatten()
                .any(Function::has_content)
    }
}

impl Audio<'_> {
    fn has_content(&self) -> bool {
        speaks(self.data) || speaks(self.transcript)
    }
}

impl Function<'_> {
    /// The name comes first; arguments without one are content all the same.
    fn has_content(&self) -> bool {
        speaks(self.name) || speaks(self.arguments) || speaks(self.input)
    }
}
