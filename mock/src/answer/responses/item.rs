//! The items of a response's output.
//!
//! Owns their JSON, before and after they are said. Must never know of events.

use super::super::object::Object;
use super::super::speech::{Call, Speech};
use super::super::{Context, prose};

/// One item of the output: what it says, in pieces.
pub(super) enum Item<'a> {
    Reasoning { id: String, pieces: &'a [String] },
    Text { id: String, pieces: &'a [String] },
    Refusal { id: String, pieces: &'a [String] },
    Call { id: String, call: &'a Call },
}

/// The items in which a speech is said.
pub(super) fn items<'a>(speech: &'a Speech, context: Context<'_>) -> Vec<Item<'a>> {
    let id = |prefix: &str, part| prose::id(prefix, context, part);
    let mut items = Vec::new();
    if !speech.thoughts.is_empty() {
        items.push(Item::Reasoning {
            id: id("rs_", 0),
            pieces: &speech.thoughts,
        });
    }
    if !speech.refusal.is_empty() {
        items.push(Item::Refusal {
            id: id("msg_", 0),
            pieces: &speech.refusal,
        });
    } else if speech.calls.is_empty() {
        items.push(Item::Text {
            id: id("msg_", 0),
            pieces: &speech.text,
        });
    }
    let calls = speech.calls.iter().enumerate();
    items.extend(calls.map(|(part, call)| Item::Call {
        id: id("fc_", part),
        call,
    }));
    items
}

impl Item<'_> {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Reasoning { id, .. }
            | Self::Text { id, .. }
            | Self::Refusal { id, .. }
            | Self::Call { id, .. } => id,
        }
    }

    /// The item as it is before anything was said.
    pub(super) fn begun(&self) -> Object {
        match self {
            Self::Reasoning { .. } => self.head("reasoning").with("summary", [(); 0]),
            Self::Text { .. } | Self::Refusal { .. } => self.message("in_progress", Vec::new()),
            Self::Call { call, .. } => self.call(call, "in_progress", ""),
        }
    }

    /// The item when all is said.
    pub(super) fn whole(&self, status: &str) -> Object {
        match self {
            Self::Reasoning { .. } => self.head("reasoning").with("summary", [self.part(true)]),
            Self::Text { .. } | Self::Refusal { .. } => self.message(status, vec![self.part(true)]),
            Self::Call { call, .. } => self.call(call, status, &call.arguments),
        }
    }

    fn head(&self, kind: &str) -> Object {
        Object::new().with("id", self.id()).with("type", kind)
    }

    fn message(&self, status: &str, content: Vec<Object>) -> Object {
        let head = self.head("message").with("status", status);
        head.with("content", content).with("role", "assistant")
    }

    fn call(&self, call: &Call, status: &str, arguments: &str) -> Object {
        let head = self.head("function_call").with("status", status);
        head.with("arguments", arguments)
            .with("call_id", &call.id)
            .with("name", &call.name)
    }

    /// The item's only part, empty or said. A call has none.
    pub(super) fn part(&self, said: bool) -> Object {
        let text = |pieces: &[String]| if said { pieces.concat() } else { String::new() };
        match self {
            Self::Reasoning { pieces, .. } => Object::new()
                .with("type", "summary_text")
                .with("text", text(pieces)),
            Self::Text { pieces, .. } => {
                let head = Object::new()
                    .with("type", "output_text")
                    .with("annotations", [(); 0]);
                head.with("logprobs", [(); 0]).with("text", text(pieces))
            }
            Self::Refusal { pieces, .. } => Object::new()
                .with("type", "refusal")
                .with("refusal", text(pieces)),
            Self::Call { .. } => Object::new(),
        }
    }
}
