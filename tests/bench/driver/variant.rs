//! The ways from load generator to upstream that are compared, and one slice of load through one of
//! them. It must never measure a slice in which a request failed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::gateway::TOKEN;
use crate::process::{Launcher, Process, Role};
use crate::procfs::CpuReading;
use crate::workload::{Mode, Workload};

/// The longest that one slice may take, valgrind included.
const SLICE_LIMIT: Duration = Duration::from_mins(5);
/// The longest that a program may take to its first answer, valgrind included.
const START_LIMIT: Duration = Duration::from_mins(1);
const RETRY: Duration = Duration::from_millis(50);

/// One way to the upstream.
#[derive(Debug)]
pub(crate) struct Variant {
    /// As printed.
    pub(crate) name: &'static str,
    /// Where the load goes.
    pub(crate) address: SocketAddr,
    /// The proxy in between; none for the direct way.
    pub(crate) proxy: Option<Process>,
}

/// A proxy that can be started.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// As printed.
    pub(crate) name: &'static str,
    /// One of the programs beside this one.
    pub(crate) program: &'static str,
    /// Where it will answer.
    pub(crate) address: SocketAddr,
    /// What makes it do so.
    pub(crate) arguments: Vec<String>,
}

/// What one run of the load generator reported.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct LoadReport {
    /// Answers read.
    pub(crate) requests: u32,
    /// Wall time, without connecting.
    pub(crate) seconds: f64,
    /// Bytes of all decoded bodies.
    pub(crate) bytes: u64,
    /// Median latency.
    pub p50_seconds: f64,
    /// 99th percentile of the latency.
    pub p99_seconds: f64,
}

/// One variant's part of a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice {
    /// What the load generator saw.
    pub(crate) load: LoadReport,
    /// CPU time of the proxy over the slice.
    pub(crate) cpu: Option<Duration>,
}

/// Runs load through variants.
#[derive(Debug)]
pub(crate) struct Loader {
    /// The programs.
    pub(crate) launcher: Launcher,
    /// Where output goes.
    pub(crate) folder: PathBuf,
}

impl Loader {
    /// One slice of `workload` through `variant`.
    ///
    /// # Errors
    /// When a request failed, an answer was shorter than `answer_bytes`, or a program ended.
    pub(crate) async fn slice(
        &self,
        variant: &mut Variant,
        workload: &Workload,
        answer_bytes: u64,
    ) -> anyhow::Result<Slice> {
        if let Some(proxy) = &mut variant.proxy {
            proxy.check_running()?;
        }
        let before = cpu(variant)?;
        let load = self.load(variant.address, workload, answer_bytes).await;
        let load = load.with_context(|| format!("{} through {}", workload.name, variant.name))?;
        let cpu = match (cpu(variant)?, before) {
            (Some(after), Some(before)) => Some(after.since(&before)?),
            _ => None,
        };
        Ok(Slice { load, cpu })
    }

    /// Waits until `variant` answers a request.
    ///
    /// # Errors
    /// When its program ends, or no answer came in time.
    pub(crate) async fn await_answer(&self, variant: &mut Variant) -> anyhow::Result<()> {
        let probe = single_request(Mode::Plain);
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(proxy) = &mut variant.proxy {
                proxy.check_running()?;
            }
            match self.load(variant.address, &probe, 1).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    let context = format!("{} gave no good answer in time", variant.name);
                    return Err(error.context(context));
                }
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Bytes of the body that the upstream gives in `mode`, unproxied: the measure of a whole answer.
    ///
    /// # Errors
    /// When the request fails.
    pub(crate) async fn answer_bytes(
        &self,
        upstream: SocketAddr,
        mode: Mode,
    ) -> anyhow::Result<u64> {
        let report = self.load(upstream, &single_request(mode), 1).await?;
        Ok(report.bytes)
    }

    /// Runs the load generator against `address`.
    ///
    /// # Errors
    /// When a request failed or an answer was shorter than `answer_bytes`.
    pub(crate) async fn load(
        &self,
        address: SocketAddr,
        workload: &Workload,
        answer_bytes: u64,
    ) -> anyhow::Result<LoadReport> {
        let mut command = self.launcher.command("bench-load", Role::Other);
        command
            .args(["--target", &address.to_string()])
            .args(["--requests", &workload.requests.to_string()])
            .args(["--connections", &workload.connections.to_string()])
            .args(["--body-bytes", &workload.body_bytes.to_string()])
            .args(["--mode", &workload.mode.to_string()])
            .args(["--answer-bytes", &answer_bytes.to_string()])
            .args(["--token", TOKEN]);
        let mut process = Process::start(&mut command, "load", &self.folder)?;
        let status = process.ended(SLICE_LIMIT).await?;
        if !status.success() {
            bail!("the load generator failed: {}", process.last_output());
        }
        serde_json::from_str(process.output().trim())
            .context("the load generator's report is not what was expected")
    }
}

impl Proxy {
    /// Starts `command`, which runs this proxy.
    ///
    /// # Errors
    /// When the program isn't there.
    pub(crate) fn start(&self, command: &mut Command, folder: &Path) -> anyhow::Result<Variant> {
        Ok(Variant {
            name: self.name,
            address: self.address,
            proxy: Some(Process::start(command, self.name, folder)?),
        })
    }
}

fn cpu(variant: &Variant) -> anyhow::Result<Option<CpuReading>> {
    variant
        .proxy
        .as_ref()
        .map(|proxy| CpuReading::take(proxy.id()))
        .transpose()
}

fn single_request(mode: Mode) -> Workload {
    Workload {
        name: "probe",
        body_bytes: 1024,
        mode,
        connections: 1,
        requests: 1,
        figures: &[],
    }
}
