//! What one answer does differently from a healthy provider's.
//!
//! Owns the vocabulary of faults, one struct for Rust, YAML, JSON and the `x-mock-fault` header, and
//! the check that a fault makes sense. Must never know how a fault is carried out.

use std::collections::BTreeMap;
use std::str::FromStr;

use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_yaml::{Mapping, Value};

use crate::scalar::{Drip, Pause, Point, Quirks, Raw};

/// The most words of an answer.
const WORDS: usize = 1_000_000;
/// The most bytes that a fault makes up: a script must not exhaust the memory of its own provider.
const BYTES: usize = 64 * 1024 * 1024;

/// What one answer does differently. Every field left out means "as a healthy provider would".
///
/// The text form, which the `x-mock-fault` header and [`FromStr`] read, is a list of `key=value`
/// joined by commas, the keys spelled as in YAML: `status=429,retry-after=2`.
/// A header of an answer is `header.NAME=VALUE`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Fault {
    // What kind of answer.
    /// Answer with this status. 400 and above answer with an error; so does a lower one together
    /// with `error`, `style` or `body`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Which error; the default follows the status. Without `status` it brings its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorKind>,
    /// Whose way of writing an error. Default `openai`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style: Option<Style>,
    /// The sentence in the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The whole body, as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The content type, instead of the one that fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<Raw>,

    // When to come back: nothing of it is sent unless it is written here.
    /// The `retry-after` header as it is: seconds, or any nonsense.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Raw>,
    /// The `retry-after` header as an HTTP date so far in the future.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_date: Option<Pause>,
    /// The `retry-after-ms` header as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<Raw>,
    /// `x-ratelimit-remaining-requests: 0` and this `x-ratelimit-reset-requests` (`6m0s`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_requests: Option<Raw>,
    /// `x-ratelimit-remaining-tokens: 0` and this `x-ratelimit-reset-tokens` (`120ms`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_tokens: Option<Raw>,
    /// Further headers, which replace those of the same name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Raw>,
    /// One more header, `x-filler`, of so many bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_bytes: Option<usize>,

    // What to say.
    /// The answer's text, instead of the usual sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The number of words in the answer's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<usize>,
    /// What the text is said as. Default `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice: Option<Voice>,
    /// After the first content of a stream, one more delta of so many bytes in a single line. A
    /// unary answer's text grows by as much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub huge_line: Option<usize>,
    /// What becomes of the usage. Default as the dialect has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageFault>,

    // How slowly.
    /// The wait before the head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Pause>,
    /// The wait between head and first event, instead of the pace's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_event_delay: Option<Pause>,
    /// The wait before each further event, instead of the pace's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_delay: Option<Pause>,
    /// Write the body in drops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drip: Option<Drip>,

    // How it breaks off: one of cut, stall, end.
    /// Reset the connection there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<Point>,
    /// Write nothing more from there on, and keep the connection open until the caller leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall: Option<Point>,
    /// End cleanly there: a stream by the end of its body but without its terminal marker, anything
    /// else by closing the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Point>,
    /// Send an error event there (`error` and `style` say which), and end the stream after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_event: Option<Point>,
    /// Something that isn't an answer, instead of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub garbage: Option<Garbage>,

    // How it is put on the wire.
    /// Departures from the plainest event stream.
    #[serde(skip_serializing_if = "Quirks::is_empty")]
    pub sse: Quirks,
    /// Cut the stream's bytes into pieces of so many, each an HTTP chunk and a write of its own:
    /// borders fall inside of characters and of CR LF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chop: Option<usize>,
    /// Write so many events at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// How the body's end is told. Default: `length` for unary answers, `chunked` for streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framing: Option<Framing>,
    /// What becomes of the connection after the answer. Default: it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hang_up: Option<HangUp>,
}

/// Which error a provider reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// 400: a field is wrong.
    BadRequest,
    /// 400 `context_length_exceeded`.
    ContextLength,
    /// 400 `content_policy_violation`.
    ContentPolicy,
    /// 401 `invalid_api_key`.
    InvalidKey,
    /// 402: the account has to pay first.
    Billing,
    /// 403: this key may not use this.
    Forbidden,
    /// 404 `model_not_found`.
    ModelNotFound,
    /// 429 `rate_limit_exceeded`, of requests.
    RateLimit,
    /// 429 `rate_limit_exceeded`, of tokens.
    TokenLimit,
    /// 429 `slow_down`.
    SlowDown,
    /// 429 `insufficient_quota`.
    InsufficientQuota,
    /// 429 `credit_balance_exhausted`.
    CreditBalance,
    /// 500 `server_error`.
    ServerError,
    /// 503 `server_is_overloaded`.
    Overloaded,
}

/// Whose way of writing an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// `{"error": {"message", "type", "param", "code": "text"}}`.
    #[default]
    Openai,
    /// As `openai`, but `code` is the status as a number.
    Vllm,
    /// The fields flat, `object: "error"`, `code` a number.
    Sglang,
    /// `{"error": "text", "error_type": "text"}`.
    Tgi,
    /// `{"error": "text"}`.
    Ollama,
    /// `{"detail": [{"loc", "msg", "type"}]}`.
    Mistral,
    /// `{"error": {"code": "429", "message"}}`.
    Azure,
    /// `/v1/responses` only: a run that failed inside of a 200 (`status: "failed"`, or the event
    /// `response.failed`). Elsewhere as `openai`.
    Failed,
    /// A proxy's HTML page.
    Html,
    /// Plain text.
    Plain,
    /// No body.
    Empty,
    /// Bytes that are no JSON and no UTF-8, called JSON.
    Binary,
}

/// What the answer's text is said as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Voice {
    /// Content.
    #[default]
    Text,
    /// A refusal.
    Refusal,
    /// Thoughts first (`reasoning_content` in chat, a reasoning summary in responses), then content.
    Reasoning,
    /// No content at all: an answer that is complete and empty.
    Silent,
}

/// What becomes of the usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsageFault {
    /// There is none, asked for or not.
    Missing,
    /// Every chunk of a stream carries it, cumulative.
    Continuous,
}

/// Something that isn't an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Garbage {
    /// Bytes that are no HTTP at all, then a close.
    Bytes,
    /// A head that begins well and goes wrong in a header, then a close.
    Head,
    /// A chunked body whose chunk size is no number, after a good head.
    ChunkSize,
}

/// How a body's end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Framing {
    /// `content-length`.
    Length,
    /// `transfer-encoding: chunked`.
    Chunked,
    /// By closing the connection.
    Close,
}

/// What becomes of the connection after a complete answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HangUp {
    /// `connection: close` is sent, then it is closed.
    Announced,
    /// It is closed without a word.
    Unannounced,
    /// It is kept, and closed without an answer when the next request's first bytes arrive: the
    /// stale pooled connection, without a race. That request is counted in `hang_ups` only.
    OnReuse,
}

/// Why a fault was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FaultError(pub(crate) String);

impl Fault {
    /// A fault that answers with `status`, and all else as usual.
    pub fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::default()
        }
    }

    /// Says what in this fault cannot be carried out.
    ///
    /// # Errors
    /// The first field that makes no sense, what was found and what is allowed.
    pub fn check(&self) -> Result<(), FaultError> {
        let status = self.status.unwrap_or(200);
        if !(200..=599).contains(&status) {
            return Err(FaultError(format!(
                "status: {status} is not from 200 to 599"
            )));
        }
        let breaks = [("cut", self.cut), ("stall", self.stall), ("end", self.end)];
        let set: Vec<_> = breaks.iter().filter(|(_, point)| point.is_some()).collect();
        if let [(one, _), (two, _), ..] = set.as_slice() {
            return Err(FaultError(format!(
                "{one} and {two}: an answer breaks off only once"
            )));
        }
        let sizes = [
            ("words", self.words, WORDS),
            ("huge-line", self.huge_line, BYTES),
            ("header-bytes", self.header_bytes, BYTES),
        ];
        for (field, size, most) in sizes {
            if let Some(size) = size.filter(|size| *size > most) {
                return Err(FaultError(format!("{field}: {size} is more than {most}")));
            }
        }
        for (field, count) in [("chop", self.chop), ("batch", self.batch)] {
            if count == Some(0) {
                return Err(FaultError(format!("{field}: 0 is not 1 or more")));
            }
        }
        self.check_headers()
    }

    /// Whether this is an answer with an error, rather than a healthy one with defects.
    pub(crate) fn is_error(&self) -> bool {
        let healthy = self.status.is_none_or(|status| status < 400);
        let told = self.error.is_some() || self.style.is_some();
        !healthy || self.body.is_some() || (told && self.error_event.is_none())
    }

    fn check_headers(&self) -> Result<(), FaultError> {
        let named = [
            ("content-type", &self.content_type),
            ("retry-after", &self.retry_after),
            ("retry-after-ms", &self.retry_after_ms),
            ("x-ratelimit-reset-requests", &self.reset_requests),
            ("x-ratelimit-reset-tokens", &self.reset_tokens),
        ];
        let fixed = named
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_ref()?)));
        let free = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value));
        for (name, value) in fixed.chain(free) {
            if HeaderName::from_str(name).is_err() || HeaderValue::from_str(&value.0).is_err() {
                return Err(FaultError(format!(
                    "\"{name}: {value}\" is not an HTTP header"
                )));
            }
        }
        Ok(())
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut fields = Mapping::new();
        let mut headers = Mapping::new();
        for (key, value) in pairs(text) {
            match key.strip_prefix("header.") {
                Some(name) => headers.insert(name.into(), value.into()),
                None => fields.insert(key.into(), scalar(value)),
            };
        }
        if !headers.is_empty() {
            fields.insert("headers".into(), headers.into());
        }
        let fault: Self =
            serde_yaml::from_value(fields.into()).map_err(|error| FaultError(error.to_string()))?;
        fault.check()?;
        Ok(fault)
    }
}

/// The `key=value` pairs of a text form; a key alone means `true`.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "true")))
}

/// A value as a whole number where it is one, else as text.
fn scalar(text: &str) -> Value {
    text.parse::<u64>()
        .map_or_else(|_| text.into(), Value::from)
}

impl From<StatusCode> for Fault {
    fn from(status: StatusCode) -> Self {
        Self::status(status.as_u16())
    }
}
