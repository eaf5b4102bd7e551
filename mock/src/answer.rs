//! What a provider answers, before it becomes bytes on a wire.
//!
//! Owns the shape of an answer and its making out of a request: who is let in, which endpoint
//! answers, with which headers. Must never do IO or look at a clock.

mod chat;
mod completions;
mod embeddings;
pub(crate) mod error;
mod example;
mod headers;
mod models;
mod object;
mod prose;
mod responses;
mod speech;
mod usage;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::Config;
use crate::fault::{ErrorKind, Fault};
use crate::request::Request;
use crate::scalar::Point;
use error::Complaint;

/// An answer: a status, headers, and a body that is whole or a sequence of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The headers, without those that tell how the body is framed.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Body,
}

/// A body, whole or as events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// All of it.
    Whole(Bytes),
    /// The events of a stream, in order.
    Events(Vec<Event>),
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name, where the dialect has names.
    pub(crate) name: Option<&'static str>,
    /// Its data, a single line.
    pub(crate) data: String,
    /// What part it plays in the stream.
    pub(crate) part: Part,
}

/// What part an event plays in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It comes before any content.
    Opening,
    /// It carries content, or a tool call's name.
    Content,
    /// It comes after content and is no end: a finish, a usage, a `….done`.
    Closing,
    /// It is what the dialect ends a stream with.
    Terminal,
}

impl Event {
    /// An event without a name.
    fn nameless(data: &impl Serialize, part: Part) -> Self {
        Self {
            name: None,
            data: json(data),
            part,
        }
    }

    /// The marker that ends a nameless stream.
    fn done() -> Self {
        Self {
            name: None,
            data: "[DONE]".to_owned(),
            part: Part::Terminal,
        }
    }
}

/// Everything an answer depends on besides the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// The provider's settings.
    pub(crate) config: &'a Config,
    /// The fault that the request meets; the default one is none.
    pub(crate) fault: &'a Fault,
    /// The last four characters of the key that is presented.
    pub(crate) account: Option<&'a str>,
    /// The request's number, from 1.
    pub(crate) number: u64,
    /// Requests with the same key so far, this one included.
    pub(crate) account_requests: u64,
    /// The time, in seconds since 1970.
    pub(crate) now: u64,
}

/// A request, read as far as an answer and a script need it.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    request: &'a Request,
    body: Option<Value>,
}

impl<'a> Question<'a> {
    /// Reads a request's body, if it is JSON.
    pub(crate) fn of(request: &'a Request) -> Self {
        Self {
            request,
            body: serde_json::from_slice(&request.body).ok(),
        }
    }

    /// The model that is asked for.
    pub(crate) fn model(&self) -> Option<&str> {
        self.body.as_ref()?.get("model")?.as_str()
    }

    /// Whether a stream is asked for.
    pub(crate) fn stream(&self) -> bool {
        let stream = self.body.as_ref().and_then(|body| body.get("stream"));
        stream.and_then(Value::as_bool).unwrap_or(false)
    }

    /// The key that is presented.
    pub(crate) fn key(&self) -> Option<&'a str> {
        let value = self.request.header("authorization")?;
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    }

    /// The last four characters of the key that is presented.
    pub(crate) fn account(&self) -> Option<String> {
        self.key().map(last_four)
    }

    /// The endpoint that is asked.
    pub(crate) fn endpoint(&self) -> Option<Endpoint<'a>> {
        Endpoint::of(self.request.path())
    }
}

/// The last four characters of a text.
pub(crate) fn last_four(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    characters
        .iter()
        .skip(characters.len().saturating_sub(4))
        .collect()
}

/// What a provider can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint<'a> {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/responses`
    Responses,
    /// `/v1/embeddings`
    Embeddings,
    /// `/v1/models`
    Models,
    /// `/v1/models/{id}`
    Model(&'a str),
}

impl<'a> Endpoint<'a> {
    fn of(path: &'a str) -> Option<Self> {
        match path {
            "/v1/chat/completions" => Some(Self::Chat),
            "/v1/completions" => Some(Self::Completions),
            "/v1/responses" => Some(Self::Responses),
            "/v1/embeddings" => Some(Self::Embeddings),
            "/v1/models" => Some(Self::Models),
            _ => path.strip_prefix("/v1/models/").map(Self::Model),
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Chat | Self::Completions | Self::Responses | Self::Embeddings => "POST",
            Self::Models | Self::Model(_) => "GET",
        }
    }
}

/// Answers a request: as the fault has it, else as a healthy provider would.
pub(crate) fn build(question: &Question<'_>, context: Context<'_>) -> Answer {
    if context.fault.is_error() {
        return error::scripted(question, context);
    }
    match healthy(question, context) {
        Ok(body) => {
            let body = interrupted(body, question, context);
            let status = context.fault.status.unwrap_or(200);
            Answer {
                status,
                headers: headers::of(question, context, &body),
                body,
            }
        }
        Err(complaint) => complaint.answer(context),
    }
}

fn healthy(question: &Question<'_>, context: Context<'_>) -> Result<Body, Complaint> {
    let endpoint = question
        .endpoint()
        .ok_or_else(|| Complaint::unknown_url(question.request))?;
    if question.request.method != endpoint.method() {
        return Err(Complaint::method(question.request, endpoint.method()));
    }
    admit(question, context)?;
    match endpoint {
        Endpoint::Models => return Ok(whole(&models::list(context))),
        Endpoint::Model(id) => return models::one(id, context).map(|model| whole(&model)),
        Endpoint::Chat | Endpoint::Completions | Endpoint::Responses | Endpoint::Embeddings => {}
    }
    let body = question.body.as_ref().ok_or_else(Complaint::not_json)?;
    let model = question
        .model()
        .ok_or_else(|| Complaint::missing("model"))?;
    models::check(model, context)?;
    match endpoint {
        Endpoint::Chat => chat::answer(body, context),
        Endpoint::Completions => completions::answer(body, context),
        Endpoint::Responses => responses::answer(body, context),
        Endpoint::Embeddings => embeddings::answer(body, context),
        Endpoint::Models | Endpoint::Model(_) => Err(Complaint::unknown_url(question.request)),
    }
}

/// A stream with the error event that the fault puts into it, and nothing after it.
fn interrupted(body: Body, question: &Question<'_>, context: Context<'_>) -> Body {
    match (body, context.fault.error_event) {
        (Body::Events(mut events), Some(point)) => {
            events.truncate(place(point, &events));
            events.extend(error::events(question, context, events.len()));
            Body::Events(events)
        }
        (body, _) => body,
    }
}

/// The number of events before a point.
pub(crate) fn place(point: Point, events: &[Event]) -> usize {
    let content = events.iter().position(|event| event.part == Part::Content);
    let opening = events
        .iter()
        .take_while(|event| event.part == Part::Opening)
        .count();
    let content = content.unwrap_or(opening);
    let place = match point {
        Point::BeforeHead | Point::AfterHead => 0,
        Point::BeforeContent => content,
        Point::MidBody => content + 1,
        Point::AfterEvents(events) => events,
    };
    place.min(events.len())
}

fn admit(question: &Question<'_>, context: Context<'_>) -> Result<(), Complaint> {
    let keys = &context.config.keys;
    if keys.is_empty() {
        return Ok(());
    }
    match question.key() {
        None => Err(Complaint::of(
            ErrorKind::InvalidKey,
            "no API key came with the request: send it as `Authorization: Bearer KEY`".to_owned(),
        )
        .without_code()),
        Some(key) if keys.iter().any(|known| known == key) => Ok(()),
        Some(key) => Err(Complaint::of(
            ErrorKind::InvalidKey,
            format!("the API key ending in {} is not known here", last_four(key)),
        )),
    }
}

/// Text of JSON. What is given here has text keys and finite numbers only, so it always has one.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn whole(value: &impl Serialize) -> Body {
    Body::Whole(Bytes::from(json(value)))
}

#[cfg(test)]
mod tests;
