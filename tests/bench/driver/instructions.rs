//! User instructions per request by callgrind: the same proxy is run for two numbers of requests, and
//! the difference is divided. Repeatable where times are not; it must never see the kernel's part.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::report::Line;
use crate::rounds::FLOOR;
use crate::statistics::Spread;
use crate::variant::{Loader, Proxy};
use crate::workload::Workload;

/// The longest that a proxy may drain after SIGTERM, under valgrind.
const DRAIN_LIMIT: Duration = Duration::from_mins(2);

/// Whether `valgrind` can be started.
pub(crate) fn is_valgrind_installed() -> bool {
    let output = Command::new("valgrind").arg("--version").output();
    output.is_ok_and(|output| output.status.success())
}

/// User instructions per request of `workload`.
///
/// # Errors
/// When a run fails or callgrind's file has another shape.
pub(crate) async fn per_request(
    loader: &Loader,
    proxy: &Proxy,
    workload: &Workload,
    answer_bytes: u64,
) -> anyhow::Result<u32> {
    let fewer = Workload {
        requests: workload.requests / 4,
        ..*workload
    };
    let small = total(loader, proxy, &fewer, answer_bytes).await?;
    let large = total(loader, proxy, workload, answer_bytes).await?;
    let requests = u64::from(workload.requests - fewer.requests);
    let difference = large
        .checked_sub(small)
        .context("more requests took fewer instructions")?;
    u32::try_from(difference / requests).context("more than 2^32 instructions per request")
}

/// The line of one workload; `counts` are by variant.
pub(crate) fn line(workload: &Workload, counts: &[Option<u32>]) -> Line {
    let count = |variant: usize| counts.get(variant).copied().flatten().map(f64::from);
    let ratio = |variant: usize| {
        (variant > FLOOR).then_some(())?;
        Some(count(variant)? / count(FLOOR)?)
    };
    let all = 0..counts.len();
    Line {
        label: format!(
            "{}: user instructions per {}",
            workload.name,
            workload.mode.unit()
        ),
        decimals: 0,
        values: all
            .clone()
            .map(|variant| Spread::of(&[count(variant)?]))
            .collect(),
        ratios: all.map(|variant| Spread::of(&[ratio(variant)?])).collect(),
    }
}

/// All instructions of one life of the proxy: start, `workload.requests` requests, SIGTERM.
async fn total(
    loader: &Loader,
    proxy: &Proxy,
    workload: &Workload,
    answer_bytes: u64,
) -> anyhow::Result<u64> {
    let file = loader.folder.join("callgrind.out");
    drop(std::fs::remove_file(&file));
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(loader.launcher.binaries.join(proxy.program))
        .args(&proxy.arguments);
    let mut variant = proxy.start(&mut command, &loader.folder)?;
    loader.await_answer(&mut variant).await?;
    loader.slice(&mut variant, workload, answer_bytes).await?;
    let process = variant.proxy.context("a counted variant has a proxy")?;
    process.terminate(DRAIN_LIMIT).await?;
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
    use crate::workload::COUNTED;

    #[test]
    fn a_line_has_the_counts_and_the_ratio_over_the_floor() {
        let line = line(&COUNTED[0], &[None, Some(40_000), Some(50_000)]);
        assert_eq!(line.label, "1 KiB chat: user instructions per request");
        assert_eq!(line.values[0], None);
        assert_eq!(line.values[2], Spread::of(&[50_000.0]));
        assert_eq!(line.ratios, [None, None, Spread::of(&[1.25])]);
    }

    #[test]
    fn reads_the_total_and_falls_back_to_the_summaries() {
        let cases = [
            (
                "events: Ir\nsummary: 12\nfn=(1) a\n1 12\ntotals: 34\n",
                Some(34),
            ),
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
