//! What the gateway promises its users, point by point, over real sockets: the data plane in this
//! process, compiled resources, scripted providers. Each module is a promise, each test a sentence of it.
//! Must never look inside the gateway: only what callers, providers and operators can see counts.

// Tests through and through: what panics in a helper fails its test.
#![cfg(test)]

mod admin;
mod bad_input;
mod callers;
mod drain;
mod edits;
mod failover;
mod keys;
mod limited;
mod long_answers;
mod retries;
mod shares;
mod smoke;
mod socket;
mod stack;
mod state;
mod streams;
mod wire;
