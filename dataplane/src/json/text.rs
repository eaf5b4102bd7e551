//! Strings inside JSON: where they end, and whether they are valid. Must never copy one that nobody
//! asked for.

use std::borrow::Cow;

use memchr::memchr2;

use super::{Flaw, MAX_TEXT};

/// How many words of eight bytes are looked at before the machinery for long strings starts.
const SHORT: usize = 3;

/// How much of a string was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Text {
    escape: Escape,
    is_escaped: bool,
    cut: Cut,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After the backslash.
    Begun,
    /// So many hexadecimal digits to come.
    Digits(u8),
}

/// A character whose bytes lie in two pieces: those read so far.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    bytes: [u8; 4],
    len: usize,
}

/// What came before a closing quote, and what comes after it.
pub(super) type Parts<'a> = (&'a [u8], &'a [u8]);

/// Collects a short text over several pieces.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl Text {
    /// Whether the string has escapes.
    pub(super) fn is_escaped(&self) -> bool {
        self.is_escaped
    }

    /// Reads on up to the closing quote: what came before it and what comes after it; `None` when
    /// the piece ends first. `is_plain`: the piece is known to be printable ASCII.
    pub(super) fn read<'a>(
        &mut self,
        piece: &'a [u8],
        offset: usize,
        is_plain: bool,
    ) -> Result<Option<Parts<'a>>, Flaw> {
        let end = offset + piece.len();
        let mut rest = piece;
        loop {
            while self.escape != Escape::None {
                let Some((byte, after)) = rest.split_first() else {
                    return Ok(None);
                };
                self.escape = self.escape.then(*byte).ok_or(Flaw::Syntax {
                    offset: end - rest.len(),
                })?;
                rest = after;
            }
            let special = self.skip(rest, end, is_plain)?;
            match special.split_first() {
                None => return Ok(None),
                Some((b'"', after)) => {
                    let before = piece.len() - special.len();
                    return Ok(piece.get(..before).map(|before| (before, after)));
                }
                Some((_, after)) => {
                    self.is_escaped = true;
                    self.escape = Escape::Begun;
                    rest = after;
                }
            }
        }
    }

    /// Skips to the next quote or backslash, or the end of the piece, which lies at `end`.
    fn skip<'a>(&mut self, rest: &'a [u8], end: usize, is_plain: bool) -> Result<&'a [u8], Flaw> {
        let mut left = rest;
        if self.cut.len == 0 && !self.is_escaped {
            // Keys and most values are short: what follows costs more to begin. Text with escapes in it
            // is prose, and prose is long.
            for _ in 0..SHORT {
                let Some(word) = left.first_chunk() else {
                    break;
                };
                let ordinary = ordinary_bytes(*word);
                left = left.get(ordinary..).unwrap_or_default();
                if ordinary == word.len() {
                    continue;
                }
                if let Some(b'"' | b'\\') = left.first() {
                    return Ok(left);
                }
                break;
            }
        }
        let at = memchr2(b'"', b'\\', left);
        let (plain, special) = left
            .split_at_checked(at.unwrap_or(left.len()))
            .unwrap_or((left, &[]));
        if !is_plain || self.cut.len > 0 {
            self.check(plain, end - left.len(), at.is_none())?;
        }
        Ok(special)
    }

    /// Bytes without quote or backslash; `is_last`: the piece ends with them.
    fn check(&mut self, plain: &[u8], offset: usize, is_last: bool) -> Result<(), Flaw> {
        if self.cut.len == 0 && is_printable_ascii(plain) {
            return Ok(());
        }
        let (used, plain) = self.cut.complete(plain, is_last)?;
        let control = plain.iter().position(|byte| *byte < 0x20);
        if let Err(error) = std::str::from_utf8(plain)
            && control.is_none_or(|control| error.valid_up_to() < control)
        {
            let cut = plain.get(error.valid_up_to()..).unwrap_or_default();
            if error.error_len().is_some() || !is_last {
                return Err(Flaw::NotUtf8);
            }
            self.cut = Cut::default();
            self.cut.extend(cut);
            return Ok(());
        }
        match control {
            None => Ok(()),
            Some(at) => Err(Flaw::Syntax {
                offset: offset + used + at,
            }),
        }
    }
}

impl Escape {
    fn then(self, byte: u8) -> Option<Self> {
        match self {
            Self::Begun => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(Self::None),
                b'u' => Some(Self::Digits(4)),
                _ => None,
            },
            Self::Digits(left) if byte.is_ascii_hexdigit() => Some(match left {
                1 => Self::None,
                _ => Self::Digits(left - 1),
            }),
            _ => None,
        }
    }
}

impl Cut {
    /// Takes the rest of the character from the next piece: how many bytes that were, and what
    /// follows them.
    fn complete<'a>(&mut self, plain: &'a [u8], is_last: bool) -> Result<(usize, &'a [u8]), Flaw> {
        let mut used = 0;
        let mut rest = plain;
        while self.len > 0 {
            let Some((byte, after)) = rest.split_first() else {
                // The string ends, or an escape begins, inside a character.
                return if is_last {
                    Ok((used, rest))
                } else {
                    Err(Flaw::NotUtf8)
                };
            };
            self.extend(&[*byte]);
            (used, rest) = (used + 1, after);
            match std::str::from_utf8(self.bytes.get(..self.len).unwrap_or_default()) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return Err(Flaw::NotUtf8),
                Err(_) => {}
            }
        }
        Ok((used, rest))
    }

    /// At most three bytes are ever an unfinished character, so that one more fits.
    fn extend(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(free) = self.bytes.get_mut(self.len) {
                *free = *byte;
                self.len += 1;
            }
        }
    }
}

impl Kept {
    pub(super) fn add(&mut self, piece: &[u8]) {
        if self.is_too_long || self.bytes.len() + piece.len() > MAX_TEXT {
            self.is_too_long = true;
        } else {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// The whole text with its last piece; `None` when longer than [`MAX_TEXT`].
    pub(super) fn end<'a>(&'a mut self, last: &'a [u8]) -> Option<&'a [u8]> {
        if self.bytes.is_empty() && !self.is_too_long {
            return (last.len() <= MAX_TEXT).then_some(last);
        }
        self.add(last);
        (!self.is_too_long).then_some(&self.bytes)
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.is_too_long = false;
    }
}

/// The text that stands between quotes as written; `None` when an escape is half of a surrogate
/// pair, so that it is no text.
pub(crate) fn unescape(raw: &[u8]) -> Option<Cow<'_, str>> {
    if !raw.contains(&b'\\') {
        return std::str::from_utf8(raw).ok().map(Cow::Borrowed);
    }
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice(&quoted).ok().map(Cow::Owned)
}

/// How many of eight bytes come before the first quote, backslash, control character or byte beyond
/// ASCII. Borrows spread upwards only, so the lowest mark is right.
fn ordinary_bytes(word: [u8; 8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let word = u64::from_le_bytes(word);
    let is_below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word;
    let quote = is_below(word ^ (ONES * u64::from(b'"')), 1);
    let backslash = is_below(word ^ (ONES * u64::from(b'\\')), 1);
    let marks = (quote | backslash | is_below(word, 0x20) | word) & HIGH;
    marks.trailing_zeros() as usize / 8
}

/// Neither a control character nor a byte beyond ASCII: as signed numbers, both are below a space.
pub(super) fn is_printable_ascii(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(true, |all, byte| all & (byte.cast_signed() >= 0x20))
}
