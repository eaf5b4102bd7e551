//! Finds one member's values in a stream of bytes, without parsing it.
//!
//! Why text search is safe here: a needle begins and ends with a quote, and inside a JSON string a
//! quote is always escaped, so that `"usage"` in the bytes is a whole string and never part of one;
//! followed by a colon, it is a key. What it doesn't know is depth: a key of that name anywhere in an
//! event counts (Mistral's tool arguments may be an object).
//! Lines are safer still: inside JSON a line break is escaped, so that one in the bytes ends a line.
//! Must never hold more than [`MAX_HELD`] bytes.

use memchr::memmem::Finder;

/// The longest object that is held; a usage object has a few hundred bytes.
const MAX_HELD: usize = 4096;

/// The longest text of interest; longer ones are told cut.
const MAX_TEXT: usize = 48;

/// What precedes a value.
#[derive(Debug)]
pub(super) struct Label {
    finder: Finder<'static>,
    is_line: bool,
}

/// A value that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A string or a line's rest, as written, cut when long.
    Text(&'a [u8]),
    /// An object, whole.
    Object(&'a [u8]),
    /// `null`
    Null,
    /// Anything else, or an object too long to hold.
    Other,
}

/// The search for one label.
#[derive(Debug)]
pub(super) struct Member {
    label: &'static Label,
    phase: Phase,
    /// The beginning of a value that the last bytes cut.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Seek,
    /// After the key.
    Colon,
    /// After the colon.
    Value,
    Text,
    Line,
    Object(Object),
}

/// How deep in an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Object {
    depth: usize,
    in_string: bool,
    after_backslash: bool,
}

impl Label {
    /// The quoted name of a member.
    pub(super) fn key(quoted: &'static [u8]) -> Self {
        Self {
            finder: Finder::new(quoted),
            is_line: false,
        }
    }

    /// The beginning of a line, up to its colon.
    pub(super) fn line(start: &'static [u8]) -> Self {
        Self {
            finder: Finder::new(start),
            is_line: true,
        }
    }
}

impl Member {
    pub(super) fn new(label: &'static Label) -> Self {
        Self {
            label,
            phase: Phase::Seek,
            held: Vec::new(),
        }
    }

    /// Searches the next bytes; `before` is what came right before them.
    #[inline]
    pub(super) fn feed(&mut self, before: &[u8], bytes: &[u8], each: &mut impl FnMut(Found<'_>)) {
        let mut rest = bytes;
        if self.phase == Phase::Seek {
            rest = self.across(before, rest);
        }
        loop {
            if self.phase == Phase::Seek {
                let Some(at) = self.label.finder.find(rest) else {
                    return;
                };
                let passed = bytes.len() - rest.len() + at;
                rest = rest.get(at + self.label.len()..).unwrap_or_default();
                if self.label.is_line && !starts_line(before, bytes.get(..passed)) {
                    continue;
                }
                self.phase = self.label.first_phase();
            }
            rest = self.read(rest, each);
            if rest.is_empty() {
                return;
            }
        }
    }

    /// A label that lies partly in `before`: what follows it, else all of `bytes`.
    fn across<'a>(&mut self, before: &[u8], bytes: &'a [u8]) -> &'a [u8] {
        // No label contains a line break, and most pieces end with one.
        if matches!(before.last(), None | Some(b'\n' | b'\r')) {
            return bytes;
        }
        let reach = self.label.len() - 1;
        let start = before.len().saturating_sub(reach);
        let (earlier, near) = before.split_at_checked(start).unwrap_or((&[], before));
        let next = bytes.get(..reach.min(bytes.len())).unwrap_or_default();
        let mut edge = [0; 64];
        let len = near.len() + next.len();
        for (to, from) in edge.iter_mut().zip(near.iter().chain(next)) {
            *to = *from;
        }
        let edge = edge.get(..len).unwrap_or_default();
        let Some(at) = self.label.finder.find(edge) else {
            return bytes;
        };
        if self.label.is_line && !starts_line(earlier, edge.get(..at)) {
            return bytes;
        }
        self.phase = self.label.first_phase();
        bytes
            .get(at + self.label.len() - near.len()..)
            .unwrap_or_default()
    }

    /// Reads on after a label.
    fn read<'a>(&mut self, rest: &'a [u8], each: &mut impl FnMut(Found<'_>)) -> &'a [u8] {
        match self.phase {
            Phase::Seek => rest,
            Phase::Text => self.read_text(rest, |byte| byte == b'"', each),
            Phase::Line => self.read_text(rest, |byte| matches!(byte, b'\r' | b'\n'), each),
            Phase::Object(object) => self.read_object(object, rest, each),
            Phase::Colon | Phase::Value => self.approach(rest, each),
        }
    }

    /// Between a key and its value.
    fn approach<'a>(&mut self, rest: &'a [u8], each: &mut impl FnMut(Found<'_>)) -> &'a [u8] {
        let rest = rest.trim_ascii_start();
        let Some((byte, after)) = rest.split_first() else {
            return rest;
        };
        if self.phase == Phase::Colon {
            // A string that no colon follows is a value.
            self.phase = if *byte == b':' {
                Phase::Value
            } else {
                Phase::Seek
            };
            return if *byte == b':' { after } else { rest };
        }
        self.phase = match byte {
            b'"' => Phase::Text,
            b'{' => Phase::Object(Object::default()),
            _ => {
                each(if *byte == b'n' {
                    Found::Null
                } else {
                    Found::Other
                });
                Phase::Seek
            }
        };
        // An object is told with its braces, a text without its quotes.
        if self.phase == Phase::Text {
            after
        } else {
            rest
        }
    }

    fn read_text<'a>(
        &mut self,
        rest: &'a [u8],
        is_end: impl Fn(u8) -> bool,
        each: &mut impl FnMut(Found<'_>),
    ) -> &'a [u8] {
        let room = MAX_TEXT.saturating_sub(self.held.len());
        let end = rest.iter().take(room).position(|byte| is_end(*byte));
        let len = end.unwrap_or(room.min(rest.len()));
        let (text, after) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        if end.is_none() && len < room {
            self.held.extend_from_slice(text);
            return after;
        }
        self.tell(text, |text| each(Found::Text(text)));
        after
    }

    fn read_object<'a>(
        &mut self,
        mut object: Object,
        rest: &'a [u8],
        each: &mut impl FnMut(Found<'_>),
    ) -> &'a [u8] {
        let room = MAX_HELD.saturating_sub(self.held.len());
        let end = rest
            .iter()
            .take(room)
            .position(|byte| object.ends_at(*byte));
        if let Some(last) = end {
            let (whole, after) = rest.split_at_checked(last + 1).unwrap_or((rest, &[]));
            self.tell(whole, |object| each(Found::Object(object)));
            return after;
        }
        if rest.len() >= room {
            self.held.clear();
            self.phase = Phase::Seek;
            each(Found::Other);
            return rest.get(room..).unwrap_or_default();
        }
        self.held.extend_from_slice(rest);
        self.phase = Phase::Object(object);
        &[]
    }

    /// Tells what was held and `last`, and seeks on.
    fn tell(&mut self, last: &[u8], each: impl FnOnce(&[u8])) {
        self.phase = Phase::Seek;
        if self.held.is_empty() {
            each(last);
            return;
        }
        self.held.extend_from_slice(last);
        each(&self.held);
        self.held.clear();
    }
}

impl Label {
    fn len(&self) -> usize {
        self.finder.needle().len()
    }

    fn first_phase(&self) -> Phase {
        if self.is_line {
            Phase::Line
        } else {
            Phase::Colon
        }
    }
}

impl Object {
    /// Takes a byte; whether it is the brace that ends the object.
    fn ends_at(&mut self, byte: u8) -> bool {
        if self.in_string {
            let ends_string = byte == b'"' && !self.after_backslash;
            self.after_backslash = byte == b'\\' && !self.after_backslash;
            self.in_string = !ends_string;
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' => self.depth += 1,
            b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.depth == 0
    }
}

/// Whether a line starts after `passed`, which `before` precedes; the stream's start starts one.
fn starts_line(before: &[u8], passed: Option<&[u8]>) -> bool {
    let last = passed.and_then(<[u8]>::last).or(before.last());
    matches!(last, None | Some(b'\r' | b'\n'))
}
