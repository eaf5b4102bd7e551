//! What a mock provider is started with.
//!
//! Owns [`Config`] and [`Pace`]. Must never read files, arguments or the environment: that is the
//! caller's part.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::Script;

/// How a mock provider listens, whom it answers, and how fast.
#[derive(Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// What the provider calls itself in its answers. Default `mock`.
    pub name: String,
    /// The keys that are let in. Empty: any key, and none, is let in.
    pub keys: Vec<String>,
    /// The models that are served, as `/v1/models` lists them. Empty: any name is served, and a
    /// short built-in list is shown.
    pub models: Vec<String>,
    /// What ids, padding and example values are drawn from. Equal seeds and equal requests in equal
    /// order give equal answers (but for the time of day).
    pub seed: u64,
    /// How fast answers come.
    pub pace: Pace,
    /// The faults in force from the start.
    pub script: Script,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            name: "mock".to_owned(),
            keys: Vec::new(),
            models: Vec::new(),
            seed: 0,
            pace: Pace::default(),
            script: Script::default(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Config")
            .field("listen", &self.listen)
            .field("name", &self.name)
            .field("keys", &self.keys.len())
            .field("models", &self.models)
            .field("seed", &self.seed)
            .field("pace", &self.pace)
            .field("script", &self.script)
            .finish()
    }
}

/// How fast answers come; the default is as fast as the socket takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// The wait before a unary answer's head, or before a stream's first event.
    pub first: Duration,
    /// The wait before each further event of a stream.
    pub between: Duration,
}
