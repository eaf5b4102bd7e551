//! The bench's upstream: one current-thread runtime that reads a whole request and writes fixed bytes.
//! It owns nothing but those bytes, and must never depend on the mock package: a change there must not
//! move the figures.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::MissedTickBehavior;

use answers::{Answer, Answers};
use framing::MessageReader;

mod answers;
#[path = "../framing.rs"]
mod framing;

/// The least time between two chunks of a paced stream.
const PACE: Duration = Duration::from_millis(1);
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// The bench's upstream: fixed answers, one thread.
#[derive(Debug, Parser)]
#[command(name = "bench-upstream")]
struct Settings {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    LocalSet::new().run_until(accept(settings.listen)).await
}

async fn accept(address: SocketAddr) -> anyhow::Result<()> {
    let answers = Rc::new(Answers::build());
    let listener = TcpListener::bind(address).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                connections.spawn_local(serve(stream, Rc::clone(&answers)));
            }
            Some(_) = connections.join_next() => {}
            _ = terminate.recv() => return Ok(()),
        }
    }
}

/// Serves one connection until it closes, breaks, or sends what is no request.
async fn serve(mut stream: TcpStream, answers: Rc<Answers>) -> anyhow::Result<()> {
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    let mut reader = MessageReader::default();
    let mut body = Vec::new();
    loop {
        let read = stream.read(&mut buffer).await?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        if !reader.feed(bytes, &mut |piece| body.extend_from_slice(piece))? {
            continue;
        }
        match answers.choose(reader.start_line(), &body) {
            Answer::Whole(bytes) => stream.write_all(bytes).await?,
            Answer::Paced(chunks) => write_paced(&mut stream, chunks).await?,
        }
        reader.reset();
        body.clear();
    }
}

/// Writes one chunk per tick. Late ticks are not made up for: two chunks in one wake of the proxy
/// would be cheaper than the stream this stands for.
async fn write_paced(stream: &mut TcpStream, chunks: &[Vec<u8>]) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for chunk in chunks {
        ticks.tick().await;
        stream.write_all(chunk).await?;
    }
    Ok(())
}
