//! The `weighbridge-dataplane` program as whoever runs it sees it: its lines, its exit code, its signals. Must
//! never wait without a limit.

#![cfg(test)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use weighbridge_snapshot::{Snapshot, encode};

/// How long anything may last before a test is taken to hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program, with the lines of its standard error.
struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_weighbridge-dataplane"))
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // A test that has seen enough hears no more.
                drop(sender.send(line));
            }
        });
        Self { child, lines }
    }

    /// Waits for a line that contains `part`.
    fn line(&self, part: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {part:?} in {seen:?}");
            };
            if line.contains(part) {
                return;
            }
            seen.push(line);
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Its exit code, once it has said all.
    fn code(mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        let left = || deadline.saturating_duration_since(Instant::now());
        // The lines end when the process does.
        while self.lines.recv_timeout(left()).is_ok() {}
        assert!(Instant::now() < deadline, "it doesn't end");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapshot");
    std::fs::write(&file, encode(&Snapshot::default())).unwrap();
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        let path = file.to_str().unwrap();
        let program = Program::start(&["--snapshot", path, "--drain-delay-seconds", "600"]);
        program.line("listening on http://127.0.0.1:");
        program.signal(first);
        program.line("draining");
        program.signal(second);
        program.line("told a second time");
        assert_eq!(program.code(), Some(0), "{first} {second}");
    }
}

#[test]
fn a_snapshot_that_can_not_be_read_is_said_before_the_end() {
    let program = Program::start(&["--snapshot", "/nowhere/snapshot"]);
    program.line("the snapshot /nowhere/snapshot can't be read");
    assert_eq!(program.code(), Some(2));
}
