//! One connection of a caller.
//!
//! Owns the socket. Must never decide what is answered.

use bytes::BytesMut;
use tokio::net::TcpStream;

use crate::mock::Shared;
use crate::request;

/// Serves requests until one side closes the connection.
pub(crate) async fn serve(shared: &Shared, mut stream: TcpStream, number: u64) {
    let mut buffer = BytesMut::new();
    let request = request::read(&mut stream, &mut buffer).await;
    tracing::debug!(name = shared.config.name, number, ?request, "not answered");
}
