//! The small written values of faults: durations, points in an answer, drips, lists of quirks.
//!
//! Owns their text forms, which are the same in YAML, in JSON, in the `x-mock-fault` header and in
//! Rust through `FromStr`. Must never know what they do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// Why a written value was refused: what was found and what is allowed, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScalarError(pub(crate) String);

/// A length of time, written `150ms`, `2s`, `1m` or `300us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pause(pub Duration);

impl FromStr for Pause {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let refused = || {
            ScalarError(format!(
                "\"{text}\" is not a duration: write 150ms, 2s or 1m"
            ))
        };
        let unit_at = text
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(refused)?;
        let (digits, unit) = text.split_at(unit_at);
        let count: u32 = digits.parse().map_err(|_| refused())?;
        let unit = match unit {
            "us" => Duration::from_micros(1),
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            _ => return Err(refused()),
        };
        unit.checked_mul(count).map(Self).ok_or_else(refused)
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        match (micros % 1_000_000, micros % 1_000) {
            (0, _) => write!(formatter, "{}s", micros / 1_000_000),
            (_, 0) => write!(formatter, "{}ms", micros / 1_000),
            _ => write!(formatter, "{micros}us"),
        }
    }
}

/// A place in an answer at which something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// `before-head`: the request was read, nothing is written.
    BeforeHead,
    /// `after-head`: the status line and headers are written, nothing of the body.
    AfterHead,
    /// `before-content`: in a stream, after the events that carry no content yet (the role chunk,
    /// `response.created` …). In a unary answer the same as `after-head`.
    BeforeContent,
    /// `mid-body`: half of a unary body, or half of the event after the first content event.
    MidBody,
    /// A number: after so many events of a stream (0 = `after-head`). A unary answer has no events:
    /// 0 is `after-head` there, any other number `mid-body`.
    AfterEvents(usize),
}

impl FromStr for Point {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        match text {
            "before-head" => Ok(Self::BeforeHead),
            "after-head" => Ok(Self::AfterHead),
            "before-content" => Ok(Self::BeforeContent),
            "mid-body" => Ok(Self::MidBody),
            number => number.parse().map(Self::AfterEvents).map_err(|_| {
                ScalarError(format!(
                    "\"{text}\" is no point in an answer: write before-head, after-head, \
                     before-content, mid-body or a number of events"
                ))
            }),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeHead => formatter.write_str("before-head"),
            Self::AfterHead => formatter.write_str("after-head"),
            Self::BeforeContent => formatter.write_str("before-content"),
            Self::MidBody => formatter.write_str("mid-body"),
            Self::AfterEvents(events) => write!(formatter, "{events}"),
        }
    }
}

/// A slow sender, written `16/50ms`: so many bytes at a time, with so long a wait before each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drip {
    /// Bytes per write, at least 1.
    pub bytes: usize,
    /// The wait before each write.
    pub every: Pause,
}

impl FromStr for Drip {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let refused = || {
            ScalarError(format!(
                "\"{text}\" is no drip: write bytes/duration, for example 16/50ms"
            ))
        };
        let (bytes, every) = text.split_once('/').ok_or_else(refused)?;
        let bytes = bytes.parse().map_err(|_| refused())?;
        if bytes == 0 {
            return Err(refused());
        }
        let every = every.parse().map_err(|_| refused())?;
        Ok(Self { bytes, every })
    }
}

impl fmt::Display for Drip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.bytes, self.every)
    }
}

/// One departure from the plainest form of an event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quirk {
    /// `bom`: the stream begins with a byte order mark.
    Bom,
    /// `crlf`: lines end in CR LF.
    Crlf,
    /// `cr`: lines end in CR alone.
    Cr,
    /// `no-space`: `data:{…}` without the space after the colon.
    NoSpace,
    /// `no-done`: the stream ends without `data: [DONE]`.
    NoDone,
    /// `no-last-blank`: the last event isn't followed by a blank line.
    NoLastBlank,
    /// `comments`: a comment line before every event.
    Comments,
    /// `pings`: an `event: ping` event before every event.
    Pings,
    /// `event-names`: an `event: message` line on events that have no name of their own.
    EventNames,
    /// `multi-line`: the data of an event is spread over several `data:` lines.
    MultiLine,
}

impl Quirk {
    const ALL: [(Self, &'static str); 10] = [
        (Self::Bom, "bom"),
        (Self::Crlf, "crlf"),
        (Self::Cr, "cr"),
        (Self::NoSpace, "no-space"),
        (Self::NoDone, "no-done"),
        (Self::NoLastBlank, "no-last-blank"),
        (Self::Comments, "comments"),
        (Self::Pings, "pings"),
        (Self::EventNames, "event-names"),
        (Self::MultiLine, "multi-line"),
    ];
}

impl FromStr for Quirk {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let named = Self::ALL.iter().find(|(_, name)| *name == text);
        named.map(|(quirk, _)| *quirk).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|(_, name)| *name).collect();
            ScalarError(format!(
                "\"{text}\" is no stream quirk: known are {}",
                known.join(", ")
            ))
        })
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::ALL.iter().find(|(quirk, _)| quirk == self);
        formatter.write_str(named.map_or("", |(_, name)| name))
    }
}

/// A set of quirks, written as a list or joined by `+`: `crlf+no-space`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirks(pub BTreeSet<Quirk>);

impl Quirks {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `quirk` is among them.
    pub fn has(&self, quirk: Quirk) -> bool {
        self.0.contains(&quirk)
    }
}

impl<const N: usize> From<[Quirk; N]> for Quirks {
    fn from(quirks: [Quirk; N]) -> Self {
        Self(quirks.into())
    }
}

impl FromStr for Quirks {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        text.split('+')
            .map(Quirk::from_str)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Quirks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(Quirk::to_string).collect();
        formatter.write_str(&names.join("+"))
    }
}

/// A header's value, written as text or as a plain number; sent as it is, sense or nonsense.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raw(pub String);

impl FromStr for Raw {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<&str> for Raw {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Reads any of these from a scalar, or a list of them, by way of its text form.
struct TextVisitor<T>(std::marker::PhantomData<T>, &'static str);

impl<'de, T: FromStr<Err = ScalarError>> Visitor<'de> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<T, A::Error> {
        let mut names: Vec<String> = Vec::new();
        while let Some(name) = items.next_element()? {
            names.push(name);
        }
        self.visit_str(&names.join("+"))
    }
}

macro_rules! text_form {
    ($($kind:ty => $expecting:literal),* $(,)?) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextVisitor(std::marker::PhantomData, $expecting))
            }
        }

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

text_form! {
    Pause => "a duration, for example 150ms",
    Point => "a point in an answer, for example before-content or 3",
    Drip => "bytes/duration, for example 16/50ms",
    Quirks => "a list of stream quirks, for example [crlf, no-space]",
    Raw => "text or a number",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_reads_as_it_is_written() {
        for text in ["0s", "1s", "90s", "150ms", "300us"] {
            assert_eq!(text.parse::<Pause>().unwrap().to_string(), text);
        }
        for text in [
            "before-head",
            "after-head",
            "before-content",
            "mid-body",
            "0",
            "12",
        ] {
            assert_eq!(text.parse::<Point>().unwrap().to_string(), text);
        }
        for (quirk, name) in Quirk::ALL {
            assert_eq!(
                (name.parse(), quirk.to_string()),
                (Ok(quirk), name.to_owned())
            );
        }
        assert_eq!("16/50ms".parse::<Drip>().unwrap().to_string(), "16/50ms");
        assert_eq!("2m".parse::<Pause>().unwrap().0, Duration::from_mins(2));
    }

    #[test]
    fn a_duration_needs_a_number_and_a_unit() {
        for text in ["", "5", "s", "1h", "-1s", "1.5s", "99999999999s"] {
            let error = text.parse::<Pause>().unwrap_err();
            assert!(error.to_string().contains("write 150ms"), "{text}");
        }
    }
}
