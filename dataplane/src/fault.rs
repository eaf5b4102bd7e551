//! Why a call failed, and what the caller is told in the OpenAI dialect: a message beside each [`Fault`],
//! and one table of status, type and code. Must never show a credential, a prompt, or a provider's 401
//! as the caller's.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::answer::UpstreamError;
use crate::probe::ProbeError;

/// A call's failure. Its text is what the caller reads.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// None of the four headers carries a virtual key.
    #[error(
        "no virtual key was sent; send it as `Authorization: Bearer KEY`, or in x-api-key, api-key or x-goog-api-key"
    )]
    MissingKey,
    /// No virtual key has this token.
    #[error(
        "this virtual key isn't known here; check for a missing character, or ask its team for the current one"
    )]
    UnknownKey,
    /// `suspend: true`.
    #[error("this virtual key is suspended; ask its team to set `suspend: false`")]
    SuspendedKey,
    /// `expiresAt` has passed.
    #[error("this virtual key has expired; ask its team for a new `expiresAt`")]
    ExpiredKey,
    /// No such path.
    #[error(
        "no such path; POST /v1/chat/completions, /v1/completions, /v1/responses, /v1/embeddings and GET /v1/models are served"
    )]
    UnknownPath,
    /// The path exists, with another method.
    #[error("this path answers {allowed} only")]
    MethodNotAllowed {
        /// What `allow` says.
        allowed: &'static str,
    },
    /// The body isn't JSON by its content type.
    #[error("found content-type {found:?}; allowed is application/json")]
    UnsupportedMediaType {
        /// What was found.
        found: String,
    },
    /// The body can't be read.
    #[error(transparent)]
    MalformedBody(ProbeError),
    /// The body is too large.
    #[error("the body is larger than the {limit} bytes that this gateway takes")]
    BodyTooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// The body didn't come in time.
    #[error("the body didn't arrive within {} s", .limit.as_secs())]
    BodyTimeout {
        /// Time allowed.
        limit: Duration,
    },
    /// The caller broke off within its body.
    #[error("the connection broke off within the body")]
    BodyCut,
    /// No Route that the key may use serves this model.
    #[error("no model {model:?} for this virtual key; GET /v1/models lists those it may use")]
    ModelNotFound {
        /// The model's name.
        model: String,
    },
    /// State lives with the account that made it.
    #[error(
        "`{field}` needs state that one provider account holds; this key's traffic may go to several, or shares its account with other keys: send the whole conversation instead"
    )]
    StatefulCall {
        /// The field that asks for state.
        field: &'static str,
    },
    /// Too many bytes are being held.
    #[error("the gateway holds as many request bodies as it may; try again soon")]
    Overloaded,
    /// Every candidate is rate-limited.
    #[error(
        "every provider account for this model is rate-limited; the first recovers in {} s",
        ceil_seconds(*.retry_after)
    )]
    RateLimited {
        /// Until the first recovers.
        retry_after: Duration,
    },
    /// Nothing can serve now.
    #[error("no provider for this model can take a call now")]
    Unavailable {
        /// Until the first recovers, when that is known.
        retry_after: Option<Duration>,
    },
    /// Nothing is there that could ever serve this call.
    #[error(
        "Route {route} has no backend that this virtual key may use for this call; its conditions say why"
    )]
    NoBackend {
        /// The Route, `namespace/name`.
        route: String,
    },
    /// Our credential was refused.
    #[error(
        "the provider refuses the gateway's credential; this isn't about your key, tell the platform team"
    )]
    UpstreamAuth,
    /// Our account has no money.
    #[error(
        "the gateway's account at the provider is out of money or quota; this isn't about your key, tell the platform team"
    )]
    UpstreamBilling,
    /// No connection to a provider.
    #[error("no connection to the provider could be made")]
    UpstreamConnect,
    /// A provider's answer didn't come in time.
    #[error("the provider's answer didn't come within {bound} ({} ms)", .limit.as_millis())]
    UpstreamTimeout {
        /// The field that bounds it.
        bound: &'static str,
        /// Its value.
        limit: Duration,
    },
    /// A provider failed, and said nothing that can be passed on.
    #[error("the provider failed, and said nothing that could be passed on")]
    UpstreamFailed,
    /// A provider's answer can't be read or was cut.
    #[error("the provider's answer was cut or can't be read")]
    BadUpstreamAnswer,
}

/// What programs read of a fault.
struct Row {
    status: u16,
    kind: &'static str,
    code: &'static str,
}

const CALLER: &str = "invalid_request_error";
const SERVICE: &str = "service_unavailable_error";
const SERVER: &str = "server_error";

impl Fault {
    /// The table. No wildcard arm: a new fault decides what its caller is told.
    fn row(&self) -> Row {
        let (status, kind, code) = match self {
            Self::MissingKey | Self::UnknownKey | Self::SuspendedKey | Self::ExpiredKey => {
                (401, CALLER, "invalid_api_key")
            }
            Self::UnknownPath => (404, CALLER, "unknown_path"),
            Self::MethodNotAllowed { .. } => (405, CALLER, "method_not_allowed"),
            Self::UnsupportedMediaType { .. } => (415, CALLER, "unsupported_media_type"),
            Self::MalformedBody(_) => (400, CALLER, "invalid_body"),
            Self::BodyTooLarge { .. } => (413, CALLER, "body_too_large"),
            Self::BodyTimeout { .. } => (408, CALLER, "body_timeout"),
            Self::BodyCut => (400, CALLER, "body_cut"),
            Self::ModelNotFound { .. } => (404, CALLER, "model_not_found"),
            Self::StatefulCall { .. } => (400, CALLER, "unsupported_parameter"),
            Self::Overloaded => (503, SERVICE, "gateway_overloaded"),
            Self::RateLimited { .. } => (429, "rate_limit_error", "rate_limit_exceeded"),
            Self::Unavailable { .. } => (503, SERVICE, "server_is_overloaded"),
            Self::NoBackend { .. } => (503, SERVICE, "no_backend"),
            Self::UpstreamAuth => (502, SERVER, "upstream_auth"),
            Self::UpstreamBilling => (502, SERVER, "upstream_billing"),
            Self::UpstreamConnect => (502, SERVER, "upstream_unreachable"),
            Self::UpstreamTimeout { .. } => (504, SERVER, "upstream_timeout"),
            Self::UpstreamFailed => (502, SERVER, "upstream_error"),
            Self::BadUpstreamAnswer => (502, SERVER, "bad_upstream_response"),
        };
        Row { status, kind, code }
    }

    /// The field that it is about, where there is one.
    fn param(&self) -> Option<&'static str> {
        match self {
            Self::ModelNotFound { .. } => Some("model"),
            Self::StatefulCall { field } => Some(field),
            _ => None,
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
        let mut response = Response::new(Bytes::from(self.body()));
        *response.status_mut() =
            StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
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

    /// The event that ends a broken stream, in the operation's framing. A Responses event has no
    /// `sequence_number`: only who reads every number that the provider gave knows the next, and a wrong
    /// one would be worse than none.
    pub(crate) fn event(&self, framing: EventFraming) -> Bytes {
        self.fields(&self.to_string()).event(framing)
    }

    fn body(&self) -> String {
        to_json(&ErrorBody {
            error: self.fields(&self.to_string()),
        })
    }

    fn fields<'a>(&self, message: &'a str) -> ErrorFields<'a> {
        let row = self.row();
        ErrorFields {
            message,
            kind: row.kind,
            param: self.param(),
            code: Some(row.code),
        }
    }
}

/// A provider's own error as the event that ends a stream whose headers are out already.
pub(crate) fn event_of(error: &UpstreamError, framing: EventFraming) -> Bytes {
    let fields = ErrorFields {
        message: error
            .message
            .as_deref()
            .unwrap_or("the provider refuses the call"),
        kind: error.kind.as_deref().unwrap_or(CALLER),
        param: None,
        code: error.code.as_deref(),
    };
    fields.event(framing)
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

#[derive(Clone, Copy, Serialize)]
struct ErrorFields<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

#[derive(Serialize)]
struct NamedError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    code: Option<&'a str>,
    message: &'a str,
    param: Option<&'a str>,
}

impl ErrorFields<'_> {
    fn event(self, framing: EventFraming) -> Bytes {
        let text = match framing {
            EventFraming::Data => format!("data: {}\n\n", to_json(&ErrorBody { error: self })),
            EventFraming::Named => {
                let event = NamedError {
                    kind: "error",
                    code: self.code,
                    message: self.message,
                    param: self.param,
                };
                format!("event: error\ndata: {}\n\n", to_json(&event))
            }
        };
        Bytes::from(text)
    }
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
