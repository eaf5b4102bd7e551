//! What goes to standard output and standard error, outside of logs.
//!
//! Must never be written to from the request path.

use std::io::{self, Write as _};

use anyhow::Context as _;

/// Writes text and a line break to standard output.
///
/// # Errors
/// When it can't be written, for example because its reader has left.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    write(&format!("{text}\n"))
}

/// Writes text to standard output as it is.
///
/// # Errors
/// When it can't be written.
pub(crate) fn write(text: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .context("standard output can't be written to")
}

/// Writes a line to standard error.
pub(crate) fn complain(line: &str) {
    // With standard error gone there is nobody left to tell.
    drop(writeln!(io::stderr(), "{line}"));
}

/// Whether an error means that the reader of our output has left.
pub(crate) fn is_reader_gone(error: &anyhow::Error) -> bool {
    let source = error.downcast_ref::<io::Error>();
    source.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
