//! A scanner of JSON text that arrives in pieces: checks its structure and tells a [`Visitor`] the
//! members it asks for, with absolute byte offsets.
//!
//! Owns what counts as JSON here: one object with nothing but white space around it, in UTF-8, at
//! most [`MAX_DEPTH`] levels deep. It accepts exactly what `serde_json` does, with three exceptions
//! left to whoever reads the value: a `\u` escape that is half of a surrogate pair, a number beyond
//! the range of `f64`, and one more level of depth.
//! Must never build a tree, and never hold more than one short text: a body may be megabytes of
//! base64, so strings are skipped, not read.

mod number;
mod text;

use std::ops::Range;

use number::Number;
use text::{Kept, Text, is_printable_ascii};

pub(crate) use text::unescape;

/// Levels of objects and arrays, the outermost included: the bits of [`Scanner::objects`].
pub(crate) const MAX_DEPTH: usize = u128::BITS as usize;

/// The longest text, in bytes as written, that is told: 256 bytes, each escaped.
pub(crate) const MAX_TEXT: usize = 6 * 256;

/// Why something isn't JSON. Never holds what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing but white space.
    Empty,
    /// The outermost value isn't an object.
    NotAnObject,
    /// More than [`MAX_DEPTH`] levels.
    TooDeep,
    /// A string isn't UTF-8.
    NotUtf8,
    /// The byte at this offset doesn't fit, or the text ends there.
    Syntax { offset: usize },
}

/// A value that the visitor asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// An object begins.
    Object,
    /// An array begins.
    Array,
    /// What stands between the quotes, as written; `None` when longer than [`MAX_TEXT`].
    String(Option<&'a [u8]>),
    /// The number as written; `None` when longer than [`MAX_TEXT`].
    Number(Option<&'a [u8]>),
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

/// Who is told.
pub(crate) trait Visitor {
    /// What ends the scan: a [`Flaw`], or the visitor's own reason.
    type Error: From<Flaw>;

    /// A member of an object, its name unescaped; `depth` is 1 in the outermost object. Answers
    /// whether its value shall be told. Not told: names that are longer than [`MAX_TEXT`] as written,
    /// or aren't text once unescaped.
    fn key(&mut self, depth: usize, name: &[u8]) -> Result<bool, Self::Error>;

    /// The value of the member told last, and where it lies (of an object or array: its bracket).
    fn value(&mut self, value: Value<'_>, at: Range<usize>) -> Result<(), Self::Error>;
}

/// Where the scan stands.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    /// One bit per open level, the innermost lowest: set for an object.
    objects: u128,
    depth: usize,
    /// Bytes of the earlier pieces.
    before: usize,
    /// Where the string, number or literal being read begins.
    start: usize,
    /// Whether all of the piece is printable ASCII: its strings need no look of their own.
    is_plain: bool,
    /// Whether the string being read is a key.
    in_key: bool,
    /// Whether the value that comes, or is being read, shall be told.
    wanted: bool,
    text: Text,
    number: Number,
    literal: Literal,
    /// The earlier pieces of a text that shall be told.
    kept: Kept,
}

/// What may come next.
///
/// One byte, so that choosing what to do with the next byte costs little: what texts, numbers and
/// literals remember lies beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    FirstKey,
    Key,
    Colon,
    FirstElement,
    Value,
    AfterValue,
    End,
    Text,
    Number,
    Literal,
}

/// A literal being read.
#[derive(Clone, Copy, Debug)]
struct Literal {
    left: &'static [u8],
    value: Value<'static>,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Start,
            objects: 0,
            depth: 0,
            before: 0,
            start: 0,
            is_plain: false,
            in_key: false,
            wanted: false,
            text: Text::default(),
            number: Number::Start,
            literal: NULL,
            kept: Kept::default(),
        }
    }

    /// Takes the next piece. After an error the scan is over: nothing it says later means anything.
    pub(crate) fn feed<V: Visitor>(
        &mut self,
        piece: &[u8],
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        let end = self.before + piece.len();
        let mut rest = piece;
        // One pass over the whole piece costs a tenth of one over each of its strings.
        self.is_plain = is_printable_ascii(piece);
        while let Some((byte, after)) = rest.split_first() {
            let offset = end - rest.len();
            rest = match self.state {
                State::Text => self.read_text(rest, offset, visitor)?,
                State::Number => self.read_number(rest, offset, visitor)?,
                State::Literal => self.read_literal(rest, offset, visitor)?,
                _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => after,
                State::Value | State::FirstElement => self.begin_value(rest, offset, visitor)?,
                State::Key | State::FirstKey if *byte == b'"' => {
                    self.begin_text(true, offset);
                    self.read_text(after, offset + 1, visitor)?
                }
                _ => {
                    self.punctuate(*byte, offset)?;
                    after
                }
            };
        }
        self.before = end;
        Ok(())
    }

    /// Whether the text may end here.
    pub(crate) fn finish(&self) -> Result<(), Flaw> {
        match self.state {
            State::End => Ok(()),
            State::Start => Err(Flaw::Empty),
            _ => Err(Flaw::Syntax {
                offset: self.before,
            }),
        }
    }

    /// Takes a byte where neither a key nor a value begins.
    fn punctuate(&mut self, byte: u8, offset: usize) -> Result<(), Flaw> {
        match (self.state, byte) {
            (State::Colon, b':') => self.state = State::Value,
            (State::AfterValue, b',') => {
                self.state = if self.in_object() {
                    State::Key
                } else {
                    State::Value
                };
            }
            (State::AfterValue | State::FirstKey, b'}') if self.in_object() => self.close(),
            (State::AfterValue, b']') if !self.in_object() => self.close(),
            (State::Start, b'{') => self.open(true)?,
            (State::Start, b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                return Err(Flaw::NotAnObject);
            }
            _ => return Err(Flaw::Syntax { offset }),
        }
        Ok(())
    }

    /// Takes the first byte of a value, or the end of an empty array, and reads on in what has more
    /// than one byte: going back to the caller's choice for each costs more than the reading.
    fn begin_value<'a, V: Visitor>(
        &mut self,
        rest: &'a [u8],
        offset: usize,
        visitor: &mut V,
    ) -> Result<&'a [u8], V::Error> {
        let Some((byte, after)) = rest.split_first() else {
            return Ok(rest);
        };
        let literal = match byte {
            b'"' => {
                self.begin_text(false, offset);
                return self.read_text(after, offset + 1, visitor);
            }
            b'{' | b'[' => {
                self.nest(*byte == b'{', offset, visitor)?;
                return Ok(after);
            }
            b']' if self.state == State::FirstElement => {
                self.close();
                return Ok(after);
            }
            b'-' | b'0'..=b'9' => {
                self.start = offset;
                self.number = Number::Start;
                self.state = State::Number;
                return self.read_number(rest, offset, visitor);
            }
            b't' => TRUE,
            b'f' => FALSE,
            b'n' => NULL,
            _ => return Err(Flaw::Syntax { offset }.into()),
        };
        self.start = offset;
        self.literal = literal;
        self.state = State::Literal;
        self.read_literal(rest, offset, visitor)
    }

    fn begin_text(&mut self, in_key: bool, offset: usize) {
        self.start = offset;
        self.in_key = in_key;
        self.text = Text::default();
        self.state = State::Text;
    }

    /// Told before its level opens, so that the next key is the first one inside.
    fn nest<V: Visitor>(
        &mut self,
        is_object: bool,
        offset: usize,
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        if std::mem::take(&mut self.wanted) {
            let value = if is_object {
                Value::Object
            } else {
                Value::Array
            };
            visitor.value(value, offset..offset + 1)?;
        }
        Ok(self.open(is_object)?)
    }

    fn open(&mut self, is_object: bool) -> Result<(), Flaw> {
        if self.depth == MAX_DEPTH {
            return Err(Flaw::TooDeep);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(is_object);
        self.state = if is_object {
            State::FirstKey
        } else {
            State::FirstElement
        };
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
        self.state = if self.depth == 0 {
            State::End
        } else {
            State::AfterValue
        };
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    /// Reads on in a string; answers what follows it, or nothing when the piece ends first.
    fn read_text<'a, V: Visitor>(
        &mut self,
        rest: &'a [u8],
        offset: usize,
        visitor: &mut V,
    ) -> Result<&'a [u8], V::Error> {
        let Some((last, after)) = self.text.read(rest, offset, self.is_plain)? else {
            if self.in_key || self.wanted {
                self.kept.add(rest);
            }
            return Ok(&[]);
        };
        if self.in_key {
            self.state = State::Colon;
            self.wanted = match self.kept.end(last) {
                None => false,
                Some(raw) if !self.text.is_escaped() => visitor.key(self.depth, raw)?,
                Some(raw) => match unescape(raw) {
                    None => false,
                    Some(name) => visitor.key(self.depth, name.as_bytes())?,
                },
            };
            self.kept.clear();
            // Nearly always the colon follows at once.
            if let Some((b':', after)) = after.split_first() {
                self.state = State::Value;
                return Ok(after);
            }
        } else {
            self.state = State::AfterValue;
            if std::mem::take(&mut self.wanted) {
                // The closing quote is one byte.
                let end = offset + last.len() + 1;
                visitor.value(Value::String(self.kept.end(last)), self.start..end)?;
                self.kept.clear();
            }
        }
        Ok(after)
    }

    fn read_number<'a, V: Visitor>(
        &mut self,
        rest: &'a [u8],
        offset: usize,
        visitor: &mut V,
    ) -> Result<&'a [u8], V::Error> {
        let (last, after) = self.number.read(rest);
        if after.is_empty() {
            if self.wanted {
                self.kept.add(last);
            }
            return Ok(after);
        }
        let end = offset + last.len();
        if !self.number.may_end() {
            return Err(Flaw::Syntax { offset: end }.into());
        }
        self.state = State::AfterValue;
        if std::mem::take(&mut self.wanted) {
            visitor.value(Value::Number(self.kept.end(last)), self.start..end)?;
            self.kept.clear();
        }
        Ok(after)
    }

    fn read_literal<'a, V: Visitor>(
        &mut self,
        rest: &'a [u8],
        offset: usize,
        visitor: &mut V,
    ) -> Result<&'a [u8], V::Error> {
        let left = self.literal.left;
        let same = left.iter().zip(rest).take_while(|(a, b)| a == b).count();
        let end = offset + same;
        if same < left.len().min(rest.len()) {
            return Err(Flaw::Syntax { offset: end }.into());
        }
        self.literal.left = left.get(same..).unwrap_or_default();
        if self.literal.left.is_empty() {
            self.state = State::AfterValue;
            if std::mem::take(&mut self.wanted) {
                visitor.value(self.literal.value, self.start..end)?;
            }
        }
        Ok(rest.get(same..).unwrap_or_default())
    }
}

const TRUE: Literal = Literal {
    left: b"true",
    value: Value::True,
};
const FALSE: Literal = Literal {
    left: b"false",
    value: Value::False,
};
const NULL: Literal = Literal {
    left: b"null",
    value: Value::Null,
};

#[cfg(test)]
mod tests;
