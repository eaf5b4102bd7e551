//! Why an attempt failed, and what follows from it: one table from cause to how far the call may move
//! on, whether the provider took it on, and how it is counted. Pure.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use weighbridge_snapshot::FailoverReason;

use crate::answer::UpstreamError;
use crate::health::Refusal;
use crate::metrics::AttemptOutcome;
use crate::plan::Reach;
use crate::runtime::Reasons;

/// A failed attempt.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    /// The provider's own words, when it had any; the caller gets them if nothing else serves.
    pub(crate) answer: Option<Box<Answer>>,
    /// What went wrong below, for the log.
    pub(crate) error: Option<Box<dyn std::error::Error>>,
}

/// Why it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// No connection.
    Connect,
    /// No answer within the named bound.
    Timeout {
        bound: &'static str,
        limit: Duration,
    },
    /// 429, with the time it states.
    RateLimited(Option<Duration>),
    /// 503, 529 and their like.
    Overloaded,
    /// Another 5xx, or an error inside a 200.
    ServerError,
    /// Cut off, or not what the dialect says.
    BadAnswer,
    /// 401, 402, or a 429 that names the quota: the whole account.
    Refused(Refusal),
    /// 403: this model on this account.
    Forbidden,
}

/// An answer read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Failure {
    /// A failure without words of the provider's own.
    pub(crate) fn of(cause: Cause) -> Self {
        Self {
            cause,
            answer: None,
            error: None,
        }
    }

    /// The same with what went wrong below.
    pub(crate) fn because(cause: Cause, error: impl std::error::Error + 'static) -> Self {
        Self {
            error: Some(Box::new(error)),
            ..Self::of(cause)
        }
    }
}

impl Cause {
    /// What an error inside a 200 means; `None`: it is the caller's own fault, and the caller's to read.
    pub(crate) fn of_error(error: &UpstreamError) -> Option<Self> {
        if error.is_callers_fault() {
            None
        } else if error.is_billing() {
            Some(Self::Refused(Refusal::Billing))
        } else if error.is_auth() {
            Some(Self::Refused(Refusal::Auth))
        } else if error.is_rate_limit() {
            Some(Self::RateLimited(None))
        } else if error.is_overloaded() {
            Some(Self::Overloaded)
        } else if *error == UpstreamError::default() {
            // It says nothing at all: not an error, but something that can't be read.
            Some(Self::BadAnswer)
        } else {
            Some(Self::ServerError)
        }
    }

    /// What a status means; `None`: the answer is for the caller, a success or its own fault.
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        match status.as_u16() {
            // Nobody asked to switch protocols. A redirect would carry a credential to another place: it
            // isn't followed.
            100..=199 | 300..=399 => Some(Self::BadAnswer),
            401 => Some(Self::Refused(Refusal::Auth)),
            402 => Some(Self::Refused(Refusal::Billing)),
            403 => Some(Self::Forbidden),
            429 => Some(Self::RateLimited(None)),
            // Groq's "flex capacity exceeded"; Anthropic's and Dynamo's "overloaded".
            498 | 503 | 529 => Some(Self::Overloaded),
            // 408: the provider gave up waiting for a body that it got whole. 424: TGI's "generation
            // failed". Both are the server's fault under a caller's status.
            408 | 424 | 500.. => Some(Self::ServerError),
            _ => None,
        }
    }

    /// How far the call may move on.
    pub(crate) fn reach(self, allowed: Reasons) -> Reach {
        let reason = match self {
            Self::Refused(_) | Self::Forbidden => return Reach::Accounts,
            Self::RateLimited(_) if allowed.contains(FailoverReason::RateLimited) => {
                return Reach::Accounts;
            }
            Self::RateLimited(_) => return Reach::AccountsOnly,
            Self::Connect => FailoverReason::Connect,
            Self::Timeout { .. } => FailoverReason::Timeout,
            Self::Overloaded => FailoverReason::Overloaded,
            Self::ServerError | Self::BadAnswer => FailoverReason::ServerError,
        };
        if allowed.contains(reason) {
            Reach::Backends
        } else {
            Reach::Nowhere
        }
    }

    /// Whether the provider took the request on, so that it counts against `maxAttempts`.
    pub(crate) fn was_taken_on(self) -> bool {
        match self {
            Self::Connect | Self::RateLimited(_) | Self::Refused(_) | Self::Forbidden => false,
            Self::Timeout { .. } | Self::Overloaded | Self::ServerError | Self::BadAnswer => true,
        }
    }

    /// Whether asking the same backend again may help.
    pub(crate) fn may_repeat(self) -> bool {
        match self {
            Self::RateLimited(_) | Self::Refused(_) | Self::Forbidden => false,
            Self::Connect
            | Self::Timeout { .. }
            | Self::Overloaded
            | Self::ServerError
            | Self::BadAnswer => true,
        }
    }

    /// How it is counted.
    pub(crate) fn outcome(self) -> AttemptOutcome {
        match self {
            Self::Connect => AttemptOutcome::Connect,
            Self::Timeout { .. } => AttemptOutcome::Timeout,
            Self::RateLimited(_) => AttemptOutcome::RateLimited,
            Self::Overloaded => AttemptOutcome::Overloaded,
            Self::ServerError | Self::BadAnswer => AttemptOutcome::ServerError,
            Self::Refused(_) | Self::Forbidden => AttemptOutcome::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean_what_providers_mean_by_them() {
        let table = [
            (101, Some(Cause::BadAnswer)),
            (200, None),
            (301, Some(Cause::BadAnswer)),
            (400, None),
            (401, Some(Cause::Refused(Refusal::Auth))),
            (402, Some(Cause::Refused(Refusal::Billing))),
            (403, Some(Cause::Forbidden)),
            (404, None),
            (408, Some(Cause::ServerError)),
            (409, None),
            (413, None),
            (422, None),
            (424, Some(Cause::ServerError)),
            (429, Some(Cause::RateLimited(None))),
            (498, Some(Cause::Overloaded)),
            (500, Some(Cause::ServerError)),
            (502, Some(Cause::ServerError)),
            (503, Some(Cause::Overloaded)),
            (504, Some(Cause::ServerError)),
            (529, Some(Cause::Overloaded)),
        ];
        for (status, expected) in table {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Cause::of_status(status), expected, "{status}");
        }
    }

    #[test]
    fn only_what_failover_names_moves_on_but_for_our_own_credential() {
        let none = Reasons::of([]);
        let all = Reasons::of(&[
            FailoverReason::Connect,
            FailoverReason::Timeout,
            FailoverReason::RateLimited,
            FailoverReason::Overloaded,
            FailoverReason::ServerError,
        ]);
        let refused = Cause::Refused(Refusal::Auth);
        assert_eq!(
            (refused.reach(none), refused.reach(all)),
            (Reach::Accounts, Reach::Accounts)
        );
        let limited = Cause::RateLimited(None);
        assert_eq!(
            (limited.reach(none), limited.reach(all)),
            (Reach::AccountsOnly, Reach::Accounts)
        );
        for cause in [
            Cause::Connect,
            Cause::Overloaded,
            Cause::ServerError,
            Cause::BadAnswer,
        ] {
            assert_eq!(
                (cause.reach(none), cause.reach(all)),
                (Reach::Nowhere, Reach::Backends)
            );
        }
    }
}
