//! The control endpoints, under `/_mock/`.
//!
//! Owns their paths and forms. They meet no faults, need no key, are not logged and not counted as
//! requests.

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::answer::{Answer, Body};
use crate::mock::Shared;
use crate::request::Request;
use crate::script::{Run, Script, ScriptError};

/// Answers a control request; `None` when it isn't one.
pub(crate) fn answer(shared: &Shared, request: &Request) -> Option<Answer> {
    let resource = request.path().strip_prefix("/_mock/")?;
    Some(match (request.method.as_str(), resource) {
        ("GET", "faults") => ok(&shared.run().script()),
        ("PUT", "faults") => match script(&request.body) {
            Ok(script) => begin(shared, script),
            Err(error) => problem(400, &error.to_string()),
        },
        ("DELETE", "faults") => begin(shared, Script::default()),
        ("GET", "log") => ok(&shared.journal.entries()),
        ("DELETE", "log") => {
            shared.journal.clear();
            done()
        }
        ("GET", "counters") => ok(&shared.journal.counters()),
        (_, "faults" | "log" | "counters") => problem(405, "this method does nothing here"),
        _ => problem(
            404,
            "there are /_mock/faults, /_mock/log and /_mock/counters",
        ),
    })
}

fn script(body: &[u8]) -> Result<Script, ScriptError> {
    String::from_utf8_lossy(body).parse()
}

fn begin(shared: &Shared, script: Script) -> Answer {
    *shared.run() = Run::new(script);
    done()
}

fn done() -> Answer {
    Answer {
        status: 204,
        headers: Vec::new(),
        body: Body::Whole(Bytes::new()),
    }
}

fn ok(value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_answer(200, bytes),
        Err(error) => problem(500, &error.to_string()),
    }
}

fn problem(status: u16, message: &str) -> Answer {
    json_answer(
        status,
        json!({"error": {"message": message}}).to_string().into(),
    )
}

fn json_answer(status: u16, bytes: Vec<u8>) -> Answer {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Answer {
        status,
        headers,
        body: Body::Whole(bytes.into()),
    }
}
