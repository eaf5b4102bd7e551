//! How long an account that was limited rests: what the provider states, else a guess that grows.
//!
//! Pure: the clock is passed in. Must never believe what makes no sense: a wait that is negative, not
//! a number, or nothing at all counts as not stated; one beyond a day counts as a day.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

/// The longest rest that is believed.
const MAX_STATED: Duration = Duration::from_hours(24);

/// The first guess, and the longest.
const FIRST_GUESS: Duration = Duration::from_secs(5);
const MAX_GUESS: Duration = Duration::from_mins(1);

/// What is limited, each on its own: what is left of it, and when it is full again.
const DIMENSIONS: [(&str, &str); 2] = [
    (
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
];

/// The wait that an answer states: `retry-after-ms`, else `retry-after` (seconds or an HTTP date),
/// else the reset of the dimension that is used up. Of several used up the longest, or it would be
/// limited again; when none says so the shortest, as a guess that costs least.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let stated = milliseconds(headers)
        .or_else(|| seconds_or_date(headers, now))
        .or_else(|| reset(headers));
    stated.map(|wait| wait.min(MAX_STATED))
}

/// How long an account rests that was limited `in_a_row` times right before this one: as stated, else
/// 5 s, doubling to 60 s.
pub(crate) fn limited_for(stated: Option<Duration>, in_a_row: u32) -> Duration {
    stated.unwrap_or_else(|| {
        let doublings = in_a_row.min(4);
        (FIRST_GUESS * 2_u32.pow(doublings)).min(MAX_GUESS)
    })
}

fn milliseconds(headers: &HeaderMap) -> Option<Duration> {
    seconds(text(headers, "retry-after-ms")?, 1e-3)
}

fn seconds_or_date(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = text(headers, "retry-after")?;
    seconds(text, 1.0).or_else(|| {
        let date = httpdate::parse_http_date(text).ok()?;
        positive(date.duration_since(now).ok()?)
    })
}

fn reset(headers: &HeaderMap) -> Option<Duration> {
    let resets = DIMENSIONS.iter().filter_map(|(remaining, reset)| {
        let wait = go_duration(text(headers, reset)?)?;
        Some((text(headers, remaining) == Some("0"), wait))
    });
    let used_up = resets.clone().filter(|(is_used_up, _)| *is_used_up);
    used_up
        .map(|(_, wait)| wait)
        .max()
        .or_else(|| resets.map(|(_, wait)| wait).min())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

/// A decimal number of units.
fn seconds(number: &str, unit: f64) -> Option<Duration> {
    let number: f64 = number.parse().ok()?;
    positive(Duration::try_from_secs_f64(number * unit).ok()?)
}

/// A duration as Go writes it: `1s`, `6m0s`, `120ms`, `2m59.56s`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let units = after.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, after) = after.split_at_checked(units.unwrap_or(after.len()))?;
        let number: f64 = number.parse().ok()?;
        let part = Duration::try_from_secs_f64(number * seconds_of(unit)?).ok()?;
        sum = sum.checked_add(part)?;
        rest = after;
    }
    positive(sum)
}

fn seconds_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "h" => 3600.0,
        "m" => 60.0,
        "s" => 1.0,
        "ms" => 1e-3,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    })
}

/// No wait at all says nothing about when to come back.
fn positive(wait: Duration) -> Option<Duration> {
    (!wait.is_zero()).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn now() -> SystemTime {
        httpdate::parse_http_date("Thu, 29 Feb 2024 12:00:00 GMT").unwrap()
    }

    /// In milliseconds.
    fn stated(headers: &[(&'static str, &str)]) -> Option<u128> {
        let map = headers
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
                (HeaderName::from_static(name), value)
            })
            .collect();
        retry_after(&map, now()).map(|wait| wait.as_millis())
    }

    #[test]
    fn retry_after_is_seconds_a_fraction_or_a_date() {
        for (value, expected) in [
            ("7", Some(7_000)),
            (" 7 ", Some(7_000)),
            ("0.5", Some(500)),
            ("Thu, 29 Feb 2024 12:01:30 GMT", Some(90_000)),
            ("Thu, 29 Feb 2024 11:59:59 GMT", None),
            ("999999", Some(86_400_000)),
            ("Thu, 29 Feb 2029 12:00:00 GMT", None),
            ("Fri, 28 Feb 2025 12:00:00 GMT", Some(86_400_000)),
            ("0", None),
            ("-3", None),
            ("NaN", None),
            ("inf", None),
            ("1e300", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(stated(&[("retry-after", value)]), expected, "{value:?}");
        }
    }

    #[test]
    fn milliseconds_come_before_seconds_and_seconds_before_resets() {
        let all = [
            ("x-ratelimit-reset-requests", "3s"),
            ("retry-after", "2"),
            ("retry-after-ms", "1500"),
        ];
        assert_eq!(stated(&all), Some(1_500));
        assert_eq!(stated(&all[..2]), Some(2_000));
        assert_eq!(stated(&all[..1]), Some(3_000));
        assert_eq!(
            stated(&[("retry-after-ms", "-1"), ("retry-after", "2")]),
            Some(2_000)
        );
        assert_eq!(stated(&[("retry-after", "?"), all[0]]), Some(3_000));
        assert_eq!(stated(&[]), None);
    }

    #[test]
    fn resets_are_durations_as_go_writes_them() {
        for (value, expected) in [
            ("1s", Some(1_000)),
            ("6m0s", Some(360_000)),
            ("120ms", Some(120)),
            ("2m59.56s", Some(179_560)),
            ("1h2m3s4ms", Some(3_723_004)),
            ("1.5h", Some(5_400_000)),
            ("30000us", Some(30)),
            ("48h", Some(86_400_000)),
            ("0s", None),
            ("0", None),
            ("60", None),
            ("-1s", None),
            ("s", None),
            ("1", None),
            ("1x", None),
            ("1.2.3s", None),
            ("1s ", Some(1_000)),
            ("1 s", None),
            ("99999999999999999999999999h", None),
        ] {
            assert_eq!(
                stated(&[("x-ratelimit-reset-tokens", value)]),
                expected,
                "{value:?}"
            );
        }
    }

    #[test]
    fn the_dimension_that_is_used_up_decides() {
        let wait = |requests: &str, tokens: &str| {
            stated(&[
                ("x-ratelimit-remaining-requests", requests),
                ("x-ratelimit-reset-requests", "1s"),
                ("x-ratelimit-remaining-tokens", tokens),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ])
        };
        assert_eq!(wait("0", "500"), Some(1_000));
        assert_eq!(wait("9", "0"), Some(360_000));
        assert_eq!(wait("0", "0"), Some(360_000));
        assert_eq!(wait("9", "500"), Some(1_000));
        // Used up, but when it is full again can't be read: the other one is all there is.
        let unreadable = [
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "later"),
            ("x-ratelimit-reset-requests", "1s"),
        ];
        assert_eq!(stated(&unreadable), Some(1_000));
    }

    #[test]
    fn without_a_statement_the_rest_doubles_from_5_to_60_seconds() {
        let guesses = [0, 1, 2, 3, 4, 5, u32::MAX].map(|times| limited_for(None, times).as_secs());
        assert_eq!(guesses, [5, 10, 20, 40, 60, 60, 60]);
        assert_eq!(
            limited_for(Some(Duration::from_millis(7)), 9),
            Duration::from_millis(7)
        );
    }

    proptest! {
        #[test]
        fn no_header_panics_or_states_more_than_a_day(
            value in prop_oneof!["[ -~]{0,20}", "[0-9.]{0,30}[hmnsu]{0,2}[0-9.hms]{0,9}", "[0-9eE.+-]{0,12}"],
            name in 0_usize..3,
        ) {
            let name = ["retry-after", "retry-after-ms", "x-ratelimit-reset-requests"][name];
            if let Some(wait) = stated(&[(name, &value)]) {
                prop_assert!(wait <= MAX_STATED.as_millis());
            }
        }
    }
}
