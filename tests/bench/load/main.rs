//! The bench's load generator: a closed loop of N connections over raw sockets, one current-thread
//! runtime, a fixed number of requests. It must never pass over an answer that is not 200 or is short:
//! it then reports the count and fails.

use std::cell::Cell;
use std::io::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Parser;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

use body::Mode;
use framing::MessageReader;

mod body;
#[path = "../framing.rs"]
mod framing;

const READ_BUFFER_BYTES: usize = 64 * 1024;

/// The bench's load generator: sends chat requests in a closed loop, prints one line of JSON.
#[derive(Debug, Parser)]
#[command(name = "bench-load")]
struct Settings {
    /// Where to send the requests
    #[arg(long)]
    target: SocketAddr,
    /// Requests in all
    #[arg(long)]
    requests: u32,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 32)]
    connections: u32,
    /// Size of the request's body in bytes (at least what the mode needs)
    #[arg(long, default_value_t = 1024)]
    body_bytes: usize,
    /// What the answer shall be
    #[arg(long, value_enum, default_value_t = Mode::Plain)]
    mode: Mode,
    /// Fewest bytes in the answer's decoded body; fewer count as an error
    #[arg(long, default_value_t = 1)]
    answer_bytes: u64,
    /// The virtual key, sent as `authorization: Bearer`
    #[arg(long)]
    token: String,
    /// Give up after so many seconds
    #[arg(long, default_value_t = 300)]
    timeout_seconds: u64,
}

/// What every connection needs.
struct Plan {
    target: SocketAddr,
    request: Vec<u8>,
    answer_bytes: u64,
    /// Requests that nobody has started yet.
    left: Cell<u32>,
}

/// What one connection, or all of them, saw.
#[derive(Debug, Default)]
struct Tally {
    errors: u32,
    body_bytes: u64,
    /// From the first byte written to the last byte read.
    latencies: Vec<Duration>,
    first_error: Option<String>,
}

impl Tally {
    fn record(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }

    fn merge(&mut self, other: Self) {
        self.errors += other.errors;
        self.body_bytes += other.body_bytes;
        self.latencies.extend(other.latencies);
        if let Some(error) = other.first_error {
            self.first_error.get_or_insert(error);
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let limit = Duration::from_secs(settings.timeout_seconds);
    let (mut tally, elapsed) = LocalSet::new()
        .run_until(tokio::time::timeout(limit, run(&settings)))
        .await
        .with_context(|| format!("not finished after {} s", limit.as_secs()))??;
    tally.latencies.sort_unstable();
    let line = json!({
        "requests": tally.latencies.len(),
        "seconds": elapsed.as_secs_f64(),
        "errors": tally.errors,
        "bytes": tally.body_bytes,
        "p50_seconds": percentile(&tally.latencies, 50).as_secs_f64(),
        "p99_seconds": percentile(&tally.latencies, 99).as_secs_f64(),
    });
    writeln!(std::io::stdout(), "{line}").context("cannot write the result")?;
    match tally.first_error {
        Some(error) => bail!("{} failed requests, the first: {error}", tally.errors),
        None => Ok(()),
    }
}

/// Connects all, then lets them run; the time starts when the last one is connected.
async fn run(settings: &Settings) -> anyhow::Result<(Tally, Duration)> {
    let body = body::chat_body(settings.body_bytes, settings.mode);
    let plan = Rc::new(Plan {
        target: settings.target,
        request: body::request(settings.target, &settings.token, &body),
        answer_bytes: settings.answer_bytes,
        left: Cell::new(settings.requests),
    });
    let mut streams = Vec::new();
    for _ in 0..settings.connections {
        streams.push(connect(plan.target).await?);
    }
    let start = Instant::now();
    let mut connections = JoinSet::new();
    for stream in streams {
        connections.spawn_local(drive(stream, Rc::clone(&plan)));
    }
    let mut total = Tally::default();
    while let Some(tally) = connections.join_next().await {
        total.merge(tally.context("a connection's task ended early")?);
    }
    Ok((total, start.elapsed()))
}

async fn connect(target: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(target)
        .await
        .with_context(|| format!("cannot connect to {target}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One connection's loop. A broken connection is counted and opened anew; when that fails too, the
/// loop ends.
async fn drive(mut stream: TcpStream, plan: Rc<Plan>) -> Tally {
    let mut tally = Tally::default();
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    let mut reader = MessageReader::default();
    while let Some(left) = plan.left.get().checked_sub(1) {
        plan.left.set(left);
        let start = Instant::now();
        let answered = exchange(&mut stream, &plan, &mut reader, &mut buffer).await;
        let body_bytes = match answered {
            Ok(body_bytes) => body_bytes,
            Err(error) => {
                tally.record(format!("{error:#}"));
                let Ok(fresh) = connect(plan.target).await else {
                    break;
                };
                stream = fresh;
                reader.reset();
                continue;
            }
        };
        tally.latencies.push(start.elapsed());
        tally.body_bytes += body_bytes;
        if !is_success(reader.start_line()) {
            tally.record(String::from_utf8_lossy(reader.start_line()).into_owned());
        } else if body_bytes < plan.answer_bytes {
            tally.record(format!("an answer of {body_bytes} bytes"));
        }
        reader.reset();
    }
    tally
}

/// Sends the request and reads one whole answer; gives the size of its decoded body.
async fn exchange(
    stream: &mut TcpStream,
    plan: &Plan,
    reader: &mut MessageReader,
    buffer: &mut [u8],
) -> anyhow::Result<u64> {
    stream.write_all(&plan.request).await?;
    let mut body_bytes = 0;
    loop {
        let read = stream.read(buffer).await?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            bail!("the connection closed within an answer");
        }
        if reader.feed(bytes, &mut |piece| body_bytes += piece.len() as u64)? {
            return Ok(body_bytes);
        }
    }
}

fn is_success(status_line: &[u8]) -> bool {
    status_line.starts_with(b"HTTP/1.1 200")
}

/// The value below which `percent` of the sorted values lie (nearest rank); zero when there are none.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}
