//! One call from its first candidate to its answer: attempts in the plan's order, repeats, waits, bounds.
//! Must never start an attempt outside the window, and must never hide what the last one said.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use weighbridge_snapshot::{FailoverReason, ObjectName};

use crate::attempt::{Accepted, AcceptedBody, Attempt, Deadline};
use crate::call::Call;
use crate::candidates::{Candidates, Prospects};
use crate::failure::{Answer, Cause, Failure};
use crate::fault::Fault;
use crate::health::Refusal;
use crate::plan::{Candidate, Plan, Reach};
use crate::recorder::AttemptRecord;
use crate::retry;
use crate::runtime::{Account, Provider};
use crate::worker::Worker;

/// The longest that a call waits for a cool-down to end.
const WAIT_LIMIT: Duration = Duration::from_secs(5);

const ROUTE: HeaderName = HeaderName::from_static("x-weighbridge-route");
const PROVIDER: HeaderName = HeaderName::from_static("x-weighbridge-provider");
const ACCOUNT: HeaderName = HeaderName::from_static("x-weighbridge-account");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-weighbridge-attempts");

/// A call on its way through its candidates.
pub(crate) struct Walk {
    worker: Rc<Worker>,
    call: Call,
    candidates: Candidates,
    plan: Plan,
    /// Requests sent.
    attempts: u32,
    /// Requests that a provider took on.
    taken_on: u32,
    /// Repeats of the same backend.
    repeats: u32,
    waited: Duration,
    /// The bound of the whole call.
    deadline: Deadline,
    last: Option<Failure>,
}

/// An answer for the caller.
pub(crate) struct Reply {
    pub(crate) headers: HeaderMap,
    pub(crate) body: AcceptedBody,
    pub(crate) served: Served,
}

/// How a call was served.
pub(crate) struct Served {
    pub(crate) status: StatusCode,
    pub(crate) provider: Arc<Provider>,
    /// The bound of the whole answer.
    pub(crate) deadline: Deadline,
    pub(crate) attempts: u32,
}

/// A call that nobody served.
pub(crate) struct Unserved {
    pub(crate) what: Last,
    pub(crate) attempts: u32,
    /// The caller's SDK should not try again: the gateway has.
    pub(crate) is_final: bool,
}

/// What a caller is told when nobody served.
pub(crate) enum Last {
    /// Our own words.
    Fault(Fault),
    /// The last provider's.
    Answer(Box<Answer>),
}

impl Walk {
    pub(crate) fn new(worker: Rc<Worker>, call: Call, candidates: Candidates) -> Self {
        let route = candidates.route();
        Self {
            deadline: Deadline {
                at: call.started + route.request_timeout,
                bound: "the Route's timeouts.request",
                limit: route.request_timeout,
            },
            worker,
            call,
            candidates,
            plan: Plan::default(),
            attempts: 0,
            taken_on: 0,
            repeats: 0,
            waited: Duration::ZERO,
            last: None,
        }
    }

    /// Asks one candidate after the other until one serves.
    pub(crate) async fn run(mut self) -> Result<Reply, Unserved> {
        let mut next = self.draw(Plan::first);
        loop {
            let candidate = match next {
                Some(candidate) => candidate,
                None => match self.wait().await {
                    Some(candidate) => candidate,
                    None => return Err(self.give_up()),
                },
            };
            next = match self.attempt(candidate).await {
                Some(Ok(reply)) => return Ok(reply),
                Some(Err(failure)) => self.after(failure).await,
                None => None,
            };
        }
    }

    /// Asks the plan; where only accounts that are still ramping up are left, these.
    fn draw(
        &mut self,
        ask: impl Fn(&mut Plan, &mut Candidates) -> Option<Candidate>,
    ) -> Option<Candidate> {
        let before = self.plan.clone();
        ask(&mut self.plan, &mut self.candidates).or_else(|| {
            if !self.candidates.take_ramping() {
                return None;
            }
            self.plan = before;
            ask(&mut self.plan, &mut self.candidates)
        })
    }

    /// `None`: the candidate is gone.
    async fn attempt(&mut self, candidate: Candidate) -> Option<Result<Reply, Failure>> {
        let place = self.candidates.place(candidate)?;
        let provider = Arc::clone(place.provider);
        let account = provider.accounts.get(candidate.account)?;
        if self.attempts == 0 {
            provider.budget.deposit();
        }
        self.attempts += 1;
        let limit = provider.timeouts.request;
        let asked_at = Instant::now();
        let deadline = self.deadline.min(Deadline {
            at: asked_at + limit,
            bound: "timeouts.request",
            limit,
        });
        let model = self.candidates.upstream_model(place.backend);
        let mut record =
            AttemptRecord::new(Arc::clone(&provider), candidate.account, self.worker.id);
        let attempt = Attempt {
            worker: &self.worker,
            call: &self.call,
            provider: &provider,
            account,
            backend: place.backend,
            model,
            deadline,
        };
        let result = attempt.run().await;
        match &result {
            Ok(_) => {
                account.health.on_accepted(model, asked_at);
                record.finish(crate::metrics::AttemptOutcome::Answered);
            }
            Err(failure) => {
                record.finish(failure.cause.outcome());
                self.learn(&provider.name, account, failure, model);
            }
        }
        self.candidates.pin(candidate);
        let named = account.header.clone();
        Some(result.map(|accepted| self.reply(accepted, provider, named, deadline)))
    }

    /// What a failure says about the account, for all requests.
    fn learn(&self, provider: &ObjectName, account: &Account, failure: &Failure, model: &str) {
        let now = Instant::now();
        let name = &account.name;
        let cause = failure.cause;
        match cause {
            Cause::RateLimited(stated) => {
                let is_new = account.health.on_limited(now, stated);
                if let Some(until) = is_new {
                    let cells = account.metrics.0.of(self.worker.id);
                    cells.cooldowns().add(1);
                    let seconds = (until - now).as_secs_f64();
                    tracing::warn!(%provider, account = name, seconds, "rate-limited: cooling down");
                }
            }
            Cause::Refused(why) => {
                account.health.on_refused(now, why);
                tracing::error!(%provider, account = name, ?why, "the provider refuses the account's credential: out until its Secret changes, with one probe per 5 minutes");
            }
            Cause::Forbidden => {
                account.health.on_model_refused(model, now);
                tracing::error!(%provider, account = name, model, "the provider refuses this model to the account: out until its Secret changes, with one probe per 5 minutes");
            }
            Cause::Connect
            | Cause::Timeout { .. }
            | Cause::Overloaded
            | Cause::ServerError
            | Cause::BadAnswer => {
                let error = failure.error.as_deref();
                tracing::warn!(%provider, account = name, ?cause, error, "an attempt failed");
            }
        }
    }

    /// Until when another attempt may start.
    fn last_start(&self) -> Instant {
        let window = self.candidates.route().window;
        let patience = self.call.patience().unwrap_or(window);
        (self.call.started + window.min(patience)).min(self.deadline.at)
    }

    /// The candidate after a failure, within every bound.
    async fn after(&mut self, failure: Failure) -> Option<Candidate> {
        let cause = failure.cause;
        self.taken_on += u32::from(cause.was_taken_on());
        self.last = Some(failure);
        let now = Instant::now();
        if now >= self.last_start() || self.taken_on >= self.candidates.route().max_attempts {
            return None;
        }
        self.candidates.look_again(now);
        let reach = cause.reach(self.candidates.route().failover);
        let next = self.draw(|plan, candidates| plan.next(candidates, reach));
        match next {
            Some(candidate) => Some(candidate),
            None if cause.may_repeat() => self.repeat().await,
            None => None,
        }
    }

    /// The same backend once more, if its Provider's retries and budget allow it.
    async fn repeat(&mut self) -> Option<Candidate> {
        let current = self.plan.current()?;
        let provider = Arc::clone(self.candidates.place(current)?.provider);
        let allowed = provider
            .retry
            .max_retries
            .saturating_sub(self.call.asked_before());
        if self.repeats >= allowed || !provider.budget.withdraw() {
            return None;
        }
        let wait = retry::delay(provider.retry.backoff, self.repeats, fastrand::f64());
        let now = Instant::now();
        if now + wait >= self.last_start() {
            return None;
        }
        self.repeats += 1;
        provider.metrics.0.of(self.worker.id).repeats().add(1);
        tokio::time::sleep(wait).await;
        self.candidates.look_again(Instant::now());
        self.draw(Plan::repeat)
    }

    /// Waits for the first cool-down to end, when that is soon; then begins anew.
    async fn wait(&mut self) -> Option<Candidate> {
        let is_about_accounts = self.last.as_ref().is_none_or(|last| {
            matches!(
                last.cause,
                Cause::RateLimited(_) | Cause::Refused(_) | Cause::Forbidden
            )
        });
        let now = Instant::now();
        self.candidates.look_again(now);
        let until = self.candidates.prospects().recovers_at?;
        let wait = until.saturating_duration_since(now);
        let is_soon = wait <= WAIT_LIMIT.saturating_sub(self.waited) && until < self.last_start();
        if !is_about_accounts || !is_soon {
            return None;
        }
        self.waited += wait;
        tokio::time::sleep_until(until.into()).await;
        self.candidates.look_again(Instant::now());
        let failover = self.candidates.route().failover;
        let last = self.last.as_ref();
        if last.is_some_and(|last| last.cause.reach(failover) == Reach::AccountsOnly) {
            return self.draw(Plan::repeat);
        }
        self.plan.restart();
        self.draw(Plan::first)
    }

    fn reply(
        &self,
        mut accepted: Accepted,
        provider: Arc<Provider>,
        account: HeaderValue,
        deadline: Deadline,
    ) -> Reply {
        let headers = &mut accepted.headers;
        name_route(headers, &self.candidates.route().header, self.attempts);
        headers.insert(PROVIDER, provider.header.clone());
        headers.insert(ACCOUNT, account);
        Reply {
            headers: accepted.headers,
            body: accepted.body,
            served: Served {
                status: accepted.status,
                provider,
                deadline,
                attempts: self.attempts,
            },
        }
    }

    fn give_up(mut self) -> Unserved {
        let now = Instant::now();
        self.candidates.look_again(now);
        let what = match self.last.take() {
            None => Last::Fault(self.without_attempt(self.candidates.prospects(), now)),
            Some(failure) => self.with_failure(failure, now),
        };
        let may_come_back = matches!(
            &what,
            Last::Fault(Fault::RateLimited { .. } | Fault::Unavailable { .. })
        );
        Unserved {
            what,
            attempts: self.attempts,
            is_final: self.attempts > 1 && !may_come_back,
        }
    }

    fn without_attempt(&self, prospects: Prospects, now: Instant) -> Fault {
        let retry_after = prospects
            .recovers_at
            .map(|at| at.saturating_duration_since(now));
        match (retry_after, prospects.refused) {
            _ if !prospects.any => Fault::NoBackend {
                route: self.candidates.route().name.to_string(),
            },
            (Some(retry_after), _) if prospects.all_limited => Fault::RateLimited { retry_after },
            (Some(_), _) => Fault::Unavailable { retry_after },
            (None, Some(why)) => refused(why),
            (None, None) => Fault::Unavailable { retry_after: None },
        }
    }

    fn with_failure(&self, failure: Failure, now: Instant) -> Last {
        let prospects = self.candidates.prospects();
        let fault = match failure.cause {
            // Others rest, and will be there: the caller shall know when.
            Cause::Connect if prospects.recovers_at.is_some() => {
                self.without_attempt(prospects, now)
            }
            Cause::Connect => Fault::UpstreamConnect,
            Cause::Timeout { bound, limit } => Fault::UpstreamTimeout { bound, limit },
            Cause::BadAnswer => Fault::BadUpstreamAnswer,
            Cause::Overloaded | Cause::ServerError => {
                return failure
                    .answer
                    .map_or(Last::Fault(Fault::UpstreamFailed), Last::Answer);
            }
            Cause::Refused(_) | Cause::Forbidden | Cause::RateLimited(_) => {
                let may_move_on = self.candidates.route().failover;
                let may_move_on = may_move_on.contains(FailoverReason::RateLimited);
                match (prospects.recovers_at, failure.cause) {
                    (None, Cause::Refused(why)) => refused(why),
                    (None, Cause::Forbidden) => Fault::UpstreamAuth,
                    (Some(at), Cause::RateLimited(_)) if !may_move_on => Fault::RateLimited {
                        retry_after: at.saturating_duration_since(now),
                    },
                    _ => self.without_attempt(prospects, now),
                }
            }
        };
        Last::Fault(fault)
    }
}

/// Adds what an answer says about its Route.
pub(crate) fn name_route(headers: &mut HeaderMap, route: &HeaderValue, attempts: u32) {
    headers.insert(ROUTE, route.clone());
    let attempts = match attempts {
        1 => HeaderValue::from_static("1"),
        several => HeaderValue::from(several),
    };
    headers.insert(ATTEMPTS, attempts);
}

fn refused(why: Refusal) -> Fault {
    match why {
        Refusal::Auth => Fault::UpstreamAuth,
        Refusal::Billing => Fault::UpstreamBilling,
    }
}
