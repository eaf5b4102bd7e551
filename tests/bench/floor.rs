//! The pinned floor of the bench: hyper's HTTP/1 server in front of hyper-util's `legacy::Client`,
//! byte for byte, on one current-thread runtime with the system's allocator. It must never be
//! improved: every ratio in `docs/performance.md` is over this program as it stands.

use std::net::SocketAddr;

use clap::Parser;
use http::Uri;
use http::uri::{Authority, Scheme};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// The bench's floor: a reverse proxy that adds nothing.
#[derive(Debug, Parser)]
#[command(name = "bench-floor")]
struct Settings {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// Where every request goes, plain HTTP/1.1
    #[arg(long)]
    upstream: Authority,
}

#[derive(Clone)]
struct Proxy {
    client: Client<HttpConnector, Incoming>,
    upstream: Authority,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let proxy = Proxy {
        client: Client::builder(TokioExecutor::new()).build(connector),
        upstream: settings.upstream,
    };
    let listener = TcpListener::bind(settings.listen).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                connections.spawn(serve(stream, proxy.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = terminate.recv() => return Ok(()),
        }
    }
}

/// Serves one connection; a broken one is the caller's to report (the load generator fails on it).
async fn serve(stream: TcpStream, proxy: Proxy) {
    let service = service_fn(|request| forward(&proxy, request));
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    drop(connection.await);
}

async fn forward(
    proxy: &Proxy,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, ClientError> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(proxy.upstream.clone());
    // An origin-form target with scheme and authority set is complete; `*` (OPTIONS) is not, and
    // falls back to the root.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    proxy.client.request(request).await
}
