//! Which headers cross the gateway. Everything does but what belongs to one hop (RFC 9110 §7.6.1), to a
//! credential or a session, to the network on this side, or to a body that may be read on its way. Must
//! never let a caller's key or anybody's cookie cross.

use std::str::FromStr;

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName,
    HeaderValue,
};

use crate::runtime::{Account, Endpoint};

/// What a caller's headers become at a provider, host and credential included. Answers must come
/// unencoded: an encoded stream can be neither read nor ended properly.
pub(crate) fn for_provider(given: &HeaderMap, endpoint: &Endpoint, account: &Account) -> HeaderMap {
    let mut sent = crossing(given);
    sent.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    sent.insert(HOST, endpoint.host.clone());
    if let Some(authorization) = &account.authorization {
        sent.insert(AUTHORIZATION, authorization.clone());
    }
    sent
}

/// What of a caller's headers crosses. Copied, not stripped: the next attempt needs them again.
fn crossing(given: &HeaderMap) -> HeaderMap {
    let hop = named_by_connection(given);
    // Room for the three that are written anew.
    let mut crossing = HeaderMap::with_capacity(given.len() + 3);
    for (name, value) in given {
        if !is_callers_own(name.as_str()) && !hop.contains(name) {
            crossing.append(name, value.clone());
        }
    }
    crossing
}

/// Takes out of an answer's headers what doesn't go on to the caller.
pub(crate) fn for_caller(headers: &mut HeaderMap) {
    let hop = named_by_connection(headers);
    // One pass to find the few: looking up each candidate would hash each candidate.
    let stripped: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_providers_own(name.as_str()) || hop.contains(name))
        .cloned()
        .collect();
    for name in &stripped {
        headers.remove(name);
    }
}

/// A header that holds a decimal number; `None` when it is absent or holds anything else.
pub(crate) fn number<N: FromStr>(headers: &HeaderMap, name: &str) -> Option<N> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// The headers that `connection` names as belonging to this hop; its list may be spread over several
/// lines (RFC 9110 §5.3).
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(CONNECTION).iter();
    lines
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != CONTENT_LENGTH && *name != HOST)
        .collect()
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// What proxies before the gateway say about who calls and from where; some put tokens of a sign-on into
/// `x-forwarded-*`.
fn is_origin(name: &str) -> bool {
    matches!(
        name,
        "forwarded" | "via" | "x-real-ip" | "cf-connecting-ip" | "true-client-ip"
    ) || name.starts_with("x-forwarded-")
}

/// Of a request: the hop's, the caller's credential, its session with others in its domain, where it
/// came from, what is written anew, and what selects whom a credential with several organisations bills.
fn is_callers_own(name: &str) -> bool {
    is_hop_by_hop(name)
        || is_origin(name)
        || matches!(
            name,
            "authorization"
                | "x-api-key"
                | "api-key"
                | "x-goog-api-key"
                | "cookie"
                | "openai-organization"
                | "openai-project"
                | "host"
                | "content-length"
                | "expect"
                | "accept-encoding"
        )
        || name.starts_with("x-weighbridge-")
}

/// Of an answer: the hop's, cookies that would be shared by tenants, and what was said about our own
/// retries or in our name.
fn is_providers_own(name: &str) -> bool {
    is_hop_by_hop(name)
        || matches!(name, "set-cookie" | "x-should-retry" | "alt-svc")
        || name.starts_with("x-weighbridge-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_request_loses_its_hop_its_credentials_its_origin_and_nothing_else() {
        let sent = crossing(&headers(&[
            ("host", "gateway"),
            ("authorization", "Bearer wb-1"),
            ("x-api-key", "wb-1"),
            ("api-key", "wb-1"),
            ("x-goog-api-key", "wb-1"),
            ("openai-organization", "org"),
            ("cookie", "sso=1"),
            ("forwarded", "for=10.0.0.1"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-access-token", "t"),
            ("x-real-ip", "10.0.0.1"),
            ("cf-connecting-ip", "10.0.0.1"),
            ("true-client-ip", "10.0.0.1"),
            ("via", "1.1 proxy"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("content-length", "2"),
            ("content-type", "application/json"),
            ("accept-encoding", "gzip"),
            ("x-stainless-retry-count", "1"),
            ("x-weighbridge-on-loss", "Refuse"),
            ("x-future", "kept"),
            ("x-forwarded", "kept"),
        ]));
        assert_eq!(
            names(&sent),
            [
                "content-type",
                "x-forwarded",
                "x-future",
                "x-stainless-retry-count"
            ]
        );
    }

    #[test]
    fn an_answer_keeps_its_length_and_loses_cookies_and_retry_advice() {
        let mut answer = headers(&[
            ("content-length", "2"),
            ("content-type", "application/json"),
            ("connection", "keep-alive, content-length"),
            ("keep-alive", "timeout=5"),
            ("set-cookie", "a=b"),
            ("x-should-retry", "true"),
            ("x-weighbridge-route", "forged"),
            ("x-ratelimit-remaining-requests", "9"),
        ]);
        for_caller(&mut answer);
        assert_eq!(
            names(&answer),
            [
                "content-length",
                "content-type",
                "x-ratelimit-remaining-requests"
            ]
        );
    }

    #[test]
    fn numbers_are_read_or_ignored() {
        let given = headers(&[("a", "2"), ("b", "two"), ("c", " 7 "), ("d", "-1")]);
        let read = |name| number::<u32>(&given, name);
        assert_eq!(
            (read("a"), read("b"), read("c"), read("d"), read("e")),
            (Some(2), None, Some(7), None, None)
        );
    }
}
