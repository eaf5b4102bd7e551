//! Watches a committed stream go by: did it end well, did an error come, what was used.
//!
//! Bytes are searched, not parsed: some ten nanoseconds for a small piece instead of some hundreds.
//! Why that is safe, and how far: see `member`.

use std::sync::LazyLock;

use weighbridge_snapshot::Operation;

use super::chunk::is_failure;
use super::member::{Found, Label, Member};
use super::run::{End, end};
use crate::answer::{Usage, usage_of};

static USAGE: LazyLock<Label> = LazyLock::new(|| Label::key(b"\"usage\""));
static ERROR: LazyLock<Label> = LazyLock::new(|| Label::key(b"\"error\""));
static FINISH: LazyLock<Label> = LazyLock::new(|| Label::key(b"\"finish_reason\""));
static TYPE: LazyLock<Label> = LazyLock::new(|| Label::key(b"\"type\""));
static EVENT: LazyLock<Label> = LazyLock::new(|| Label::line(b"event:"));

/// Longer than every label, and than the end of a stream that [`is_done`] looks for.
const TAIL: usize = 24;

/// Watches the bytes of a stream, from its first one.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The last bytes fed.
    tail: [u8; TAIL],
    tail_len: usize,
    usage_member: Member,
    kind: Kind,
    findings: Findings,
}

/// How the operation's streams end.
#[derive(Debug)]
enum Kind {
    Chunks {
        finish: Member,
        error: Member,
    },
    /// The event's name says it; its data's type where a server sends no names.
    Events {
        event: Member,
        kind: Member,
    },
}

#[derive(Debug, Default)]
struct Findings {
    is_complete: bool,
    has_error: bool,
    has_event_names: bool,
    usage: Option<Usage>,
}

impl Watch {
    pub(crate) fn new(operation: Operation) -> Self {
        let kind = match operation {
            Operation::Responses => Kind::Events {
                event: Member::new(&EVENT),
                kind: Member::new(&TYPE),
            },
            Operation::ChatCompletions | Operation::Completions | Operation::Embeddings => {
                Kind::Chunks {
                    finish: Member::new(&FINISH),
                    error: Member::new(&ERROR),
                }
            }
        };
        Self {
            tail: [0; TAIL],
            tail_len: 0,
            usage_member: Member::new(&USAGE),
            kind,
            findings: Findings::default(),
        }
    }

    /// Takes the next bytes, those held before the commit included.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let before = self.tail.get(..self.tail_len).unwrap_or_default();
        let findings = &mut self.findings;
        self.usage_member.feed(before, bytes, &mut |found| {
            if let Found::Object(object) = found
                && let Some(usage) = usage_of(object)
            {
                findings.usage = Some(usage);
            }
        });
        match &mut self.kind {
            Kind::Chunks { finish, error } => {
                finish.feed(before, bytes, &mut |found| findings.finish(found));
                error.feed(before, bytes, &mut |found| {
                    findings.has_error |= found != Found::Null;
                });
            }
            Kind::Events { event, kind } => {
                event.feed(before, bytes, &mut |found| {
                    findings.has_event_names = true;
                    findings.end(found);
                });
                if !findings.has_event_names {
                    kind.feed(before, bytes, &mut |found| findings.end(found));
                }
            }
        }
        self.keep_tail(bytes);
        if matches!(self.kind, Kind::Chunks { .. }) && is_done(self.tail()) {
            self.findings.is_complete = true;
        }
    }

    /// Whether the stream said that it is over: `[DONE]`, a finish reason (of several choices, one
    /// is taken for all), or a final event.
    pub(crate) fn is_complete(&self) -> bool {
        self.findings.is_complete
    }

    /// Whether nothing can follow: `[DONE]` or a final event, and it came last.
    pub(crate) fn is_over(&self) -> bool {
        match self.kind {
            Kind::Chunks { .. } => is_done(self.tail()),
            Kind::Events { .. } => self.is_complete(),
        }
    }

    /// Whether the provider said that it failed.
    pub(crate) fn error_seen(&self) -> bool {
        self.findings.has_error
    }

    /// The last usage that was told.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.findings.usage
    }

    fn tail(&self) -> &[u8] {
        self.tail.get(..self.tail_len).unwrap_or_default()
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            self.tail = *last;
            self.tail_len = TAIL;
            return;
        }
        let drop = (self.tail_len + bytes.len()).saturating_sub(TAIL);
        self.tail.copy_within(drop..self.tail_len, 0);
        let kept = self.tail_len - drop;
        for (to, from) in self.tail.iter_mut().skip(kept).zip(bytes) {
            *to = *from;
        }
        self.tail_len = kept + bytes.len();
    }
}

impl Findings {
    fn finish(&mut self, found: Found<'_>) {
        match found {
            Found::Text(reason) if std::str::from_utf8(reason).is_ok_and(is_failure) => {
                self.has_error = true;
            }
            // Some servers write an empty reason while there is none.
            Found::Text(reason) => self.is_complete |= !reason.is_empty(),
            Found::Object(_) | Found::Null | Found::Other => {}
        }
    }

    fn end(&mut self, found: Found<'_>) {
        let Found::Text(kind) = found else {
            return;
        };
        match std::str::from_utf8(kind.trim_ascii()).ok().and_then(end) {
            Some(End::Good) => self.is_complete = true,
            Some(End::Bad) => self.has_error = true,
            None => {}
        }
    }
}

/// Whether the bytes end with the line `data: [DONE]`, and line ends. Inside JSON such a line can't
/// be: its line break would be escaped.
fn is_done(tail: &[u8]) -> bool {
    let line = tail.trim_ascii_end();
    let Some(start) = line.strip_suffix(b"[DONE]") else {
        return false;
    };
    let start = start.strip_suffix(b" ").unwrap_or(start);
    start
        .strip_suffix(b"data:")
        .is_some_and(|before| matches!(before.last(), None | Some(b'\r' | b'\n')))
}
