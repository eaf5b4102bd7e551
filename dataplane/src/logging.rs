//! How this process logs: structured lines on standard error, written by a thread of their own. Must never
//! log a secret or a prompt (the types see to the first, [`weighbridge_snapshot::Redacted`], the call sites
//! to the second), and must never make a worker wait for whoever reads the lines.

use std::io::{self, IsTerminal as _, Write};
use std::sync::OnceLock;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that wait to be written, at most: some megabytes. Further ones are dropped and counted.
const WAITING_LINES: usize = 16 << 10;

/// What the process's log has dropped.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// The filter isn't one.
#[derive(Debug, thiserror::Error)]
#[error(
    "the log filter {filter:?} can't be read; allowed are levels (error, warn, info, debug, trace) and target=level pairs, such as \"info,weighbridge_dataplane=debug\""
)]
pub struct LogFilterError {
    filter: String,
    #[source]
    source: tracing_subscriber::filter::ParseError,
}

/// Logging that has begun. Dropping it waits, for a second at most, until the lines that wait are written;
/// hold it as long as the process lives.
#[derive(Debug)]
#[must_use = "nothing is logged any more once it is dropped"]
pub struct Logging {
    _writer: WorkerGuard,
}

/// Starts logging for the whole process; a second call changes nothing.
///
/// # Errors
/// When `filter` can't be read.
pub fn init_logging(format: LogFormat, filter: &str) -> Result<Logging, LogFilterError> {
    let filter = EnvFilter::try_new(filter).map_err(|source| LogFilterError {
        filter: filter.to_owned(),
        source,
    })?;
    let (writer, guard) = unhurried(io::stderr());
    let dropped = writer.error_counter();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(writer);
    let started = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // Only a second call fails: the first one's logging stays.
    if started.is_ok() {
        drop(DROPPED.set(dropped));
    }
    Ok(Logging { _writer: guard })
}

/// Lines of this process's log that nobody took in time.
pub(crate) fn dropped_lines() -> u64 {
    DROPPED
        .get()
        .map_or(0, |dropped| dropped.dropped_lines() as u64)
}

/// Writes to `writer` on a thread of its own, and drops what it is too slow for.
fn unhurried(writer: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(writer)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Takes a line when it is told to, and says what it took.
    struct Stubborn {
        may_take: Receiver<()>,
        taken: SyncSender<Vec<u8>>,
    }

    impl Write for Stubborn {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            // Whoever told it has gone: then it takes everything.
            let _ = self.may_take.recv();
            drop(self.taken.send(line.to_owned()));
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_reads_nothing_costs_lines_and_no_time() {
        const MORE: usize = 100;
        let (take, may_take) = sync_channel(0);
        let (taken, took) = sync_channel(2 * WAITING_LINES);
        let (mut writer, guard) = unhurried(Stubborn { may_take, taken });
        let dropped = writer.error_counter();
        for line in 0..WAITING_LINES + MORE {
            writer.write_all(line.to_string().as_bytes()).unwrap();
        }
        // One is in the writer's hands, unless it hasn't got there yet.
        assert!([MORE, MORE - 1].contains(&dropped.dropped_lines()));
        let kept = WAITING_LINES + MORE - dropped.dropped_lines();
        drop(take);
        for line in 0..kept {
            assert_eq!(took.recv().unwrap(), line.to_string().as_bytes());
        }
        drop(guard);
        assert!(took.recv().is_err());
    }

    #[test]
    fn a_filter_that_can_not_be_read_is_an_error() {
        let error = init_logging(LogFormat::Text, "x=loud")
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"x=loud\""), "{error}");
    }
}
