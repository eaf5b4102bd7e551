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

use crate::attempt::Deadline;
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

/// The answer broke off; hyper resets the caller's connection.
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
    /// How long the upstream connection may stay idle afterwards.
    pub(crate) idle_limit: Duration,
    /// Outcome by status, when nothing breaks.
    pub(crate) outcome: Outcome,
}

/// A running answer.
pub(crate) struct Relay {
    setting: Setting,
    /// `None` once the upstream's part is over.
    exchange: Option<Exchange>,
    /// Pieces that were held back and may go now.
    ready: VecDeque<Bytes>,
    /// What is known of the stream; `None`: not a stream.
    stream: Option<Stream>,
    timer: Pin<Box<Sleep>>,
    last_piece: Instant,
    closing: Option<Closing>,
}

struct Stream {
    watch: Watch,
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
    pub(crate) fn new(
        setting: Setting,
        exchange: Exchange,
        beginning: Vec<Bytes>,
        is_stream: bool,
    ) -> Self {
        let now = Instant::now();
        let mut stream = is_stream.then(|| Stream::new(&setting));
        let ready = match &mut stream {
            Some(stream) => beginning
                .into_iter()
                .filter_map(|piece| stream.take(piece))
                .collect(),
            None => beginning.into(),
        };
        let first = stream.as_ref().map(|stream| now + stream.idle);
        let until = first.map_or(setting.deadline.at, |idle| idle.min(setting.deadline.at));
        Self {
            setting,
            exchange: Some(exchange),
            ready,
            stream,
            timer: Box::pin(tokio::time::sleep_until(until.into())),
            last_piece: now,
            closing: None,
        }
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
        let piece = match &mut self.stream {
            Some(stream) => stream.take(piece),
            None => Some(piece),
        };
        self.ready.extend(piece);
    }

    /// The upstream's answer is over: a stream must have said so itself.
    fn end(&mut self) {
        let Some(stream) = &mut self.stream else {
            return self.complete();
        };
        // vLLM says `[DONE]` after an error too.
        if !stream.watch.is_complete() || stream.watch.error_seen() {
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
        let is_over = self.stream.as_ref().is_some_and(|stream| {
            stream.watch.is_over() && !stream.watch.error_seen() && stream.partial.is_empty()
        });
        if is_over {
            self.complete();
        } else {
            self.break_off(fault);
        }
    }

    fn complete(&mut self) {
        self.setting.recorder.finish(self.setting.outcome);
        self.count();
        if let Some(link) = self.exchange.take().and_then(Exchange::into_idle) {
            self.setting.worker.pool.put(
                self.setting.provider.endpoint.id,
                link,
                Instant::now(),
                self.setting.idle_limit,
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
        let usage = self.stream.as_ref().and_then(|stream| stream.watch.usage());
        if let Some(usage) = usage {
            count_usage(&self.setting.provider, self.setting.worker.id, usage);
        }
    }
}

impl Stream {
    fn new(setting: &Setting) -> Self {
        Self {
            watch: Watch::new(setting.operation),
            framing: framing(setting.operation),
            idle: setting.provider.timeouts.idle,
            partial: BytesMut::new(),
            is_mid_event: false,
            has_told: false,
        }
    }

    /// Watches the next bytes, and returns what may go on.
    fn take(&mut self, piece: Bytes) -> Option<Bytes> {
        self.watch.feed(&piece);
        let whole = self.whole_events(piece);
        self.has_told |= self.watch.error_seen() && self.partial.is_empty();
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

fn ends_event(bytes: &[u8]) -> bool {
    [&b"\n\n"[..], b"\r\n\r\n", b"\r\r"]
        .iter()
        .any(|blank| bytes.ends_with(blank))
}

/// Where the last whole event ends.
fn last_event_end(bytes: &[u8]) -> Option<usize> {
    [&b"\n\n"[..], b"\r\n\r\n", b"\r\r"]
        .iter()
        .filter_map(|blank| Some(memmem::rfind(bytes, blank)? + blank.len()))
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_event_ends_after_its_blank_line_whatever_the_line_ends() {
        let cases: [(&[u8], Option<usize>); 6] = [
            (b"data: 1\n\ndata: 2", Some(9)),
            (b"data: 1\r\n\r\ndata: 2\r\n", Some(11)),
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
