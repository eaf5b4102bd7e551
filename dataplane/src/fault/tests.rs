//! What callers read, as golden text, and the headers that steer their retries.

use super::*;

fn every_fault() -> Vec<Fault> {
    vec![
        Fault::MissingKey,
        Fault::UnknownKey,
        Fault::SuspendedKey,
        Fault::ExpiredKey,
        Fault::UnknownPath,
        Fault::MethodNotAllowed { allowed: "POST" },
        Fault::UnsupportedMediaType {
            found: "text/plain".to_owned(),
        },
        Fault::MalformedBody(ProbeError::MissingModel),
        Fault::BodyTooLarge { limit: 1024 },
        Fault::BodyTimeout {
            limit: Duration::from_mins(1),
        },
        Fault::BodyCut,
        Fault::ModelNotFound {
            model: "gpt-\"9".to_owned(),
        },
        Fault::StatefulCall {
            field: "background",
        },
        Fault::Overloaded,
        Fault::RateLimited {
            retry_after: Duration::from_millis(1500),
        },
        Fault::Unavailable { retry_after: None },
        Fault::NoBackend {
            route: "ai/chat".to_owned(),
        },
        Fault::UpstreamAuth,
        Fault::UpstreamBilling,
        Fault::UpstreamConnect,
        Fault::UpstreamTimeout {
            bound: "timeouts.firstEvent",
            limit: Duration::from_mins(1),
        },
        Fault::UpstreamFailed,
        Fault::BadUpstreamAnswer,
    ]
}

#[test]
fn every_fault_says_what_where_and_what_is_allowed() {
    let told: Vec<String> = every_fault()
        .iter()
        .map(|fault| {
            let response = fault.response(false);
            let body = String::from_utf8(response.body().to_vec()).unwrap();
            format!("{} {body}", response.status().as_u16())
        })
        .collect();
    insta::assert_snapshot!("faults", told.join("\n"));
}

#[test]
fn a_providers_refusal_is_never_the_callers_401() {
    for fault in [Fault::UpstreamAuth, Fault::UpstreamBilling] {
        assert_eq!(fault.response(true).status(), 502);
    }
}

#[test]
fn retry_after_is_rounded_up_and_given_in_milliseconds_too() {
    let response = Fault::RateLimited {
        retry_after: Duration::from_millis(1500),
    }
    .response(false);
    assert_eq!(response.headers()["retry-after"], "2");
    assert_eq!(response.headers()["retry-after-ms"], "1500");
    assert!(!response.headers().contains_key("x-should-retry"));
}

#[test]
fn a_final_word_stops_the_sdks_own_retries() {
    let response = Fault::BadUpstreamAnswer.response(true);
    assert_eq!(response.headers()["x-should-retry"], "false");
}

#[test]
fn events_are_framed_as_the_operation_frames_them() {
    let data = Fault::BadUpstreamAnswer.event(EventFraming::Data);
    assert!(data.starts_with(b"data: {\"error\":{") && data.ends_with(b"}\n\n"));
    let named = Fault::BadUpstreamAnswer.event(EventFraming::Named);
    assert!(named.starts_with(b"event: error\ndata: {\"type\":\"error\","));
}
