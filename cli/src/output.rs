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
    drop(writeln!(io::stderr(), "{}", visible(line)));
}

/// A line with names from files in it, as a terminal may have it: what would end the line, move the
/// cursor or turn the writing around is spelt out.
pub(crate) fn visible(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for letter in line.chars() {
        match letter {
            // Line and paragraph separators, and the marks that change the direction of writing.
            '\u{2028}'
            | '\u{2029}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => shown.extend(letter.escape_unicode()),
            letter if letter.is_control() => shown.extend(letter.escape_default()),
            letter => shown.push(letter),
        }
    }
    shown
}

/// Whether an error means that the reader of our output has left.
pub(crate) fn is_reader_gone(error: &anyhow::Error) -> bool {
    let source = error.downcast_ref::<io::Error>();
    source.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_spelt_out() {
        assert_eq!(
            visible("a\nb\r\u{1b}[2J\u{9b}c\u{202e}d\u{2028}\u{7f}"),
            "a\\nb\\r\\u{1b}[2J\\u{9b}c\\u{202e}d\\u{2028}\\u{7f}"
        );
        assert_eq!(visible("ä 😀 \"\\n\""), "ä 😀 \"\\n\"");
    }
}
