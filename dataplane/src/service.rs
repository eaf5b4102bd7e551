//! The life of a request, on one screen: identify, read, select, walk, answer. Must hold no logic of its
//! own beyond that order.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode, request};
use hyper::body::Incoming;
use weighbridge_snapshot::{Operation, TokenDigest};

use crate::attempt::AcceptedBody;
use crate::auth;
use crate::call::{self, Asked, Call};
use crate::candidates::Candidates;
use crate::connection::{Activity, Connection};
use crate::fault::{Fault, SHOULD_RETRY};
use crate::metrics::Outcome;
use crate::models;
use crate::recorder::{Recorder, count_usage};
use crate::reply::{KEEP_ALIVE_EVERY, Ongoing, ReplyBody, Walking};
use crate::routing::{self, Selected};
use crate::runtime::Key;
use crate::walk::{Last, Reply, Unserved, Walk, name_route};
use crate::worker::Worker;

/// Answers one request; whatever goes wrong is an answer too.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Infallible> {
    connection.set_activity(Activity::Serving);
    let (head, body) = request.into_parts();
    let answered = answer(&worker, &connection, head, body).await;
    let mut response = answered.unwrap_or_else(|fault| {
        if let Some(refusals) = worker.cells().refusal(fault.code()) {
            refusals.add(1);
        }
        whole(fault.response(false), &connection)
    });
    if worker.shared.is_draining() {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn answer(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    head: request::Parts,
    body: Incoming,
) -> Result<Response<ReplyBody>, Fault> {
    let asked = call::asked(&head.method, head.uri.path())?;
    let digest = auth::token(&head.headers)?;
    match asked {
        Asked::Models => with_key(worker, &digest, |key| Ok(models::list(key))),
        Asked::Model(name) => with_key(worker, &digest, |key| models::one(key, name)),
        Asked::Operation(operation) => {
            with_key(worker, &digest, |_| Ok(()))?;
            let call = call::read(operation, head, body, &worker.shared).await?;
            return serve_call(worker, connection, call, &digest).await;
        }
    }
    .map(|response| whole(response, connection))
}

/// Looks at the key, when it may be used now.
fn with_key<R>(
    worker: &Worker,
    digest: &TokenDigest,
    look: impl FnOnce(&Key) -> Result<R, Fault>,
) -> Result<R, Fault> {
    worker.with_runtime(|runtime| look(auth::identify(runtime, digest)?))
}

async fn serve_call(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    call: Call,
    digest: &TokenDigest,
) -> Result<Response<ReplyBody>, Fault> {
    let selected = worker.with_runtime(|runtime| routing::select(runtime, digest, &call.facts))?;
    let Selected {
        key,
        route,
        wildcard_from,
    } = selected;
    let operation = call.operation;
    let ongoing = Ongoing {
        recorder: Recorder::new(
            Rc::clone(worker),
            std::sync::Arc::clone(&route),
            operation,
            call.started,
        ),
        worker: Rc::clone(worker),
        connection: Rc::clone(connection),
        operation,
    };
    let candidates = Candidates::new(route, key, operation, (&call.facts.model, wildcard_from));
    let is_stream = call.facts.stream && operation != Operation::Embeddings;
    let mut walk: Walking = Box::pin(Walk::new(Rc::clone(worker), call, candidates).run());
    if !is_stream {
        return Ok(finished(ongoing, walk.await));
    }
    match tokio::time::timeout(KEEP_ALIVE_EVERY, &mut walk).await {
        Ok(walked) => Ok(finished(ongoing, walked)),
        Err(_) => Ok(waiting(walk, ongoing)),
    }
}

fn finished(ongoing: Ongoing, walked: Result<Reply, Unserved>) -> Response<ReplyBody> {
    match walked {
        Ok(reply) => served(ongoing, reply),
        Err(unserved) => unserved_response(ongoing, unserved),
    }
}

fn served(mut ongoing: Ongoing, reply: Reply) -> Response<ReplyBody> {
    let Reply {
        headers,
        body,
        served,
    } = reply;
    let status = served.status;
    let connection = Rc::clone(&ongoing.connection);
    let body = match body {
        AcceptedBody::Begun(begun) => ReplyBody::relayed(ongoing.relay(begun, served), &connection),
        AcceptedBody::Whole { bytes, usage } => {
            if let Some(usage) = usage {
                count_usage(&served.provider, ongoing.worker.id, usage);
            }
            ongoing.recorder.set_attempts(served.attempts);
            ongoing.recorder.finish(Outcome::of_status(status.as_u16()));
            ReplyBody::whole(bytes, &connection)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn unserved_response(mut ongoing: Ongoing, unserved: Unserved) -> Response<ReplyBody> {
    let mut response = match unserved.what {
        Last::Fault(fault) => fault.response(unserved.is_final),
        Last::Answer(answer) => {
            let mut response = Response::new(answer.body);
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            if unserved.is_final {
                let value = HeaderValue::from_static("false");
                response.headers_mut().insert(SHOULD_RETRY, value);
            }
            response
        }
    };
    ongoing.recorder.set_attempts(unserved.attempts);
    let outcome = Outcome::of_status(response.status().as_u16());
    ongoing.recorder.finish(outcome);
    let route = ongoing.recorder.route().header.clone();
    name_route(response.headers_mut(), &route, unserved.attempts);
    whole(response, &ongoing.connection)
}

/// The headers of a stream whose answer is still being looked for.
fn waiting(walk: Walking, ongoing: Ongoing) -> Response<ReplyBody> {
    let route = ongoing.recorder.route().header.clone();
    let mut response = Response::new(ReplyBody::waiting(walk, ongoing));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-weighbridge-route", route);
    response
}

fn whole(response: Response<Bytes>, connection: &Rc<Connection>) -> Response<ReplyBody> {
    response.map(|bytes| ReplyBody::whole(bytes, connection))
}
