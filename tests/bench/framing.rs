//! Where an HTTP/1.1 message ends (RFC 9112 §6): the least that the load generator and the fixed
//! upstream need, under any splitting of the bytes. It must never allocate per message once warm, and
//! never grow beyond [`MAX_HEAD_BYTES`] whatever arrives.

/// The longest head that is accepted, in bytes.
pub(crate) const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Why bytes are not one HTTP/1.1 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FramingError {
    /// No empty line within [`MAX_HEAD_BYTES`].
    HeadTooLong,
    /// A `content-length` that is no decimal number.
    BadContentLength,
    /// A chunk that does not start with a hexadecimal size, or does not end where it says.
    BadChunk,
    /// Bytes after the end of the message: neither side of the bench pipelines.
    TrailingBytes,
}

impl std::fmt::Display for FramingError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::HeadTooLong => "the head of the message is longer than 16 KiB",
            Self::BadContentLength => "the content-length is not a decimal number",
            Self::BadChunk => "a chunk is malformed",
            Self::TrailingBytes => "bytes follow the end of the message",
        })
    }
}

impl std::error::Error for FramingError {}

/// Reads one message at a time off a connection.
#[derive(Debug, Default)]
pub(crate) struct MessageReader {
    head: Vec<u8>,
    state: State,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Head,
    Sized {
        left: u64,
    },
    ChunkSize {
        size: Option<u64>,
    },
    ChunkExtension {
        size: u64,
    },
    ChunkData {
        left: u64,
    },
    ChunkEnd,
    Trailer {
        line_bytes: u64,
    },
    Done,
}

impl MessageReader {
    /// Takes the next bytes, gives every piece of the decoded body to `on_body`, and says whether the
    /// message is complete. A message with neither `content-length` nor `chunked` has no body.
    ///
    /// # Errors
    /// When the bytes are no HTTP/1.1 message; the connection is then of no further use.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        on_body: &mut impl FnMut(&[u8]),
    ) -> Result<bool, FramingError> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Head => self.take_head(bytes)?,
                State::Sized { left } => {
                    let (rest, left) = take_data(bytes, left, on_body);
                    self.state = sized(left);
                    rest
                }
                State::ChunkData { left } => {
                    let (rest, left) = take_data(bytes, left, on_body);
                    self.state = if left == 0 {
                        State::ChunkEnd
                    } else {
                        State::ChunkData { left }
                    };
                    rest
                }
                State::ChunkSize { .. }
                | State::ChunkExtension { .. }
                | State::ChunkEnd
                | State::Trailer { .. } => self.take_line_byte(bytes)?,
                State::Done => return Err(FramingError::TrailingBytes),
            };
        }
        Ok(matches!(self.state, State::Done))
    }

    /// The first line of the message, without its line end; empty before the head is complete.
    pub(crate) fn start_line(&self) -> &[u8] {
        if matches!(self.state, State::Head) {
            return &[];
        }
        self.head
            .split(|byte| *byte == b'\r')
            .next()
            .unwrap_or_default()
    }

    /// Makes ready for the next message, keeping the memory.
    pub(crate) fn reset(&mut self) {
        self.head.clear();
        self.state = State::Head;
    }

    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], FramingError> {
        let before = self.head.len();
        let room = MAX_HEAD_BYTES.saturating_sub(before);
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.head.extend_from_slice(taken);
        let search_from = before.saturating_sub(3);
        let searched = self.head.get(search_from..).unwrap_or_default();
        let Some(found) = memchr::memmem::find(searched, b"\r\n\r\n") else {
            if self.head.len() >= MAX_HEAD_BYTES {
                return Err(FramingError::HeadTooLong);
            }
            return Ok(&[]);
        };
        let head_bytes = search_from + found + 4;
        self.head.truncate(head_bytes);
        self.state = body_state(&self.head)?;
        Ok(bytes.get(head_bytes - before..).unwrap_or_default())
    }

    fn take_line_byte<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], FramingError> {
        let Some((byte, rest)) = bytes.split_first() else {
            return Ok(bytes);
        };
        self.state = after_line_byte(self.state, *byte)?;
        Ok(rest)
    }
}

/// What follows the head, by its header fields.
fn body_state(head: &[u8]) -> Result<State, FramingError> {
    let mut state = State::Done;
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"transfer-encoding") && value.eq_ignore_ascii_case(b"chunked")
        {
            return Ok(State::ChunkSize { size: None });
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let text = std::str::from_utf8(value).map_err(|_| FramingError::BadContentLength)?;
            let length = text.parse().map_err(|_| FramingError::BadContentLength)?;
            state = sized(length);
        }
    }
    Ok(state)
}

fn sized(left: u64) -> State {
    if left == 0 {
        State::Done
    } else {
        State::Sized { left }
    }
}

/// Passes on what belongs to the body; gives what follows it and how much is still to come.
fn take_data<'a>(bytes: &'a [u8], left: u64, on_body: &mut impl FnMut(&[u8])) -> (&'a [u8], u64) {
    let take = usize::try_from(left).unwrap_or(usize::MAX);
    let (data, rest) = bytes.split_at_checked(take).unwrap_or((bytes, &[]));
    on_body(data);
    (rest, left.saturating_sub(data.len() as u64))
}

fn after_line_byte(state: State, byte: u8) -> Result<State, FramingError> {
    match (state, byte) {
        (State::ChunkSize { size: Some(size) }, b';' | b'\r') => Ok(State::ChunkExtension { size }),
        (State::ChunkSize { size }, digit) => with_digit(size, digit),
        (State::ChunkExtension { size: 0 }, b'\n') => Ok(State::Trailer { line_bytes: 0 }),
        (State::ChunkExtension { size: left }, b'\n') => Ok(State::ChunkData { left }),
        (State::ChunkEnd, b'\n') => Ok(State::ChunkSize { size: None }),
        (State::Trailer { line_bytes: 0 }, b'\n') => Ok(State::Done),
        (State::Trailer { .. }, b'\n') => Ok(State::Trailer { line_bytes: 0 }),
        (State::ChunkExtension { .. }, _) | (State::ChunkEnd | State::Trailer { .. }, b'\r') => {
            Ok(state)
        }
        (State::Trailer { line_bytes }, _) => Ok(State::Trailer {
            line_bytes: line_bytes.saturating_add(1),
        }),
        _ => Err(FramingError::BadChunk),
    }
}

fn with_digit(size: Option<u64>, byte: u8) -> Result<State, FramingError> {
    let digit = char::from(byte)
        .to_digit(16)
        .ok_or(FramingError::BadChunk)?;
    let size = size
        .unwrap_or(0)
        .checked_mul(16)
        .and_then(|size| size.checked_add(u64::from(digit)))
        .ok_or(FramingError::BadChunk)?;
    Ok(State::ChunkSize { size: Some(size) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nx: 1\r\n\r\nhello world";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=\"b\"\r\n world\r\n0\r\nx-trailer: 1\r\n\r\n";
    const EMPTY: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    /// Feeds the parts in turn; completion must be reported by the last part and by no earlier one.
    fn read(parts: &[&[u8]]) -> Result<(Vec<u8>, bool), FramingError> {
        let mut reader = MessageReader::default();
        let mut body = Vec::new();
        let mut done = false;
        for part in parts {
            assert!(!done, "complete before the last bytes");
            done = reader.feed(part, &mut |piece| body.extend_from_slice(piece))?;
        }
        Ok((body, done))
    }

    #[test]
    fn reads_the_same_body_under_every_split_in_three() {
        for (message, body) in [
            (SIZED, &b"hello world"[..]),
            (CHUNKED, b"hello world"),
            (EMPTY, b""),
        ] {
            for first in 0..message.len() - 1 {
                for second in first..message.len() - 1 {
                    let parts = [
                        &message[..first],
                        &message[first..second],
                        &message[second..],
                    ];
                    assert_eq!(
                        read(&parts),
                        Ok((body.to_vec(), true)),
                        "split at {first} and {second}"
                    );
                }
            }
        }
    }

    #[test]
    fn reads_the_same_body_byte_by_byte() {
        for (message, body) in [(SIZED, &b"hello world"[..]), (CHUNKED, b"hello world")] {
            let parts: Vec<&[u8]> = message.chunks(1).collect();
            assert_eq!(read(&parts), Ok((body.to_vec(), true)));
        }
    }

    #[test]
    fn every_proper_prefix_is_incomplete() {
        for message in [SIZED, CHUNKED, EMPTY] {
            for length in 0..message.len() {
                let (_, done) = read(&[&message[..length]]).unwrap();
                assert!(!done, "complete after {length} bytes");
            }
        }
    }

    #[test]
    fn refuses_what_is_no_message() {
        let cases: [(&[u8], FramingError); 6] = [
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n",
                FramingError::BadContentLength,
            ),
            (
                b"A\r\ntransfer-encoding: chunked\r\n\r\n\r\n",
                FramingError::BadChunk,
            ),
            (
                b"A\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
                FramingError::BadChunk,
            ),
            (
                b"A\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
                FramingError::BadChunk,
            ),
            (
                b"A\r\ntransfer-encoding: chunked\r\n\r\n11111111111111111\r\n",
                FramingError::BadChunk,
            ),
            (
                b"A\r\ncontent-length: 1\r\n\r\nab",
                FramingError::TrailingBytes,
            ),
        ];
        for (bytes, error) in cases {
            assert_eq!(
                read(&[bytes]),
                Err(error),
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
        assert_eq!(
            read(&[&vec![b'a'; MAX_HEAD_BYTES + 1]]),
            Err(FramingError::HeadTooLong)
        );
    }

    #[test]
    fn gives_the_start_line_and_starts_afresh_after_a_reset() {
        let mut reader = MessageReader::default();
        assert_eq!(reader.start_line(), b"");
        reader.feed(SIZED, &mut |_| ()).unwrap();
        assert_eq!(reader.start_line(), b"HTTP/1.1 200 OK");
        reader.reset();
        assert_eq!(reader.feed(EMPTY, &mut |_| ()), Ok(true));
        assert_eq!(reader.start_line(), b"GET / HTTP/1.1");
    }
}
