//! User instructions per request by callgrind: the same proxy is run for two numbers of requests, and
//! the difference is divided. Repeatable where times are not; it must never see the kernel's part.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::variant::{Loader, start};
use crate::workload::Workload;

/// The longest that a proxy may drain after SIGTERM, under valgrind.
const DRAIN_LIMIT: Duration = Duration::from_secs(120);

/// A proxy whose instructions are counted.
#[derive(Debug)]
pub struct Counted {
    /// As printed.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments, which make it listen at `address`.
    pub arguments: Vec<String>,
    /// Where it will answer.
    pub address: SocketAddr,
}

/// Whether `valgrind` can be started.
pub fn is_valgrind_installed() -> bool {
    let output = Command::new("valgrind").arg("--version").output();
    output.is_ok_and(|output| output.status.success())
}

/// User instructions per request of `workload`.
///
/// # Errors
/// When a run fails or callgrind's file has another shape.
pub async fn per_request(
    loader: &Loader,
    counted: &Counted,
    workload: &Workload,
    answer_bytes: u64,
) -> anyhow::Result<u32> {
    let fewer = Workload {
        requests: workload.requests / 4,
        ..*workload
    };
    let small = total(loader, counted, &fewer, answer_bytes).await?;
    let large = total(loader, counted, workload, answer_bytes).await?;
    let requests = u64::from(workload.requests - fewer.requests);
    let difference = large
        .checked_sub(small)
        .context("more requests took fewer instructions")?;
    u32::try_from(difference / requests).context("more than 2^32 instructions per request")
}

/// All instructions of one life of the proxy: start, `workload.requests` requests, SIGTERM.
async fn total(
    loader: &Loader,
    counted: &Counted,
    workload: &Workload,
    answer_bytes: u64,
) -> anyhow::Result<u64> {
    let file = loader.folder.join("callgrind.out");
    drop(std::fs::remove_file(&file));
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(&counted.program)
        .args(&counted.arguments);
    let mut variant = start(counted.name, counted.address, &mut command, &loader.folder)?;
    loader.await_answer(&mut variant).await?;
    loader.slice(&mut variant, workload, answer_bytes).await?;
    let proxy = variant.proxy.context("a counted variant has a proxy")?;
    proxy.terminate(DRAIN_LIMIT).await?;
    read_total(&file)
}

fn read_total(file: &Path) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("callgrind wrote no {}", file.display()))?;
    match parse_total(&text) {
        Some(total) if total > 0 => Ok(total),
        _ => bail!("callgrind's file has no total"),
    }
}

/// The `totals:` line at the end of the file, or the sum of the `summary:` lines of its parts
/// (Valgrind's manual, "Callgrind Format Specification").
fn parse_total(text: &str) -> Option<u64> {
    let counts = |name: &str| -> Vec<u64> {
        text.lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter_map(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
            .collect()
    };
    let summaries = counts("summary:");
    match counts("totals:").as_slice() {
        [] if summaries.is_empty() => None,
        [] => Some(summaries.iter().sum()),
        totals => Some(totals.iter().sum()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_total_and_falls_back_to_the_summaries() {
        let cases = [
            ("events: Ir\nsummary: 12\nfn=(1) a\n1 12\ntotals: 34\n", Some(34)),
            ("events: Ir\nsummary: 12 3\n", Some(12)),
            ("part: 1\nsummary: 12\npart: 2\nsummary: 30\n", Some(42)),
            ("events: Ir\n", None),
            ("totals: none\n", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_total(text), expected, "{text}");
        }
    }
}
