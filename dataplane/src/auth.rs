//! Who calls: the virtual key in one of the four headers. Must never keep or log the token; past this
//! file there is only its digest.

use std::time::SystemTime;

use http::header::{AUTHORIZATION, HeaderMap};
use weighbridge_snapshot::TokenDigest;

use crate::fault::Fault;
use crate::runtime::{Key, Runtime};

/// The headers that carry a virtual key beside `authorization`, in the order they are looked at: those
/// of the vendors' SDKs.
pub(crate) const KEY_HEADERS: [&str; 3] = ["x-api-key", "api-key", "x-goog-api-key"];

/// The digest of the token that a request carries.
///
/// # Errors
/// When no header carries one.
pub(crate) fn token(headers: &HeaderMap) -> Result<TokenDigest, Fault> {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| bearer(value.as_bytes()));
    let token = bearer.or_else(|| {
        let mut others = KEY_HEADERS.iter().filter_map(|name| headers.get(*name));
        others.next().map(http::HeaderValue::as_bytes)
    });
    match token.map(<[u8]>::trim_ascii) {
        Some(token) if !token.is_empty() => Ok(TokenDigest::of(token)),
        _ => Err(Fault::MissingKey),
    }
}

/// The key that a digest stands for, when it may be used now.
///
/// # Errors
/// When it is unknown, suspended or expired.
pub(crate) fn identify<'a>(
    runtime: &'a Runtime,
    digest: &TokenDigest,
) -> Result<&'a std::sync::Arc<Key>, Fault> {
    let key = runtime.key(digest).ok_or(Fault::UnknownKey)?;
    if key.suspended {
        return Err(Fault::SuspendedKey);
    }
    if key
        .expires_at
        .is_some_and(|expires_at| expires_at <= unix_now())
    {
        return Err(Fault::ExpiredKey);
    }
    Ok(key)
}

/// The token of `Bearer TOKEN`; the scheme is case-insensitive (RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(rest)
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(headers: &[(&'static str, &str)]) -> Option<TokenDigest> {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    http::HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        token(&headers).ok()
    }

    #[test]
    fn the_key_is_taken_from_any_of_the_four_headers() {
        let expected = Some(TokenDigest::of(b"wb-1"));
        for (name, value) in [
            ("authorization", "Bearer wb-1"),
            ("authorization", "bearer  wb-1 "),
            ("x-api-key", "wb-1"),
            ("api-key", "wb-1"),
            ("x-goog-api-key", "wb-1"),
        ] {
            assert_eq!(digest_of(&[(name, value)]), expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_header_without_a_token_is_no_key() {
        for (name, value) in [
            ("authorization", "Basic d2I6MQ=="),
            ("authorization", "Bearer "),
            ("authorization", "Bear"),
            ("x-api-key", ""),
            ("x-other", "wb-1"),
        ] {
            assert_eq!(digest_of(&[(name, value)]), None, "{name}: {value}");
        }
    }

    #[test]
    fn bearer_wins_over_the_other_headers() {
        let found = digest_of(&[("x-api-key", "other"), ("authorization", "Bearer wb-1")]);
        assert_eq!(found, Some(TokenDigest::of(b"wb-1")));
    }
}
