//! Server-sent events. Being written.

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) data: &'a [u8],
}

/// An event or a line is longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {limit} bytes")]
pub(crate) struct TooLong {
    pub(crate) limit: usize,
}

/// Reads events from bytes split anywhere.
#[derive(Debug)]
pub(crate) struct Decoder {
    limit: usize,
}

impl Decoder {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit }
    }

    pub(crate) fn feed(
        &mut self,
        _bytes: &[u8],
        _each: &mut impl FnMut(Event<'_>),
    ) -> Result<(), TooLong> {
        Err(TooLong { limit: self.limit })
    }

    pub(crate) fn finish(self, _each: &mut impl FnMut(Event<'_>)) -> Result<(), TooLong> {
        Err(TooLong { limit: self.limit })
    }
}
