//! The body of an answer as hyper polls it: whole, relayed, or a stream that still waits for its first
//! content while keep-alives go out. Must never outlive its connection's request: dropping it is what
//! cancels everything behind it.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use weighbridge_snapshot::Operation;

use crate::answer::error_of;
use crate::attempt::{AcceptedBody, Begun};
use crate::closing::Closing;
use crate::connection::{Activity, Connection};
use crate::fault::{Fault, event_of};
use crate::metrics::Outcome;
use crate::recorder::Recorder;
use crate::relay::{BrokenOff, Relay, Setting, framing};
use crate::walk::{Last, Reply, Served, Unserved};
use crate::worker::Worker;

/// How long a stream may be silent before headers, and then keep-alives, go out: shorter than the idle
/// limits of common load balancers (60 s), long enough that a failure before it can still be told by
/// a status.
pub(crate) const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// A comment: every official SDK that speaks this dialect passes over it.
const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// A call that is still looking for its answer.
pub(crate) type Walking = Pin<Box<dyn Future<Output = Result<Reply, Unserved>>>>;

/// An answer's body.
pub(crate) struct ReplyBody {
    kind: Kind,
    /// The connection is serving until this drops.
    connection: Rc<Connection>,
}

enum Kind {
    Whole(Bytes),
    Relayed(Box<Relay>),
    Waiting(Box<Waiting>),
    Closing(Box<Closing>),
}

/// A stream whose headers are out and whose first content is not.
pub(crate) struct Waiting {
    pub(crate) walk: Walking,
    pub(crate) call: Ongoing,
    pub(crate) timer: Pin<Box<Sleep>>,
}

/// What the answer of a call needs beside the answer.
pub(crate) struct Ongoing {
    pub(crate) worker: Rc<Worker>,
    pub(crate) connection: Rc<Connection>,
    pub(crate) operation: Operation,
    pub(crate) recorder: Recorder,
}

impl ReplyBody {
    pub(crate) fn whole(bytes: Bytes, connection: &Rc<Connection>) -> Self {
        Self::new(Kind::Whole(bytes), connection)
    }

    pub(crate) fn relayed(relay: Relay, connection: &Rc<Connection>) -> Self {
        Self::new(Kind::Relayed(Box::new(relay)), connection)
    }

    pub(crate) fn waiting(walk: Walking, call: Ongoing) -> Self {
        let connection = Rc::clone(&call.connection);
        let waiting = Waiting {
            walk,
            call,
            // Fires at once: the first keep-alive goes out with the headers.
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        };
        Self::new(Kind::Waiting(Box::new(waiting)), &connection)
    }

    fn new(kind: Kind, connection: &Rc<Connection>) -> Self {
        Self {
            kind,
            connection: Rc::clone(connection),
        }
    }
}

impl Ongoing {
    /// Begins to relay an answer.
    pub(crate) fn relay(mut self, begun: Begun, served: Served) -> Relay {
        self.recorder.set_attempts(served.attempts);
        if begun.is_stream {
            self.recorder.first_content();
        }
        let setting = Setting {
            worker: self.worker,
            connection: self.connection,
            provider: served.provider,
            operation: self.operation,
            recorder: self.recorder,
            deadline: served.deadline,
            outcome: Outcome::of_status(served.status.as_u16()),
        };
        Relay::new(setting, begun)
    }

    fn close(self, fault: &Fault, attempts: u32) -> Kind {
        let event = fault.event(framing(self.operation));
        self.close_with(event, fault.status(), attempts)
    }

    /// Ends with what a provider says, where its status can't be passed on any more.
    fn close_as_told(self, status: StatusCode, body: &[u8], attempts: u32) -> Kind {
        let error = error_of(status.as_u16(), body);
        let event = event_of(&error, framing(self.operation));
        self.close_with(event, status.as_u16(), attempts)
    }

    fn close_with(mut self, event: Bytes, status: u16, attempts: u32) -> Kind {
        self.recorder.set_attempts(attempts);
        self.recorder.finish(Outcome::of_status(status));
        Kind::Closing(Box::new(Closing::new(Some(event), self.connection)))
    }
}

impl Waiting {
    /// The next keep-alive, or what the body becomes.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Result<Reply, Unserved>>> {
        if let Poll::Ready(walked) = self.walk.as_mut().poll(context) {
            return Poll::Ready(Err(walked));
        }
        ready!(self.timer.as_mut().poll(context));
        self.timer.as_mut().reset(Instant::now() + KEEP_ALIVE_EVERY);
        Poll::Ready(Ok(KEEP_ALIVE))
    }

    fn become_answer(self, walked: Result<Reply, Unserved>) -> Kind {
        match walked {
            Ok(Reply { body, served, .. }) => match body {
                AcceptedBody::Begun(begun) if begun.is_stream => {
                    Kind::Relayed(Box::new(self.call.relay(begun, served)))
                }
                AcceptedBody::Whole { bytes, .. } if !served.status.is_success() => self
                    .call
                    .close_as_told(served.status, &bytes, served.attempts),
                // Not a stream after all, and the headers of one are out.
                _ => self.call.close(&Fault::BadUpstreamAnswer, served.attempts),
            },
            Err(unserved) => {
                let attempts = unserved.attempts;
                match unserved.what {
                    Last::Fault(fault) => self.call.close(&fault, attempts),
                    Last::Answer(answer) => {
                        self.call
                            .close_as_told(answer.status, &answer.body, attempts)
                    }
                }
            }
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            let piece = match &mut self.kind {
                Kind::Whole(bytes) if bytes.is_empty() => None,
                Kind::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
                Kind::Relayed(relay) => ready!(relay.poll(context)),
                Kind::Closing(closing) => Some(ready!(closing.poll(context))),
                Kind::Waiting(waiting) => match ready!(waiting.poll(context)) {
                    Ok(keep_alive) => Some(Ok(keep_alive)),
                    Err(walked) => {
                        let nothing = Kind::Whole(Bytes::new());
                        if let Kind::Waiting(waiting) = std::mem::replace(&mut self.kind, nothing) {
                            self.kind = waiting.become_answer(walked);
                        }
                        continue;
                    }
                },
            };
            return Poll::Ready(piece.map(|piece| piece.map(Frame::data)));
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.kind, Kind::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Relayed(_) | Kind::Waiting(_) | Kind::Closing(_) => SizeHint::default(),
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        self.connection.set_activity(Activity::Idle);
    }
}
