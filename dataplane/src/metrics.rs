//! What is counted, and how it is reported: OpenTelemetry's GenAI names where there are any, our own
//! elsewhere. Handles hang in the Runtime's objects, so that counting looks nothing up. Labels are names
//! of objects and words of this file; must never hold what a caller wrote.

use weighbridge_snapshot::Operation;

use crate::cells::{Counter, Histogram, PerWorker};

mod collect;

pub(crate) use collect::encode;

/// How a call ended, as the caller saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer below 400, to its end.
    Success,
    /// The caller's own fault: an answer from 400 to 499 but 429.
    ClientError,
    /// 429.
    RateLimited,
    /// 5xx.
    ServerError,
    /// The answer broke off after it had begun.
    Cut,
    /// The caller went away.
    Cancelled,
}

impl Outcome {
    pub(crate) const ALL: [Self; 6] = [
        Self::Success,
        Self::ClientError,
        Self::RateLimited,
        Self::ServerError,
        Self::Cut,
        Self::Cancelled,
    ];

    /// What a status means to its caller.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            429 => Self::RateLimited,
            400..=499 => Self::ClientError,
            500.. => Self::ServerError,
            _ => Self::Success,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ClientError => "client_error",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::Cut => "cut",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptOutcome {
    /// The provider's answer went to the caller, errors of the caller's own included.
    Answered,
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// 429.
    RateLimited,
    /// 503, 529.
    Overloaded,
    /// Another failure of the provider.
    ServerError,
    /// The credential was refused, or has no money.
    Refused,
    /// The caller went away.
    Cancelled,
}

impl AttemptOutcome {
    pub(crate) const ALL: [Self; 8] = [
        Self::Answered,
        Self::Connect,
        Self::Timeout,
        Self::RateLimited,
        Self::Overloaded,
        Self::ServerError,
        Self::Refused,
        Self::Cancelled,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::ServerError => "server_error",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What is counted per Route.
#[derive(Debug)]
pub(crate) struct RouteMetrics(pub(crate) PerWorker<RouteCells>);

#[derive(Debug, Default)]
pub(crate) struct RouteCells {
    outcomes: [Counter; Outcome::ALL.len()],
    durations: [Histogram; Operation::ALL.len()],
    first_content: Histogram,
    /// Calls that took more than one attempt.
    failovers: Counter,
}

impl RouteMetrics {
    pub(crate) fn new(workers: usize) -> Self {
        Self(PerWorker::new(workers))
    }
}

impl RouteCells {
    pub(crate) fn outcome(&self, outcome: Outcome) -> &Counter {
        nth(&self.outcomes, outcome as usize)
    }

    pub(crate) fn duration(&self, operation: Operation) -> &Histogram {
        nth(&self.durations, operation as usize)
    }

    pub(crate) fn first_content(&self) -> &Histogram {
        &self.first_content
    }

    pub(crate) fn failovers(&self) -> &Counter {
        &self.failovers
    }
}

/// What is counted per account.
#[derive(Debug)]
pub(crate) struct AccountMetrics(pub(crate) PerWorker<AccountCells>);

#[derive(Debug, Default)]
pub(crate) struct AccountCells {
    attempts: [Counter; AttemptOutcome::ALL.len()],
    cooldowns: Counter,
}

impl AccountMetrics {
    pub(crate) fn new(workers: usize) -> Self {
        Self(PerWorker::new(workers))
    }

    /// Attempts with this outcome, over all workers.
    pub(crate) fn attempts(&self, outcome: AttemptOutcome) -> u64 {
        self.0.sum(|cells| cells.attempt(outcome))
    }
}

impl AccountCells {
    pub(crate) fn attempt(&self, outcome: AttemptOutcome) -> &Counter {
        nth(&self.attempts, outcome as usize)
    }

    pub(crate) fn cooldowns(&self) -> &Counter {
        &self.cooldowns
    }
}

/// What is counted per Provider.
#[derive(Debug)]
pub(crate) struct ProviderMetrics(pub(crate) PerWorker<ProviderCells>);

#[derive(Debug, Default)]
pub(crate) struct ProviderCells {
    input_tokens: Histogram,
    output_tokens: Histogram,
    repeats: Counter,
}

impl ProviderMetrics {
    pub(crate) fn new(workers: usize) -> Self {
        Self(PerWorker::new(workers))
    }
}

impl ProviderCells {
    pub(crate) fn input_tokens(&self) -> &Histogram {
        &self.input_tokens
    }

    pub(crate) fn output_tokens(&self) -> &Histogram {
        &self.output_tokens
    }

    pub(crate) fn repeats(&self) -> &Counter {
        &self.repeats
    }
}

/// The words that a refusal before any Route is counted under: every code that such a fault can have.
pub(crate) const REFUSALS: [&str; 11] = [
    "invalid_api_key",
    "unknown_path",
    "method_not_allowed",
    "unsupported_media_type",
    "invalid_body",
    "body_too_large",
    "body_timeout",
    "body_cut",
    "model_not_found",
    "unsupported_parameter",
    "gateway_overloaded",
];

/// What is counted per worker, beside any object.
#[derive(Debug, Default)]
pub(crate) struct WorkerCells {
    refusals: [Counter; REFUSALS.len()],
    /// Connections accepted and closed; open ones are the difference.
    pub(crate) accepted: Counter,
    pub(crate) closed: Counter,
    /// Connections to providers that were opened.
    pub(crate) connects: Counter,
    /// Idle connections that turned out closed when used: each cost a second connection, no request.
    pub(crate) stale: Counter,
}

impl WorkerCells {
    /// The counter of a refusal's code, if it is one that comes before any Route.
    pub(crate) fn refusal(&self, code: &str) -> Option<&Counter> {
        let place = REFUSALS.iter().position(|known| *known == code)?;
        self.refusals.get(place)
    }
}

/// The member that an enumeration's variant stands for.
fn nth<T, const N: usize>(cells: &[T; N], place: usize) -> &T {
    cells
        .get(place)
        .expect("arrays are as long as their enumeration")
}
