//! The CPU time of another process from `/proc` (proc(5)). It must never report a time that the kernel
//! didn't count: what it can't read is an error.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// The unit of the times in `/proc/PID/stat`: `USER_HZ` is 100 on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// How much CPU, user and system, a process had used at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CpuReading {
    /// Per thread, in nanoseconds, from `task/*/schedstat`.
    Threads(BTreeMap<String, Duration>),
    /// Of the process, in ticks of 10 ms, from `stat`, on kernels without scheduler statistics.
    Process(Duration),
}

impl CpuReading {
    /// Reads it for the process `pid`.
    ///
    /// # Errors
    /// When the process is gone or the files have another shape.
    pub(crate) fn take(pid: u32) -> anyhow::Result<Self> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let own = directory.join("schedstat");
        if !own.exists() {
            let text = std::fs::read_to_string(directory.join("stat"))
                .with_context(|| format!("process {pid} is gone"))?;
            let time = parse_stat(&text).context("/proc/PID/stat has an unknown shape")?;
            return Ok(Self::Process(time));
        }
        let mut threads = BTreeMap::new();
        for entry in std::fs::read_dir(directory.join("task"))? {
            let entry = entry?;
            // A thread may end between the listing and the reading.
            let Ok(text) = std::fs::read_to_string(entry.path().join("schedstat")) else {
                continue;
            };
            let time =
                parse_schedstat(&text).context("/proc/PID/schedstat has an unknown shape")?;
            threads.insert(entry.file_name().to_string_lossy().into_owned(), time);
        }
        Ok(Self::Threads(threads))
    }

    /// The CPU time used since `before`. A thread that ended in between counts up to `before` only.
    ///
    /// # Errors
    /// When the two readings are of different kinds.
    pub(crate) fn since(&self, before: &Self) -> anyhow::Result<Duration> {
        match (self, before) {
            (Self::Threads(after), Self::Threads(before)) => Ok(after
                .iter()
                .map(|(thread, time)| {
                    time.saturating_sub(before.get(thread).copied().unwrap_or_default())
                })
                .sum()),
            (Self::Process(after), Self::Process(before)) => Ok(after.saturating_sub(*before)),
            _ => bail!("two readings of different kinds"),
        }
    }
}

/// `time on the CPU in ns, time waiting in ns, slices`.
fn parse_schedstat(text: &str) -> Option<Duration> {
    let nanoseconds = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// `utime + stime`, fields 14 and 15; the command in field 2 may hold spaces and parentheses.
fn parse_stat(text: &str) -> Option<Duration> {
    let (_, after_command) = text.rsplit_once(')')?;
    let mut fields = after_command.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * user.checked_add(system)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_user_and_system_time_past_a_strange_command() {
        let text =
            "4242 (a b) c) S 1 4242 4242 0 -1 4194560 1337 0 2 0 150 25 0 0 20 0 3 0 998877 1 2\n";
        assert_eq!(parse_stat(text), Some(Duration::from_millis(1750)));
    }

    #[test]
    fn refuses_a_stat_that_is_cut() {
        for text in [
            "",
            "1 (a",
            "1 (a) S 1 2 3",
            "1 (a) S 1 2 3 4 5 6 7 8 9 10 x 12",
        ] {
            assert_eq!(parse_stat(text), None, "{text}");
        }
    }

    #[test]
    fn reads_nanoseconds_from_schedstat() {
        assert_eq!(
            parse_schedstat("167163434 12 9\n"),
            Some(Duration::from_nanos(167_163_434))
        );
        assert_eq!(parse_schedstat(""), None);
        assert_eq!(parse_schedstat("x 1 2"), None);
    }

    #[test]
    fn sums_threads_and_counts_new_ones_whole() {
        let reading = |threads: &[(&str, u64)]| {
            CpuReading::Threads(
                threads
                    .iter()
                    .map(|(thread, time)| ((*thread).to_owned(), Duration::from_nanos(*time)))
                    .collect(),
            )
        };
        let before = reading(&[("1", 100), ("2", 50)]);
        let after = reading(&[("1", 130), ("3", 5)]);
        assert_eq!(after.since(&before).unwrap(), Duration::from_nanos(35));
        assert!(after.since(&CpuReading::Process(Duration::ZERO)).is_err());
    }

    #[test]
    fn sees_this_process() {
        assert!(CpuReading::take(std::process::id()).is_ok());
        assert!(CpuReading::take(u32::MAX).is_err());
    }
}
