//! Server-sent events (WHATWG HTML §9.2.6), read from bytes that are split anywhere.
//!
//! Owns the framing alone, and takes all that providers send: LF, CR or CRLF, a byte order mark,
//! comments, no space after the colon, data of several lines, and a last event that no blank line
//! ends, which the standard would drop. Must never know what the data means, and must never hold more
//! than its limit says.

use memchr::memchr2;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// Its `event` field; `None` when it has none, or one that is empty or not UTF-8.
    pub(crate) name: Option<&'a str>,
    /// Its `data` lines, joined by line feeds.
    pub(crate) data: &'a [u8],
}

/// A line, or all data of an event, is longer than the decoder allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {limit} bytes")]
pub(crate) struct TooLong {
    /// The most bytes allowed.
    pub(crate) limit: usize,
}

/// Reads events from a stream's bytes.
///
/// It holds at most three times its limit: a line that isn't complete, an event's data, its name.
#[derive(Debug)]
pub(crate) struct Decoder {
    limit: usize,
    /// The beginning of a line whose end hasn't come.
    line: Vec<u8>,
    /// The last piece ended with a CR: an LF that comes first belongs to it.
    after_cr: bool,
    is_first_line: bool,
    event: Pending,
    has_failed: bool,
}

/// The event that the next blank line ends.
#[derive(Debug, Default)]
struct Pending {
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
}

impl Decoder {
    /// A decoder at the beginning of a stream, for events of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_cr: false,
            is_first_line: true,
            event: Pending::default(),
            has_failed: false,
        }
    }

    /// Takes the next bytes, and hands over each event that ends in them.
    ///
    /// # Errors
    ///
    /// [`TooLong`], now and ever after; events before it were handed over.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(Event<'_>),
    ) -> Result<(), TooLong> {
        if self.has_failed {
            return Err(self.too_long());
        }
        let mut rest = match bytes.split_first() {
            Some((b'\n', after)) if self.after_cr => after,
            _ => bytes,
        };
        self.after_cr &= bytes.is_empty();
        while let Some((line, after)) = self.split_line(rest) {
            rest = after;
            if self.line.is_empty() {
                self.take_line(line, each)?;
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.take_line(&whole, each)?;
                whole.clear();
                self.line = whole;
            }
        }
        if self.line.len() + rest.len() > self.limit {
            return Err(self.too_long());
        }
        self.line.extend_from_slice(rest);
        Ok(())
    }

    /// The stream is over: hands over the event that no blank line ended.
    ///
    /// # Errors
    ///
    /// [`TooLong`] as in [`Self::feed`].
    pub(crate) fn finish(mut self, each: &mut impl FnMut(Event<'_>)) -> Result<(), TooLong> {
        if self.has_failed {
            return Err(self.too_long());
        }
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.take_line(&line, each)?;
        }
        self.event.dispatch(each);
        Ok(())
    }

    /// The bytes up to the next line end, and those after it.
    fn split_line<'a>(&mut self, rest: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let at = memchr2(b'\r', b'\n', rest)?;
        let (line, end) = rest.split_at_checked(at)?;
        let (end, after) = end.split_first()?;
        if *end == b'\n' {
            return Some((line, after));
        }
        self.after_cr = after.is_empty();
        Some((line, after.strip_prefix(b"\n").unwrap_or(after)))
    }

    fn take_line(&mut self, line: &[u8], each: &mut impl FnMut(Event<'_>)) -> Result<(), TooLong> {
        if line.len() > self.limit {
            return Err(self.too_long());
        }
        let line = match line.strip_prefix(b"\xEF\xBB\xBF") {
            Some(after) if self.is_first_line => after,
            _ => line,
        };
        self.is_first_line = false;
        if line.is_empty() {
            self.event.dispatch(each);
            return Ok(());
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => line.split_at_checked(colon).unwrap_or((line, b"")),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" if self.event.data.len() + value.len() >= self.limit => Err(self.too_long()),
            b"data" => {
                self.event.add(value);
                Ok(())
            }
            b"event" => {
                self.event.name.clear();
                self.event.name.extend_from_slice(value);
                Ok(())
            }
            // A comment has no field name; `id` and `retry` serve a reconnection nobody makes here.
            _ => Ok(()),
        }
    }

    fn too_long(&mut self) -> TooLong {
        self.has_failed = true;
        TooLong { limit: self.limit }
    }
}

impl Pending {
    fn add(&mut self, value: &[u8]) {
        if self.has_data {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
        self.has_data = true;
    }

    /// Without data there is no event, as the standard says.
    fn dispatch(&mut self, each: &mut impl FnMut(Event<'_>)) {
        if self.has_data {
            let name = std::str::from_utf8(&self.name).ok();
            each(Event {
                name: name.filter(|name| !name.is_empty()),
                data: &self.data,
            });
        }
        self.name.clear();
        self.data.clear();
        self.has_data = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (Option<String>, String);

    fn decode<'a>(
        limit: usize,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<Owned>, Result<(), TooLong>) {
        let mut events = Vec::new();
        let mut keep = |event: Event<'_>| {
            events.push((
                event.name.map(str::to_owned),
                String::from_utf8_lossy(event.data).into_owned(),
            ));
        };
        let mut decoder = Decoder::new(limit);
        for piece in pieces {
            if let Err(error) = decoder.feed(piece, &mut keep) {
                assert_eq!(decoder.feed(b"data: x\n\n", &mut keep), Err(error));
                return (events, Err(error));
            }
        }
        let result = decoder.finish(&mut keep);
        (events, result)
    }

    fn events(text: &str) -> Vec<Owned> {
        let (events, result) = decode(1_000, [text.as_bytes()]);
        assert_eq!(result, Ok(()));
        events
    }

    fn named(name: &str, data: &str) -> Owned {
        (Some(name.to_owned()), data.to_owned())
    }

    fn nameless(data: &str) -> Owned {
        (None, data.to_owned())
    }

    /// The standard's own procedure on a whole text: normalise line ends, split, interpret.
    fn reference(text: &str) -> Vec<Owned> {
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        let text = text.replace("\r\n", "\n").replace('\r', "\n") + "\n\n";
        text.split("\n\n")
            .filter_map(|block| {
                let fields: Vec<(&str, &str)> = block
                    .split('\n')
                    .map(|line| line.split_once(':').unwrap_or((line, "")))
                    .map(|(name, value)| (name, value.strip_prefix(' ').unwrap_or(value)))
                    .collect();
                let data: Vec<_> = fields
                    .iter()
                    .filter(|(name, _)| *name == "data")
                    .map(|(_, value)| *value)
                    .collect();
                let name = fields.iter().rfind(|(name, _)| *name == "event");
                let name = name
                    .map(|(_, value)| (*value).to_owned())
                    .filter(|name| !name.is_empty());
                (!data.is_empty()).then(|| (name, data.join("\n")))
            })
            .collect()
    }

    #[test]
    fn line_ends_may_be_lf_cr_or_crlf() {
        let expected = [named("a", "1\n2"), nameless("3")];
        for end in ["\n", "\r", "\r\n"] {
            let text = "event: a\ndata: 1\ndata: 2\n\ndata: 3\n\n".replace('\n', end);
            assert_eq!(events(&text), expected);
            let bytes = text.as_bytes().chunks(1);
            assert_eq!(decode(1_000, bytes.clone()).0, expected);
            let with_nothing_between = bytes.flat_map(|byte| [byte, b""]);
            assert_eq!(decode(1_000, with_nothing_between).0, expected);
        }
    }

    #[test]
    fn all_that_providers_send_is_understood() {
        assert_eq!(events("\u{FEFF}data: x\n\n"), [nameless("x")]);
        assert_eq!(events("data:{\"a\":1}\n\n"), [nameless("{\"a\":1}")]);
        assert_eq!(events("data:  x\n\n"), [nameless(" x")]);
        assert_eq!(events(": ka\n\n:\n\ndata: x\n\n"), [nameless("x")]);
        assert_eq!(
            events("id: 7\nretry: 9\ndata: x\nother\n\n"),
            [nameless("x")]
        );
        assert_eq!(events("event: ping\n\ndata: x\n\n"), [nameless("x")]);
        assert_eq!(events("event: a\nevent: b\ndata: x\n\n"), [named("b", "x")]);
        assert_eq!(
            events("data\n\ndata:\ndata\n\n"),
            [nameless(""), nameless("\n")]
        );
        assert_eq!(events("data: a:b\n\n"), [nameless("a:b")]);
        assert_eq!(events("\n\n\n"), []);
    }

    #[test]
    fn a_last_event_without_its_blank_line_is_not_lost() {
        assert_eq!(events("data: x"), [nameless("x")]);
        assert_eq!(events("data: x\n"), [nameless("x")]);
        assert_eq!(events("event: e\r\ndata: x\r"), [named("e", "x")]);
    }

    #[test]
    fn nothing_longer_than_the_limit_is_held() {
        let line = |len: usize| "data: ".to_owned() + &"x".repeat(len - 6);
        let ok = |text: String| decode(100, [text.as_bytes()]).1.is_ok();
        assert!(ok(line(100) + "\n\n"));
        assert!(!ok(line(101) + "\n\n"));
        assert!(!ok(line(101)));
        assert!(!ok((line(60) + "\n").repeat(2)));
        assert!(ok((line(60) + "\n\n").repeat(50)));
        assert!(ok(": keep-alive\n\n".repeat(50)));
        let (seen, result) = decode(
            100,
            [("data: first\n\n".to_owned() + &line(200)).as_bytes()],
        );
        assert_eq!(seen, [nameless("first")]);
        assert_eq!(
            result.unwrap_err().to_string(),
            "an event of the stream is longer than 100 bytes"
        );
    }

    #[test]
    fn a_megabyte_on_one_line_passes_where_it_may() {
        let text = format!("data: {}\n\n", "x".repeat(1 << 20));
        let (seen, result) = decode(2 << 20, text.as_bytes().chunks(1_000));
        assert_eq!(result, Ok(()));
        assert_eq!(seen[0].1.len(), 1 << 20);
    }

    fn stream() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "data", "data:", "data: ", "event: ", "event", ":", ": c", "id: 1", "x", " ", "\n",
            "\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "é", "\u{FEFF}", "[DONE]",
        ]);
        prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn reads_what_the_standard_says(text in stream(), size in 1_usize..9) {
            let (seen, result) = decode(10_000, text.as_bytes().chunks(size));
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(seen, reference(&text));
        }

        #[test]
        fn splitting_never_changes_the_events(
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(b"data: \r\n\n\n".to_vec())], 0..200),
            limit in 1_usize..40,
            size in 1_usize..9,
        ) {
            prop_assert_eq!(decode(limit, bytes.chunks(size)), decode(limit, [&bytes[..]]));
        }
    }
}
