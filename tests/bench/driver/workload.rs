//! What is measured: the rows of the table, as data. A new row is a new value here; nothing else in the
//! driver may know a row by its name.

use std::fmt;

/// How the upstream answers; the names are those of the load generator's `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One JSON document of 1 KiB.
    Plain,
    /// 100 chunks, back to back.
    Burst,
    /// 100 chunks, 1 ms apart.
    Paced,
}

impl Mode {
    /// What one call is, for the figures' units.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Plain => "request",
            Self::Burst | Self::Paced => "stream",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Plain => "plain",
            Self::Burst => "burst",
            Self::Paced => "paced",
        })
    }
}

/// What is read off the slices of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// CPU time of the proxy per request, in µs.
    Cpu,
    /// Requests per second.
    Throughput,
    /// Median latency over the direct one's, in µs.
    AddedMedian,
    /// 99th percentile over the direct one's, in µs.
    AddedP99,
}

impl Figure {
    /// The figure's name with its unit, for calls of this mode.
    pub(crate) fn label(self, mode: Mode) -> String {
        let unit = mode.unit();
        match self {
            Self::Cpu => format!("CPU, µs per {unit}"),
            Self::Throughput => format!("{unit}s/s"),
            Self::AddedMedian => "added latency p50, µs".to_owned(),
            Self::AddedP99 => "added latency p99, µs".to_owned(),
        }
    }

    /// Digits after the decimal point.
    pub(crate) fn decimals(self) -> usize {
        match self {
            Self::Throughput => 0,
            Self::Cpu | Self::AddedMedian | Self::AddedP99 => 1,
        }
    }
}

/// One kind of load; a slice of it is `requests` requests in a closed loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    /// As printed.
    pub(crate) name: &'static str,
    /// Size of the request's body.
    pub(crate) body_bytes: u32,
    /// How the upstream answers.
    pub(crate) mode: Mode,
    /// Connections, one request at a time each.
    pub(crate) connections: u32,
    /// Requests (or streams) per slice: about a second's worth.
    pub(crate) requests: u32,
    /// What is reported.
    pub(crate) figures: &'static [Figure],
}

/// Connections that saturate one current-thread proxy.
const SATURATING_CONNECTIONS: u32 = 32;

/// The rows that are timed.
pub(crate) const TIMED: [Workload; 5] = [
    Workload {
        name: "1 KiB chat",
        body_bytes: 1024,
        mode: Mode::Plain,
        connections: SATURATING_CONNECTIONS,
        requests: 20_000,
        figures: &[Figure::Cpu, Figure::Throughput],
    },
    Workload {
        name: "16 KiB chat",
        body_bytes: 16 * 1024,
        mode: Mode::Plain,
        connections: SATURATING_CONNECTIONS,
        requests: 12_000,
        figures: &[Figure::Cpu, Figure::Throughput],
    },
    Workload {
        name: "100-chunk SSE, back to back",
        body_bytes: 1024,
        mode: Mode::Burst,
        connections: SATURATING_CONNECTIONS,
        requests: 3_000,
        figures: &[Figure::Cpu, Figure::Throughput],
    },
    Workload {
        name: "100-chunk SSE, paced at 1 ms",
        body_bytes: 1024,
        mode: Mode::Paced,
        connections: SATURATING_CONNECTIONS,
        requests: 320,
        figures: &[Figure::Cpu],
    },
    Workload {
        name: "1 KiB chat, one connection",
        body_bytes: 1024,
        mode: Mode::Plain,
        connections: 1,
        requests: 4_000,
        figures: &[Figure::AddedMedian, Figure::AddedP99],
    },
];

/// The rows whose instructions are counted: `requests` is the larger count, a quarter of it the
/// smaller, so that start, connecting and warming up cancel out.
pub(crate) const COUNTED: [Workload; 2] = [
    Workload {
        name: "1 KiB chat",
        body_bytes: 1024,
        mode: Mode::Plain,
        connections: SATURATING_CONNECTIONS,
        requests: 4_000,
        figures: &[],
    },
    Workload {
        name: "100-chunk SSE, back to back",
        body_bytes: 1024,
        mode: Mode::Burst,
        connections: SATURATING_CONNECTIONS,
        requests: 800,
        figures: &[],
    },
];
