//! What a provider answers, before it becomes bytes on a wire.
//!
//! Owns the shape of an answer and its making out of a request. Must never do IO or look at a clock.

use bytes::Bytes;

/// An answer: a status, headers, and a body that is whole or a sequence of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The headers, without those that tell how the body is framed.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Body,
}

/// A body, whole or as events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// All of it.
    Whole(Bytes),
    /// The events of a stream, in order.
    Events(Vec<Event>),
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name, where the dialect has names.
    pub(crate) name: Option<&'static str>,
    /// Its data, a single line.
    pub(crate) data: String,
    /// What part it plays in the stream.
    pub(crate) part: Part,
}

/// What part an event plays in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It comes before any content.
    Opening,
    /// It carries content, or a tool call's name.
    Content,
    /// It comes after content and is no end: a finish, a usage, a `….done`.
    Closing,
    /// It is what the dialect ends a stream with.
    Terminal,
}
