//! Reading a call: which operation, the body with what must be known of it, the headers that go on.
//! Must never parse what isn't acted upon, and never hold more than the budget allows.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, request};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use weighbridge_snapshot::Operation;

use crate::fault::Fault;
use crate::headers;
use crate::pieces::Pieces;
use crate::probe::{Facts, Probe};
use crate::shared::{Held, Shared};

/// Bodies up to here are not counted against the budget: the number of connections bounds them.
const UNCOUNTED_BYTES: usize = 16 << 10;

/// What a request line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A call that goes to a provider.
    Operation(Operation),
    /// The list of models.
    Models,
    /// One model, by its name as it stands in the path.
    Model(String),
}

/// A call, read whole.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    pub(crate) facts: Facts,
    /// The body as it came, in pieces.
    pub(crate) body: Vec<Bytes>,
    /// As they came.
    pub(crate) headers: HeaderMap,
    /// With its `?`; empty when there is none.
    pub(crate) query: String,
    pub(crate) started: Instant,
    /// The body's part of the budget, given back with the call.
    _held: Held,
}

/// What a request line asks for.
///
/// # Errors
/// When the path isn't served, or not with this method.
pub(crate) fn asked(method: &Method, path: &str) -> Result<Asked, Fault> {
    let posted = |operation| match *method {
        Method::POST => Ok(Asked::Operation(operation)),
        _ => Err(Fault::MethodNotAllowed { allowed: "POST" }),
    };
    match path {
        "/v1/chat/completions" => posted(Operation::ChatCompletions),
        "/v1/completions" => posted(Operation::Completions),
        "/v1/responses" => posted(Operation::Responses),
        "/v1/embeddings" => posted(Operation::Embeddings),
        "/v1/models" if *method == Method::GET => Ok(Asked::Models),
        _ => match path.strip_prefix("/v1/models") {
            Some(rest) if *method != Method::GET && (rest.is_empty() || rest.starts_with('/')) => {
                Err(Fault::MethodNotAllowed { allowed: "GET" })
            }
            Some(rest) => rest
                .strip_prefix('/')
                .filter(|name| !name.is_empty())
                .map(|name| Asked::Model(percent_decoded(name)))
                .ok_or(Fault::UnknownPath),
            None => Err(Fault::UnknownPath),
        },
    }
}

/// Reads the body and what must be known of it.
///
/// # Errors
/// When the body isn't JSON by its type or its bytes, is too large, or doesn't arrive.
pub(crate) async fn read(
    operation: Operation,
    head: request::Parts,
    body: Incoming,
    shared: &Shared,
) -> Result<Call, Fault> {
    let started = Instant::now();
    check_content_type(&head.headers)?;
    let limit = shared.settings.body_timeout();
    let reading = read_body(body, shared);
    let (body, facts, budget) = tokio::time::timeout(limit, reading)
        .await
        .map_err(|_| Fault::BodyTimeout { limit })??;
    Ok(Call {
        operation,
        facts,
        body,
        query: head
            .uri
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default(),
        started,
        headers: head.headers,
        _held: budget,
    })
}

impl Call {
    /// How often the caller's SDK has asked before: `x-stainless-retry-count`. Looked up where it matters,
    /// after a failure.
    pub(crate) fn asked_before(&self) -> u32 {
        headers::number(&self.headers, "x-stainless-retry-count").unwrap_or(0)
    }

    /// How long the caller's SDK waits: `x-stainless-read-timeout`, likewise. The SDKs write the number as
    /// they were given it: `600`, `0.5`, `20.0`.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let seconds: f64 = headers::number(&self.headers, "x-stainless-read-timeout")?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

async fn read_body(
    mut body: Incoming,
    shared: &Shared,
) -> Result<(Vec<Bytes>, Facts, Held), Fault> {
    let limit = shared.settings.max_body_bytes;
    let too_large = Fault::BodyTooLarge { limit };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large);
    }
    let mut held = shared.buffered.hold_nothing();
    let mut probe = Probe::new();
    let mut pieces = Pieces::default();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| Fault::BodyCut)?.into_data() else {
            continue; // trailers mean nothing here
        };
        probe.feed(&piece).map_err(Fault::MalformedBody)?;
        let size = piece.len();
        pieces.push(piece);
        if pieces.len() > limit {
            return Err(too_large);
        }
        if pieces.len() > UNCOUNTED_BYTES && !held.grow(size) {
            return Err(Fault::Overloaded);
        }
    }
    let facts = probe.finish().map_err(Fault::MalformedBody)?;
    Ok((pieces.into_vec(), facts, held))
}

/// JSON by its type; a request without any is taken at its bytes.
fn check_content_type(headers: &HeaderMap) -> Result<(), Fault> {
    let Some(found) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let text = found.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case("application/json")
        || (essence.len() > 5 && essence.to_ascii_lowercase().ends_with("+json"));
    if is_json {
        return Ok(());
    }
    Err(Fault::UnsupportedMediaType {
        found: text.chars().take(100).collect(),
    })
}

/// Decodes `%xx` in a path segment; SDKs escape the `/` in model names. What isn't an escape stays.
fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_lead_to_operations() {
        let cases = [
            (
                "POST",
                "/v1/chat/completions",
                Asked::Operation(Operation::ChatCompletions),
            ),
            (
                "POST",
                "/v1/completions",
                Asked::Operation(Operation::Completions),
            ),
            (
                "POST",
                "/v1/responses",
                Asked::Operation(Operation::Responses),
            ),
            (
                "POST",
                "/v1/embeddings",
                Asked::Operation(Operation::Embeddings),
            ),
            ("GET", "/v1/models", Asked::Models),
            ("GET", "/v1/models/gpt-5", Asked::Model("gpt-5".into())),
            (
                "GET",
                "/v1/models/openai%2Fgpt-5",
                Asked::Model("openai/gpt-5".into()),
            ),
            (
                "GET",
                "/v1/models/openai/gpt-5",
                Asked::Model("openai/gpt-5".into()),
            ),
        ];
        for (method, path, expected) in cases {
            let method: Method = method.parse().unwrap();
            assert_eq!(asked(&method, path).unwrap(), expected, "{method} {path}");
        }
    }

    #[test]
    fn what_is_not_served_is_told_apart_from_a_wrong_method() {
        let cases = [
            ("GET", "/v1/chat/completions", 405),
            ("POST", "/v1/models", 405),
            ("DELETE", "/v1/models/gpt-5", 405),
            ("POST", "/v1/files", 404),
            ("GET", "/v1/responses/resp_1", 404),
            ("GET", "/v1/modelsx", 404),
            ("GET", "/v1/models/", 404),
            ("GET", "/", 404),
        ];
        for (method, path, status) in cases {
            let fault = asked(&method.parse().unwrap(), path).unwrap_err();
            assert_eq!(fault.status(), status, "{method} {path}");
        }
    }

    #[test]
    fn escapes_in_a_models_name_are_undone_and_others_kept() {
        for (path, expected) in [
            ("/v1/models/a%20b", "a b"),
            ("/v1/models/%C3%A9", "é"),
            ("/v1/models/100%", "100%"),
            ("/v1/models/%zz", "%zz"),
            ("/v1/models/%FF", "\u{fffd}"),
            ("/v1/models/a%252Fb", "a%2Fb"),
            ("/v1/models//", "/"),
        ] {
            let found = asked(&Method::GET, path).unwrap();
            assert_eq!(found, Asked::Model(expected.to_owned()), "{path}");
        }
    }

    #[test]
    fn a_method_is_refused_with_the_one_that_is_allowed() {
        for (method, path, expected) in [
            (Method::GET, "/v1/embeddings", "POST"),
            (Method::OPTIONS, "/v1/responses", "POST"),
            (Method::PUT, "/v1/models", "GET"),
            (Method::POST, "/v1/models/m", "GET"),
        ] {
            let fault = asked(&method, path).unwrap_err();
            let Fault::MethodNotAllowed { allowed } = fault else {
                panic!("{method} {path}: {fault:?}");
            };
            assert_eq!(allowed, expected, "{method} {path}");
        }
    }

    #[test]
    fn only_json_types_are_read() {
        let check = |value: &str| {
            let value = http::HeaderValue::from_str(value).unwrap();
            check_content_type(&HeaderMap::from_iter([(CONTENT_TYPE, value)]))
        };
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/vnd.x+json",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["text/plain", "multipart/form-data; boundary=x", "+json", ""] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check_content_type(&HeaderMap::new()).is_ok());
    }
}
