//! How long a limited account rests. Being written.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

pub(crate) fn retry_after(_headers: &HeaderMap, _now: SystemTime) -> Option<Duration> {
    None
}

pub(crate) fn limited_for(stated: Option<Duration>, _in_a_row: u32) -> Duration {
    stated.unwrap_or(Duration::from_secs(5))
}
