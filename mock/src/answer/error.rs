//! Errors, in the words and shapes of several servers.
//!
//! Owns the table from kind to status, type and code, and the styles' bodies. Must never decide
//! whether an error happens.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Body, Context, Endpoint, Event, Part, Question, headers, json as to_text};
use crate::fault::{ErrorKind, Fault, Style};
use crate::request::Request;

/// An error before it has a style.
#[derive(Clone, Debug)]
pub(crate) struct Complaint {
    status: u16,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<&'static str>,
    message: String,
}

/// What `kind` is at OpenAI: status, type, code, a sentence.
fn table(kind: ErrorKind) -> (u16, &'static str, Option<&'static str>, &'static str) {
    const INVALID: &str = "invalid_request_error";
    match kind {
        ErrorKind::BadRequest => (400, INVALID, None, "the request is not valid"),
        ErrorKind::ContextLength => (
            400,
            INVALID,
            Some("context_length_exceeded"),
            "the input is too long for this model",
        ),
        ErrorKind::ContentPolicy => (
            400,
            INVALID,
            Some("content_policy_violation"),
            "the safety system refused this",
        ),
        ErrorKind::InvalidKey => (
            401,
            INVALID,
            Some("invalid_api_key"),
            "the API key is not valid",
        ),
        ErrorKind::Billing => (
            402,
            "billing_error",
            Some("billing_not_active"),
            "this account has to pay first",
        ),
        ErrorKind::Forbidden => (403, INVALID, None, "this key may not use this"),
        ErrorKind::ModelNotFound => (
            404,
            INVALID,
            Some("model_not_found"),
            "there is no such model here",
        ),
        ErrorKind::RateLimit => (
            429,
            "requests",
            Some("rate_limit_exceeded"),
            "too many requests in this minute",
        ),
        ErrorKind::TokenLimit => (
            429,
            "tokens",
            Some("rate_limit_exceeded"),
            "too many tokens in this minute",
        ),
        ErrorKind::SlowDown => (
            429,
            "rate_limit_error",
            Some("slow_down"),
            "the traffic grew too fast",
        ),
        ErrorKind::InsufficientQuota => (
            429,
            "insufficient_quota",
            Some("insufficient_quota"),
            "this account's quota is spent",
        ),
        ErrorKind::CreditBalance => (
            429,
            "insufficient_quota",
            Some("credit_balance_exhausted"),
            "this account's credit is spent",
        ),
        ErrorKind::ServerError => (
            500,
            "server_error",
            None,
            "something broke inside the provider",
        ),
        ErrorKind::Overloaded => (
            503,
            "service_unavailable_error",
            Some("server_is_overloaded"),
            "the provider has no room at the moment",
        ),
    }
}

/// The error that a status most likely stands for.
fn kind_of(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::InvalidKey,
        402 => ErrorKind::Billing,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::ModelNotFound,
        429 => ErrorKind::RateLimit,
        503 | 529 => ErrorKind::Overloaded,
        400..=499 => ErrorKind::BadRequest,
        // Also an error within a success: it is the provider's own failure.
        _ => ErrorKind::ServerError,
    }
}

impl Complaint {
    pub(super) fn of(kind: ErrorKind, message: String) -> Self {
        let (status, kind, code, _) = table(kind);
        Self {
            status,
            kind,
            code,
            param: None,
            message,
        }
    }

    pub(super) fn about(self, param: &'static str) -> Self {
        Self {
            param: Some(param),
            ..self
        }
    }

    pub(super) fn without_code(self) -> Self {
        Self { code: None, ..self }
    }

    pub(super) fn not_json() -> Self {
        Self::of(
            ErrorKind::BadRequest,
            "the request's body is not JSON".to_owned(),
        )
    }

    pub(super) fn missing(param: &'static str) -> Self {
        let complaint = Self::of(ErrorKind::BadRequest, format!("`{param}` is missing"));
        Self {
            param: Some(param),
            code: Some("missing_required_parameter"),
            ..complaint
        }
    }

    pub(super) fn unknown_url(request: &Request) -> Self {
        let message = format!("there is no {} {} here", request.method, request.path());
        Self {
            status: 404,
            code: Some("unknown_url"),
            ..Self::of(ErrorKind::BadRequest, message)
        }
    }

    pub(super) fn method(request: &Request, allowed: &str) -> Self {
        let message = format!("{} is not {allowed}, which this URL takes", request.method);
        let code = Some("method_not_supported");
        Self {
            status: 405,
            code,
            ..Self::of(ErrorKind::BadRequest, message)
        }
    }

    /// A request that could not be read at all, or that brought a fault that makes no sense.
    pub(crate) fn unreadable(status: u16, message: String) -> Self {
        Self {
            status,
            ..Self::of(ErrorKind::BadRequest, message)
        }
    }

    /// The error that a fault describes.
    fn scripted(fault: &Fault) -> Self {
        let kind = fault.error.or_else(|| fault.status.map(kind_of));
        let (status, kind, code, message) = table(kind.unwrap_or(ErrorKind::ServerError));
        Self {
            status: fault.status.unwrap_or(status),
            kind,
            code,
            param: None,
            message: fault.message.clone().unwrap_or_else(|| message.to_owned()),
        }
    }

    /// This error as OpenAI answers it.
    pub(crate) fn answer(&self, context: Context<'_>) -> Answer {
        self.styled(Style::Openai, context)
    }

    fn styled(&self, style: Style, context: Context<'_>) -> Answer {
        let mut headers = headers::common(context);
        headers.push(headers::header("content-type", content_type(style)));
        Answer {
            status: self.status,
            headers,
            body: Body::Whole(self.body(style)),
        }
    }

    fn body(&self, style: Style) -> Bytes {
        match style {
            Style::Html => Bytes::from(format!(
                "<html>\r\n<head><title>{0}</title></head>\r\n<body><h1>{0}</h1>\r\n<hr>proxy\r\n\
                 </body>\r\n</html>\r\n",
                self.status
            )),
            Style::Plain => Bytes::from(self.message.clone()),
            Style::Empty => Bytes::new(),
            Style::Binary => Bytes::from_static(b"\x00\xff\xfe{\"\xc3\x28\x80garbage\x00"),
            _ => Bytes::from(self.text(style)),
        }
    }

    /// The error as JSON. Styles that aren't JSON have OpenAI's here.
    fn text(&self, style: Style) -> String {
        let status = self.status;
        let message = self.message.as_str();
        match style {
            Style::Vllm => to_text(&Nested {
                error: self.numbered(),
            }),
            Style::Sglang => to_text(&Flat {
                object: "error",
                fields: self.numbered(),
            }),
            Style::Tgi => {
                let kind = if status == 429 {
                    "overloaded"
                } else {
                    "generation"
                };
                to_text(&json!({"error": message, "error_type": kind}))
            }
            Style::Ollama => to_text(&json!({"error": message})),
            Style::Mistral => {
                to_text(&json!({"detail": [{"loc": ["body"], "msg": message, "type": self.kind}]}))
            }
            Style::Azure => {
                to_text(&json!({"error": {"code": status.to_string(), "message": message}}))
            }
            _ => to_text(&Nested {
                error: self.fields(json!(self.code)),
            }),
        }
    }

    /// The fields as the Python servers write them: a class for a type, the status for a code.
    fn numbered(&self) -> Fields<'_> {
        let kind = match self.status {
            401 => "AuthenticationError",
            403 => "PermissionDeniedError",
            404 => "NotFoundError",
            429 => "RateLimitError",
            503 | 529 => "ServiceUnavailableError",
            500.. => "InternalServerError",
            _ => "BadRequestError",
        };
        Fields {
            kind,
            ..self.fields(json!(self.status))
        }
    }

    fn fields(&self, code: Value) -> Fields<'_> {
        Fields {
            message: &self.message,
            kind: self.kind,
            param: self.param,
            code,
        }
    }
}

/// `{"error": {…}}`.
#[derive(Serialize)]
struct Nested<'a> {
    error: Fields<'a>,
}

/// `{"object": "error", …}`.
#[derive(Serialize)]
struct Flat<'a> {
    object: &'static str,
    #[serde(flatten)]
    fields: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: Value,
}

fn content_type(style: Style) -> &'static str {
    match style {
        Style::Html => "text/html",
        Style::Plain => "text/plain",
        _ => "application/json",
    }
}

/// The answer with an error that a fault describes.
pub(super) fn scripted(question: &Question<'_>, context: Context<'_>) -> Answer {
    let fault = context.fault;
    let complaint = Complaint::scripted(fault);
    let style = fault.style.unwrap_or_default();
    if style == Style::Failed && question.endpoint() == Some(Endpoint::Responses) {
        let failure = (
            complaint.code.unwrap_or(complaint.kind),
            complaint.message.as_str(),
        );
        let body = super::responses::failed(question, context, failure);
        let status = fault.status.unwrap_or(200);
        return Answer {
            status,
            headers: headers::of(question, context, &body),
            body,
        };
    }
    let mut answer = complaint.styled(style, context);
    if let Some(body) = &fault.body {
        answer.body = Body::Whole(Bytes::from(body.clone()));
        answer.status = fault.status.unwrap_or(200);
    }
    answer
}

/// The events by which a stream that has begun reports the error that a fault describes.
///
/// `sequence` is the number of events before it.
pub(crate) fn events(question: &Question<'_>, context: Context<'_>, sequence: usize) -> Vec<Event> {
    let complaint = Complaint::scripted(context.fault);
    let style = context.fault.style.unwrap_or_default();
    if question.endpoint() == Some(Endpoint::Responses) {
        let failure = (
            complaint.code.unwrap_or(complaint.kind),
            complaint.message.as_str(),
        );
        return vec![match style {
            Style::Failed => super::responses::failed_event(question, context, failure, sequence),
            _ => super::responses::error_event(failure, sequence),
        }];
    }
    // In streams SGLang nests its errors as OpenAI does, with a number for a code.
    let nested = if style == Style::Sglang {
        Style::Vllm
    } else {
        style
    };
    let data = complaint.text(nested);
    let mut events = vec![Event {
        name: None,
        data,
        part: Part::Terminal,
    }];
    if style == Style::Vllm {
        events.push(Event::done());
    }
    events
}
