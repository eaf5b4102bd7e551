//! What the mock saw: counters, and a log of requests.
//!
//! Owns both, bounded, behind one lock, so that whoever awaited a counter finds the log entry too.
//! Must never hold a whole credential.

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use tokio::sync::watch;

/// Entries that are kept; the oldest go first.
const ENTRIES: usize = 10_000;
/// Bytes of one request body that are kept.
const BODY_BYTES: usize = 64 * 1024;
/// Bytes of all kept bodies together.
const ALL_BODY_BYTES: usize = 64 * 1024 * 1024;
/// Different names that a counter by name tells apart; more are counted as `other`.
const NAMES: usize = 1_000;

/// What a mock has seen since it was made. All but `connections_open` and `in_flight` only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Connections accepted.
    pub connections_accepted: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// Requests whose body has been read.
    pub requests: u64,
    /// Requests that are being answered now.
    pub in_flight: u64,
    /// The most requests that were being answered at once.
    pub max_in_flight: u64,
    /// Answers written to their end, errors and streams' clean early ends included.
    pub answered: u64,
    /// Answers that the script broke off.
    pub cut: u64,
    /// Answers that the caller didn't wait for: it closed its connection first.
    pub cancelled: u64,
    /// Answers that ended because the mock was stopped.
    pub stopped: u64,
    /// Requests that met a fault.
    pub faults: u64,
    /// Connections closed on the next request's first bytes, by `hang-up: on-reuse`.
    pub hang_ups: u64,
    /// Events of streams that were written.
    pub events: u64,
    /// Requests by the last four characters of the key (`none` without one).
    pub by_account: BTreeMap<String, u64>,
    /// Requests by model, where there was one.
    pub by_model: BTreeMap<String, u64>,
    /// Requests by path.
    pub by_path: BTreeMap<String, u64>,
    /// Answers by status, counted when the head was written.
    pub by_status: BTreeMap<u16, u64>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is being answered.
    Open,
    /// The answer was written to its end.
    Answered,
    /// The script broke it off.
    Cut,
    /// The caller closed its connection first.
    Cancelled,
    /// The mock was stopped.
    Stopped,
}

/// One request, as the mock saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The request's number, from 1.
    pub number: u64,
    /// The number of its connection, from 1: equal numbers are the same keep-alive connection.
    pub connection: u64,
    /// When it was read, in milliseconds since 1970.
    pub at_ms: u64,
    /// Its method.
    pub method: String,
    /// Its path with its query.
    pub path: String,
    /// The model that it asked for.
    pub model: Option<String>,
    /// Whether it asked for a stream.
    pub stream: bool,
    /// The last four characters of its key.
    pub account: Option<String>,
    /// Its headers, in order, names as they were written; of credentials the last four characters.
    pub headers: Vec<(String, String)>,
    /// How long its body was, in bytes.
    pub body_bytes: u64,
    /// The first 64 KiB of its body, exactly.
    #[serde(serialize_with = "text_or_base64")]
    pub body: Bytes,
    /// The fault that it met, as its text in YAML's flow form.
    pub fault: Option<String>,
    /// The status that it was answered with, once a head was written.
    pub status: Option<u16>,
    /// Events of its stream that were written.
    pub events: u64,
    /// How it ended.
    pub outcome: Outcome,
}

impl Entry {
    /// The value of a header, whatever the case of its name; of several the first.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }

    /// Whether the caller left before the answer was finished.
    pub fn cancelled(&self) -> bool {
        self.outcome == Outcome::Cancelled
    }
}

/// JSON has no bytes: text where it is UTF-8, else `base64:` and the bytes in it.
fn text_or_base64<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(body) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => serializer.collect_str(&format_args!("base64:{}", BASE64_STANDARD.encode(body))),
    }
}

/// Counters and log, with everyone who waits for them.
#[derive(Debug)]
pub(crate) struct Journal {
    book: watch::Sender<Book>,
}

#[derive(Debug, Default)]
struct Book {
    counters: Counters,
    entries: VecDeque<Entry>,
    kept_body_bytes: usize,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            book: watch::Sender::new(Book::default()),
        }
    }
}

impl Journal {
    pub(crate) fn counters(&self) -> Counters {
        self.book.borrow().counters.clone()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.book.borrow().entries.iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.book.send_modify(|book| {
            book.entries.clear();
            book.kept_body_bytes = 0;
        });
    }

    /// Waits until the counters satisfy `holds`, and returns them as they then were.
    pub(crate) async fn until(&self, mut holds: impl FnMut(&Counters) -> bool) -> Counters {
        let mut receiver = self.book.subscribe();
        match receiver.wait_for(|book| holds(&book.counters)).await {
            Ok(book) => book.counters.clone(),
            // The sender lives in `self`, so this arm is never taken.
            Err(_) => self.counters(),
        }
    }

    /// Changes counters that belong to no request.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Counters)) {
        self.book.send_modify(|book| change(&mut book.counters));
    }

    /// Enters a request; returns its number, and how many came with the same key so far.
    pub(crate) fn open(&self, mut entry: Entry) -> (u64, u64) {
        entry.body_bytes = entry.body.len() as u64;
        // A copy, so that the log doesn't keep the connection's whole read buffer alive.
        entry.body = Bytes::copy_from_slice(entry.body.get(..BODY_BYTES).unwrap_or(&entry.body));
        entry.at_ms = now_ms();
        let mut numbers = (0, 0);
        self.book.send_modify(|book| {
            let of_account = book.counters.open(&entry);
            numbers = (book.counters.requests, of_account);
            entry.number = book.counters.requests;
            book.push(entry);
        });
        numbers
    }

    /// Notes that the head of an answer was written.
    pub(crate) fn head(&self, number: u64, status: u16) {
        self.book.send_modify(|book| {
            *book.counters.by_status.entry(status).or_default() += 1;
            if let Some(entry) = book.entry(number) {
                entry.status = Some(status);
            }
        });
    }

    /// Notes that events of a stream were written.
    pub(crate) fn events(&self, number: u64, events: u64) {
        self.book.send_modify(|book| {
            book.counters.events += events;
            if let Some(entry) = book.entry(number) {
                entry.events += events;
            }
        });
    }

    /// Notes how a request ended.
    pub(crate) fn close(&self, number: u64, outcome: Outcome) {
        self.book.send_modify(|book| {
            book.counters.close(outcome);
            if let Some(entry) = book.entry(number) {
                entry.outcome = outcome;
            }
        });
    }
}

impl Counters {
    /// Counts a request; returns how many came with the same key so far.
    fn open(&mut self, entry: &Entry) -> u64 {
        self.requests += 1;
        self.in_flight += 1;
        self.max_in_flight = self.max_in_flight.max(self.in_flight);
        self.faults += u64::from(entry.fault.is_some());
        let path = entry.path.split('?').next().unwrap_or_default();
        bump(&mut self.by_path, path);
        if let Some(model) = entry.model.as_deref() {
            bump(&mut self.by_model, model);
        }
        bump(
            &mut self.by_account,
            entry.account.as_deref().unwrap_or("none"),
        )
    }

    fn close(&mut self, outcome: Outcome) {
        self.in_flight -= 1;
        match outcome {
            Outcome::Open => {}
            Outcome::Answered => self.answered += 1,
            Outcome::Cut => self.cut += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Stopped => self.stopped += 1,
        }
    }
}

/// Adds one to a counter, and returns it.
fn bump(counts: &mut BTreeMap<String, u64>, name: &str) -> u64 {
    let known = counts.contains_key(name) || counts.len() < NAMES;
    let name = if known { name } else { "other" };
    let count = counts.entry(name.to_owned()).or_default();
    *count += 1;
    *count
}

impl Book {
    fn push(&mut self, entry: Entry) {
        self.kept_body_bytes += entry.body.len();
        self.entries.push_back(entry);
        while self.entries.len() > ENTRIES || self.kept_body_bytes > ALL_BODY_BYTES {
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.kept_body_bytes -= oldest.body.len();
        }
    }

    /// The entry with this number, if it is still kept. Numbers are consecutive.
    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let first = self.entries.front()?.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.entries.get_mut(index)
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
