//! What a person sees while the bench runs: one line per row on standard error, rewritten in place on a
//! terminal. It must never write to standard output, which holds the table alone.

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

/// Tells on standard error how far the bench is.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    in_place: bool,
    row: String,
}

impl Progress {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            in_place: std::io::stderr().is_terminal(),
            row: String::new(),
        }
    }

    /// A new row begins.
    pub(crate) fn row(&mut self, row: impl Into<String>) {
        self.row = row.into();
        self.write("", "\n");
    }

    /// A step within the row; shown on a terminal only, where it replaces the one before.
    pub(crate) fn step(&self, step: &str) {
        if self.in_place {
            self.write(step, "");
        }
    }

    /// The last line of a row on a terminal is left behind as it is.
    pub(crate) fn finish(&self) {
        self.write("done", "\n");
    }

    fn write(&self, step: &str, line_end: &str) {
        let seconds = self.start.elapsed().as_secs();
        let line = format!("[{seconds:>4} s] {} {step}", self.row);
        let line = line.trim_end();
        // Nobody is left to tell when standard error is closed.
        drop(if self.in_place {
            write!(std::io::stderr(), "\r\x1b[K{line}")
        } else {
            write!(std::io::stderr(), "{line}{line_end}")
        });
        if self.in_place && step == "done" {
            drop(writeln!(std::io::stderr()));
        }
    }
}
