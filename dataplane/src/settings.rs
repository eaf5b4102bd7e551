//! What a data plane can be told at start, with defaults and units. Declared here once, for the
//! `weighbridge-dataplane` binary and for `weighbridge serve` alike; must never be read from elsewhere.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser as _;
use clap::builder::{RangedU64ValueParser, TypedValueParser};
use tokio::sync::Semaphore;

/// Addresses, threads and bounds of a data plane.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Gateway")]
pub struct Settings {
    /// Where callers connect (plain HTTP/1.1)
    #[arg(long, value_name = "ADDRESS", default_value_t = loopback(8080))]
    pub listen: SocketAddr,
    /// Where /livez, /readyz, /metrics and /config answer; show it to operators only
    #[arg(long, value_name = "ADDRESS", default_value_t = loopback(8081))]
    pub admin: SocketAddr,
    /// Threads that serve requests [default: one per core]
    #[arg(long, value_name = "COUNT")]
    pub workers: Option<NonZeroUsize>,
    /// PEM file with certificate authorities to trust beside the system's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Connections from callers at once, over all workers; further ones wait to be accepted
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = connection_count())]
    pub max_connections: usize,
    /// Largest request body in bytes; a larger one is answered with 413
    #[arg(long, value_name = "BYTES", default_value_t = 32 << 20)]
    pub max_body_bytes: usize,
    /// Bytes of request bodies held at once, over all workers; beyond it callers get 503
    #[arg(long, value_name = "BYTES", default_value_t = 512 << 20)]
    pub max_buffered_bytes: usize,
    /// Longest a caller may take to send a request's head, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub head_timeout_seconds: u32,
    /// Longest a caller may take to send a request's body, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub body_timeout_seconds: u32,
    /// Longest a caller may take nothing of an answer that is ready for it, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub write_timeout_seconds: u32,
    /// How long a caller's connection may stay without a request, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub idle_timeout_seconds: u32,
    /// After SIGTERM: seconds in which new connections are still accepted, because endpoint removal races with it
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub drain_delay_seconds: u32,
    /// After the drain delay: seconds that running requests may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub drain_limit_seconds: u32,
}

impl Settings {
    /// The number of worker threads: as told, else one per core that the process may use.
    pub fn worker_count(&self) -> usize {
        self.workers
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get)
    }

    /// The same with the number of workers said: asked twice, the system may say two, and there must be as
    /// many cells as workers.
    pub(crate) fn settled(&self) -> Self {
        Self {
            workers: NonZeroUsize::new(self.worker_count()),
            ..self.clone()
        }
    }

    pub(crate) fn body_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.body_timeout_seconds))
    }

    pub(crate) fn drain_delay(&self) -> Duration {
        Duration::from_secs(u64::from(self.drain_delay_seconds))
    }

    pub(crate) fn drain_limit(&self) -> Duration {
        Duration::from_secs(u64::from(self.drain_limit_seconds))
    }
}

impl Default for Settings {
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Nothing {
            #[command(flatten)]
            settings: Settings,
        }
        Nothing::parse_from(["weighbridge"]).settings
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// With none nobody could be served; beyond a semaphore's permits they can't be counted.
fn connection_count() -> impl TypedValueParser<Value = usize> {
    RangedU64ValueParser::<usize>::new().range(1..=Semaphore::MAX_PERMITS as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Program {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn a_number_of_connections_that_can_not_be_served_is_refused() {
        let parse = |count: &str| {
            let parsed = Program::try_parse_from(["x", "--max-connections", count]);
            parsed.map(|program| program.settings.max_connections)
        };
        for count in ["0", "2305843009213693952", "99999999999999999999", "all"] {
            let error = parse(count).unwrap_err().to_string();
            assert!(
                error.contains(&format!("'{count}' for '--max-connections <COUNT>'")),
                "{error}"
            );
        }
        let error = parse("0").unwrap_err().to_string();
        assert!(
            error.contains("0 is not in 1..=2305843009213693951"),
            "{error}"
        );
        for count in [1, 10_000, Semaphore::MAX_PERMITS] {
            assert_eq!(parse(&count.to_string()).unwrap(), count);
        }
    }

    #[test]
    fn listens_on_loopback_unless_told_otherwise() {
        let settings = Settings::default();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.admin.to_string(), "127.0.0.1:8081");
        assert!(settings.worker_count() >= 1);
    }
}
