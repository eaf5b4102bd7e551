//! Whose fault an error is, told by its code, else by its type. One table, so that no error is two
//! things.
//!
//! Sources: OpenAI's error guide and the SDK's list of `response.error.code`, Anthropic's errors,
//! Azure's content filter, and the sources of `vLLM`, `SGLang` and TGI.

use super::UpstreamError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The account has no money left.
    Billing,
    /// The account isn't let in.
    Auth,
    /// The account asked too often.
    RateLimit,
    /// The provider has too much to do.
    Overload,
    /// The request can't be served, by anyone.
    Caller,
}

/// Codes and types, lower case.
const KNOWN: &[(Fault, &[&str])] = &[
    (
        Fault::Billing,
        &[
            "insufficient_quota",
            "credit_balance_exhausted",
            "billing_error",
            "billing_hard_limit_reached",
            "billing_not_active",
            "enforced_spend_limit_reached",
            "insufficient_credits",
            "payment_required",
        ],
    ),
    (
        Fault::Auth,
        &[
            "invalid_api_key",
            "authentication_error",
            "authenticationerror",
            "invalid_authentication",
            "unauthorized",
            "unauthenticated",
            "permission_error",
            "permission_denied",
            "permissiondeniederror",
            "account_deactivated",
            "organization_deactivated",
        ],
    ),
    (
        Fault::RateLimit,
        &[
            "rate_limit_exceeded",
            "rate_limit_error",
            "ratelimiterror",
            "rate_limited",
            "ramp_limit_exceeded",
            "slow_down",
            "requests",
            "tokens",
            "too_many_requests",
            "toomanyrequests",
            "resource_exhausted",
        ],
    ),
    (
        Fault::Overload,
        &[
            "server_is_overloaded",
            "overloaded_error",
            "overloaded",
            "engine_overloaded",
            "engine_overloaded_error",
            "service_unavailable",
            "service_unavailable_error",
            "serviceunavailableerror",
            "unavailable",
            "capacity_exceeded",
        ],
    ),
    (
        Fault::Caller,
        &[
            "invalid_prompt",
            "invalid_request",
            "invalid_request_error",
            "invalid_argument",
            "invalid_type",
            "invalid_value",
            "badrequesterror",
            "bad_request",
            "validation",
            "validation_error",
            "unprocessableentityerror",
            "unprocessable_entity_error",
            "context_length_exceeded",
            "string_above_max_length",
            "request_too_large",
            "unsupported_parameter",
            "unsupported_value",
            "missing_required_parameter",
            "unknown_parameter",
            "model_not_found",
            "not_found",
            "not_found_error",
            "notfounderror",
            "content_filter",
            "content_policy_violation",
            "moderation_blocked",
            "responsibleaipolicyviolation",
            "bio_policy",
            "cyber_policy",
            "invalid_image",
            "invalid_image_format",
            "invalid_image_mode",
            "invalid_image_url",
            "invalid_base64_image",
            "image_too_large",
            "image_too_small",
            "image_parse_error",
            "image_content_policy_violation",
            "image_file_too_large",
            "image_file_not_found",
            "unsupported_image_media_type",
            "empty_image_file",
            "failed_to_download_image",
        ],
    ),
];

impl UpstreamError {
    /// Our account has no money left: out of use until its credential changes.
    pub(crate) fn is_billing(&self) -> bool {
        self.fault() == Some(Fault::Billing)
    }

    /// Our account isn't let in.
    pub(crate) fn is_auth(&self) -> bool {
        self.fault() == Some(Fault::Auth)
    }

    /// Our account asked too often.
    pub(crate) fn is_rate_limit(&self) -> bool {
        self.fault() == Some(Fault::RateLimit)
    }

    /// The provider has too much to do.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.fault() == Some(Fault::Overload)
    }

    /// The request can't be served, content policy included: no other attempt would differ.
    pub(crate) fn is_callers_fault(&self) -> bool {
        self.fault() == Some(Fault::Caller)
    }

    /// The code is finer than the type: OpenAI's `invalid_api_key` is of type `invalid_request_error`.
    fn fault(&self) -> Option<Fault> {
        let of = |text: &Option<String>| text.as_deref().and_then(fault_of);
        of(&self.code).or_else(|| of(&self.kind))
    }
}

fn fault_of(text: &str) -> Option<Fault> {
    if let Ok(status) = text.parse() {
        return fault_of_status(status);
    }
    KNOWN
        .iter()
        .find(|(_, names)| names.iter().any(|name| name.eq_ignore_ascii_case(text)))
        .map(|(fault, _)| *fault)
}

/// A number as a code is an HTTP status.
fn fault_of_status(status: u16) -> Option<Fault> {
    Some(match status {
        402 => Fault::Billing,
        401 | 403 => Fault::Auth,
        429 => Fault::RateLimit,
        // 498: Groq's flexible tier is full. 529: Anthropic, Dynamo.
        498 | 503 | 529 => Fault::Overload,
        // Not about the request: timeouts, conflicts, TGI's failed generation, too early, and a
        // caller (here: us) that went away.
        408 | 409 | 424 | 425 | 499 => return None,
        400..=499 => Fault::Caller,
        _ => return None,
    })
}
