//! A caller that reads raw bytes and sees how a connection ends.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Config, Mock};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Reset,
}

/// A test fails rather than hangs. Nothing here waits for this time to pass.
pub(super) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .expect("it takes too long")
}

pub(super) async fn mock() -> Mock {
    Mock::start(Config::default()).await.unwrap()
}

pub(super) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub(super) async fn to(mock: &Mock) -> Self {
        let stream = soon(TcpStream::connect(mock.address())).await.unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Reads until the bytes read so far satisfy `enough`, and takes them.
    pub(super) async fn read_until(&mut self, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        while !enough(&self.unread) {
            let read = soon(self.stream.read_buf(&mut self.unread)).await.unwrap();
            assert!(
                read > 0,
                "closed after {:?}",
                String::from_utf8_lossy(&self.unread)
            );
        }
        std::mem::take(&mut self.unread)
    }

    /// Reads one whole answer with a `content-length`.
    pub(super) async fn read_answer(&mut self) -> Answer {
        let bytes = self
            .read_until(|bytes| {
                let Some(answer) = Answer::parse(bytes) else {
                    return false;
                };
                let length = answer
                    .header("content-length")
                    .map(|text| text.parse().unwrap());
                answer.body.len() >= length.unwrap_or(0)
            })
            .await;
        Answer::parse(&bytes).unwrap()
    }

    /// Reads to the end of the connection.
    pub(super) async fn read_to_end(mut self) -> (Vec<u8>, End) {
        loop {
            match soon(self.stream.read_buf(&mut self.unread)).await {
                Ok(0) => return (self.unread, End::Closed),
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                    return (self.unread, End::Reset);
                }
            }
        }
    }
}

/// An answer's text, taken apart.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// As on the wire, transfer coding included.
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// `None` when there isn't a whole head.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        };
        let headers = lines.map(header).collect();
        Some(Self {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
        })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(key, _)| key == name);
        named.next().map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The chunks of a chunked body, and whether its end was told.
    pub(super) fn chunks(&self) -> (Vec<Vec<u8>>, bool) {
        let mut rest = self.body.as_slice();
        let mut chunks = Vec::new();
        while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
            let size = std::str::from_utf8(&rest[..line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                return (chunks, true);
            }
            chunks.push(rest[line + 2..line + 2 + size].to_vec());
            rest = &rest[line + 4 + size..];
        }
        (chunks, false)
    }

    /// A chunked body as text, and whether its end was told.
    pub(super) fn text(&self) -> (String, bool) {
        let (chunks, ended) = self.chunks();
        (String::from_utf8(chunks.concat()).unwrap(), ended)
    }
}

/// A request with a JSON body.
pub(super) fn post(path: &str, body: &str, headers: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: mock\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nAuthorization: Bearer sk-test-a1b2\r\n{headers}\r\n{body}"
    )
}

pub(super) fn chat(headers: &str) -> String {
    let body = r#"{"model":"gpt-5","messages":[{"role":"user","content":"ping"}]}"#;
    post("/v1/chat/completions", body, headers)
}

pub(super) fn stream(headers: &str) -> String {
    let body = r#"{"model":"gpt-5","messages":[{"role":"user","content":"ping"}],"stream":true}"#;
    post("/v1/chat/completions", body, headers)
}

/// The raw answer to a request on a connection of its own, read to the connection's end.
pub(super) async fn raw(mock: &Mock, request: &str) -> (Vec<u8>, End) {
    let mut client = Client::to(mock).await;
    client.send(request).await;
    client.read_to_end().await
}

/// The answer to a unary chat that brings this fault, and how its connection ended.
pub(super) async fn chat_with(mock: &Mock, fault: &str) -> (Answer, End) {
    let headers = format!("Connection: close\r\nx-mock-fault: {fault}\r\n");
    let (bytes, end) = raw(mock, &chat(&headers)).await;
    (Answer::parse(&bytes).unwrap(), end)
}

/// The answer to a streamed chat that brings this fault, and how its connection ended.
pub(super) async fn stream_with(mock: &Mock, fault: &str) -> (Answer, End) {
    let headers = format!("Connection: close\r\nx-mock-fault: {fault}\r\n");
    let (bytes, end) = raw(mock, &stream(&headers)).await;
    (Answer::parse(&bytes).unwrap(), end)
}
