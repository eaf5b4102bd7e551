//! Events of the Responses API: each has a type, there is no `[DONE]`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Step, failed, plain, speaks};
use crate::sse::Event;

#[derive(Deserialize)]
struct RunEvent<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    partial_image_b64: Option<&'a RawValue>,
    #[serde(borrow)]
    item: Option<Item<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Item<'a> {
    /// Of a tool call.
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    /// Of an image that was made.
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

/// What the type of an event says about the stream's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Good,
    Bad,
}

/// `None`: the data isn't such an event.
pub(super) fn classify(event: &Event<'_>) -> Option<Step> {
    if event.data.starts_with(b"[DONE]") {
        // Some servers send it though it isn't theirs to send: it ends nothing.
        return Some(Step::Hold);
    }
    let data: RunEvent<'_> = serde_json::from_slice(event.data).ok()?;
    let kind = plain(data.kind).or(event.name).unwrap_or_default();
    match end(kind) {
        Some(End::Good) => return Some(Step::Terminal),
        Some(End::Bad) => return Some(failed(event)),
        None if data.error.is_some() => return Some(failed(event)),
        None => {}
    }
    let item = data.item.as_ref();
    let has_content = match kind {
        "response.output_item.added" | "response.output_item.done" => {
            item.is_some_and(|item| speaks(item.name) || speaks(item.result))
        }
        "response.image_generation_call.partial_image" => speaks(data.partial_image_b64),
        // Text, refusals, reasoning, arguments, sound: all that comes bit by bit is called so.
        kind => kind.rsplit('.').next() == Some("delta") && speaks(data.delta),
    };
    Some(if has_content {
        Step::Content
    } else {
        Step::Hold
    })
}

/// Whether an event of this type ends the stream.
pub(super) fn end(kind: &str) -> Option<End> {
    match kind {
        "response.completed" | "response.incomplete" => Some(End::Good),
        "response.failed" | "error" => Some(End::Bad),
        _ => None,
    }
}
