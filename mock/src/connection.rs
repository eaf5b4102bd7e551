//! One connection of a caller: read a request, have it answered, carry the answer's program out.
//!
//! Owns the socket, and the watch for a caller that leaves. Must never decide what is answered.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;

use crate::answer::error::Complaint;
use crate::answer::{self, Answer, Context, Question, last_four};
use crate::control;
use crate::fault::{Fault, FaultError};
use crate::journal::{Entry, Outcome};
use crate::mock::Shared;
use crate::program::{self, Delivery, Program, Step, Then};
use crate::request::{self, ReadError, Request};
use crate::script::{self, Facts};

/// What a caller may send ahead while it is being answered; beyond, its leaving isn't noticed.
const AHEAD_BYTES: usize = 256 * 1024;
/// What is read and dropped of a request that wasn't read to its end, so that the caller reads the
/// refusal and not a reset.
const DRAINED_BYTES: usize = 64 * 1024 * 1024;
/// How much of it is read at once.
const DRAIN_READ_BYTES: usize = 64 * 1024;
/// How long a caller has to send that.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Headers that carry credentials.
const CREDENTIALS: [&str; 7] = [
    "authorization",
    "proxy-authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "cookie",
    "set-cookie",
];

/// Serves requests until one side closes the connection.
pub(crate) async fn serve(shared: &Shared, stream: TcpStream, number: u64) {
    // Without it the kernel joins small writes, and the script's pauses and borders are lost.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a caller left before its connection was served");
        return;
    }
    let mut connection = Connection {
        stream,
        buffer: BytesMut::new(),
    };
    loop {
        let request = request::read(&mut connection.stream, &mut connection.buffer).await;
        let then = match request {
            Ok(Some(request)) => connection.answer(shared, &request, number).await,
            Ok(None) | Err(ReadError::Ended(_)) => return,
            Err(error) => return connection.refuse(shared, &error).await,
        };
        match then {
            Some(Then::Keep) => {}
            Some(Then::Close) => return connection.close().await,
            Some(Then::CloseOnReuse) => return connection.close_on_reuse(shared).await,
            None => return,
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// What was read and not yet used.
    buffer: BytesMut,
}

impl Connection {
    /// Answers a request; `None` when the connection is to be dropped as it is.
    async fn answer(&mut self, shared: &Shared, request: &Request, number: u64) -> Option<Then> {
        if let Some(answer) = control::answer(shared, request) {
            return self.write(&answer, shared, request).await.ok();
        }
        let question = Question::of(request);
        let account = question.account();
        let chosen = fault(shared, request, &question);
        let entry = entry(request, &question, chosen.as_ref().ok(), number);
        let (number, account_requests) = shared.journal.open(entry);
        let mut ticket = Ticket {
            shared,
            number,
            outcome: Outcome::Stopped,
        };
        let (fault, refused) = match chosen {
            Ok(fault) => (fault.unwrap_or_default(), None),
            Err(error) => (Fault::default(), Some(error)),
        };
        let context = Context {
            config: &shared.config,
            fault: &fault,
            account: account.as_deref(),
            number,
            account_requests,
            now: seconds(),
        };
        let answer = match refused {
            None => answer::build(&question, context),
            Some(error) => unreadable(400, format!("x-mock-fault: {error}"), context),
        };
        let program = program::write(&answer, delivery(&fault, shared, request));
        self.run(program, &mut ticket).await
    }

    /// Carries a program out.
    async fn run(&mut self, program: Program, ticket: &mut Ticket<'_>) -> Option<Then> {
        for step in program.steps {
            if let Err(outcome) = self.step(step, ticket).await {
                ticket.outcome = outcome;
                return None;
            }
        }
        ticket.outcome = Outcome::Answered;
        Some(program.then)
    }

    /// Carries a step out; an error says how the answer ended with it.
    async fn step(&mut self, step: Step, ticket: &Ticket<'_>) -> Result<(), Outcome> {
        match step {
            Step::Wait(duration) => self.unless_left(tokio::time::sleep(duration)).await,
            Step::Stall => self.unless_left(std::future::pending()).await,
            Step::Write(bytes) => self.write_bytes(&bytes).await,
            Step::Headed(status) => {
                ticket.shared.journal.head(ticket.number, status);
                Ok(())
            }
            Step::Told(events) => {
                ticket.shared.journal.events(ticket.number, events);
                Ok(())
            }
            Step::Reset => {
                // A socket that lingers for no time is reset when it is dropped. Should the system
                // refuse, the caller sees a close in the middle of an answer, which is as bad.
                let _refused = self.stream.set_zero_linger();
                Err(Outcome::Cut)
            }
            Step::Close => {
                // An error means that the caller has left already.
                let _left = self.stream.shutdown().await;
                Err(Outcome::Cut)
            }
        }
    }

    async fn write_bytes(&mut self, bytes: &Bytes) -> Result<(), Outcome> {
        let (mut read, mut write) = self.stream.split();
        tokio::select! {
            biased;
            written = write.write_all(bytes) => written.map_err(|_| Outcome::Cancelled),
            () = left(&mut read, &mut self.buffer) => Err(Outcome::Cancelled),
        }
    }

    async fn unless_left(&mut self, work: impl Future<Output = ()>) -> Result<(), Outcome> {
        let (mut read, _write) = self.stream.split();
        tokio::select! {
            biased;
            () = work => Ok(()),
            () = left(&mut read, &mut self.buffer) => Err(Outcome::Cancelled),
        }
    }

    /// Writes an answer that has no fault and isn't logged.
    async fn write(
        &mut self,
        answer: &Answer,
        shared: &Shared,
        request: &Request,
    ) -> io::Result<Then> {
        let fault = Fault::default();
        let program = program::write(answer, delivery(&fault, shared, request));
        for step in program.steps {
            if let Step::Write(bytes) = step {
                self.stream.write_all(&bytes).await?;
            }
        }
        Ok(program.then)
    }

    /// Tells a caller that its request cannot be read, and closes the connection.
    async fn refuse(&mut self, shared: &Shared, error: &ReadError) {
        let status = if matches!(error, ReadError::TooLong) {
            413
        } else {
            400
        };
        let fault = Fault::default();
        let context = Context {
            config: &shared.config,
            fault: &fault,
            account: None,
            number: 0,
            account_requests: 0,
            now: seconds(),
        };
        let answer = unreadable(status, error.to_string(), context);
        let request = Request::unread();
        if self.write(&answer, shared, &request).await.is_ok() {
            self.close().await;
        }
    }

    /// Closes the connection so that all that was written arrives: had the caller bytes on the way
    /// that nobody reads, the system would reset it.
    async fn close(&mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let drain = async {
            for _ in 0..DRAINED_BYTES / DRAIN_READ_BYTES {
                self.buffer.clear();
                self.buffer.reserve(DRAIN_READ_BYTES);
                if !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..)) {
                    return;
                }
            }
        };
        // In time or not, it is closed now.
        let _ended = tokio::time::timeout(DRAIN_TIME, drain).await;
    }

    /// Waits for the next request's first bytes, and closes the connection on them.
    async fn close_on_reuse(&mut self, shared: &Shared) {
        let reused = !self.buffer.is_empty()
            || matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..));
        if reused {
            shared.journal.count(|counters| counters.hang_ups += 1);
        }
    }
}

/// Reads ahead, and returns when the caller has closed its side of the connection.
async fn left(read: &mut ReadHalf<'_>, buffer: &mut BytesMut) {
    loop {
        if buffer.len() >= AHEAD_BYTES {
            return std::future::pending().await;
        }
        if !matches!(read.read_buf(buffer).await, Ok(1..)) {
            return;
        }
    }
}

/// A request that is being answered; dropping it enters how that ended.
struct Ticket<'a> {
    shared: &'a Shared,
    number: u64,
    outcome: Outcome,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.shared.journal.close(self.number, self.outcome);
    }
}

/// The fault that a request meets: its own, or the script's.
fn fault(
    shared: &Shared,
    request: &Request,
    question: &Question<'_>,
) -> Result<Option<Fault>, FaultError> {
    let facts = Facts {
        path: request.path(),
        model: question.model(),
        key: question.key(),
        stream: question.stream(),
    };
    let own = request.all("x-mock-fault").collect::<Vec<_>>().join(",");
    let own = if own.is_empty() {
        None
    } else {
        script::of_header(&own, facts)?
    };
    Ok(own.or_else(|| shared.run().next(facts)))
}

fn delivery<'a>(fault: &'a Fault, shared: &Shared, request: &Request) -> Delivery<'a> {
    Delivery {
        fault,
        pace: shared.config.pace,
        keep_alive: request.keep_alive,
        head_only: request.method == "HEAD",
        now: SystemTime::now(),
    }
}

fn unreadable(status: u16, message: String, context: Context<'_>) -> Answer {
    Complaint::unreadable(status, message).answer(context)
}

fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// The log's entry for a request.
fn entry(
    request: &Request,
    question: &Question<'_>,
    fault: Option<&Option<Fault>>,
    connection: u64,
) -> Entry {
    let headers = request.headers.iter();
    let told = |fault: &Fault| serde_json::to_string(fault).unwrap_or_default();
    Entry {
        number: 0,
        connection,
        at_ms: 0,
        method: request.method.clone(),
        path: request.target.clone(),
        model: question.model().map(str::to_owned),
        stream: question.stream(),
        account: question.account(),
        headers: headers
            .map(|(name, value)| (name.clone(), hidden(name, value)))
            .collect(),
        body_bytes: 0,
        body: request.body.clone(),
        fault: fault.and_then(Option::as_ref).map(told),
        status: None,
        events: 0,
        outcome: Outcome::Open,
    }
}

/// A header's value as the log keeps it: of credentials the last four characters.
fn hidden(name: &str, value: &str) -> String {
    let credential = CREDENTIALS
        .iter()
        .any(|secret| name.eq_ignore_ascii_case(secret));
    if credential {
        format!("…{}", last_four(value))
    } else {
        value.to_owned()
    }
}
