//! Bytes as they are, on both sides of the gateway: a caller without a client library, and a provider
//! that hears whole requests and says whatever it is told. Must never wait without a limit.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::stack::{Answer, KEY, Stack};

/// How long anything may take before it counts as never.
const NEVER: Duration = Duration::from_secs(20);

/// Waits for something that has to happen; fails the test when it doesn't.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(NEVER, what).await;
    waited.expect("what should have happened didn't happen")
}

/// A caller's bare connection.
pub(crate) struct Socket {
    stream: TcpStream,
    /// Read and not yet used.
    buffer: Vec<u8>,
    /// How long it waits before each read.
    pace: Duration,
    /// Whether the other side ended it with a reset.
    was_reset: bool,
}

/// The head of a chat request with the usual key and further header lines, without its blank line.
pub(crate) fn head(lines: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\n{lines}"
    )
}

/// A whole chat request with this body.
pub(crate) fn request(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = head(&format!("content-length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

impl Socket {
    pub(crate) async fn connect(stack: &Stack) -> Self {
        Self::connect_to(stack.gateway.listen_address()).await
    }

    pub(crate) async fn connect_to(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            buffer: Vec::new(),
            pace: Duration::ZERO,
            was_reset: false,
        }
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Writes as much as the other side takes.
    pub(crate) async fn try_write(&mut self, bytes: impl AsRef<[u8]>) {
        // A gateway that has heard enough closes its side: what it said before is what counts.
        drop(within(self.stream.write_all(bytes.as_ref())).await);
    }

    /// Says that no more will be sent.
    pub(crate) async fn finish(&mut self) {
        // The other side may have closed already.
        drop(self.stream.shutdown().await);
    }

    /// Whether the other side has closed, as far as is known now.
    pub(crate) fn is_closed(&self) -> bool {
        let mut byte = [0];
        match self.stream.try_read(&mut byte) {
            Ok(read) => read == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }

    /// Reads on until the bytes that aren't used yet hold `text`.
    pub(crate) async fn hear(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.buffer).contains(text) {
            assert!(self.read().await, "closed before {text:?} came");
        }
    }

    /// Whether the other side has reset the connection, as far as it was read.
    pub(crate) fn was_reset(&self) -> bool {
        self.was_reset
    }

    /// Everything until the other side closes; by a reset, too.
    pub(crate) async fn rest(mut self) -> String {
        while self.read().await {}
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// The next answer, whole; informational ones are passed over.
    pub(crate) async fn answer(&mut self) -> Answer {
        loop {
            let (status, headers) = self.answer_head().await;
            if !status.is_informational() {
                let (body, is_whole) = self.body(&headers).await;
                let body = body.into();
                return Answer {
                    status,
                    headers,
                    body,
                    is_whole,
                };
            }
        }
    }

    /// The same for a caller that waits before each read of at most 64 KiB.
    pub(crate) async fn slow_answer(&mut self, pace: Duration) -> Answer {
        self.pace = pace;
        self.answer().await
    }

    async fn answer_head(&mut self) -> (StatusCode, HeaderMap) {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            let so_far = String::from_utf8_lossy(&self.buffer).into_owned();
            assert!(self.read().await, "closed within the head: {so_far:?}");
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value.trim()).unwrap())
        });
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        (status.parse().unwrap(), map)
    }

    async fn body(&mut self, headers: &HeaderMap) -> (Vec<u8>, bool) {
        if let Some(length) = headers.get("content-length") {
            let length: usize = length.to_str().unwrap().parse().unwrap();
            return self.take(length).await;
        }
        if headers.get("transfer-encoding").is_none() {
            while self.read().await {}
            return (std::mem::take(&mut self.buffer), !self.was_reset);
        }
        let mut body = Vec::new();
        loop {
            let Some(size) = self.line().await else {
                return (body, false);
            };
            let size = usize::from_str_radix(&size, 16).unwrap();
            let (chunk, is_whole) = self.take(size).await;
            body.extend(chunk);
            if !is_whole || self.line().await.is_none() {
                return (body, false);
            }
            if size == 0 {
                return (body, true);
            }
        }
    }

    async fn take(&mut self, length: usize) -> (Vec<u8>, bool) {
        while self.buffer.len() < length {
            if !self.read().await {
                return (std::mem::take(&mut self.buffer), false);
            }
        }
        (self.buffer.drain(..length).collect(), true)
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Some(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// Reads some more; false when the other side has closed.
    async fn read(&mut self) -> bool {
        let mut bytes = vec![0; 64 << 10];
        if !self.pace.is_zero() {
            tokio::time::sleep(self.pace).await;
        }
        match within(self.stream.read(&mut bytes)).await {
            Ok(0) => false,
            Err(_) => {
                self.was_reset = true;
                false
            }
            Ok(read) => {
                self.buffer.extend_from_slice(&bytes[..read]);
                true
            }
        }
    }
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

/// A chat completion that a provider could have sent.
pub(crate) const COMPLETION: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}"#;

/// A provider that keeps every request whole, credentials too, and answers with fixed bytes.
pub(crate) struct Scribe {
    address: SocketAddr,
    heard: Arc<watch::Sender<Vec<Heard>>>,
    says: Arc<watch::Sender<Bytes>>,
    _tasks: JoinSet<()>,
}

/// A request as a [`Scribe`] heard it.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) head: String,
    pub(crate) body: Bytes,
}

impl Heard {
    /// Every value of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1);
        lines
            .filter_map(|line| line.split_once(": "))
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }
}

impl Scribe {
    /// Answers every request with a completion.
    pub(crate) async fn start() -> Self {
        let length = COMPLETION.len();
        Self::saying(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{COMPLETION}"
        ))
        .await
    }

    /// Answers every request with `bytes`; closes after them unless they end within a kept connection.
    pub(crate) async fn saying(bytes: impl Into<Bytes>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(watch::Sender::new(Vec::new()));
        let says = Arc::new(watch::Sender::new(bytes.into()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&heard), Arc::clone(&says)));
        Self {
            address,
            heard,
            says,
            _tasks: tasks,
        }
    }

    /// What it answers from now on.
    pub(crate) fn say(&self, bytes: impl Into<Bytes>) {
        self.says.send_replace(bytes.into());
    }

    /// Its base URL, as a Provider's endpoint.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The requests so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.borrow().clone()
    }
}

async fn accept(
    listener: TcpListener,
    heard: Arc<watch::Sender<Vec<Heard>>>,
    says: Arc<watch::Sender<Bytes>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(converse(stream, Arc::clone(&heard), Arc::clone(&says)));
    }
}

async fn converse(
    mut stream: TcpStream,
    heard: Arc<watch::Sender<Vec<Heard>>>,
    says: Arc<watch::Sender<Bytes>>,
) {
    let mut buffer = Vec::new();
    loop {
        let Some(request) = hear(&mut stream, &mut buffer).await else {
            return;
        };
        heard.send_modify(|all| all.push(request));
        let bytes = says.borrow().clone();
        let is_kept = find(&bytes, b"content-length: ").is_some();
        // The gateway may have heard enough already.
        if stream.write_all(&bytes).await.is_err() || !is_kept {
            return;
        }
    }
}

/// The next request, whose body has a length.
async fn hear(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Heard> {
    loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let mut request = Heard {
                head,
                body: Bytes::new(),
            };
            let length: usize = request.all("content-length").concat().parse().unwrap_or(0);
            while buffer.len() < end + 4 + length {
                if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
            request.body = Bytes::copy_from_slice(&buffer[end + 4..end + 4 + length]);
            buffer.drain(..end + 4 + length);
            return Some(request);
        }
        if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}
