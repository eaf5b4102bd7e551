//! The fixed bytes that the bench's upstream answers with, and which request gets which. Everything is
//! built once: it must never format anything per request.

use serde_json::{Value, json};

/// Events in a stream, each an HTTP chunk of its own.
pub(crate) const STREAM_CHUNKS: usize = 100;
/// Bytes in the body of a whole answer.
pub(crate) const COMPLETION_BYTES: usize = 1024;

const PROSE: &str = "The morning ferry left the harbour a little late because the tide was low, and the \
captain waited for two more passengers who came running along the pier. ";

/// All answers, ready to be written.
#[derive(Debug)]
pub(crate) struct Answers {
    completion: Vec<u8>,
    stream: Vec<u8>,
    stream_chunks: Vec<Vec<u8>>,
    refusal: Vec<u8>,
}

/// What to write for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// All at once.
    Whole(&'a [u8]),
    /// One after the other, with time between them.
    Paced(&'a [Vec<u8>]),
}

impl Answers {
    /// Builds the answers.
    pub(crate) fn build() -> Self {
        let stream_chunks = stream_chunks();
        Self {
            completion: completion(),
            stream: stream_chunks.concat(),
            stream_chunks,
            refusal: b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
        }
    }

    /// The answer to one request: a stream where the body asks for one, paced where its `user` says so;
    /// 404 to whatever is not a `POST` below `/v1/`.
    pub(crate) fn choose(&self, start_line: &[u8], body: &[u8]) -> Answer<'_> {
        if !start_line.starts_with(b"POST /v1/") {
            return Answer::Whole(&self.refusal);
        }
        if memchr::memmem::find(body, br#""stream":true"#).is_none() {
            return Answer::Whole(&self.completion);
        }
        if memchr::memmem::find(body, br#""user":"paced""#).is_some() {
            return Answer::Paced(&self.stream_chunks);
        }
        Answer::Whole(&self.stream)
    }
}

/// A chat completion whose body is exactly [`COMPLETION_BYTES`] long.
fn completion() -> Vec<u8> {
    let frame_bytes = completion_body("").len();
    let text: String = PROSE
        .chars()
        .cycle()
        .take(COMPLETION_BYTES.saturating_sub(frame_bytes))
        .collect();
    let body = completion_body(&text);
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head, body].concat().into_bytes()
}

fn completion_body(text: &str) -> String {
    json!({
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1_750_000_000,
        "model": "gpt-5-mini",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": null},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": usage(),
    })
    .to_string()
}

fn usage() -> Value {
    json!({"prompt_tokens": 200, "completion_tokens": 98, "total_tokens": 298})
}

/// The head rides on the first chunk and the end of the message on the last, so that there are exactly
/// [`STREAM_CHUNKS`] writes.
fn stream_chunks() -> Vec<Vec<u8>> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut chunks: Vec<Vec<u8>> = events().iter().map(|event| http_chunk(event)).collect();
    if let Some(first) = chunks.first_mut() {
        first.splice(..0, head.bytes());
    }
    if let Some(last) = chunks.last_mut() {
        last.extend_from_slice(b"0\r\n\r\n");
    }
    chunks
}

fn http_chunk(event: &str) -> Vec<u8> {
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

/// One role event, words, one finish, and one with the usage that the request asks for.
fn events() -> Vec<String> {
    let choice = |delta: Value, finish: Option<&str>| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
    let role = choice(
        json!({"role": "assistant", "content": "", "refusal": null}),
        None,
    );
    let mut events = vec![event(&role, &Value::Null)];
    for word in PROSE.split_inclusive(' ').cycle().take(STREAM_CHUNKS - 3) {
        events.push(event(&choice(json!({"content": word}), None), &Value::Null));
    }
    events.push(event(&choice(json!({}), Some("stop")), &Value::Null));
    events.push(event(&json!([]), &usage()) + "data: [DONE]\n\n");
    events
}

fn event(choices: &Value, usage: &Value) -> String {
    let chunk = json!({
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1_750_000_000,
        "model": "gpt-5-mini",
        "choices": choices,
        "usage": usage,
    });
    format!("data: {chunk}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::MessageReader;

    fn body_of(answer: Answer<'_>) -> Vec<u8> {
        let bytes = match answer {
            Answer::Whole(bytes) => bytes.to_vec(),
            Answer::Paced(chunks) => chunks.concat(),
        };
        let mut reader = MessageReader::default();
        let mut body = Vec::new();
        assert_eq!(
            reader.feed(&bytes, &mut |piece| body.extend_from_slice(piece)),
            Ok(true)
        );
        assert_eq!(reader.start_line(), b"HTTP/1.1 200 OK");
        body
    }

    #[test]
    fn answers_a_plain_request_with_one_kibibyte_of_json() {
        let answers = Answers::build();
        let body = body_of(answers.choose(b"POST /v1/chat/completions HTTP/1.1", b"{}"));
        assert_eq!(body.len(), 1024);
        let completion: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(completion["usage"]["total_tokens"], 298);
    }

    #[test]
    fn answers_a_stream_with_a_hundred_events_then_done() {
        let answers = Answers::build();
        let body = body_of(answers.choose(b"POST /v1/x HTTP/1.1", br#"{"stream":true}"#));
        let text = String::from_utf8(body).unwrap();
        let events: Vec<&str> = text.split_terminator("\n\n").collect();
        assert_eq!(events.len(), 101);
        assert_eq!(events.last(), Some(&"data: [DONE]"));
        for event in &events[..100] {
            let json: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(json["object"], "chat.completion.chunk");
        }
    }

    #[test]
    fn paces_the_same_bytes_in_a_hundred_writes() {
        let answers = Answers::build();
        let burst = answers.choose(b"POST /v1/x HTTP/1.1", br#"{"stream":true}"#);
        let paced = answers.choose(b"POST /v1/x HTTP/1.1", br#"{"stream":true,"user":"paced"}"#);
        assert_eq!(body_of(burst), body_of(paced));
        assert!(matches!(paced, Answer::Paced(chunks) if chunks.len() == 100));
    }

    #[test]
    fn refuses_what_is_no_call() {
        let answers = Answers::build();
        assert!(
            matches!(answers.choose(b"GET /v1/models HTTP/1.1", b""), Answer::Whole(bytes) if bytes.starts_with(b"HTTP/1.1 404"))
        );
    }
}
