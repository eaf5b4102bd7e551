//! The mock over real sockets, seen by a client that reads raw bytes.

mod client;
mod faults;
mod journal;
mod lifecycle;
