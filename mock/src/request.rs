//! Reading requests from a connection.
//!
//! Owns the parsing of heads and bodies, with limits. Must never interpret a body: the bytes that
//! arrive are the bytes that the log shows.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest head that is read. Generous: a gateway's header bombs are its own to refuse.
const HEAD_BYTES: usize = 256 * 1024;
/// The most headers that are read.
const HEADERS: usize = 512;
/// The longest body that is read.
const BODY_BYTES: usize = 64 * 1024 * 1024;
/// The longest line of a chunked body that tells a chunk's size, extensions included.
const CHUNK_LINE_BYTES: usize = 4 * 1024;

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The method, as written.
    pub(crate) method: String,
    /// The path with its query, as written.
    pub(crate) target: String,
    /// The headers in order, names as written.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, without its transfer coding.
    pub(crate) body: Bytes,
    /// Whether the caller keeps the connection open.
    pub(crate) keep_alive: bool,
}

impl Request {
    /// Stands for a request that could not be read.
    pub(crate) fn unread() -> Self {
        Self {
            method: String::new(),
            target: String::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            keep_alive: false,
        }
    }

    /// The path without its query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The value of a header, of several the first.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// All values of a header.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self
            .headers
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut named = headers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.as_str())
}

/// Why no request could be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The connection broke, or ended inside of a request.
    #[error("the connection ended inside of a request")]
    Ended(#[source] io::Error),
    /// What came isn't HTTP/1.
    #[error("what came is not a request: {0}")]
    Malformed(String),
    /// Head or body are beyond the limits.
    #[error("the request is longer than this provider reads")]
    TooLong,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Ended(error)
    }
}

/// How a request's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunked,
}

/// A head, and where it ends.
#[derive(Debug)]
struct Head {
    request: Request,
    length: Length,
    expects_continue: bool,
}

/// Reads the next request; `None` when the connection ended between requests.
///
/// `buffer` holds what was read and not yet used; it lives as long as the connection.
pub(crate) async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
) -> Result<Option<Request>, ReadError> {
    let head = loop {
        if let Some(head) = parse_head(buffer)? {
            break head;
        }
        if buffer.len() > HEAD_BYTES {
            return Err(ReadError::TooLong);
        }
        if stream.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() {
                Ok(None)
            } else {
                Err(ended())
            };
        }
    };
    if head.expects_continue {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let mut request = head.request;
    request.body = match head.length {
        Length::Bytes(length) => read_exactly(stream, buffer, length).await?,
        Length::Chunked => read_chunks(stream, buffer).await?,
    };
    Ok(Some(request))
}

fn ended() -> ReadError {
    ReadError::Ended(io::ErrorKind::UnexpectedEof.into())
}

/// Takes a head off the front of `buffer`, if it is complete.
fn parse_head(buffer: &mut BytesMut) -> Result<Option<Head>, ReadError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let status = parsed
        .parse(buffer)
        .map_err(|error| ReadError::Malformed(error.to_string()))?;
    let httparse::Status::Complete(end) = status else {
        return Ok(None);
    };
    let named = |header: &httparse::Header<'_>| (header.name.to_owned(), value(header.value));
    let headers: Vec<(String, String)> = parsed.headers.iter().map(named).collect();
    let expects_continue =
        header(&headers, "expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
    let length = length(&headers)?;
    let keep_alive = keep_alive(&headers, parsed.version == Some(1));
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        headers,
        body: Bytes::new(),
        keep_alive,
    };
    buffer.advance(end);
    Ok(Some(Head {
        request,
        length,
        expects_continue,
    }))
}

/// A header's value as text: UTF-8, else each byte as the character of that number.
fn value(bytes: &[u8]) -> String {
    let byte_by_byte = || bytes.iter().map(|byte| char::from(*byte)).collect();
    std::str::from_utf8(bytes).map_or_else(|_| byte_by_byte(), str::to_owned)
}

fn keep_alive(headers: &[(String, String)], http_1_1: bool) -> bool {
    let connection = header(headers, "connection")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let mut options = connection.split(',').map(str::trim);
    if http_1_1 {
        !options.any(|option| option == "close")
    } else {
        false
    }
}

fn length(headers: &[(String, String)]) -> Result<Length, ReadError> {
    if let Some(coding) = header(headers, "transfer-encoding") {
        return if coding.eq_ignore_ascii_case("chunked") {
            Ok(Length::Chunked)
        } else {
            Err(ReadError::Malformed(format!(
                "transfer-encoding {coding} is not known here"
            )))
        };
    }
    let Some(text) = header(headers, "content-length") else {
        return Ok(Length::Bytes(0));
    };
    let length: usize = text
        .parse()
        .map_err(|_| ReadError::Malformed(format!("content-length {text} is no number")))?;
    if length > BODY_BYTES {
        Err(ReadError::TooLong)
    } else {
        Ok(Length::Bytes(length))
    }
}

async fn read_exactly<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    length: usize,
) -> Result<Bytes, ReadError> {
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(ended());
        }
    }
    Ok(buffer.split_to(length).freeze())
}

async fn read_chunks<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
) -> Result<Bytes, ReadError> {
    let mut body = BytesMut::new();
    loop {
        let line = read_line(stream, buffer).await?;
        let size = chunk_size(&line)?;
        if size == 0 {
            break;
        }
        if body.len().saturating_add(size) > BODY_BYTES {
            return Err(ReadError::TooLong);
        }
        body.extend_from_slice(&read_exactly(stream, buffer, size).await?);
        if !read_line(stream, buffer).await?.is_empty() {
            return Err(ReadError::Malformed(
                "a chunk is longer than its size".to_owned(),
            ));
        }
    }
    // Trailers are read and dropped.
    while !read_line(stream, buffer).await?.is_empty() {}
    Ok(body.freeze())
}

fn chunk_size(line: &[u8]) -> Result<usize, ReadError> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = std::str::from_utf8(digits).unwrap_or_default().trim();
    usize::from_str_radix(digits, 16)
        .map_err(|_| ReadError::Malformed("a chunk's size is no number".to_owned()))
}

/// Reads up to the next CR LF, which is taken off and not returned.
async fn read_line<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
) -> Result<Bytes, ReadError> {
    loop {
        if let Some(end) = buffer.windows(2).position(|pair| pair == b"\r\n") {
            let line = buffer.split_to(end).freeze();
            buffer.advance(2);
            return Ok(line);
        }
        if buffer.len() > CHUNK_LINE_BYTES {
            return Err(ReadError::Malformed(
                "a chunk's first line is too long".to_owned(),
            ));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(ended());
        }
    }
}
