//! The head of an answer.
//!
//! Owns the status line and which headers are sent. Must never know a body.

use std::time::SystemTime;

use bytes::Bytes;
use http::StatusCode;

use super::Delivery;
use crate::answer::Answer;
use crate::fault::{Fault, Framing, HangUp};

/// Whether answers with this status have no body.
pub(super) fn bodiless(status: u16) -> bool {
    matches!(status, 204 | 304)
}

/// The head as bytes. `length` is the body's, before framing.
pub(super) fn render(
    answer: &Answer,
    delivery: Delivery<'_>,
    framing: Framing,
    length: usize,
) -> Bytes {
    let mut headers = answer.headers.clone();
    headers.push(("date".to_owned(), httpdate::fmt_http_date(delivery.now)));
    set_all(&mut headers, of_fault(delivery.fault, delivery.now));
    if !bodiless(answer.status) {
        match framing {
            Framing::Length => set(&mut headers, "content-length", length.to_string()),
            Framing::Chunked => set(&mut headers, "transfer-encoding", "chunked".to_owned()),
            Framing::Close => {}
        }
    }
    let announced = delivery.fault.hang_up == Some(HangUp::Announced);
    if announced || framing == Framing::Close || !delivery.keep_alive {
        set(&mut headers, "connection", "close".to_owned());
    }
    let own = delivery.fault.headers.iter();
    set_all(
        &mut headers,
        own.map(|(name, value)| (name.clone(), value.0.clone()))
            .collect(),
    );
    text(answer.status, &headers)
}

fn text(status: u16, headers: &[(String, String)]) -> Bytes {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason());
    let mut text = format!("HTTP/1.1 {status} {}\r\n", reason.unwrap_or("Unknown"));
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.push_str("\r\n");
    Bytes::from(text)
}

/// The headers that a fault describes, but for its free ones.
fn of_fault(fault: &Fault, now: SystemTime) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    if let Some(content_type) = &fault.content_type {
        add("content-type", content_type.0.clone());
    }
    if let Some(value) = &fault.retry_after {
        add("retry-after", value.0.clone());
    }
    if let Some(later) = fault.retry_after_date {
        add("retry-after", httpdate::fmt_http_date(now + later.0));
    }
    if let Some(value) = &fault.retry_after_ms {
        add("retry-after-ms", value.0.clone());
    }
    if let Some(value) = &fault.reset_requests {
        add("x-ratelimit-remaining-requests", "0".to_owned());
        add("x-ratelimit-reset-requests", value.0.clone());
    }
    if let Some(value) = &fault.reset_tokens {
        add("x-ratelimit-remaining-tokens", "0".to_owned());
        add("x-ratelimit-reset-tokens", value.0.clone());
    }
    if let Some(bytes) = fault.header_bytes {
        add("x-filler", "x".repeat(bytes));
    }
    headers
}

fn set_all(headers: &mut Vec<(String, String)>, more: Vec<(String, String)>) {
    for (name, value) in more {
        set(headers, &name, value);
    }
}

/// Sets a header, in place of the one of that name.
fn set(headers: &mut Vec<(String, String)>, name: &str, value: String) {
    headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    headers.push((name.to_owned(), value));
}
