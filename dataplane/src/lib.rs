//! The request path: from a socket to a provider and back.
//!
//! Owns the [`Gateway`]: listeners, workers, the Runtime in force, health, shares, pools, metrics, drain.
//! Must never know Kubernetes, the compiler, or where a snapshot comes from.

mod admin;
mod answer;
mod attempt;
mod auth;
mod call;
mod candidates;
mod cells;
mod choice;
mod closing;
mod connection;
mod content;
mod cooldown;
mod failure;
mod fault;
mod gateway;
mod headers;
mod health;
mod json;
mod logging;
mod metrics;
mod models;
mod pieces;
mod plan;
mod probe;
mod recorder;
mod relay;
mod reply;
mod retry;
mod routing;
mod runtime;
mod server;
mod service;
mod settings;
mod share;
mod shared;
mod sse;
mod tasks;
mod upstream;
mod walk;
mod worker;

pub use gateway::{AccountState, AccountTraffic, Gateway, StartError};
pub use logging::{LogFilterError, LogFormat, Logging, init_logging};
pub use settings::Settings;
pub use upstream::TlsError;
