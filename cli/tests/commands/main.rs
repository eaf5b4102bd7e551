//! The built `weighbridge`, run as its users run it.
//!
//! Must never look inside: arguments, files, lines, sockets and exit codes are all there is.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy takes the helpers of an integration test for production code"
)]

mod check;
mod demo;
mod http;
mod plain;
mod program;
mod resources;
mod serve;
