//! Invariants over random worlds, half of them absurd.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use weighbridge_crds as crds;
use weighbridge_crds::VIRTUAL_KEY_LABEL;
use weighbridge_snapshot::{
    ModelPattern, Names, ObjectName, Redacted, TokenDigest, decode, encode, routes_of,
};

use crate::{
    Compiled, Kind, LastGood, ObjectId, Reason, Secret, Stated, Unreadable, Urgent, World, compile,
};

const NAMESPACES: [&str; 2] = ["a", "b"];

fn often(common: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![99 => select(common).prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn namespace() -> impl Strategy<Value = String> {
    often(&NAMESPACES)
}

fn object_name(common: &'static [&'static str]) -> impl Strategy<Value = ObjectName> {
    (namespace(), often(common)).prop_map(|(namespace, name)| ObjectName::new(namespace, name))
}

fn weight() -> impl Strategy<Value = Option<i64>> {
    option::of(prop_oneof![49 => 0..=1_000_000_i64, 1 => any::<i64>()])
}

fn duration() -> impl Strategy<Value = crds::Duration> {
    often(&["1s", "30s", "1m", "5m"]).prop_map(|text| text.as_str().into())
}

fn patterns() -> impl Strategy<Value = Vec<crds::ModelPattern>> {
    let pattern = often(&["m", "n", "o", "p*", "*"]).prop_map(|text| text.as_str().into());
    vec(pattern, 1..3)
}

fn grant() -> impl Strategy<Value = crds::Grant> {
    let selector = often(&NAMESPACES).prop_map(|value| crds::LabelSelector {
        match_labels: BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), value)]),
        match_expressions: Vec::new(),
    });
    let from = select(
        &[
            crds::From::Same,
            crds::From::All,
            crds::From::All,
            crds::From::Selector,
        ][..],
    );
    (from, selector, weighted_bool(40)).prop_map(|(from, selector, odd)| crds::Grant {
        namespaces: crds::NamespaceSelector {
            from,
            selector: ((from == crds::From::Selector) != odd).then_some(selector),
        },
    })
}

fn weighted_bool(one_in: u32) -> impl Strategy<Value = bool> {
    (0..one_in).prop_map(|number| number == 0)
}

fn account() -> impl Strategy<Value = crds::Account> {
    let key = often(&["k0", "k0", "k0", "k1", "missing"]);
    let name = often(&["w", "x", "y", "z"]);
    (name, key, weight(), option::of(grant())).prop_map(|(name, key, weight, grant)| {
        crds::Account {
            name,
            secret_ref: crds::SecretKeyRef {
                name: "s".to_owned(),
                key,
            },
            weight,
            models: None,
            allowed_virtual_keys: grant,
        }
    })
}

fn provider() -> impl Strategy<Value = crds::Provider> {
    (vec(account(), 0..3), duration(), grant()).prop_map(|(accounts, connect, allowed_routes)| {
        let spec = crds::ProviderSpec {
            dialect: crds::Dialect::OpenAI,
            endpoint: None,
            accounts,
            retry: crds::Retry::default(),
            timeouts: crds::ProviderTimeouts {
                connect,
                ..crds::ProviderTimeouts::default()
            },
            models: Vec::new(),
            allowed_routes,
        };
        crds::Provider::new("", spec)
    })
}

fn backend() -> impl Strategy<Value = crds::Backend> {
    let accounts = option::of(vec(often(&["x", "y"]), 1..3));
    let provider = (often(&["p", "q"]), option::of(namespace()));
    (
        often(&["b0", "b1", "b2", "b3"]),
        provider,
        weight(),
        accounts,
    )
        .prop_map(
            |(name, (provider, namespace), weight, accounts)| crds::Backend {
                name,
                provider_ref: crds::ProviderRef {
                    name: provider,
                    namespace,
                },
                model: None,
                weight,
                accounts,
            },
        )
}

fn route() -> impl Strategy<Value = crds::Route> {
    let target = (often(&["t0", "t1", "t2", "t3"]), vec(backend(), 1..3))
        .prop_map(|(name, backends)| crds::Target { name, backends });
    let parts = (patterns(), vec(target, 1..3), duration(), grant());
    parts.prop_map(|(models, targets, request, allowed_virtual_keys)| {
        let spec = crds::RouteSpec {
            models,
            targets,
            failover: crds::Failover::default(),
            timeouts: crds::RouteTimeouts { request },
            allowed_virtual_keys,
        };
        crds::Route::new("", spec)
    })
}

fn virtual_key() -> impl Strategy<Value = crds::VirtualKey> {
    let reference = (namespace(), often(&["r", "*"]))
        .prop_map(|(namespace, name)| crds::RouteRef { namespace, name });
    let narrowing = (namespace(), vec(often(&["x", "y"]), 1..3)).prop_map(|(namespace, names)| {
        crds::AccountNarrowing {
            namespace,
            provider: "p".to_owned(),
            names,
        }
    });
    let secret = often(&["t0", "t1"]);
    let parts = (
        vec(reference, 1..3),
        secret,
        vec(narrowing, 0..2),
        any::<bool>(),
    );
    parts.prop_map(|(route_refs, secret_name, accounts, suspend)| {
        let spec = crds::VirtualKeySpec {
            route_refs,
            secret_name,
            accounts,
            suspend,
            expires_at: None,
        };
        crds::VirtualKey::new("", spec)
    })
}

/// A credential, and one of two tokens, so that several keys claim the same.
fn secrets() -> impl Strategy<Value = BTreeMap<ObjectName, Secret>> {
    let secret = (
        select(&["k", "k", "l"][..]),
        0..2_u8,
        vec(any::<u8>(), 0..4),
    );
    let named = object_name(&["s", "t0", "t1"]);
    btree_map(named, secret, 0..16).prop_map(|secrets| {
        let secret = |(label, token, odd): (&str, u8, Vec<u8>)| Secret {
            labels: BTreeMap::from([(VIRTUAL_KEY_LABEL.to_owned(), label.to_owned())]),
            data: BTreeMap::from([
                ("token".to_owned(), Redacted::new(vec![b'a' + token; 20])),
                ("k0".to_owned(), Redacted::new(b"credential".to_vec())),
                ("k1".to_owned(), Redacted::new(odd)),
            ]),
        };
        secrets
            .into_iter()
            .map(|(name, parts)| (name, secret(parts)))
            .collect()
    })
}

fn world() -> impl Strategy<Value = World> {
    let parts = (
        btree_map(object_name(&["p", "q"]), provider(), 0..8),
        btree_map(object_name(&["r", "s"]), route(), 0..8),
        btree_map(object_name(&["k", "k", "l"]), virtual_key(), 0..8),
        secrets(),
    );
    parts.prop_map(|(providers, routes, virtual_keys, secrets)| {
        let mut world = World {
            providers,
            routes,
            virtual_keys,
            secrets,
            ..World::default()
        };
        // As in a cluster, where every namespace is known whether it holds objects or not.
        let held: BTreeSet<String> = objects(&world)
            .into_iter()
            .map(|id| id.name.namespace)
            .collect();
        let all = held.into_iter().chain(NAMESPACES.map(str::to_owned));
        world.namespaces = all.map(|namespace| (namespace, BTreeMap::new())).collect();
        world
    })
}

fn objects(world: &World) -> BTreeSet<ObjectId> {
    let providers = world.providers.keys().map(|name| (Kind::Provider, name));
    let routes = world.routes.keys().map(|name| (Kind::Route, name));
    let keys = world
        .virtual_keys
        .keys()
        .map(|name| (Kind::VirtualKey, name));
    let all = providers.chain(routes).chain(keys);
    all.map(|(kind, name)| ObjectId::new(kind, name.clone()))
        .collect()
}

fn fresh(world: &World) -> Compiled {
    compile(world, &LastGood::default())
}

/// Whether a Route of the world names the Provider, granted or not.
fn names(route: &crds::Route, own: &ObjectName, provider: &ObjectName) -> bool {
    route
        .spec
        .targets
        .iter()
        .flat_map(|target| &target.backends)
        .any(|backend| {
            let reference = &backend.provider_ref;
            let namespace = reference.namespace.as_ref().unwrap_or(&own.namespace);
            reference.name == provider.name && *namespace == provider.namespace
        })
}

/// An object with this spec, of which one field can't be read, or isn't known.
fn as_unreadable(kind: &str, spec: &impl serde::Serialize, unknown: Option<&str>) -> Unreadable {
    let mut object = serde_json::json!({"kind": kind, "spec": spec});
    match unknown {
        Some(field) => object["spec"][field] = true.into(),
        None => object["metadata"] = 3.into(),
    }
    Unreadable {
        urgent: serde_json::from_value(object).unwrap(),
        ..Unreadable::default()
    }
}

#[test]
fn the_random_worlds_are_worth_compiling() {
    let mut runner = TestRunner::deterministic();
    let (mut accepted, mut refused, mut resolved, mut tokens, mut clashes) = (0, 0, 0, 0, 0);
    for _ in 0..512 {
        let compiled = fresh(&world().new_tree(&mut runner).unwrap().current());
        for verdict in compiled.verdicts.values() {
            accepted += usize::from(!verdict.is_refused());
            refused += usize::from(verdict.is_refused());
            clashes += usize::from(verdict.accepted.reason == Reason::TokenInUse);
        }
        let routes = compiled.snapshot.routes.values();
        let backends = routes
            .flat_map(|route| &route.targets)
            .flat_map(|target| &target.backends);
        resolved += backends
            .filter(|backend| backend.provider.is_some())
            .count();
        tokens += compiled
            .snapshot
            .virtual_keys
            .values()
            .filter(|key| !key.tokens.is_empty())
            .count();
    }
    assert!(accepted > 500 && refused > 300, "{accepted} {refused}");
    assert!(
        resolved > 60 && tokens > 100 && clashes > 10,
        "{resolved} {tokens} {clashes}"
    );
}

proptest! {
    #[test]
    fn every_object_gets_a_verdict_and_compiling_again_changes_nothing(world in world()) {
        let first = fresh(&world);
        let judged: BTreeSet<ObjectId> = first.verdicts.keys().cloned().collect();
        prop_assert_eq!(judged, objects(&world));
        prop_assert_eq!(&compile(&world, &first.last_good), &first);
    }

    #[test]
    fn any_history_is_compiled_too(before in world(), after in world()) {
        let settled = compile(&after, &fresh(&before).last_good);
        prop_assert_eq!(&compile(&after, &settled.last_good), &settled);
        for name in settled.last_good.providers.keys() {
            prop_assert!(after.providers.contains_key(name));
        }
    }

    #[test]
    fn neither_the_order_of_objects_nor_their_age_matters(world in world()) {
        let mut other = World {
            secrets: world.secrets.clone().into_iter().rev().collect(),
            namespaces: world.namespaces.clone().into_iter().rev().collect(),
            ..World::default()
        };
        for (age, (name, object)) in world.providers.iter().rev().enumerate() {
            let mut object = object.clone();
            object.metadata.resource_version = Some(age.to_string());
            other.providers.insert(name.clone(), object);
        }
        for (name, object) in world.virtual_keys.iter().rev() {
            other.virtual_keys.insert(name.clone(), object.clone());
        }
        for (name, object) in world.routes.iter().rev() {
            other.routes.insert(name.clone(), object.clone());
        }
        prop_assert_eq!(fresh(&other), fresh(&world));
    }

    #[test]
    fn deleting_an_object_never_changes_unrelated_routes(world in world()) {
        let before = fresh(&world);
        for id in objects(&world) {
            let mut without = world.clone();
            without.providers.retain(|name, _| id != ObjectId::new(Kind::Provider, name.clone()));
            without.routes.retain(|name, _| id != ObjectId::new(Kind::Route, name.clone()));
            without.virtual_keys.retain(|name, _| id != ObjectId::new(Kind::VirtualKey, name.clone()));
            let after = compile(&without, &before.last_good);
            for (name, route) in &without.routes {
                let related = id.kind == Kind::Provider && names(route, name, &id.name);
                let same = after.snapshot.routes.get(name) == before.snapshot.routes.get(name);
                prop_assert!(related || same, "{id} changed {name}");
            }
        }
    }

    #[test]
    fn an_object_that_turns_bad_changes_nothing(world in world()) {
        let before = fresh(&world);
        for id in objects(&world) {
            let mut broken = world.clone();
            match id.kind {
                Kind::Provider => {
                    let provider = broken.providers.get_mut(&id.name).unwrap();
                    provider.spec.retry.max_retries = -1;
                }
                Kind::Route => {
                    let route = broken.routes.get_mut(&id.name).unwrap();
                    route.spec.targets.clear();
                }
                Kind::VirtualKey => {
                    let key = broken.virtual_keys.get_mut(&id.name).unwrap();
                    key.spec.route_refs.clear();
                }
            }
            let after = compile(&broken, &before.last_good);
            prop_assert!(after.verdicts[&id].is_refused());
            prop_assert_eq!(&after.snapshot, &before.snapshot, "{}", id);
        }
    }

    #[test]
    fn an_object_that_cannot_be_read_changes_nothing(world in world()) {
        let before = fresh(&world);
        let mut unreadable = world.clone();
        for id in objects(&world) {
            unreadable.unreadable.insert(id, Unreadable::default());
        }
        unreadable.providers.clear();
        unreadable.routes.clear();
        unreadable.virtual_keys.clear();
        let after = compile(&unreadable, &before.last_good);
        prop_assert_eq!(&after.snapshot, &before.snapshot);
        prop_assert_eq!(&after.last_good, &before.last_good);
    }

    #[test]
    fn an_edit_that_cannot_be_read_is_followed_like_one_that_is_invalid(
        before in world(),
        after in world(),
        unknown in any::<bool>(),
    ) {
        let good = fresh(&before).last_good;
        let (mut invalid, mut unreadable) = (before.clone(), before.clone());
        for (name, edit) in &after.providers {
            let mut edit = edit.clone();
            let urgent = as_unreadable("Provider", &edit.spec, unknown.then_some("dialekt"));
            edit.spec.retry.max_retries = -1;
            invalid.providers.insert(name.clone(), edit);
            unreadable.providers.remove(name);
            unreadable.unreadable.insert(ObjectId::new(Kind::Provider, name.clone()), urgent);
        }
        for (name, edit) in &after.routes {
            let mut edit = edit.clone();
            let urgent = as_unreadable("Route", &edit.spec, unknown.then_some("on"));
            edit.spec.targets.clear();
            invalid.routes.insert(name.clone(), edit);
            unreadable.routes.remove(name);
            unreadable.unreadable.insert(ObjectId::new(Kind::Route, name.clone()), urgent);
        }
        for (name, edit) in &after.virtual_keys {
            let mut edit = edit.clone();
            // Left out beside an unknown field, it would be unclear.
            if unknown {
                edit.spec.expires_at = Some("2027-01-01T00:00:00Z".into());
            }
            let urgent = as_unreadable("VirtualKey", &edit.spec, unknown.then_some("suspned"));
            edit.spec.route_refs.clear();
            invalid.virtual_keys.insert(name.clone(), edit);
            unreadable.virtual_keys.remove(name);
            unreadable.unreadable.insert(ObjectId::new(Kind::VirtualKey, name.clone()), urgent);
        }
        let (invalid, unreadable) = (compile(&invalid, &good), compile(&unreadable, &good));
        prop_assert_eq!(unreadable.snapshot, invalid.snapshot);
        prop_assert_eq!(unreadable.last_good, invalid.last_good);
    }

    #[test]
    fn nothing_that_is_written_keeps_the_urgent_from_being_read(text in ".{0,64}", spec in ".{0,32}") {
        if serde_yaml::from_str::<serde_yaml::Value>(&text).is_ok() {
            prop_assert!(serde_yaml::from_str::<Urgent>(&text).is_ok());
        }
        let text = format!("kind: VirtualKey\nspec:\n  suspend: true\n  other: {spec:?}\n");
        if let Ok(urgent) = serde_yaml::from_str::<Urgent>(&text) {
            prop_assert_eq!(urgent.suspend, Stated::Said(true));
        }
    }

    #[test]
    fn a_name_is_lost_to_the_route_that_serves_it(world in world()) {
        let compiled = fresh(&world);
        let routes = &compiled.snapshot.routes;
        for (name, key) in &compiled.snapshot.virtual_keys {
            let usable = routes_of(name, key, routes);
            let names = Names::new(usable.iter().map(|(id, route)| (*id, route.models.as_slice())));
            let claims = usable.iter().flat_map(|(id, route)| route.models.iter().map(move |pattern| (*id, pattern)));
            let lost = claims.filter_map(|(id, pattern)| {
                let winner = match pattern {
                    ModelPattern::Exact(name) => *names.get(name).unwrap().0,
                    ModelPattern::Prefix(prefix) => names.prefixes().find(|(other, _)| other == prefix).unwrap().1,
                };
                let pattern = String::from(pattern.clone());
                (winner != id).then(|| format!("{pattern:?} of Route {id}: Route {winner} serves it"))
            });
            let expected: Vec<_> = lost.take(16).collect();
            let verdict = &compiled.verdicts[&ObjectId::new(Kind::VirtualKey, name.clone())];
            prop_assert_eq!(&verdict.shadowed, &expected);
        }
    }

    #[test]
    fn a_snapshot_holds_together(before in world(), after in world()) {
        let snapshot = compile(&after, &fresh(&before).last_good).snapshot;
        prop_assert_eq!(&decode(&encode(&snapshot)).unwrap(), &snapshot);
        let mut tokens = BTreeSet::<TokenDigest>::new();
        for key in snapshot.virtual_keys.values() {
            for token in &key.tokens {
                prop_assert!(tokens.insert(*token), "a token with two keys");
            }
        }
        for owner in snapshot.credentials.keys() {
            let accounts = &snapshot.providers[&owner.provider].accounts;
            prop_assert!(accounts.iter().any(|account| account.name == owner.account));
        }
        let with_credential = snapshot.providers.values().flat_map(|provider| &provider.accounts);
        let counted = with_credential.filter(|account| account.has_credential).count();
        prop_assert_eq!(counted, snapshot.credentials.len());
        for (name, route) in &snapshot.routes {
            for backend in route.targets.iter().flat_map(|target| &target.backends) {
                prop_assert!(backend.weight <= 1_000_000);
                if let Some(provider) = &backend.provider {
                    prop_assert!(!snapshot.providers[provider].accounts.is_empty(), "{}", name);
                }
            }
        }
    }
}
