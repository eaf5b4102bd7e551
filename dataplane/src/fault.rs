//! Why a call failed, and what the caller is told: one table from [`Fault`] to status, type, code and
//! message in the OpenAI dialect. Must never show a credential, a prompt, or a provider's 401 as the
//! caller's.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::probe::ProbeError;

/// A call's failure.
#[derive(Debug)]
pub(crate) enum Fault {
    /// None of the four headers carries a virtual key.
    MissingKey,
    /// No virtual key has this token.
    UnknownKey,
    /// `suspend: true`.
    SuspendedKey,
    /// `expiresAt` has passed.
    ExpiredKey,
    /// No such path.
    UnknownPath,
    /// The path exists, with another method.
    MethodNotAllowed {
        /// What `allow` says.
        allowed: &'static str,
    },
    /// The body isn't JSON by its content type.
    UnsupportedMediaType {
        /// What was found.
        found: String,
    },
    /// The body can't be read.
    MalformedBody(ProbeError),
    /// The body is too large.
    BodyTooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// The body didn't come in time.
    BodyTimeout {
        /// Time allowed.
        limit: Duration,
    },
    /// The caller broke off within its body.
    BodyCut,
    /// No Route that the key may use serves this model.
    ModelNotFound {
        /// The model's name.
        model: String,
    },
    /// State lives with the account that made it.
    StatefulCall {
        /// The field that asks for state.
        field: &'static str,
    },
    /// Too many bytes are being held.
    Overloaded,
    /// Every candidate is rate-limited.
    RateLimited {
        /// Until the first recovers.
        retry_after: Duration,
    },
    /// Nothing can serve now.
    Unavailable {
        /// Until the first recovers, when that is known.
        retry_after: Option<Duration>,
    },
    /// Nothing is there that could ever serve this call.
    NoBackend {
        /// The Route, `namespace/name`.
        route: String,
    },
    /// Our credential was refused.
    UpstreamAuth,
    /// Our account has no money.
    UpstreamBilling,
    /// No connection to a provider.
    UpstreamConnect,
    /// A provider's answer didn't come in time.
    UpstreamTimeout {
        /// The field that bounds it.
        bound: &'static str,
        /// Its value.
        limit: Duration,
    },
    /// A provider failed, and its own words can't be passed on.
    UpstreamFailed {
        /// The status it gave.
        status: u16,
    },
    /// A provider's answer can't be read or was cut.
    BadUpstreamAnswer,
}

/// What a caller reads of a fault.
struct Row {
    status: u16,
    kind: &'static str,
    code: &'static str,
    param: Option<&'static str>,
    message: Cow<'static, str>,
}

impl Row {
    fn new(
        status: u16,
        kind: &'static str,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            kind,
            code,
            param: None,
            message: message.into(),
        }
    }

    fn about(self, param: &'static str) -> Self {
        Self {
            param: Some(param),
            ..self
        }
    }
}

const CALLER: &str = "invalid_request_error";
const SERVER: &str = "server_error";

impl Fault {
    /// The table. No wildcard arm: a new fault decides what its caller is told.
    fn row(&self) -> Row {
        match self {
            Self::MissingKey | Self::UnknownKey | Self::SuspendedKey | Self::ExpiredKey => {
                self.key_row()
            }
            Self::UnknownPath
            | Self::MethodNotAllowed { .. }
            | Self::UnsupportedMediaType { .. }
            | Self::MalformedBody(_)
            | Self::BodyTooLarge { .. }
            | Self::BodyTimeout { .. }
            | Self::BodyCut
            | Self::ModelNotFound { .. }
            | Self::StatefulCall { .. } => self.request_row(),
            Self::Overloaded
            | Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::NoBackend { .. }
            | Self::UpstreamAuth
            | Self::UpstreamBilling
            | Self::UpstreamConnect
            | Self::UpstreamTimeout { .. }
            | Self::UpstreamFailed { .. }
            | Self::BadUpstreamAnswer => self.service_row(),
        }
    }

    fn key_row(&self) -> Row {
        let code = "invalid_api_key";
        match self {
            Self::MissingKey => Row::new(
                401,
                CALLER,
                code,
                "no virtual key was sent; send it as `Authorization: Bearer KEY`, or in x-api-key, api-key or x-goog-api-key",
            ),
            Self::SuspendedKey => Row::new(
                401,
                CALLER,
                code,
                "this virtual key is suspended; ask its team to set `suspend: false`",
            ),
            Self::ExpiredKey => Row::new(
                401,
                CALLER,
                code,
                "this virtual key has expired; ask its team for a new `expiresAt`",
            ),
            _ => Row::new(
                401,
                CALLER,
                code,
                "this virtual key isn't known here; check for a missing character, or ask its team for the current one",
            ),
        }
    }

    fn request_row(&self) -> Row {
        match self {
            Self::MethodNotAllowed { allowed } => Row::new(
                405,
                CALLER,
                "method_not_allowed",
                format!("this path answers {allowed} only"),
            ),
            Self::UnsupportedMediaType { found } => Row::new(
                415,
                CALLER,
                "unsupported_media_type",
                format!("found content-type {found:?}; allowed is application/json"),
            ),
            Self::MalformedBody(error) => {
                Row::new(400, CALLER, "invalid_body", error.to_string())
            }
            Self::BodyTooLarge { limit } => Row::new(
                413,
                CALLER,
                "body_too_large",
                format!("the body is larger than the {limit} bytes that this gateway takes"),
            ),
            Self::BodyTimeout { limit } => Row::new(
                408,
                CALLER,
                "body_timeout",
                format!("the body didn't arrive within {} s", limit.as_secs()),
            ),
            Self::BodyCut => Row::new(
                400,
                CALLER,
                "body_cut",
                "the connection broke off within the body",
            ),
            Self::ModelNotFound { model } => Row::new(
                404,
                CALLER,
                "model_not_found",
                format!("no model {model:?} for this virtual key; GET /v1/models lists those it may use"),
            )
            .about("model"),
            Self::StatefulCall { field } => Row::new(
                400,
                CALLER,
                "unsupported_parameter",
                format!(
                    "`{field}` needs state that one provider account holds; this key's traffic may go to several, or shares its account with other keys: send the whole conversation instead"
                ),
            )
            .about(field),
            _ => Row::new(
                404,
                CALLER,
                "unknown_path",
                "no such path; POST /v1/chat/completions, /v1/completions, /v1/responses, /v1/embeddings and GET /v1/models are served",
            ),
        }
    }

    fn service_row(&self) -> Row {
        match self {
            Self::Overloaded => Row::new(
                503,
                "service_unavailable_error",
                "gateway_overloaded",
                "the gateway holds as many request bodies as it may; try again soon",
            ),
            Self::RateLimited { retry_after } => Row::new(
                429,
                "rate_limit_error",
                "rate_limit_exceeded",
                format!(
                    "every provider account for this model is rate-limited; the first recovers in {} s",
                    ceil_seconds(*retry_after)
                ),
            ),
            Self::Unavailable { .. } => Row::new(
                503,
                "service_unavailable_error",
                "server_is_overloaded",
                "no provider for this model can take a call now",
            ),
            Self::NoBackend { route } => Row::new(
                503,
                "service_unavailable_error",
                "no_backend",
                format!(
                    "Route {route} has no backend that this virtual key may use for this call; its conditions say why"
                ),
            ),
            Self::UpstreamAuth => Row::new(
                502,
                SERVER,
                "upstream_auth",
                "the provider refuses the gateway's credential; this isn't about your key, tell the platform team",
            ),
            Self::UpstreamBilling => Row::new(
                502,
                SERVER,
                "upstream_billing",
                "the gateway's account at the provider is out of money or quota; this isn't about your key, tell the platform team",
            ),
            Self::UpstreamConnect => Row::new(
                502,
                SERVER,
                "upstream_unreachable",
                "no connection to the provider could be made",
            ),
            Self::UpstreamTimeout { bound, limit } => Row::new(
                504,
                SERVER,
                "upstream_timeout",
                format!(
                    "the provider's answer didn't come within {bound} ({} ms)",
                    limit.as_millis()
                ),
            ),
            Self::UpstreamFailed { status } => Row::new(
                502,
                SERVER,
                "upstream_error",
                format!("the provider failed with status {status}"),
            ),
            _ => Row::new(
                502,
                SERVER,
                "bad_upstream_response",
                "the provider's answer was cut or can't be read",
            ),
        }
    }

    /// A short, stable word for metrics and logs.
    pub(crate) fn code(&self) -> &'static str {
        self.row().code
    }

    /// The status that the caller sees.
    pub(crate) fn status(&self) -> u16 {
        self.row().status
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } => Some(*retry_after),
            Self::Unavailable { retry_after } => *retry_after,
            Self::Overloaded => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The answer in the OpenAI dialect. `final_word`: the gateway has tried all it may, so the SDK's own
    /// retries would only multiply ours.
    pub(crate) fn response(&self, final_word: bool) -> Response<Bytes> {
        let row = self.row();
        let mut response = Response::new(error_body(&row));
        *response.status_mut() =
            StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(after) = self.retry_after() {
            insert_retry_after(headers, after);
        }
        if let Self::MethodNotAllowed { allowed } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        if final_word {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        response
    }

    /// The event that ends a broken stream, in the operation's framing.
    pub(crate) fn event(&self, framing: EventFraming) -> Bytes {
        let row = self.row();
        let text = match framing {
            EventFraming::Data => format!("data: {}\n\n", to_json(&ErrorBody::of(&row))),
            EventFraming::Named => {
                let event = NamedError {
                    kind: "error",
                    code: row.code,
                    message: &row.message,
                    param: row.param,
                };
                format!("event: error\ndata: {}\n\n", to_json(&event))
            }
        };
        Bytes::from(text)
    }
}

/// How a stream frames its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventFraming {
    /// `data:` alone (chat completions, completions).
    Data,
    /// `event:` and `data:` (Responses).
    Named,
}

/// `x-should-retry`: overrides the SDKs' own rule in both directions.
pub(crate) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorFields<'a>,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'static str>,
    code: &'static str,
}

#[derive(Serialize)]
struct NamedError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'static str,
    message: &'a str,
    param: Option<&'static str>,
}

impl<'a> ErrorBody<'a> {
    fn of(row: &'a Row) -> Self {
        Self {
            error: ErrorFields {
                message: &row.message,
                kind: row.kind,
                param: row.param,
                code: row.code,
            },
        }
    }
}

fn error_body(row: &Row) -> Bytes {
    Bytes::from(to_json(&ErrorBody::of(row)))
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings always serialise")
}

fn insert_retry_after(headers: &mut HeaderMap, after: Duration) {
    headers.insert(RETRY_AFTER, HeaderValue::from(ceil_seconds(after)));
    let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    headers.insert(RETRY_AFTER_MS, HeaderValue::from(millis));
}

fn ceil_seconds(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
        .max(1)
}

#[cfg(test)]
mod tests;
