//! Everything is counted once, when it ends, whatever ends it.

use std::time::Duration;

use super::*;
use crate::cells::distribution;
use crate::runtime::Runtime;
use crate::runtime::example::{built, name, snapshot};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::upstream::{Connector, tls_config};

/// A worker, and the Runtime that it counts in.
fn worker() -> (Rc<Worker>, Arc<Runtime>) {
    let runtime = built(&snapshot());
    let shared = Arc::new(Shared::new(&Settings::default(), runtime));
    let runtime = shared.runtime.load_full();
    let connector = Connector::new(tls_config(None).unwrap());
    (Rc::new(Worker::new(0, shared, connector)), runtime)
}

fn recorder(worker: &Rc<Worker>, runtime: &Runtime) -> Recorder {
    let route = Arc::clone(&runtime.routes[&name("chat")]);
    let operation = Operation::Responses;
    Recorder::new(Rc::clone(worker), route, operation, Instant::now())
}

#[test]
fn a_call_whose_caller_leaves_is_counted_as_cancelled() {
    let (worker, runtime) = worker();
    let cells = runtime.routes[&name("chat")].metrics.0.of(0);
    let recorder = recorder(&worker, &runtime);
    // Not before its end.
    assert_eq!(cells.outcome(Outcome::Cancelled).get(), 0);
    drop(recorder);
    assert_eq!(cells.outcome(Outcome::Cancelled).get(), 1);
    assert_eq!(cells.failovers().get(), 0);
}

#[test]
fn a_call_is_counted_by_how_it_ends_last() {
    let (worker, runtime) = worker();
    let cells = runtime.routes[&name("chat")].metrics.0.of(0);
    let mut recorder = recorder(&worker, &runtime);
    recorder.finish(Outcome::Success);
    recorder.set_attempts(2);
    recorder.finish(Outcome::Cut);
    drop(recorder);
    let counted: Vec<u64> = Outcome::ALL
        .iter()
        .map(|outcome| cells.outcome(*outcome).get())
        .collect();
    assert_eq!(counted.iter().sum::<u64>(), 1);
    assert_eq!(cells.outcome(Outcome::Cut).get(), 1);
    assert_eq!(cells.failovers().get(), 1);
}

#[test]
fn durations_are_counted_by_operation_and_first_content_apart() {
    let (worker, runtime) = worker();
    let route = Arc::clone(&runtime.routes[&name("chat")]);
    let started = Instant::now()
        .checked_sub(Duration::from_secs(3))
        .expect("the machine has run for three seconds");
    let recorder = Recorder::new(worker, Arc::clone(&route), Operation::Embeddings, started);
    recorder.first_content();
    drop(recorder);
    let cells = route.metrics.0.of(0);
    let seconds = |histogram| distribution(&SECONDS, &std::iter::once(histogram));
    for histogram in [cells.duration(Operation::Embeddings), cells.first_content()] {
        let found = seconds(histogram);
        assert_eq!(found.count, 1);
        assert!((3.0..60.0).contains(&found.sum), "{}", found.sum);
    }
    assert_eq!(seconds(cells.duration(Operation::Responses)).count, 0);
}

#[test]
fn an_attempt_is_counted_at_its_account() {
    let (_, runtime) = worker();
    let provider = &runtime.providers[&name("one")];
    let attempts = |account: usize, outcome| provider.accounts[account].metrics.attempts(outcome);
    drop(AttemptRecord::new(Arc::clone(provider), 0, 0));
    let mut record = AttemptRecord::new(Arc::clone(provider), 1, 0);
    record.finish(AttemptOutcome::Timeout);
    drop(record);
    // One that isn't there is nobody's.
    drop(AttemptRecord::new(Arc::clone(provider), 9, 0));
    assert_eq!(attempts(0, AttemptOutcome::Cancelled), 1);
    assert_eq!(attempts(1, AttemptOutcome::Timeout), 1);
    let all: u64 = (0..2)
        .flat_map(|account| AttemptOutcome::ALL.map(|outcome| attempts(account, outcome)))
        .sum();
    assert_eq!(all, 2);
}

#[test]
fn tokens_are_counted_as_they_are_told() {
    let (_, runtime) = worker();
    let provider = &runtime.providers[&name("one")];
    for (input_tokens, output_tokens) in [(3, 5), (1_000, 0)] {
        let usage = Usage {
            input_tokens,
            output_tokens,
        };
        count_usage(provider, 0, usage);
    }
    let cells = provider.metrics.0.of(0);
    let tokens = |histogram| distribution(&TOKENS, &std::iter::once(histogram));
    let (input, output) = (tokens(cells.input_tokens()), tokens(cells.output_tokens()));
    assert_eq!((input.count, output.count), (2, 2));
    assert_eq!(
        (input.sum.to_string(), output.sum.to_string()),
        ("1003".into(), "5".into())
    );
}
