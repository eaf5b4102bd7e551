//! Durations as Gateway API writes them (GEP-2257): `1h30m`, `500ms`.
//!
//! Must never round: the finest unit is the millisecond, and so is the snapshot's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Misfit, bounds, strict};

const FORM: &str = "a duration above zero, such as 500ms, 10s or 1h30m";

/// A duration, as written; [`Duration::parse`] tells whether it is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "duration(self) > duration('0s')",
    "message": "must be a duration above zero, such as 500ms, 10s or 1h30m",
}]))]
pub struct Duration(
    #[serde(deserialize_with = "strict::text")]
    #[schemars(
        length(max = bounds::DURATION),
        pattern(r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")
    )]
    String,
);

impl Duration {
    /// The length of time.
    ///
    /// # Errors
    /// When it isn't one to four of digits and unit, or is zero.
    pub fn parse(&self) -> Result<std::time::Duration, Misfit> {
        milliseconds(&self.0)
            .filter(|&millis| millis > 0)
            .map(std::time::Duration::from_millis)
            .ok_or_else(|| Misfit::quoting(&self.0, FORM))
    }
}

impl std::fmt::Display for Duration {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::convert::From<&str> for Duration {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// As a person would write it: `2m`, `1m30s`. What is finer than a millisecond is cut.
impl std::convert::From<std::time::Duration> for Duration {
    fn from(length: std::time::Duration) -> Self {
        let mut rest = length.as_millis();
        let mut parts = Vec::new();
        for (unit, millis) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= millis {
                parts.push(format!("{}{unit}", rest / millis));
                rest %= millis;
            }
        }
        if parts.is_empty() {
            parts.push("0s".to_owned());
        }
        Self(parts.concat())
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, tail) = tail.split_at_checked(letters)?;
        parts += 1;
        if !(1..=5).contains(&digits) || parts > 4 {
            return None;
        }
        total += number.parse::<u64>().ok()? * millis_in(unit)?;
        rest = tail;
    }
    (parts > 0).then_some(total)
}

fn millis_in(unit: &str) -> Option<u64> {
    match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn millis(text: &str) -> Option<u128> {
        Duration::from(text)
            .parse()
            .ok()
            .map(|found| found.as_millis())
    }

    #[test]
    fn parts_add_up() {
        assert_eq!(millis("500ms"), Some(500));
        assert_eq!(millis("10s"), Some(10_000));
        assert_eq!(millis("1h30m"), Some(5_400_000));
        assert_eq!(millis("1h2m3s4ms"), Some(3_723_004));
        assert_eq!(millis("99999h99999h99999h99999h"), Some(1_439_985_600_000));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "0s",
            "0h0m",
            "5",
            "s",
            "-1s",
            "1.5s",
            " 1s",
            "1s ",
            "1d",
            "1S",
            "100000s",
            "1s1s1s1s1s",
            "1sm",
            "1 s",
            "١s",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn a_length_of_time_is_written_in_its_largest_units() {
        let written = |millis| Duration::from(std::time::Duration::from_millis(millis)).to_string();
        assert_eq!(written(120_000), "2m");
        assert_eq!(written(90_500), "1m30s500ms");
        assert_eq!(written(36_000_000), "10h");
        assert_eq!(written(0), "0s");
    }

    #[test]
    fn the_error_shows_what_was_found_and_what_is_allowed() {
        assert_eq!(
            Duration::from("soon").parse().unwrap_err().to_string(),
            "found \"soon\"; allowed is a duration above zero, such as 500ms, 10s or 1h30m"
        );
    }

    proptest! {
        #[test]
        fn whatever_the_schema_admits_parses(text in "([0-9]{1,5}(h|m|s|ms)){1,4}") {
            let zero = text.bytes().all(|byte| !byte.is_ascii_digit() || byte == b'0');
            prop_assert_eq!(millis(&text).is_none(), zero);
        }

        #[test]
        fn a_length_of_time_is_written_as_it_is_read(expected in 1..=359_996_400_000_u64) {
            let length = std::time::Duration::from_millis(expected);
            prop_assert_eq!(Duration::from(length).parse(), Ok(length));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = millis(&text);
        }
    }
}
