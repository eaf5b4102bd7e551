//! When a stream commits, and whether it is complete. Being written.

use weighbridge_snapshot::Operation;

use crate::answer::{UpstreamError, Usage};
use crate::sse::Event;

/// What an event before the commit means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Hold,
    Content,
    Terminal,
    Failed(UpstreamError),
}

pub(crate) fn classify(_operation: Operation, _event: &Event<'_>) -> Step {
    Step::Hold
}

/// Watches the bytes of a committed stream.
#[derive(Debug)]
pub(crate) struct Watch {
    usage: Option<Usage>,
}

impl Watch {
    pub(crate) fn new(_operation: Operation) -> Self {
        Self { usage: None }
    }
    pub(crate) fn feed(&mut self, _bytes: &[u8]) {}
    pub(crate) fn is_complete(&self) -> bool {
        false
    }
    pub(crate) fn error_seen(&self) -> bool {
        false
    }
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.usage
    }
}
