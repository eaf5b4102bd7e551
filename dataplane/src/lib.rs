//! The request path: from a socket to a provider and back.
//!
//! Owns the [`Gateway`]: listeners, workers, the [`Runtime`](runtime::Runtime) in force, health, shares,
//! pools, metrics, drain. Must never know Kubernetes, the compiler, or where a snapshot comes from.

mod answer;
mod content;
mod cooldown;
mod json;
mod probe;
mod share;
mod sse;
