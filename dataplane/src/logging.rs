//! How this process logs: structured lines on standard error. Must never log a secret or a prompt; the
//! types see to the first ([`weighbridge_snapshot::Redacted`]), the call sites to the second.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

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

/// Starts logging for the whole process; a second call changes nothing.
///
/// # Errors
/// When `filter` can't be read.
pub fn init_logging(format: LogFormat, filter: &str) -> Result<(), LogFilterError> {
    let filter = EnvFilter::try_new(filter).map_err(|source| LogFilterError {
        filter: filter.to_owned(),
        source,
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // Only a second call fails: the first one's logging stays.
    drop(started);
    Ok(())
}
