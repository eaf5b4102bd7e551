//! One HTTP/1.1 connection to a provider, driven by whoever waits for its answer. Must never be shared
//! by two requests, and must never be used again unless hyper says that it is idle.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::RequestBody;
use super::transport::Transport;

/// hyper's side of a connection, which reads and writes when it is polled.
type Driver = Option<Pin<Box<Connection<TokioIo<Transport>, RequestBody>>>>;

/// A connection and both of its ends.
pub(crate) struct Link {
    sender: SendRequest<RequestBody>,
    /// `None` once it has ended.
    driver: Driver,
    received: Rc<Cell<u64>>,
    /// Whether it has carried a request before.
    is_reused: bool,
}

/// An answer whose body is still on the link.
pub(crate) struct Exchange {
    link: Link,
    body: Incoming,
}

/// A request that got no answer.
#[derive(Debug)]
pub(crate) struct SendFailure {
    /// The connection was an idle one and closed before the first byte of an answer: the server closed
    /// it while the request was on its way (RFC 9112 §9.3), so nothing was lost but the connection.
    pub(crate) is_stale: bool,
    pub(crate) error: hyper::Error,
}

impl Link {
    /// Speaks HTTP/1.1 over a connected transport.
    ///
    /// # Errors
    /// Never in practice: HTTP/1.1 has no handshake.
    pub(crate) async fn open(transport: Transport) -> hyper::Result<Self> {
        let received = transport.received();
        let (sender, connection) = Builder::new().handshake(TokioIo::new(transport)).await?;
        Ok(Self {
            sender,
            driver: Some(Box::pin(connection)),
            received,
            is_reused: false,
        })
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Exchange>, SendFailure> {
        let received_before = self.received.get();
        let mut answer = pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        let answered = poll_fn(|context| {
            drive(driver, context);
            answer.as_mut().poll(context)
        })
        .await;
        match answered {
            Ok(response) => Ok(response.map(|body| Exchange { link: self, body })),
            Err(mut unsent) => Err(SendFailure {
                is_stale: self.is_reused
                    && self.received.get() == received_before
                    && (unsent.take_message().is_some() || is_closed(unsent.error())),
                error: unsent.into_error(),
            }),
        }
    }

    /// Looks at an idle connection without waiting: whether it can still carry a request.
    pub(crate) fn is_open(&mut self) -> bool {
        drive(&mut self.driver, &mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }
}

impl Exchange {
    /// The next piece of the body; drives the connection meanwhile.
    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        drive(&mut self.link.driver, context);
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        // Asking for a piece is what lets the driver read one: drive again before waiting.
        drive(&mut self.link.driver, context);
        Pin::new(&mut self.body).poll_frame(context)
    }

    /// Whether the body's promised length has been read.
    pub(crate) fn is_end(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The next piece of the body.
    pub(crate) async fn frame(&mut self) -> Option<hyper::Result<Frame<Bytes>>> {
        poll_fn(|context| self.poll_frame(context)).await
    }

    /// The connection, when the body has been read to its end and it can carry another request.
    pub(crate) fn into_idle(self) -> Option<Link> {
        let mut link = self.link;
        let is_idle = link.is_open();
        link.is_reused = true;
        is_idle.then_some(link)
    }
}

/// Lets the connection read and write. Its result is of no interest here: an error reaches the request
/// or the body that waits for it.
fn drive(driver: &mut Driver, context: &mut Context<'_>) {
    if let Some(connection) = driver
        && connection.as_mut().poll(context).is_ready()
    {
        *driver = None;
    }
}

fn is_closed(error: &hyper::Error) -> bool {
    use std::error::Error as _;
    use std::io::ErrorKind;

    let io = error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>());
    error.is_incomplete_message()
        || error.is_canceled()
        || io.is_some_and(|io| {
            matches!(
                io.kind(),
                ErrorKind::ConnectionReset
                    | ErrorKind::BrokenPipe
                    | ErrorKind::ConnectionAborted
                    // TLS that ended without close_notify.
                    | ErrorKind::UnexpectedEof
            )
        })
}
