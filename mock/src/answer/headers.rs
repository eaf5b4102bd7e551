//! The headers of a healthy answer.
//!
//! Owns the request id, the rate-limit headers and their Go-style durations.

use std::time::Duration;

use super::{Body, Context, Endpoint, Question, prose};

/// Requests per minute that the provider says it allows a key.
const REQUESTS: u64 = 10_000;
/// Tokens per minute that the provider says it allows a key.
const TOKENS: u64 = 2_000_000;

/// The headers of a healthy answer.
pub(super) fn of(
    question: &Question<'_>,
    context: Context<'_>,
    body: &Body,
) -> Vec<(String, String)> {
    let mut headers = common(context);
    let content_type = match body {
        Body::Whole(_) => "application/json",
        Body::Events(_) => "text/event-stream; charset=utf-8",
    };
    headers.push(header("content-type", content_type));
    if matches!(body, Body::Events(_)) {
        headers.push(header("cache-control", "no-cache"));
    }
    let counted = !matches!(
        question.endpoint(),
        Some(Endpoint::Models | Endpoint::Model(_))
    );
    if counted {
        headers.extend(limits(context, question.request.body.len() as u64 / 4));
    }
    headers
}

/// What stands on every answer, errors included.
pub(super) fn common(context: Context<'_>) -> Vec<(String, String)> {
    let id = prose::id("req_", context, 0);
    let milliseconds = 20 + prose::seeded(context.config.seed, &id).u64(0..400);
    vec![
        header("x-request-id", id),
        header("openai-organization", context.config.name.as_str()),
        header("openai-processing-ms", milliseconds.to_string()),
        header("openai-version", "2020-10-01"),
    ]
}

fn limits(context: Context<'_>, tokens: u64) -> Vec<(String, String)> {
    // Spent requests come back one by one over the minute; how many are back isn't imitated.
    let spent = context.account_requests % REQUESTS;
    let tokens = tokens.clamp(1, TOKENS);
    let back = |spent: u64, limit: u64| go_duration(Duration::from_millis(spent * 60_000 / limit));
    vec![
        header("x-ratelimit-limit-requests", REQUESTS.to_string()),
        header("x-ratelimit-limit-tokens", TOKENS.to_string()),
        header(
            "x-ratelimit-remaining-requests",
            (REQUESTS - spent).to_string(),
        ),
        header(
            "x-ratelimit-remaining-tokens",
            (TOKENS - tokens).to_string(),
        ),
        header("x-ratelimit-reset-requests", back(spent, REQUESTS)),
        header("x-ratelimit-reset-tokens", back(tokens, TOKENS)),
    ]
}

/// A header.
pub(super) fn header(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

/// A duration as Go writes it: `120ms`, `1.5s`, `6m0s`, `1h0m0s`; whole milliseconds only.
fn go_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    if milliseconds < 1_000 {
        return format!("{milliseconds}ms");
    }
    let (seconds, rest) = (milliseconds / 1_000, milliseconds % 1_000);
    let fraction = format!(".{rest:03}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}{fraction}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}{fraction}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_writes_them() {
        let cases = [
            (0, "0s"),
            (120, "120ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (59_560, "59.56s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
            (3_723_004, "1h2m3.004s"),
        ];
        for (milliseconds, text) in cases {
            assert_eq!(go_duration(Duration::from_millis(milliseconds)), text);
        }
    }
}
