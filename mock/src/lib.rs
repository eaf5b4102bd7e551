//! A faithful, scripted fake OpenAI provider.
//!
//! Owns the imitation of a provider, healthy and broken, and the record of what reached it. Must
//! never know the gateway or any other package of this workspace.

mod answer;
mod config;
mod connection;
mod control;
mod fault;
mod journal;
mod mock;
mod program;
mod request;
mod scalar;
mod script;
mod sse;

pub use config::{Config, Pace};
pub use fault::{ErrorKind, Fault, FaultError, Framing, Garbage, HangUp, Style, UsageFault, Voice};
pub use journal::{Counters, Entry, Outcome};
pub use mock::{Mock, StartError};
pub use scalar::{Drip, Pause, Point, Quirk, Quirks, Raw, ScalarError};
pub use script::{Rule, Script, ScriptError, When};

#[cfg(test)]
mod tests;
