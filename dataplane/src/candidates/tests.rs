//! What may be asked, by grant, model, operation, weight and health.

use std::collections::BTreeSet;
use std::time::Duration;

use weighbridge_snapshot::{self as snapshot, AccountNarrowing, Snapshot};

use super::*;
use crate::plan::Plan;
use crate::runtime::Runtime;
use crate::runtime::example;
use crate::runtime::example::{add_provider, backend, built, key, model, name, provider, route};

/// A call with the token `token` on Route `chat`, for `model`, whose `*` begins at `wildcard_from`.
fn call(runtime: &Runtime, operation: Operation, model: (&str, usize)) -> Candidates {
    let route = Arc::clone(&runtime.routes[&name("chat")]);
    let mut candidates =
        Candidates::new(route, Arc::clone(runtime.key_of("token")), operation, model);
    candidates.chance = 0.5;
    candidates
}

fn chat(runtime: &Runtime) -> Candidates {
    call(runtime, Operation::ChatCompletions, ("chat", 0))
}

/// The usual snapshot with other targets.
fn with(targets: &[&[snapshot::Backend]]) -> Snapshot {
    let mut snapshot = example::snapshot();
    snapshot.routes.insert(name("chat"), route("chat", targets));
    snapshot
}

fn health(runtime: &Runtime, account: usize) -> &crate::health::Health {
    &runtime.providers[&name("one")].accounts[account].health
}

const FIRST: Candidate = Candidate {
    target: 0,
    backend: 0,
    account: 0,
};

#[test]
fn everything_may_be_asked_that_nothing_speaks_against() {
    let runtime = built(&example::snapshot());
    let mut candidates = chat(&runtime);
    assert_eq!(candidates.targets(), 1);
    assert_eq!(candidates.backends(0).eligible, 0b1);
    assert_eq!(candidates.accounts(0, 0), 0b11);
    assert_eq!(
        candidates.prospects(),
        Prospects {
            any: true,
            ..Prospects::default()
        }
    );
    // Beyond its end there is nothing.
    assert_eq!(candidates.backends(1), Backends::default());
    assert_eq!(candidates.accounts(0, 1), 0);
    assert!(
        candidates
            .place(Candidate {
                account: 2,
                ..FIRST
            })
            .is_none()
    );
}

#[test]
fn the_keys_accounts_and_the_backends_meet() {
    let mut snapshot = with(&[]);
    add_provider(
        &mut snapshot,
        "one",
        provider(&[("a", 1), ("b", 1), ("c", 1)]),
    );
    let mut narrow = backend("one", "gpt");
    narrow.accounts = Some(BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    snapshot
        .routes
        .insert(name("chat"), route("chat", &[&[narrow]]));
    let mut kept = key("token");
    kept.accounts = vec![AccountNarrowing {
        provider: name("one"),
        names: BTreeSet::from(["b".to_owned(), "c".to_owned()]),
    }];
    snapshot.virtual_keys.insert(name("team"), kept);
    assert_eq!(chat(&built(&snapshot)).accounts(0, 0), 0b010);
}

#[test]
fn the_model_asked_for_is_judged_by_each_accounts_list() {
    let mut snapshot = with(&[&[backend("one", ""), backend("one", "*")]]);
    let mut accounts = provider(&[("a", 1), ("b", 1)]);
    accounts.accounts[0].models = vec!["v/gpt*".to_owned().into()];
    accounts.accounts[1].models = vec!["gpt*".to_owned().into()];
    add_provider(&mut snapshot, "one", accounts);
    let runtime = built(&snapshot);
    let mut candidates = call(&runtime, Operation::ChatCompletions, ("v/gpt-5", 2));
    assert_eq!(candidates.accounts(0, 0), 0b01);
    assert_eq!(candidates.accounts(0, 1), 0b10);
    let sent: Vec<String> = (0..2)
        .map(|place| candidates.backend(0, place).unwrap())
        .map(|backend| candidates.upstream_model(backend).to_owned())
        .collect();
    assert_eq!(sent, ["v/gpt-5", "gpt-5"]);
}

#[test]
fn an_operation_that_the_catalogue_excludes_leaves_nobody() {
    let mut snapshot = with(&[&[
        backend("one", "embed"),
        backend("one", ""),
        backend("one", "new"),
    ]]);
    let mut catalogue = provider(&[("a", 1)]);
    catalogue.models = vec![
        model("embed", &[Operation::Embeddings]),
        model("chat", &[Operation::ChatCompletions]),
    ];
    add_provider(&mut snapshot, "one", catalogue);
    let runtime = built(&snapshot);
    let eligible = |operation| call(&runtime, operation, ("chat", 0)).backends(0).eligible;
    // What the catalogue doesn't name may do everything.
    assert_eq!(eligible(Operation::ChatCompletions), 0b110);
    assert_eq!(eligible(Operation::Responses), 0b100);
}

#[test]
fn a_backend_without_weight_is_neither_asked_nor_unresolvable() {
    let mut idle = backend("one", "gpt");
    idle.weight = 0;
    let mut nowhere = backend("nowhere", "gpt");
    nowhere.weight = 0;
    let runtime = built(&with(&[&[idle, nowhere, backend("nowhere", "gpt")]]));
    let mut candidates = chat(&runtime);
    let found = candidates.backends(0);
    assert_eq!((found.eligible, found.unresolvable), (0, 0b100));
    assert!(!candidates.prospects().any);
}

#[test]
fn a_limited_account_is_out_then_ramps_up_by_chance() {
    let runtime = built(&example::snapshot());
    let now = Instant::now();
    let until = health(&runtime, 0)
        .on_limited(now, Some(Duration::from_secs(7)))
        .unwrap();
    let mut candidates = chat(&runtime);
    assert_eq!(candidates.accounts(0, 0), 0b10);
    assert_eq!(candidates.prospects().recovers_at, Some(until));
    assert!(!candidates.prospects().all_limited);
    // A throw of 0.5 is in from the middle of the ten seconds on.
    candidates.look_again(until + Duration::from_secs(4));
    assert_eq!(candidates.accounts(0, 0), 0b10);
    candidates.look_again(until + Duration::from_secs(6));
    assert_eq!(candidates.accounts(0, 0), 0b11);
    candidates.look_again(until + Duration::from_secs(4));
    assert!(candidates.take_ramping());
    assert_eq!(candidates.accounts(0, 0), 0b11);
    assert!(!candidates.take_ramping());
}

#[test]
fn when_all_are_limited_the_first_to_recover_is_known() {
    let runtime = built(&example::snapshot());
    let now = Instant::now();
    let [later, sooner] = [(0, 9), (1, 4)].map(|(account, seconds)| {
        health(&runtime, account)
            .on_limited(now, Some(Duration::from_secs(seconds)))
            .unwrap()
    });
    assert!(sooner < later);
    let mut candidates = chat(&runtime);
    assert_eq!(candidates.backends(0), Backends::default());
    let prospects = candidates.prospects();
    assert_eq!(prospects.recovers_at, Some(sooner));
    assert!(prospects.all_limited && prospects.any);
}

#[test]
fn a_refused_account_is_out_and_says_why() {
    let runtime = built(&example::snapshot());
    let now = Instant::now();
    health(&runtime, 0).on_refused(now, Refusal::Billing);
    health(&runtime, 1).on_model_refused("gpt", now);
    let mut candidates = chat(&runtime);
    assert_eq!(candidates.accounts(0, 0), 0);
    let prospects = candidates.prospects();
    assert!(prospects.refused.is_some() && !prospects.all_limited);
    assert_eq!(prospects.recovers_at, None);
}

#[test]
fn a_due_probe_is_given_to_one_call() {
    let runtime = built(&example::snapshot());
    let now = Instant::now();
    health(&runtime, 0).on_refused(now, Refusal::Auth);
    let (mut first, mut second) = (chat(&runtime), chat(&runtime));
    for candidates in [&mut first, &mut second] {
        candidates.look_again(now + Duration::from_mins(5));
        assert_eq!(candidates.accounts(0, 0), 0b11);
    }
    assert!(first.claim((0, 0), 0));
    assert!(!second.claim((0, 0), 0));
    // One in good health is anyone's.
    assert!(first.claim((0, 0), 1) && second.claim((0, 0), 1));
    assert!(!second.claim((0, 7), 0));
}

#[test]
fn embeddings_keep_to_one_model_and_other_calls_do_not() {
    let targets: [&[snapshot::Backend]; 3] = [
        &[backend("one", "a")],
        &[backend("one", "b")],
        &[backend("one", "a")],
    ];
    let runtime = built(&with(&targets));
    let eligible = |operation| {
        let mut candidates = call(&runtime, operation, ("chat", 0));
        candidates.pin(FIRST);
        [0, 1, 2].map(|target| candidates.backends(target).eligible)
    };
    assert_eq!(eligible(Operation::Embeddings), [1, 0, 1]);
    assert_eq!(eligible(Operation::ChatCompletions), [1, 1, 1]);
}

#[test]
fn a_plan_draws_accounts_by_their_weights() {
    let runtime = built(&example::snapshot());
    let mut counts = [0; 2];
    for _ in 0..100 {
        let drawn = Plan::default().first(&mut chat(&runtime)).unwrap();
        counts[drawn.account] += 1;
    }
    assert_eq!(counts, [70, 30]);
}
