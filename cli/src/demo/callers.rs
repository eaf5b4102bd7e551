//! The demo's own callers: requests one after the other, over one connection.
//!
//! Must never know more of the gateway than a caller does: its address and a key.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use weighbridge_snapshot::Redacted;

/// The rest between two requests: a view that changes is nicer to look at than one that has changed.
const REST: Duration = Duration::from_millis(5);

const BODY: &str = r#"{"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}"#;

/// Callers at work.
pub(super) struct Callers {
    work: JoinSet<anyhow::Result<BTreeMap<StatusCode, u64>>>,
}

impl Callers {
    /// Begins to send `requests` requests.
    pub(super) fn start(address: SocketAddr, token: Redacted<String>, requests: u64) -> Self {
        let mut work = JoinSet::new();
        if requests > 0 {
            work.spawn(call(address, token, requests));
        }
        Self { work }
    }

    /// Waits until all requests are answered, once, and says how. Without any it waits for ever.
    pub(super) async fn ended(&mut self) -> String {
        match self.work.join_next().await {
            None => pending().await,
            Some(Ok(Ok(answers))) => {
                let parts = answers.iter();
                let parts: Vec<String> = parts
                    .map(|(status, count)| format!("{count} x {}", status.as_u16()))
                    .collect();
                format!("all requests are answered: {}", parts.join(", "))
            }
            Some(Ok(Err(error))) => format!("sending requests ended: {error:#}"),
            Some(Err(error)) => format!("sending requests ended: {error}"),
        }
    }
}

async fn call(
    address: SocketAddr,
    token: Redacted<String>,
    requests: u64,
) -> anyhow::Result<BTreeMap<StatusCode, u64>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut answers = BTreeMap::new();
    let work = async {
        for _ in 0..requests {
            let request = Request::post("/v1/chat/completions")
                .header(HOST, address.to_string())
                .header(AUTHORIZATION, format!("Bearer {}", token.expose()))
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(Bytes::from_static(BODY.as_bytes())))?;
            sender.ready().await?;
            let answer = sender.send_request(request).await?;
            *answers.entry(answer.status()).or_default() += 1;
            answer.into_body().collect().await?;
            tokio::time::sleep(REST).await;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        done = work => done?,
        ended = connection => ended.context("the gateway closed the connection")?,
    }
    Ok(answers)
}
