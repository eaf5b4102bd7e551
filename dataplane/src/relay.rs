//! An answer on its way to the caller, piece by piece, in flat memory.
//!
//! A stream that breaks ends with one well-formed error event and then a reset, never cleanly: to every
//! official SDK a clean end is a success. Whole events only are sent, so that the error event isn't
//! glued to half of another. Must never retry, and must never parse what it relays.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use tokio::time::Sleep;
use weighbridge_snapshot::Operation;

use crate::attempt::{Begun, Deadline};
use crate::closing::Closing;
use crate::connection::Connection;
use crate::content::Watch;
use crate::fault::{EventFraming, Fault};
use crate::metrics::Outcome;
use crate::recorder::{Recorder, count_usage};
use crate::runtime::Provider;
use crate::upstream::Exchange;
use crate::worker::Worker;

/// An event longer than this is passed on before its end; breaking then can only be a reset.
const WHOLE_EVENT_UP_TO_BYTES: usize = 64 << 10;

/// The answer broke off; hyper ends the caller's connection within the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct BrokenOff;

/// What a relay needs beside the bytes.
pub(crate) struct Setting {
    pub(crate) worker: Rc<Worker>,
    pub(crate) connection: Rc<Connection>,
    pub(crate) provider: Arc<Provider>,
    pub(crate) operation: Operation,
    pub(crate) recorder: Recorder,
    /// The bound of the whole answer.
    pub(crate) deadline: Deadline,
    /// Outcome by status, when nothing breaks.
    pub(crate) outcome: Outcome,
}

/// A running answer.
pub(crate) struct Relay {
    setting: Setting,
    /// `None` once the upstream's part is over.
    exchange: Option<Exchange>,
    /// How long its connection may stay idle afterwards.
    idle_limit: Duration,
    /// Pieces that were held back and may go now.
    ready: VecDeque<Bytes>,
    /// Reads what was used, and of a stream whether it said all.
    watch: Watch,
    /// `None`: not a stream.
    stream: Option<Stream>,
    timer: Pin<Box<Sleep>>,
    last_piece: Instant,
    closing: Option<Closing>,
}

struct Stream {
    framing: EventFraming,
    idle: Duration,
    /// The beginning of an event whose end hasn't come yet.
    partial: BytesMut,
    /// Part of an event has been passed on.
    is_mid_event: bool,
    /// An error event of the provider's own has been passed on: it needs no second one.
    has_told: bool,
}

impl Relay {
    /// Begins with what was held back.
    pub(crate) fn new(setting: Setting, begun: Begun) -> Self {
        let stream = begun.is_stream.then(|| Stream::new(&setting));
        let idle_at = stream.as_ref().map(|stream| Instant::now() + stream.idle);
        let until = idle_at.map_or(setting.deadline.at, |idle| idle.min(setting.deadline.at));
        let mut relay = Self {
            watch: Watch::new(setting.operation),
            setting,
            exchange: Some(begun.exchange),
            idle_limit: begun.idle_limit,
            ready: VecDeque::with_capacity(begun.beginning.len()),
            stream,
            timer: Box::pin(tokio::time::sleep_until(until.into())),
            last_piece: Instant::now(),
            closing: None,
        };
        for piece in begun.beginning {
            relay.take(piece);
        }
        relay.end_if_promised();
        relay
    }

    /// The next piece for the caller.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            if let Some(closing) = &mut self.closing {
                return closing.poll(context).map(Some);
            }
            let Some(exchange) = &mut self.exchange else {
                return Poll::Ready(None);
            };
            match exchange.poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data() {
                        self.take(piece);
                    }
                    self.end_if_promised();
                }
                Poll::Ready(Some(Err(_))) => self.cut(&Fault::BadUpstreamAnswer),
                Poll::Ready(None) => self.end(),
                Poll::Pending => {
                    ready!(self.timer.as_mut().poll(context));
                    self.check_time();
                }
            }
        }
    }

    fn take(&mut self, piece: Bytes) {
        self.last_piece = Instant::now();
        self.watch.feed(&piece);
        let piece = match &mut self.stream {
            Some(stream) => stream.take(piece, self.watch.error_seen()),
            None => Some(piece),
        };
        self.ready.extend(piece);
    }

    /// Ends with the last byte of a promised length: hyper doesn't ask for more once it is out.
    fn end_if_promised(&mut self) {
        if self.exchange.as_ref().is_some_and(Exchange::is_end) {
            self.end();
        }
    }

    /// The upstream's answer is over: a stream must have said so itself.
    fn end(&mut self) {
        let Some(stream) = &mut self.stream else {
            return self.complete();
        };
        // vLLM says `[DONE]` after an error too.
        if !self.watch.is_complete() || self.watch.error_seen() {
            return self.break_off(&Fault::BadUpstreamAnswer);
        }
        let rest = std::mem::take(&mut stream.partial).freeze();
        if !rest.is_empty() {
            self.ready.push_back(rest);
        }
        self.complete();
    }

    /// Nothing more comes. A stream that said all is whole even so.
    fn cut(&mut self, fault: &Fault) {
        if self.has_said_all() {
            self.complete();
        } else {
            self.break_off(fault);
        }
    }

    fn has_said_all(&self) -> bool {
        let is_whole = |stream: &Stream| stream.partial.is_empty();
        self.stream.as_ref().is_some_and(is_whole)
            && self.watch.is_over()
            && !self.watch.error_seen()
    }

    fn complete(&mut self) {
        self.setting.recorder.finish(self.setting.outcome);
        self.count();
        if let Some(link) = self.exchange.take().and_then(Exchange::into_idle) {
            self.setting.worker.pool.put(
                self.setting.provider.endpoint.id,
                link,
                Instant::now(),
                self.idle_limit,
            );
        }
    }

    fn break_off(&mut self, fault: &Fault) {
        self.exchange = None;
        self.setting.recorder.finish(Outcome::Cut);
        self.count();
        tracing::warn!(
            provider = %self.setting.provider.name,
            reason = fault.code(),
            "an answer broke off after it had begun"
        );
        let stream = self.stream.as_ref();
        let stream = stream.filter(|stream| !stream.is_mid_event && !stream.has_told);
        let event = stream.map(|stream| fault.event(stream.framing));
        let connection = Rc::clone(&self.setting.connection);
        self.closing = Some(Closing::new(event, connection));
    }

    /// The timer has fired: a bound is missed, or a piece has come since it was set.
    fn check_time(&mut self) {
        let now = Instant::now();
        let deadline = self.setting.deadline;
        let idle = self.stream.as_ref().map(|stream| stream.idle);
        let idle_at = idle.map(|idle| self.last_piece + idle);
        if now >= deadline.at {
            return self.cut(&Fault::UpstreamTimeout {
                bound: deadline.bound,
                limit: deadline.limit,
            });
        }
        match (idle, idle_at) {
            (Some(limit), Some(idle_at)) if now >= idle_at => {
                self.cut(&Fault::UpstreamTimeout {
                    bound: "timeouts.idle",
                    limit,
                });
            }
            (_, idle_at) => {
                let until = idle_at.map_or(deadline.at, |idle_at| idle_at.min(deadline.at));
                self.timer.as_mut().reset(until.into());
            }
        }
    }

    fn count(&self) {
        if let Some(usage) = self.watch.usage() {
            count_usage(&self.setting.provider, self.setting.worker.id, usage);
        }
    }
}

impl Drop for Relay {
    /// A caller that leaves after the last event has had all.
    fn drop(&mut self) {
        if self.exchange.is_some() {
            if self.has_said_all() {
                self.complete();
            } else {
                self.count();
            }
        }
    }
}

impl Stream {
    fn new(setting: &Setting) -> Self {
        Self {
            framing: framing(setting.operation),
            idle: setting.provider.timeouts.idle,
            partial: BytesMut::new(),
            is_mid_event: false,
            has_told: false,
        }
    }

    /// Takes the next bytes, and returns what may go on; `has_error`: they, or those before, hold an
    /// error event.
    fn take(&mut self, piece: Bytes, has_error: bool) -> Option<Bytes> {
        let whole = self.whole_events(piece);
        self.has_told |= has_error && self.partial.is_empty();
        whole
    }

    /// What of the bytes so far ends with an event's end; the rest waits for its own.
    fn whole_events(&mut self, piece: Bytes) -> Option<Bytes> {
        if self.partial.is_empty() && ends_event(&piece) {
            self.is_mid_event = false;
            return Some(piece);
        }
        self.partial.extend_from_slice(&piece);
        let whole = match last_event_end(&self.partial) {
            Some(end) => {
                self.is_mid_event = false;
                self.partial.split_to(end)
            }
            None if self.is_mid_event || self.partial.len() > WHOLE_EVENT_UP_TO_BYTES => {
                self.is_mid_event = true;
                // A line's end stays here: with the next piece it may be the event's.
                let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
                let end = self.partial.iter().rposition(|byte| !is_break(byte));
                self.partial.split_to(end.map_or(0, |last| last + 1))
            }
            None => return None,
        };
        (!whole.is_empty()).then(|| whole.freeze())
    }
}

/// How an operation's streams frame their events.
pub(crate) fn framing(operation: Operation) -> EventFraming {
    match operation {
        Operation::Responses => EventFraming::Named,
        Operation::ChatCompletions | Operation::Completions | Operation::Embeddings => {
            EventFraming::Data
        }
    }
}

/// A line's end and an empty line, however each ends; CR LF CR LF ends with the second.
const BLANK: [&[u8]; 3] = [b"\n\n", b"\n\r\n", b"\r\r"];

fn ends_event(bytes: &[u8]) -> bool {
    BLANK.iter().any(|blank| bytes.ends_with(blank))
}

/// Where the last whole event ends.
fn last_event_end(bytes: &[u8]) -> Option<usize> {
    BLANK
        .iter()
        .filter_map(|blank| Some(memmem::rfind(bytes, blank)? + blank.len()))
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_event_ends_after_its_blank_line_whatever_the_line_ends() {
        let cases: [(&[u8], Option<usize>); 7] = [
            (b"data: 1\n\ndata: 2", Some(9)),
            (b"data: 1\r\n\r\ndata: 2\r\n", Some(11)),
            (b"data: 1\n\r\ndata: 2\r\n", Some(10)),
            (b"data: 1\r\rdata: 2", Some(9)),
            (b"data: 1\n\ndata: 2\n\n", Some(18)),
            (b"data: 1\n", None),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(last_event_end(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
