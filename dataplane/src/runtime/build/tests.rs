//! What a swap hands over, what it leaves behind, and what a snapshot's odd parts become.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use weighbridge_snapshot::{AccountNarrowing, Namespaces, RouteRef, TokenDigest};

use super::*;
use crate::health::{Eligibility, Refusal};
use crate::runtime::example::{
    account, add_provider, backend, built, key, name, provider, route, set_credential, snapshot,
};

/// Builds upon `before`.
fn rebuilt(snapshot: &Snapshot, before: &Runtime) -> Runtime {
    Runtime::build(snapshot, Some(before), 1)
}

fn one(runtime: &Runtime) -> &Provider {
    &runtime.providers[&name("one")]
}

fn account_of<'a>(runtime: &'a Runtime, called: &str) -> &'a Account {
    let mut accounts = one(runtime).accounts.iter();
    accounts.find(|account| account.name == called).unwrap()
}

fn is_refused(runtime: &Runtime, account: &str) -> bool {
    let state = account_of(runtime, account).health.state(Instant::now());
    matches!(state, Eligibility::Refused(..))
}

/// A Runtime whose account `large` has been refused.
fn with_refused() -> Runtime {
    let runtime = built(&snapshot());
    let large = account_of(&runtime, "large");
    large.health.on_refused(Instant::now(), Refusal::Auth);
    runtime
}

/// The usual snapshot after an edit of its Provider.
fn edited(edit: impl FnOnce(&mut snapshot::Provider)) -> Snapshot {
    let mut snapshot = snapshot();
    edit(snapshot.providers.get_mut(&name("one")).unwrap());
    snapshot
}

#[test]
fn the_revision_is_the_snapshots() {
    let snapshot = snapshot();
    assert_eq!(built(&snapshot).revision, snapshot.revision());
}

#[test]
fn health_outlives_every_edit_but_one_of_the_credential() {
    let before = with_refused();
    let edits: [fn(&mut snapshot::Provider); 5] = [
        |_| {},
        |provider| provider.accounts[0].weight = 1,
        |provider| provider.endpoint.port = 99,
        |provider| provider.accounts.reverse(),
        |provider| provider.accounts[0].models = vec!["gpt*".to_owned().into()],
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let after = rebuilt(&edited(edit), &before);
        assert!(is_refused(&after, "large"), "edit {number}");
        assert!(!is_refused(&after, "small"), "edit {number}");
    }
}

#[test]
fn another_credential_begins_in_good_health_and_leaves_its_siblings_alone() {
    let before = with_refused();
    let mut rotated = snapshot();
    set_credential(&mut rotated, ("one", "small"), "sk-rotated");
    assert!(is_refused(&rebuilt(&rotated, &before), "large"));
    set_credential(&mut rotated, ("one", "large"), "sk-rotated");
    let after = rebuilt(&rotated, &before);
    assert!(!is_refused(&after, "large"));
    // The Runtime before still serves what it has begun.
    assert!(is_refused(&before, "large"));
}

#[test]
fn an_account_that_was_gone_for_a_revision_begins_anew() {
    let before = with_refused();
    let without = edited(|provider| drop(provider.accounts.remove(0)));
    let between = rebuilt(&without, &before);
    assert!(!is_refused(&rebuilt(&snapshot(), &between), "large"));
}

/// How often each account comes in `draws` draws, with a build before each.
fn shares(draws: usize, edit: impl Fn(usize) -> Snapshot) -> [usize; 2] {
    let mut runtime = built(&edit(0));
    let mut counts = [0; 2];
    for draw in 0..draws {
        runtime = rebuilt(&edit(draw), &runtime);
        counts[one(&runtime).choice.draw(0b11, true).unwrap()] += 1;
    }
    counts
}

#[test]
fn shares_go_on_over_edits_that_leave_members_and_weights() {
    let weightless = |draw: usize| {
        edited(|provider| provider.timeouts.connect = Duration::from_millis(draw as u64 + 1))
    };
    assert_eq!(shares(20, weightless), [14, 6]);
}

#[test]
fn another_weight_or_member_begins_a_new_sequence() {
    let before = built(&snapshot());
    let kept = |after: &Runtime| Arc::ptr_eq(&one(&before).choice, &one(after).choice);
    assert!(kept(&rebuilt(&snapshot(), &before)));
    let heavier = edited(|provider| provider.accounts[0].weight = 71);
    assert!(!kept(&rebuilt(&heavier, &before)));
    let fewer = edited(|provider| drop(provider.accounts.pop()));
    assert!(!kept(&rebuilt(&fewer, &before)));
}

#[test]
fn a_targets_sequence_is_kept_by_its_name() {
    let with = |targets: &[&[snapshot::Backend]]| {
        let mut snapshot = snapshot();
        snapshot.routes.insert(name("chat"), route("chat", targets));
        snapshot
    };
    let [a, b] = [backend("one", "a"), backend("one", "b")];
    let before = built(&with(&[&[a.clone(), b.clone()]]));
    let choice = |runtime: &Runtime| {
        let route = &runtime.routes[&name("chat")];
        Arc::clone(&route.targets[0].choice)
    };
    let more = rebuilt(
        &with(&[&[a.clone(), b.clone()], std::slice::from_ref(&a)]),
        &before,
    );
    assert!(Arc::ptr_eq(&choice(&before), &choice(&more)));
    let mut heavy = b;
    heavy.weight = 2;
    let other = rebuilt(&with(&[&[a, heavy]]), &before);
    assert!(!Arc::ptr_eq(&choice(&before), &choice(&other)));
}

#[test]
fn the_budget_of_repeats_is_kept_while_its_settings_stay() {
    let before = built(&snapshot());
    let kept = |after: &Runtime| Arc::ptr_eq(&one(&before).budget, &one(after).budget);
    let retries = edited(|provider| provider.retry.max_retries = 9);
    assert!(kept(&rebuilt(&retries, &before)));
    let percent = edited(|provider| provider.retry.budget.percent = 21);
    assert!(!kept(&rebuilt(&percent, &before)));
}

#[test]
fn counters_outlive_every_edit_of_what_they_count() {
    let before = built(&snapshot());
    let mut after = edited(|provider| provider.accounts[0].weight = 1);
    set_credential(&mut after, ("one", "large"), "sk-rotated");
    after.routes.insert(name("chat"), route("other", &[]));
    let after = rebuilt(&after, &before);
    let large = |runtime| Arc::clone(&account_of(runtime, "large").metrics);
    assert!(Arc::ptr_eq(&large(&before), &large(&after)));
    assert!(Arc::ptr_eq(&one(&before).metrics, &one(&after).metrics));
    let chat = |runtime: &Runtime| Arc::clone(&runtime.routes[&name("chat")].metrics);
    assert!(Arc::ptr_eq(&chat(&before), &chat(&after)));
}

#[test]
fn connections_are_pooled_under_the_same_id_until_the_address_changes() {
    let before = built(&snapshot());
    let same = rebuilt(&edited(|provider| provider.accounts[0].weight = 1), &before);
    assert_eq!(one(&before).endpoint.id, one(&same).endpoint.id);
    let moved = rebuilt(&edited(|provider| provider.endpoint.port = 99), &before);
    assert_ne!(one(&before).endpoint.id, one(&moved).endpoint.id);
}

#[test]
fn an_account_whose_credential_is_missing_or_cannot_be_sent_is_left_out() {
    let mut missing = snapshot();
    missing
        .credentials
        .retain(|name, _| name.account != "large");
    let mut unusable = snapshot();
    set_credential(&mut unusable, ("one", "large"), "sk-\nlarge");
    for snapshot in [missing, unusable] {
        let runtime = built(&snapshot);
        let names: Vec<&str> = one(&runtime)
            .accounts
            .iter()
            .map(|account| account.name.as_str())
            .collect();
        assert_eq!(names, ["small"]);
        // Places and weights stay together.
        assert_eq!(one(&runtime).choice.weight(0), 30);
        let chat = &runtime.routes[&name("chat")];
        assert_eq!(chat.targets[0].backends[0].accounts, 0b1);
        assert_eq!(runtime.key_of("token").grant(one(&runtime)), 0b1);
    }
}

#[test]
fn a_provider_without_accounts_makes_its_backends_unresolvable() {
    let mut snapshot = snapshot();
    snapshot.credentials.clear();
    assert!(one(&built(&snapshot)).is_unresolvable());
}

#[test]
fn a_provider_that_is_not_there_or_not_addressable_leaves_its_backends_without_one() {
    let mut gone = snapshot();
    gone.providers.clear();
    let unaddressable = edited(|provider| provider.endpoint.host = "not a host".to_owned());
    let mut unresolved = snapshot();
    let mut open = backend("one", "gpt");
    open.provider = None;
    unresolved
        .routes
        .insert(name("chat"), route("chat", &[&[open]]));
    for snapshot in [gone, unaddressable, unresolved] {
        let runtime = built(&snapshot);
        let backend = &runtime.routes[&name("chat")].targets[0].backends[0];
        assert!(backend.provider.is_none());
        assert!(backend.is_weighted);
        assert_eq!(backend.accounts, 0);
    }
}

#[test]
fn an_account_without_a_credential_is_used_without_one() {
    let runtime = built(&{
        let mut snapshot = edited(|provider| provider.accounts[0].has_credential = false);
        snapshot.credentials.clear();
        snapshot
    });
    let accounts = &one(&runtime).accounts;
    assert_eq!(accounts.len(), 1);
    assert!(accounts[0].authorization.is_none());
}

#[test]
fn no_more_accounts_are_built_than_can_be_drawn_from() {
    let names: Vec<String> = (0..70).map(|place| format!("a{place}")).collect();
    let accounts: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut snapshot = snapshot();
    add_provider(&mut snapshot, "one", provider(&accounts));
    let runtime = built(&snapshot);
    assert_eq!(one(&runtime).accounts.len(), MAX_MEMBERS);
    assert_eq!(runtime.key_of("token").grant(one(&runtime)), u64::MAX);
}

#[test]
fn a_backend_uses_accounts_that_it_names_that_have_weight_and_that_serve_its_model() {
    let mut snapshot = snapshot();
    let mut accounts = provider(&[("a", 1), ("b", 0), ("c", 1), ("d", 1)]);
    accounts.accounts[3].models = vec!["other*".to_owned().into()];
    add_provider(&mut snapshot, "one", accounts);
    let mut named = backend("one", "gpt");
    named.accounts = Some(BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    let backends = [backend("one", "gpt"), backend("one", ""), named];
    snapshot
        .routes
        .insert(name("chat"), route("chat", &[&backends]));
    let runtime = built(&snapshot);
    let target = &runtime.routes[&name("chat")].targets[0];
    let masks: Vec<u64> = target.backends.iter().map(|one| one.accounts).collect();
    // What the caller asks for is judged when it is known.
    assert_eq!(masks, [0b0101, 0b1101, 0b0001]);
}

#[test]
fn a_key_is_granted_what_admits_its_namespace_as_far_as_it_keeps_to_it() {
    let mut snapshot = snapshot();
    let mut accounts = provider(&[("all", 1), ("n-only", 1), ("m-only", 1)]);
    let only = |namespace: &str| Namespaces::Only(BTreeSet::from([namespace.to_owned()]));
    accounts.accounts[1].admits = only("n");
    accounts.accounts[2].admits = only("m");
    add_provider(&mut snapshot, "one", accounts);
    let narrowed = |names: &[&str]| {
        let mut narrowed = key(&names.concat());
        narrowed.accounts = vec![AccountNarrowing {
            provider: name("one"),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }];
        narrowed
    };
    let keys = &mut snapshot.virtual_keys;
    keys.insert(name("a"), narrowed(&["all", "m-only"]));
    keys.insert(name("b"), narrowed(&["nobody"]));
    keys.insert(ObjectName::new("m", "c"), key("m"));
    let runtime = built(&snapshot);
    let grant = |token: &str| runtime.key_of(token).grant(one(&runtime));
    assert_eq!(grant("token"), 0b011);
    assert_eq!(grant("allm-only"), 0b001);
    assert_eq!(grant("nobody"), 0);
    assert_eq!(grant("m"), 0b101);
}

#[test]
fn a_left_out_provider_shifts_nobodys_grants() {
    let mut snapshot = snapshot();
    let mut broken = provider(&[("x", 1)]);
    broken.endpoint.host = "not a host".to_owned();
    add_provider(&mut snapshot, "a-broken", broken);
    let runtime = built(&snapshot);
    assert!(!runtime.providers.contains_key(&name("a-broken")));
    assert_eq!(runtime.key_of("token").grant(one(&runtime)), 0b11);
}

#[test]
fn ten_thousand_keys_of_a_team_share_one_table() {
    let mut snapshot = snapshot();
    for place in 0..10_000 {
        let token = format!("token-{place}");
        snapshot
            .virtual_keys
            .insert(name(&format!("key-{place}")), key(&token));
    }
    let mut other = key("other");
    other.routes = vec![RouteRef {
        namespace: "n".to_owned(),
        name: Some("nosuch".to_owned()),
    }];
    snapshot.virtual_keys.insert(name("other"), other);
    let runtime = built(&snapshot);
    let first = runtime.key_of("token");
    for place in 0..10_000 {
        let key = runtime.key_of(&format!("token-{place}"));
        assert!(Arc::ptr_eq(&first.models, &key.models));
        assert!(Arc::ptr_eq(&first.grants, &key.grants));
    }
    assert!(!Arc::ptr_eq(&first.models, &runtime.key_of("other").models));
}

#[test]
fn every_token_of_a_key_is_that_key_and_a_claimed_one_keeps_its_first() {
    let mut snapshot = snapshot();
    let mut rotating = key("old");
    rotating.tokens.push(TokenDigest::of(b"new"));
    rotating.tokens.push(TokenDigest::of(b"token"));
    snapshot.virtual_keys.insert(name("zz"), rotating);
    let runtime = built(&snapshot);
    assert!(Arc::ptr_eq(runtime.key_of("old"), runtime.key_of("new")));
    assert_eq!(runtime.key_of("token").name, name("team"));
    assert!(runtime.key(&TokenDigest::of(b"unknown")).is_none());
}

#[test]
fn what_is_built_shows_no_credential() {
    let runtime = built(&snapshot());
    let large = account_of(&runtime, "large");
    let authorization = large.authorization.as_ref().unwrap();
    assert_eq!(authorization.as_bytes(), b"Bearer sk-large");
    assert!(authorization.is_sensitive());
    let shown = format!("{runtime:?}");
    assert!(!shown.contains("sk-") && shown.contains("large"));
}

#[test]
fn the_host_header_leaves_out_the_schemes_own_port() {
    let host = |scheme, host: &str, port| {
        let runtime = built(&edited(|provider| {
            provider.endpoint.scheme = scheme;
            host.clone_into(&mut provider.endpoint.host);
            provider.endpoint.port = port;
        }));
        let endpoint = Arc::clone(&one(&runtime).endpoint);
        (endpoint.host.clone(), endpoint.tls_name.is_some())
    };
    let cases = [
        (Scheme::Http, "localhost", 80, "localhost"),
        (Scheme::Http, "localhost", 443, "localhost:443"),
        (Scheme::Https, "api.example.com", 443, "api.example.com"),
        (
            Scheme::Https,
            "api.example.com",
            8443,
            "api.example.com:8443",
        ),
        (Scheme::Https, "[::1]", 443, "[::1]"),
        (Scheme::Http, "10.0.0.1", 8080, "10.0.0.1:8080"),
    ];
    for (scheme, name, port, expected) in cases {
        let (found, is_tls) = host(scheme, name, port);
        assert_eq!(found, expected);
        assert_eq!(is_tls, scheme == Scheme::Https);
    }
}

#[test]
fn an_account_of_its_own_list_serves_no_other_model() {
    let mut listed = account("a", 1);
    listed.models = vec!["gpt-5".to_owned().into(), "o*".to_owned().into()];
    let mut snapshot = snapshot();
    let mut narrow = provider(&[("a", 1), ("b", 1)]);
    narrow.accounts[0] = listed;
    add_provider(&mut snapshot, "one", narrow);
    let runtime = built(&snapshot);
    let serving = |model| one(&runtime).serving(model);
    assert_eq!(
        (serving("gpt-5"), serving("o3"), serving("gpt-5-mini")),
        (0b11, 0b11, 0b10)
    );
}
