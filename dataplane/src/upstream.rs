//! Connections to providers: HTTP/1.1 over TCP or TLS, pooled per worker.
//!
//! A [`Link`] keeps hyper's `Connection` beside its `SendRequest` and polls both from the request's own
//! future: no task, no channel wake, and dropping the request closes the socket, which is what cancels
//! the call at the provider. Must never hand a request to a connection that has been seen closed.

mod connect;
mod link;
mod pool;
mod request_body;
mod transport;

pub use connect::TlsError;
pub(crate) use connect::{Connector, tls_config};
pub(crate) use link::{Exchange, Link};
pub(crate) use pool::Pool;
pub(crate) use request_body::RequestBody;
