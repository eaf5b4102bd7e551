//! The admin port: liveness, readiness, metrics, and the configuration in force without its secrets.
//! Must never show a credential or a token's whole digest, and must never change anything. What it holds and
//! waits for is bounded: whoever reaches it may be broken.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use weighbridge_snapshot::TokenDigest;

use crate::gateway::{ACCEPT_PAUSE, state};
use crate::metrics;
use crate::shared::Shared;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// What Prometheus asks for by name.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Connections at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// Longest a connection may take for a request's head, or stay without one.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// Longest a connection may live: one that doesn't read its answer keeps its place until then.
const CONNECTION_LIMIT: Duration = Duration::from_mins(1);
/// How long it may take for its last answer then.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// Answers until dropped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, Arc::clone(&shared)));
                }
                Err(error) => {
                    tracing::warn!(%error, "an admin connection couldn't be accepted");
                    // What the system has run out of is still missing: trying at once would spin.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let response = respond(&request, &shared);
        async move { Ok::<_, Infallible>(response) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let mut served = tokio::time::timeout(CONNECTION_LIMIT, serving.as_mut()).await;
    if served.is_err() {
        serving.as_mut().graceful_shutdown();
        served = tokio::time::timeout(LAST_ANSWER, serving).await;
    }
    match served {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection broke"),
        Err(_) => tracing::debug!("an admin connection took too long"),
    }
}

fn respond(request: &Request<Incoming>, shared: &Arc<Shared>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET only\n");
    }
    match request.uri().path() {
        "/readyz" if shared.is_draining() => {
            answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n")
        }
        // A data plane that runs has a configuration: it starts with one.
        "/livez" | "/readyz" => answer(StatusCode::OK, TEXT, "ok\n"),
        "/metrics" => match metrics::encode(shared) {
            Ok(text) => answer(StatusCode::OK, OPEN_METRICS, text),
            Err(fmt::Error) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "not encodable\n"),
        },
        "/config" => answer(
            StatusCode::OK,
            JSON,
            format!("{:#}\n", configuration(shared)),
        ),
        _ => answer(
            StatusCode::NOT_FOUND,
            TEXT,
            "/livez, /readyz, /metrics and /config are here\n",
        ),
    }
}

fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// What is in force: the snapshot's objects with digests shortened, and the accounts' states.
fn configuration(shared: &Shared) -> Value {
    let snapshot = shared.shown();
    let runtime = shared.runtime.load_full();
    let now = Instant::now();
    let keys: BTreeMap<String, Value> = snapshot
        .virtual_keys
        .iter()
        .map(|(name, key)| {
            let tokens: Vec<String> = key.tokens.iter().map(TokenDigest::short).collect();
            let mut value = json!(key);
            if let Some(object) = value.as_object_mut() {
                object.insert("tokens".to_owned(), json!(tokens));
            }
            (name.to_string(), value)
        })
        .collect();
    let accounts: Vec<Value> = runtime
        .providers
        .iter()
        .flat_map(|(name, provider)| {
            let accounts = provider.accounts.iter();
            accounts.map(move |account| {
                json!({
                    "provider": name,
                    "account": account.name,
                    "state": state(account, now).to_string(),
                })
            })
        })
        .collect();
    json!({
        "revision": runtime.revision,
        "providers": snapshot.providers,
        "routes": snapshot.routes,
        "virtual_keys": keys,
        "accounts": accounts,
    })
}
