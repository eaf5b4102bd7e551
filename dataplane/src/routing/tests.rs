//! Who is let in, where a model leads, and whether state may stay.

use super::*;
use crate::runtime::example::{add_provider, backend, built, key, name, provider, route, snapshot};

fn facts(model: &str, state: Option<&'static str>) -> Facts {
    Facts {
        model: model.to_owned(),
        model_at: 0..0,
        stream: false,
        state,
    }
}

fn selected(runtime: &Runtime, token: &str, facts: &Facts) -> Result<Selected, Fault> {
    select(runtime, &TokenDigest::of(token.as_bytes()), facts)
}

#[test]
fn a_call_resolves_to_its_key_and_its_route() {
    let runtime = built(&snapshot());
    let found = selected(&runtime, "token", &facts("chat", None)).unwrap();
    assert_eq!(found.key.name, name("team"));
    assert_eq!(found.route.name, name("chat"));
}

#[test]
fn the_wildcard_begins_where_the_prefix_ends() {
    let mut snapshot = snapshot();
    let star = route("v/*", &[&[backend("one", "*")]]);
    snapshot.routes.insert(name("star"), star);
    let runtime = built(&snapshot);
    let from = |model| {
        let found = selected(&runtime, "token", &facts(model, None)).unwrap();
        found.wildcard_from
    };
    assert_eq!((from("chat"), from("v/gpt"), from("v/")), (0, 2, 2));
    // In bytes, at a character's edge.
    assert_eq!(from("v/é"), 2);
}

#[test]
fn a_key_that_may_not_call_learns_nothing_about_models() {
    let mut snapshot = snapshot();
    let mut suspended = key("suspended");
    suspended.suspended = true;
    snapshot.virtual_keys.insert(name("suspended"), suspended);
    for (called, at) in [("expired", 1), ("far", 32_503_680_000)] {
        let mut key = key(called);
        key.expires_at = Some(at);
        snapshot.virtual_keys.insert(name(called), key);
    }
    let runtime = built(&snapshot);
    let fault = |token| selected(&runtime, token, &facts("nosuch", None)).unwrap_err();
    assert!(matches!(fault("unknown"), Fault::UnknownKey));
    assert!(matches!(fault("suspended"), Fault::SuspendedKey));
    assert!(matches!(fault("expired"), Fault::ExpiredKey));
    assert!(matches!(fault("far"), Fault::ModelNotFound { model } if model == "nosuch"));
}

#[test]
fn state_needs_one_account_of_ones_own() {
    let stateful = facts("chat", Some("conversation"));
    let is_served = |accounts: &[(&str, u32)], others: &[&str]| {
        let mut snapshot = snapshot();
        add_provider(&mut snapshot, "one", provider(accounts));
        for other in others {
            snapshot.virtual_keys.insert(name(other), key(other));
        }
        match selected(&built(&snapshot), "token", &stateful) {
            Ok(_) => true,
            Err(Fault::StatefulCall { field }) => {
                assert_eq!(field, "conversation");
                false
            }
            Err(other) => panic!("{other:?}"),
        }
    };
    assert!(is_served(&[("a", 1)], &[]));
    assert!(!is_served(&[("a", 1), ("b", 1)], &[]));
    assert!(!is_served(&[("a", 1)], &["other"]));
    assert!(!is_served(&[], &[]));
}

#[test]
fn two_tokens_of_a_key_are_one_user() {
    let mut snapshot = snapshot();
    add_provider(&mut snapshot, "one", provider(&[("a", 1)]));
    let team = snapshot.virtual_keys.get_mut(&name("team")).unwrap();
    team.tokens.push(TokenDigest::of(b"next"));
    let runtime = built(&snapshot);
    let stateful = facts("chat", Some("background"));
    for token in ["token", "next"] {
        assert!(selected(&runtime, token, &stateful).is_ok(), "{token}");
    }
}
