//! The grammar of numbers (RFC 8259 §6), a byte at a time. Must never compute a value.

/// How much of a number was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Start,
    Minus,
    /// A leading zero: no digit may follow.
    Zero,
    Integer,
    Point,
    Fraction,
    ExponentMark,
    ExponentSign,
    Exponent,
}

impl Number {
    /// Reads on: what of `rest` is part of the number, and what follows.
    pub(super) fn read<'a>(&mut self, rest: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let mut left = rest;
        while let Some((byte, after)) = left.split_first() {
            // Most bytes of most numbers are digits that change nothing.
            if byte.is_ascii_digit() && *self == Self::Integer {
                left = after;
                continue;
            }
            let Some(next) = self.then(*byte) else {
                break;
            };
            *self = next;
            left = after;
        }
        rest.split_at_checked(rest.len() - left.len())
            .unwrap_or((rest, left))
    }

    /// With one more byte; `None` when the byte isn't part of the number.
    fn then(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Start, b'-') => Self::Minus,
            (Self::Start | Self::Minus, b'0') => Self::Zero,
            (Self::Start | Self::Minus | Self::Integer, b'0'..=b'9') => Self::Integer,
            (Self::Zero | Self::Integer, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::ExponentMark,
            (Self::ExponentMark, b'+' | b'-') => Self::ExponentSign,
            (Self::ExponentMark | Self::ExponentSign | Self::Exponent, b'0'..=b'9') => {
                Self::Exponent
            }
            _ => return None,
        })
    }

    /// Whether what was read is a number.
    pub(super) fn may_end(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Integer | Self::Fraction | Self::Exponent
        )
    }
}
