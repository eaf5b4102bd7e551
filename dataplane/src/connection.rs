//! A caller's connection as the worker sees it: what it is doing, since when, and how to end it. Shared
//! by the socket below hyper, the request above it and the sweep beside it. Must never be seen by another
//! thread.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// No request: none yet, or none since the last answer.
    Idle,
    /// A request's head is arriving.
    Head,
    /// A request is being served.
    Serving,
}

/// How a connection shall end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// Not yet.
    NotYet,
    /// After its running answer, if any.
    Gracefully,
    /// At once, with a reset.
    Now,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    activity: Cell<Activity>,
    /// The worker's tick when `activity` began.
    since: Cell<u32>,
    /// The worker's clock, in seconds since it began.
    tick: Rc<Cell<u32>>,
    flushes: Cell<u64>,
    /// The tick since which the caller's side takes nothing of what is being written; `None`: it does.
    stuck_since: Cell<Option<u32>>,
    /// Whether the caller takes the connection's end for an answer's, as one of HTTP/1.0 does.
    ends_by_closing: Cell<bool>,
    /// An answer broke off.
    has_broken_off: Cell<bool>,
    end: Cell<End>,
    waker: RefCell<Option<Waker>>,
}

impl Connection {
    pub(crate) fn new(tick: Rc<Cell<u32>>) -> Self {
        Self {
            activity: Cell::new(Activity::Idle),
            since: Cell::new(tick.get()),
            tick,
            flushes: Cell::new(0),
            stuck_since: Cell::new(None),
            ends_by_closing: Cell::new(false),
            has_broken_off: Cell::new(false),
            end: Cell::new(End::NotYet),
            waker: RefCell::new(None),
        }
    }

    pub(crate) fn set_activity(&self, activity: Activity) {
        self.activity.set(activity);
        self.since.set(self.tick.get());
    }

    /// What it is doing, and for how many whole seconds.
    pub(crate) fn activity(&self) -> (Activity, u32) {
        let seconds = self.tick.get().saturating_sub(self.since.get());
        (self.activity.get(), seconds)
    }

    /// For how many whole seconds the caller's side has taken nothing of what is being written. hyper asks
    /// for no more of an answer meanwhile, so that whatever times the answer stands still.
    pub(crate) fn stuck(&self) -> u32 {
        let since = self.stuck_since.get();
        since.map_or(0, |since| self.tick.get().saturating_sub(since))
    }

    /// Notes whether the caller's side took something.
    fn note_write<T>(&self, polled: Poll<T>) -> Poll<T> {
        let since = self.stuck_since.get();
        self.stuck_since.set(match polled {
            Poll::Pending => since.or(Some(self.tick.get())),
            Poll::Ready(_) => None,
        });
        polled
    }

    /// Notes the version that the caller speaks.
    pub(crate) fn set_version(&self, version: Version) {
        self.ends_by_closing.set(version < Version::HTTP_11);
    }

    /// Notes that an answer broke off.
    pub(crate) fn break_off(&self) {
        self.has_broken_off.set(true);
    }

    /// Whether an answer broke off in a way that only a reset tells. Where the answer says itself where it
    /// ends, closing tells it as well, and loses nothing of what is still on its way.
    pub(crate) fn breaks_by_reset(&self) -> bool {
        self.ends_by_closing.get() && self.has_broken_off.get()
    }

    /// Whether dropping the socket now must be a reset.
    fn must_reset(&self) -> bool {
        let is_unfinished = self.activity.get() == Activity::Serving;
        self.end.get() == End::Now
            || self.breaks_by_reset()
            || self.ends_by_closing.get() && is_unfinished
    }

    /// How often everything written so far had reached the socket.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes.get()
    }

    /// Asks for its end; a stronger wish replaces a weaker.
    pub(crate) fn end(&self, how: End) {
        if how > self.end.get() {
            self.end.set(how);
            if let Some(waker) = self.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
    }

    /// How it shall end; remembers whom to wake when that changes.
    pub(crate) fn poll_end(&self, context: &Context<'_>) -> End {
        let mut waker = self.waker.borrow_mut();
        match waker.as_mut() {
            Some(waker) => waker.clone_from(context.waker()),
            None => *waker = Some(context.waker().clone()),
        }
        self.end.get()
    }
}

/// The socket below hyper.
pub(crate) struct Socket {
    stream: TcpStream,
    connection: Rc<Connection>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, connection: Rc<Connection>) -> Self {
        Self { stream, connection }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.connection.must_reset() {
            // It fails for a connection that has gone: nobody is left to be told.
            drop(self.stream.set_zero_linger());
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && self.connection.activity.get() == Activity::Idle {
            self.connection.set_activity(Activity::Head);
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.connection.note_write(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.connection.note_write(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper asks for this once its own buffer is empty: everything is in the socket.
        self.connection
            .flushes
            .set(self.connection.flushes.get() + 1);
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
