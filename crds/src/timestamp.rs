//! Points in time as RFC 3339 writes them: `2027-01-01T00:00:00Z`.
//!
//! Must never look at a clock.

use k8s_openapi::jiff;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Misfit;

const FORM: &str = "a time such as 2027-01-01T00:00:00Z";

/// A point in time, as written; [`Timestamp::parse`] tells whether it is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Timestamp(#[schemars(extend("format" = "date-time"))] String);

impl Timestamp {
    /// Seconds since the Unix epoch, fractions cut.
    ///
    /// # Errors
    /// When it isn't a date and a time with an offset.
    pub fn parse(&self) -> Result<i64, Misfit> {
        self.0
            .parse::<jiff::Timestamp>()
            .map(jiff::Timestamp::as_second)
            .map_err(|_| Misfit::quoting(&self.0, FORM))
    }
}

impl std::convert::From<&str> for Timestamp {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count() {
        for text in ["2027-01-01T00:00:00Z", "2027-01-01T01:00:00+01:00"] {
            assert_eq!(Timestamp::from(text).parse(), Ok(1_798_761_600), "{text}");
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
