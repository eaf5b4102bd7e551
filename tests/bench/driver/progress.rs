//! What a person sees while the bench runs: one line per row on standard error; on a terminal it also
//! shows the step, in place. It must never write to standard output, which holds the table alone.

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

/// Tells on standard error how far the bench is.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    is_terminal: bool,
    row: String,
}

impl Progress {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            is_terminal: std::io::stderr().is_terminal(),
            row: String::new(),
        }
    }

    /// A new row begins.
    pub(crate) fn row(&mut self, row: impl Into<String>) {
        self.finish();
        self.row = row.into();
        if !self.is_terminal {
            write(&format!("{}\n", self.line()));
        }
    }

    /// A step within the row replaces the one before.
    pub(crate) fn step(&self, step: &str) {
        if self.is_terminal {
            write(&format!("\r\x1b[K{}: {step}", self.line()));
        }
    }

    /// Leaves the last row's line behind.
    pub(crate) fn finish(&self) {
        if self.is_terminal && !self.row.is_empty() {
            write(&format!("\r\x1b[K{}\n", self.line()));
        }
    }

    fn line(&self) -> String {
        format!("[{:>4} s] {}", self.start.elapsed().as_secs(), self.row)
    }
}

fn write(text: &str) {
    // Nobody is left to tell when standard error is closed.
    drop(std::io::stderr().write_all(text.as_bytes()));
}
