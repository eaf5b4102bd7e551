//! The end of a broken answer: its last event, and the reset once that event is out. An error that
//! follows an event at once overtakes it inside hyper, and the caller never reads the event; so this
//! waits until the connection has been flushed. Must never end cleanly: the connection is told, because where
//! its end is the answer's, only a reset says that something is missing.

use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep};

use crate::connection::Connection;
use crate::relay::BrokenOff;

/// How often to look whether the event is out, while the caller's socket takes nothing.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a caller may take to accept the event.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// What is left to do.
pub(crate) struct Closing {
    event: Option<Bytes>,
    connection: Rc<Connection>,
    /// Flushes counted when the event was handed over, and when to stop waiting for one more.
    handed_over: Option<(u64, Instant)>,
    timer: Pin<Box<Sleep>>,
}

impl Closing {
    pub(crate) fn new(event: Option<Bytes>, connection: Rc<Connection>) -> Self {
        Self {
            event,
            connection,
            handed_over: None,
            timer: Box::pin(tokio::time::sleep(LOOK_EVERY)),
        }
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, BrokenOff>> {
        let flushes = self.connection.flushes();
        if let Some(event) = self.event.take() {
            self.handed_over = Some((flushes, Instant::now() + FLUSH_LIMIT));
            return Poll::Ready(Ok(event));
        }
        let Some((before, give_up)) = self.handed_over else {
            // Nothing to say, but what was said before must be out as well.
            self.handed_over = Some((flushes, Instant::now() + FLUSH_LIMIT));
            return self.look_later(context);
        };
        if flushes > before || Instant::now() >= give_up {
            self.connection.break_off();
            return Poll::Ready(Err(BrokenOff));
        }
        self.look_later(context)
    }

    fn look_later(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, BrokenOff>> {
        self.timer.as_mut().reset(Instant::now() + LOOK_EVERY);
        match self.timer.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            // Elapsed already: look again at once, after hyper has had its turn.
            Poll::Ready(()) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}
