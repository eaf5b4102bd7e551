//! Points in time as RFC 3339 writes them: `2027-01-01T00:00:00Z`.
//!
//! Must never look at a clock.

use k8s_openapi::jiff;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Misfit, strict};

const FORM: &str = "a time such as 2027-01-01T00:00:00Z";

/// Where digits stand in a date and time, and what stands between them.
const LOCAL: &str = "0000-00-00T00:00:00";
/// The same of an offset, its sign left out.
const OFFSET: &str = "00:00";

/// A point in time, as written; [`Timestamp::parse`] tells whether it is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Timestamp(
    #[serde(deserialize_with = "strict::text")]
    #[schemars(extend("format" = "date-time"))]
    String,
);

impl Timestamp {
    /// Seconds since the Unix epoch, fractions cut. The last days of the year 9999 count as one
    /// moment, beyond which the calendar's arithmetic ends: they mean never.
    ///
    /// # Errors
    /// When it isn't a date and a time with an offset, of RFC 3339's form and without leap seconds, as
    /// an API server has it.
    pub fn parse(&self) -> Result<i64, Misfit> {
        seconds(&self.0).ok_or_else(|| Misfit::quoting(&self.0, FORM))
    }
}

fn seconds(text: &str) -> Option<i64> {
    let (local, rest) = text.split_at_checked(LOCAL.len())?;
    let ahead = offset(after_fraction(rest)?)?;
    if !has_form(local, LOCAL) || local.ends_with("60") {
        return None;
    }
    let local = local.parse::<jiff::civil::DateTime>().ok()?;
    let last = jiff::Timestamp::MAX;
    let as_utc = jiff::tz::Offset::UTC.to_timestamp(local).unwrap_or(last);
    Some(as_utc.as_second() - ahead)
}

/// What stands behind a fraction of a second, where there is one.
fn after_fraction(text: &str) -> Option<&str> {
    let Some(fraction) = text.strip_prefix('.') else {
        return Some(text);
    };
    let rest = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
    (rest.len() < fraction.len()).then_some(rest)
}

/// Seconds that the offset is ahead of UTC.
fn offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, offset) = text.split_at_checked(1)?;
    let (hours, minutes) = offset
        .split_once(':')
        .filter(|_| has_form(offset, OFFSET))?;
    let (hours, minutes) = (hours.parse::<i64>().ok()?, minutes.parse::<i64>().ok()?);
    let ahead = (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)?;
    match sign {
        "+" => Some(ahead),
        "-" => Some(-ahead),
        _ => None,
    }
}

/// Whether text has digits where the form has them, and the form's own characters elsewhere.
fn has_form(text: &str, form: &str) -> bool {
    let fits = |(found, form): (u8, u8)| match form {
        b'0' => found.is_ascii_digit(),
        form => found.eq_ignore_ascii_case(&form),
    };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
}

impl std::convert::From<&str> for Timestamp {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_has_the_form_is_read_as_the_calendar_reads_it(
            text in "[0-9]{3}[0-8]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-][01][0-9]:[0-5][0-9])"
        ) {
            let expected = text.parse::<jiff::Timestamp>().ok();
            // Before the epoch a fraction counts towards the next second there.
            let expected = expected.map(|time| time.as_nanosecond().div_euclid(1_000_000_000));
            let found = Timestamp::from(text.as_str()).parse().ok().map(i128::from);
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_text_panics(text in ".{0,40}|[-0-9TZ:.+]{19,30}") {
            let _ = Timestamp::from(text.as_str()).parse();
        }
    }

    #[test]
    fn offsets_count() {
        for text in ["2027-01-01T00:00:00Z", "2027-01-01T01:00:00+01:00"] {
            assert_eq!(Timestamp::from(text).parse(), Ok(1_798_761_600), "{text}");
        }
    }

    #[test]
    fn fractions_are_cut_and_letters_may_be_small() {
        for text in [
            "2027-01-01T00:00:00.9Z",
            "2027-01-01t00:00:00z",
            "2026-12-31T12:30:00.000001-11:30",
        ] {
            assert_eq!(Timestamp::from(text).parse(), Ok(1_798_761_600), "{text}");
        }
    }

    #[test]
    fn never_may_be_written_as_the_end_of_the_calendar() {
        // 9999-12-30T22:00:00Z, from which on an offset could lead out of the calendar.
        let last = 253_402_207_200;
        for text in [
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.999999999Z",
            "9999-12-31T23:59:59-23:59",
        ] {
            let found = Timestamp::from(text).parse().unwrap();
            assert!((last..=last + 86_400).contains(&found), "{text}: {found}");
        }
        assert_eq!(
            Timestamp::from("9999-12-01T00:00:00Z").parse(),
            Ok(253_399_622_400)
        );
        assert_eq!(
            Timestamp::from("0000-01-01T00:00:00Z").parse(),
            Ok(-62_167_219_200)
        );
    }

    #[test]
    fn other_forms_are_refused_as_an_api_server_refuses_them() {
        for text in [
            "20270101T000000Z",
            "2027-01-01T00Z",
            "2027-01-01T00:00Z",
            "2027-01-01 00:00:00Z",
            "2027-01-01T00:00:00+01:00[Europe/Berlin]",
            "2027-01-01T00:00:00Z[UTC]",
            "2027-01-01T00:00:00[UTC]",
            "2027-01-01T00:00:00+0100",
            "2027-01-01T00:00:00+01",
            "2027-01-01T00:00:00+24:00",
            "2027-01-01T00:00:00.Z",
            "2027-01-01T00:00:00,5Z",
            "2027-01-01T00:00:60Z",
            "2027-01-01T24:00:00Z",
            "2027-02-29T00:00:00Z",
            "+002027-01-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "2027-01-01T00:00:00Z ",
            "２027-01-01T00:00:00Z",
        ] {
            assert!(Timestamp::from(text).parse().is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_without_offset_or_day_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2027-01-01",
            "2027-01-01T00:00:00",
            "00:00:00Z",
        ] {
            assert!(Timestamp::from(text).parse().is_err(), "{text}");
        }
    }
}
