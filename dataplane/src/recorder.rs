//! What is remembered of a call until it ends, and counted then: on drop, so that a caller who leaves is
//! counted like one who stays. Must never know a prompt, an answer or a key.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use weighbridge_snapshot::Operation;

use crate::answer::Usage;
use crate::cells::{SECONDS, TOKENS};
use crate::metrics::{AttemptOutcome, Outcome};
use crate::runtime::{Account, Provider, Route};
use crate::worker::Worker;

/// One call on a Route.
pub(crate) struct Recorder {
    worker: Rc<Worker>,
    route: Arc<Route>,
    operation: Operation,
    started: Instant,
    outcome: Outcome,
    attempts: u32,
}

impl Recorder {
    /// Begins at the call's head; unless told otherwise, the caller has gone away.
    pub(crate) fn new(
        worker: Rc<Worker>,
        route: Arc<Route>,
        operation: Operation,
        started: Instant,
    ) -> Self {
        Self {
            worker,
            route,
            operation,
            started,
            outcome: Outcome::Cancelled,
            attempts: 0,
        }
    }

    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    pub(crate) fn set_attempts(&mut self, attempts: u32) {
        self.attempts = attempts;
    }

    /// How the call ends.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// A stream's first content is about to be sent.
    pub(crate) fn first_content(&self) {
        let cells = self.route.metrics.0.of(self.worker.id);
        cells
            .first_content()
            .observe(&SECONDS, micros_since(self.started));
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let cells = self.route.metrics.0.of(self.worker.id);
        cells.outcome(self.outcome).add(1);
        cells
            .duration(self.operation)
            .observe(&SECONDS, micros_since(self.started));
        if self.attempts > 1 {
            cells.failovers().add(1);
        }
        tracing::debug!(
            route = %self.route.name,
            operation = ?self.operation,
            outcome = ?self.outcome,
            attempts = self.attempts,
            micros = micros_since(self.started),
            "call"
        );
    }
}

/// One attempt at an account; unless told otherwise, the caller has gone away.
pub(crate) struct AttemptRecord {
    provider: Arc<Provider>,
    account: usize,
    worker: usize,
    outcome: AttemptOutcome,
}

impl AttemptRecord {
    pub(crate) fn new(provider: Arc<Provider>, account: usize, worker: usize) -> Self {
        Self {
            provider,
            account,
            worker,
            outcome: AttemptOutcome::Cancelled,
        }
    }

    pub(crate) fn finish(&mut self, outcome: AttemptOutcome) {
        self.outcome = outcome;
    }

    fn account(&self) -> Option<&Account> {
        self.provider.accounts.get(self.account)
    }
}

impl Drop for AttemptRecord {
    fn drop(&mut self) {
        if let Some(account) = self.account() {
            account
                .metrics
                .0
                .of(self.worker)
                .attempt(self.outcome)
                .add(1);
        }
    }
}

/// Counts what an answer says it used.
pub(crate) fn count_usage(provider: &Provider, worker: usize, usage: Usage) {
    let cells = provider.metrics.0.of(worker);
    cells.input_tokens().observe(&TOKENS, usage.input_tokens);
    cells.output_tokens().observe(&TOKENS, usage.output_tokens);
}

fn micros_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
