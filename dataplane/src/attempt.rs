//! One attempt: a request to one account, up to the moment its answer may go to the caller.
//!
//! An answer is held back while failing over would still be invisible: a whole one up to 64 KiB, a
//! stream up to its first content. Must never retry anything but a connection that was stale, and must
//! never decide what comes next.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, response};
use tokio::time::timeout_at;
use weighbridge_snapshot::Operation;

use crate::answer::{Inspection, Usage, error_of, inspect, inspect_thoroughly};
use crate::call::Call;
use crate::content::{Step, classify};
use crate::cooldown::retry_after;
use crate::failure::{Answer, Cause, Failure};
use crate::headers;
use crate::health::Refusal;
use crate::pieces::Pieces;
use crate::probe::json_string;
use crate::runtime::{Account, Backend, Endpoint, Provider, UpstreamModel};
use crate::sse::{Decoder, Event};
use crate::upstream::{Exchange, Link, RequestBody};
use crate::worker::Worker;

/// Whole answers up to here are read before the caller sees anything.
const WHOLE_UP_TO_BYTES: usize = 64 << 10;
/// A stream that has sent this much and said nothing yet is taken to have begun: memory is bounded.
const HOLD_UP_TO_BYTES: usize = 1 << 20;
/// How long an error's body may take: it only explains the status, and the call waits to move on.
const ERROR_BODY_LIMIT: Duration = Duration::from_millis(500);
/// How long plain connections stay idle: servers on one's own pools close theirs after 5 s (Node,
/// uvicorn, gunicorn), and using one in that moment costs a second connection.
const PLAIN_IDLE: Duration = Duration::from_secs(4);
/// Hosted APIs keep theirs for minutes, and a TLS handshake costs more than the race.
const TLS_IDLE: Duration = Duration::from_mins(1);

/// What one attempt works on.
pub(crate) struct Attempt<'a> {
    pub(crate) worker: &'a Rc<Worker>,
    pub(crate) call: &'a Call,
    pub(crate) provider: &'a Arc<Provider>,
    pub(crate) account: &'a Account,
    pub(crate) backend: &'a Backend,
    /// The model's name there.
    pub(crate) model: &'a str,
    /// The bound of the whole attempt, and the field that sets it.
    pub(crate) deadline: Deadline,
}

/// A moment, and the field that sets it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) bound: &'static str,
    pub(crate) limit: Duration,
}

/// An answer whose first bytes may go to the caller.
pub(crate) struct Accepted {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: AcceptedBody,
}

/// What there is of an accepted answer's body.
pub(crate) enum AcceptedBody {
    /// All of it.
    Whole { bytes: Bytes, usage: Option<Usage> },
    /// Its beginning; the rest is relayed.
    Begun(Begun),
}

/// An answer that goes on.
pub(crate) struct Begun {
    pub(crate) exchange: Exchange,
    pub(crate) beginning: Vec<Bytes>,
    /// Server-sent events, which must end with their terminal event.
    pub(crate) is_stream: bool,
    /// How long the connection may stay idle afterwards.
    pub(crate) idle_limit: Duration,
}

impl Deadline {
    /// The nearer of two.
    pub(crate) fn min(self, other: Self) -> Self {
        if other.at < self.at { other } else { self }
    }

    /// The failure of missing it.
    pub(crate) fn missed(self) -> Failure {
        Failure::of(Cause::Timeout {
            bound: self.bound,
            limit: self.limit,
        })
    }
}

impl Attempt<'_> {
    /// Sends the request and waits until its answer may go to the caller.
    pub(crate) async fn run(&self) -> Result<Accepted, Failure> {
        let deadline = if self.call.facts.stream {
            self.deadline.min(self.first_event())
        } else {
            self.deadline
        };
        let response = self.exchange(deadline).await?;
        let (mut head, exchange) = response.into_parts();
        let idle_limit = idle_limit(&head.headers, &self.provider.endpoint);
        if let Some(cause) = Cause::of_status(head.status) {
            return Err(self.refused(cause, head, exchange, idle_limit).await);
        }
        let ends_itself = has_stated_end(&head.headers);
        headers::for_caller(&mut head.headers);
        let body = if head.status.is_success() && is_event_stream(&head.headers) {
            // Our own error event may have to be added: the length can't be promised.
            head.headers.remove(CONTENT_LENGTH);
            hold(self.call.operation, exchange, deadline, idle_limit).await?
        } else {
            let read = read_whole(exchange, deadline).await?;
            self.whole(head.status, read, idle_limit, ends_itself)?
        };
        Ok(Accepted {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    fn first_event(&self) -> Deadline {
        let limit = self.provider.timeouts.first_event;
        Deadline {
            at: Instant::now() + limit,
            bound: "timeouts.firstEvent",
            limit,
        }
    }

    /// Sends the request; once more on a fresh connection when an idle one turns out closed.
    async fn exchange(&self, deadline: Deadline) -> Result<Response<Exchange>, Failure> {
        let idle = self.worker.pool.take(self.provider.endpoint.id);
        if let Some(link) = idle {
            match self.send(link, deadline).await? {
                Ok(response) => return Ok(response),
                Err(stale) => {
                    self.worker.cells().stale.add(1);
                    tracing::debug!(provider = %self.provider.name, error = %stale, "a pooled connection was closed");
                }
            }
        }
        let link = self.connect(deadline).await?;
        match self.send(link, deadline).await? {
            Ok(response) => Ok(response),
            Err(error) => Err(Failure::because(Cause::BadAnswer, error)),
        }
    }

    async fn connect(&self, deadline: Deadline) -> Result<Link, Failure> {
        self.worker.cells().connects.add(1);
        let endpoint = &self.provider.endpoint;
        let connecting = self
            .worker
            .connector
            .connect(endpoint, self.provider.timeouts.connect);
        let connected = timeout_at(deadline.at.into(), connecting).await;
        connected
            .map_err(|_| deadline.missed())?
            .map_err(|error| Failure::because(Cause::Connect, error))
    }

    /// The inner error is a stale connection's.
    async fn send(
        &self,
        link: Link,
        deadline: Deadline,
    ) -> Result<Result<Response<Exchange>, hyper::Error>, Failure> {
        match timeout_at(deadline.at.into(), link.send(self.request())).await {
            Err(_) => Err(deadline.missed()),
            Ok(Ok(response)) => Ok(Ok(response)),
            Ok(Err(failure)) if failure.is_stale => Ok(Err(failure.error)),
            Ok(Err(failure)) => Err(Failure::because(Cause::BadAnswer, failure.error)),
        }
    }

    fn request(&self) -> Request<RequestBody> {
        let facts = &self.call.facts;
        let body = if self.model == facts.model {
            RequestBody::whole(&self.call.body)
        } else {
            let json = match &self.backend.model {
                UpstreamModel::Named { json, .. } => json.clone(),
                UpstreamModel::Caller | UpstreamModel::Wildcard => json_string(self.model).into(),
            };
            RequestBody::spliced(&self.call.body, &facts.model_at, &json)
        };
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri();
        *request.headers_mut() =
            headers::for_provider(&self.call.headers, &self.provider.endpoint, self.account);
        request
    }

    fn uri(&self) -> Uri {
        let path = self.provider.endpoint.path(self.call.operation);
        if self.call.query.is_empty() {
            return path.clone().into();
        }
        // Both parts have been parsed before: joined they can't fail, but for their length.
        [path.as_str(), &self.call.query]
            .concat()
            .parse()
            .unwrap_or_else(|_| path.clone().into())
    }

    /// Reads what a provider says about a failure.
    async fn refused(
        &self,
        cause: Cause,
        mut head: response::Parts,
        exchange: Exchange,
        idle_limit: Duration,
    ) -> Failure {
        let deadline = Deadline {
            at: Instant::now() + ERROR_BODY_LIMIT,
            ..self.deadline
        };
        let read = read_whole(exchange, deadline.min(self.deadline)).await;
        let body = match read {
            Ok(Read::Whole(bytes, link)) => {
                self.keep(link, idle_limit);
                bytes
            }
            Ok(Read::Longer(..)) | Err(_) => Bytes::new(),
        };
        let cause = match cause {
            Cause::RateLimited(_) if error_of(429, &body).is_billing() => {
                Cause::Refused(Refusal::Billing)
            }
            Cause::RateLimited(_) => {
                Cause::RateLimited(retry_after(&head.headers, SystemTime::now()))
            }
            other => other,
        };
        headers::for_caller(&mut head.headers);
        head.headers.remove(CONTENT_LENGTH);
        Failure {
            cause,
            error: None,
            answer: (!body.is_empty()).then(|| {
                Box::new(Answer {
                    status: head.status,
                    headers: head.headers,
                    body,
                })
            }),
        }
    }

    /// A whole answer while it is small; a 200 that holds an error is a failure.
    fn whole(
        &self,
        status: StatusCode,
        read: Read,
        idle_limit: Duration,
        ends_itself: bool,
    ) -> Result<AcceptedBody, Failure> {
        let (bytes, link) = match read {
            Read::Whole(bytes, link) => (bytes, link),
            Read::Longer(beginning, exchange) => {
                return Ok(AcceptedBody::Begun(Begun {
                    exchange,
                    beginning,
                    is_stream: false,
                    idle_limit,
                }));
            }
        };
        self.keep(link, idle_limit);
        let usage = if status.is_success() {
            inspected(self.call.operation, &bytes, ends_itself)?
        } else {
            None
        };
        Ok(AcceptedBody::Whole { bytes, usage })
    }

    fn keep(&self, link: Option<Link>, idle_limit: Duration) {
        if let Some(link) = link {
            let endpoint = self.provider.endpoint.id;
            self.worker
                .pool
                .put(endpoint, link, Instant::now(), idle_limit);
        }
    }
}

/// What a whole answer used; one that ends where its connection did is looked at to its last bracket.
fn inspected(
    operation: Operation,
    bytes: &Bytes,
    ends_itself: bool,
) -> Result<Option<Usage>, Failure> {
    let inspection = if ends_itself {
        inspect(operation, bytes)
    } else {
        inspect_thoroughly(operation, bytes)
    };
    match inspection {
        Inspection::Good { usage } => Ok(usage),
        Inspection::Garbage => Err(Failure::of(Cause::BadAnswer)),
        Inspection::Failed(error) => match Cause::of_error(&error) {
            Some(cause) => Err(Failure::of(cause)),
            None => Ok(None),
        },
    }
}

/// A body, read as far as it may be held.
enum Read {
    /// To its end, with the connection when it can be used again.
    Whole(Bytes, Option<Link>),
    /// It is longer than is held.
    Longer(Vec<Bytes>, Exchange),
}

async fn read_whole(mut exchange: Exchange, deadline: Deadline) -> Result<Read, Failure> {
    let mut pieces = Pieces::default();
    loop {
        let frame = timeout_at(deadline.at.into(), exchange.frame()).await;
        match frame.map_err(|_| deadline.missed())? {
            None => return Ok(Read::Whole(pieces.joined(), exchange.into_idle())),
            Some(Err(error)) => return Err(Failure::because(Cause::BadAnswer, error)),
            Some(Ok(frame)) => {
                let Ok(piece) = frame.into_data() else {
                    continue; // trailers end here: HTTP/1.1 callers haven't asked for any
                };
                pieces.push(piece);
                if pieces.len() > WHOLE_UP_TO_BYTES {
                    return Ok(Read::Longer(pieces.into_vec(), exchange));
                }
            }
        }
    }
}

/// Holds a stream until its first content: before it, a failure is the next attempt's business.
async fn hold(
    operation: Operation,
    mut exchange: Exchange,
    deadline: Deadline,
    idle_limit: Duration,
) -> Result<AcceptedBody, Failure> {
    let mut decoder = Decoder::new(HOLD_UP_TO_BYTES);
    let mut beginning = Pieces::default();
    let mut decided = None;
    loop {
        let mut decide = |event: Event<'_>| {
            if decided.is_none() {
                decided = Some(classify(operation, &event)).filter(|step| *step != Step::Hold);
            }
        };
        let frame = timeout_at(deadline.at.into(), exchange.frame()).await;
        let Some(frame) = frame.map_err(|_| deadline.missed())? else {
            // The last event counts even when no blank line follows it; too long a one is content.
            let finished = decoder.finish(&mut decide);
            decided = decided.or(finished.is_err().then_some(Step::Content));
            check(&decided.ok_or_else(|| Failure::of(Cause::BadAnswer))?)?;
            break;
        };
        let frame = frame.map_err(|error| Failure::because(Cause::BadAnswer, error))?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        let is_too_long = decoder.feed(&piece, &mut decide).is_err();
        beginning.push(piece);
        if is_too_long || beginning.len() > HOLD_UP_TO_BYTES {
            decided = decided.or(Some(Step::Content));
        }
        if let Some(step) = decided.take() {
            check(&step)?;
            break;
        }
    }
    Ok(AcceptedBody::Begun(Begun {
        exchange,
        beginning: beginning.into_vec(),
        is_stream: true,
        idle_limit,
    }))
}

/// Whether a stream may go to the caller at its first event that says anything.
fn check(step: &Step) -> Result<(), Failure> {
    let cause = match step {
        Step::Failed(error) => Cause::of_error(error),
        Step::Hold | Step::Content | Step::Terminal => None,
    };
    cause.map_or(Ok(()), |cause| Err(Failure::of(cause)))
}

/// Whether the answer's end is told by more than the end of its connection.
fn has_stated_end(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// How long the connection may stay idle: a second less than its server says, else what is usual.
fn idle_limit(headers: &HeaderMap, endpoint: &Endpoint) -> Duration {
    let stated = headers
        .get("keep-alive")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| {
            text.split(',')
                .find_map(|part| part.trim().strip_prefix("timeout="))
        })
        .and_then(|seconds| seconds.trim().parse::<u64>().ok());
    match stated {
        Some(seconds) => Duration::from_secs(seconds.saturating_sub(1).min(600)),
        None if endpoint.tls_name.is_some() => TLS_IDLE,
        None => PLAIN_IDLE,
    }
}
