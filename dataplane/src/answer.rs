//! What the gateway must know of a whole answer. Being written.

use weighbridge_snapshot::Operation;

/// Tokens an answer says it used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
}

/// A provider's error, in whatever shape it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UpstreamError {
    pub(crate) code: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) message: Option<String>,
}

/// What an answer with status 200 is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inspection {
    Good { usage: Option<Usage> },
    Failed(UpstreamError),
    Garbage,
}

pub(crate) fn inspect(_operation: Operation, _bytes: &[u8]) -> Inspection {
    Inspection::Garbage
}

pub(crate) fn error_of(_status: u16, _bytes: &[u8]) -> UpstreamError {
    UpstreamError::default()
}

impl UpstreamError {
    pub(crate) fn is_billing(&self) -> bool {
        false
    }
    pub(crate) fn is_auth(&self) -> bool {
        false
    }
    pub(crate) fn is_rate_limit(&self) -> bool {
        false
    }
    pub(crate) fn is_overloaded(&self) -> bool {
        false
    }
    pub(crate) fn is_callers_fault(&self) -> bool {
        false
    }
}
