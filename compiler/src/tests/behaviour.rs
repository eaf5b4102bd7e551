//! What compiles to what, one sentence each.

use std::collections::BTreeSet;

use weighbridge_crds::Duration;
use weighbridge_snapshot::{Credential, Namespaces, ObjectName, Redacted, TokenDigest};

use super::worlds::world;
use crate::{
    Compiled, Kind, LastGood, ObjectId, Reason, Secret, SecretPlaces, Status, Unreadable, Verdict,
    World, compile, secret_file, secret_refs, secret_variable, token_owners,
};

/// Two Providers, a Route over both, a key in another namespace, everything granted and there.
const WORLD: &str = r#"
kind: Provider
apiVersion: weighbridge.dev/v1alpha1
metadata: {name: hosted, namespace: ai}
spec:
  dialect: OpenAI
  accounts:
  - {name: one, secretRef: {name: hosted, key: one}, weight: 70}
  - {name: two, secretRef: {name: hosted, key: two}, weight: 30}
---
kind: Provider
apiVersion: weighbridge.dev/v1alpha1
metadata: {name: own, namespace: gpus}
spec:
  dialect: OpenAI
  endpoint: http://own:8000/v1/
  allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: ai}}}}
---
kind: Route
apiVersion: weighbridge.dev/v1alpha1
metadata: {name: chat, namespace: ai}
spec:
  models: [chat, "openai/*"]
  targets:
  - name: main
    backends:
    - {name: hosted, providerRef: {name: hosted}, weight: 90}
    - {name: own, providerRef: {name: own, namespace: gpus}, weight: 10}
  allowedVirtualKeys: {namespaces: {from: All}}
---
kind: VirtualKey
apiVersion: weighbridge.dev/v1alpha1
metadata: {name: k, namespace: team}
spec:
  routeRefs: [{namespace: ai, name: chat}]
  secretName: k
---
kind: Secret
metadata: {name: hosted, namespace: ai}
stringData: {one: credential-one, two: credential-two}
---
kind: Secret
metadata: {name: k, namespace: team, labels: {weighbridge.dev/virtual-key: k}}
stringData: {token: sixteen-or-more-characters}
"#;

fn name(text: &str) -> ObjectName {
    text.parse().unwrap()
}

fn fresh(world: &World) -> Compiled {
    compile(world, &LastGood::default())
}

fn verdict<'a>(compiled: &'a Compiled, kind: Kind, object: &str) -> &'a Verdict {
    &compiled.verdicts[&ObjectId::new(kind, name(object))]
}

fn secret(label: &str, token: &str) -> Secret {
    let mut secret = Secret::default();
    let label = (
        weighbridge_crds::VIRTUAL_KEY_LABEL.to_owned(),
        label.to_owned(),
    );
    secret.labels.extend([label]);
    let token = Redacted::new(token.as_bytes().to_vec());
    secret.data.insert("token".to_owned(), token);
    secret
}

fn provider<'a>(world: &'a mut World, object: &str) -> &'a mut weighbridge_crds::ProviderSpec {
    &mut world.providers.get_mut(&name(object)).unwrap().spec
}

fn route(world: &mut World) -> &mut weighbridge_crds::RouteSpec {
    &mut world.routes.get_mut(&name("ai/chat")).unwrap().spec
}

fn key(world: &mut World) -> &mut weighbridge_crds::VirtualKeySpec {
    &mut world.virtual_keys.get_mut(&name("team/k")).unwrap().spec
}

fn backend_providers(compiled: &Compiled) -> Vec<Option<String>> {
    compiled.snapshot.routes[&name("ai/chat")].targets[0]
        .backends
        .iter()
        .map(|backend| backend.provider.as_ref().map(ToString::to_string))
        .collect()
}

#[test]
fn a_good_world_is_accepted_and_resolved() {
    let compiled = fresh(&world(WORLD));
    for (id, verdict) in &compiled.verdicts {
        assert!(
            verdict.accepted.holds() && verdict.resolved_refs.holds(),
            "{id}: {verdict:?}"
        );
        assert!(
            verdict.warnings.is_empty() && verdict.shadowed.is_empty(),
            "{id}"
        );
    }
    assert_eq!(compiled.verdicts.len(), 4);
    assert_eq!(
        backend_providers(&compiled),
        [Some("ai/hosted".to_owned()), Some("gpus/own".to_owned())]
    );
}

#[test]
fn a_provider_without_accounts_has_one_without_a_credential() {
    let compiled = fresh(&world(WORLD));
    let accounts = &compiled.snapshot.providers[&name("gpus/own")].accounts;
    assert_eq!(accounts.len(), 1);
    assert_eq!(
        (accounts[0].name.as_str(), accounts[0].has_credential),
        ("default", false)
    );
    assert_eq!(
        (accounts[0].weight, &accounts[0].admits),
        (1, &Namespaces::All)
    );
}

#[test]
fn an_endpoint_is_taken_apart() {
    let compiled = fresh(&world(WORLD));
    let own = &compiled.snapshot.providers[&name("gpus/own")].endpoint;
    assert_eq!(
        (own.host.as_str(), own.port, own.path.as_str()),
        ("own", 8000, "/v1")
    );
    let hosted = &compiled.snapshot.providers[&name("ai/hosted")].endpoint;
    assert_eq!(
        (hosted.host.as_str(), hosted.port, hosted.path.as_str()),
        ("api.openai.com", 443, "/v1")
    );
}

#[test]
fn an_account_without_its_secret_leaves_the_set_and_is_named() {
    let mut world = world(WORLD);
    let hosted = world.secrets.get_mut(&name("ai/hosted")).unwrap();
    hosted.data.remove("two");
    let compiled = fresh(&world);
    let accounts = &compiled.snapshot.providers[&name("ai/hosted")].accounts;
    assert_eq!(accounts.len(), 1);
    assert_eq!(accounts[0].name, "one");
    let resolved = &verdict(&compiled, Kind::Provider, "ai/hosted").resolved_refs;
    assert_eq!(
        (resolved.holds(), resolved.reason),
        (false, Reason::RefNotAvailable)
    );
    assert_eq!(
        resolved.message,
        "spec.accounts[1].secretRef (account two): key \"two\" of Secret ai/hosted isn't there"
    );
    assert!(
        verdict(&compiled, Kind::Route, "ai/chat")
            .resolved_refs
            .holds()
    );
}

#[test]
fn a_missing_secret_of_a_standalone_gateway_names_every_place_looked_at() {
    let mut world = world(WORLD);
    world.secrets.clear();
    world.secret_places = SecretPlaces::Standalone {
        directory: "conf/secrets".to_owned(),
    };
    let compiled = fresh(&world);
    insta::assert_snapshot!(
        verdict(&compiled, Kind::Provider, "ai/hosted")
            .resolved_refs
            .message
    );
}

#[test]
fn a_backend_whose_provider_has_no_credential_left_keeps_its_weight_unresolved() {
    let mut world = world(WORLD);
    world.secrets.remove(&name("ai/hosted"));
    let compiled = fresh(&world);
    assert!(
        compiled.snapshot.providers[&name("ai/hosted")]
            .accounts
            .is_empty()
    );
    assert_eq!(
        backend_providers(&compiled),
        [None, Some("gpus/own".to_owned())]
    );
    let backends = &compiled.snapshot.routes[&name("ai/chat")].targets[0].backends;
    assert_eq!(backends[0].weight, 90);
    assert!(
        !verdict(&compiled, Kind::Route, "ai/chat")
            .resolved_refs
            .holds()
    );
}

#[test]
fn a_credential_loses_one_trailing_line_break_and_nothing_else() {
    for (stored, expected) in [
        ("abc\n", Some("abc")),
        ("abc\r\n", Some("abc")),
        ("abc", Some("abc")),
        ("abc\n\n", None),
        ("abc\r", None),
        ("a b", None),
        ("ab\u{e9}", None),
        ("", None),
        ("\n", None),
    ] {
        let mut world = world(WORLD);
        let hosted = world.secrets.get_mut(&name("ai/hosted")).unwrap();
        hosted
            .data
            .insert("one".to_owned(), Redacted::new(stored.as_bytes().to_vec()));
        let compiled = fresh(&world);
        let found = compiled
            .snapshot
            .credentials
            .iter()
            .find(|(owner, _)| owner.account == "one");
        let found = found.map(|(_, Credential::ApiKey(key))| key.expose().as_str());
        assert_eq!(found, expected, "{stored:?}");
    }
}

#[test]
fn a_missing_and_a_forbidden_provider_read_the_same() {
    let mut forbidden = world(WORLD);
    provider(&mut forbidden, "gpus/own").allowed_routes = weighbridge_crds::Grant::default();
    let mut missing = forbidden.clone();
    missing.providers.remove(&name("gpus/own"));
    let (forbidden, missing) = (fresh(&forbidden), fresh(&missing));
    let about = |compiled: &Compiled| verdict(compiled, Kind::Route, "ai/chat").clone();
    assert_eq!(about(&forbidden), about(&missing));
    assert_eq!(
        backend_providers(&forbidden),
        [Some("ai/hosted".to_owned()), None]
    );
    assert_eq!(
        about(&missing).resolved_refs.message,
        "spec.targets[0].backends[1].providerRef: Provider gpus/own isn't there, or its allowedRoutes doesn't admit this namespace"
    );
}

#[test]
fn a_missing_and_a_forbidden_route_read_the_same() {
    let mut forbidden = world(WORLD);
    route(&mut forbidden).allowed_virtual_keys = weighbridge_crds::Grant::default();
    let mut missing = forbidden.clone();
    missing.routes.clear();
    let about = |world: &World| verdict(&fresh(world), Kind::VirtualKey, "team/k").clone();
    assert_eq!(about(&forbidden), about(&missing));
    assert!(!about(&missing).resolved_refs.holds());
}

#[test]
fn a_star_that_finds_no_route_is_said() {
    let mut world = world(WORLD);
    key(&mut world).route_refs[0].name = "*".to_owned();
    assert!(
        verdict(&fresh(&world), Kind::VirtualKey, "team/k")
            .resolved_refs
            .holds()
    );
    world.routes.clear();
    let message = &verdict(&fresh(&world), Kind::VirtualKey, "team/k")
        .resolved_refs
        .message
        .clone();
    assert_eq!(
        message,
        "spec.routeRefs[0]: no Route in namespace ai admits this namespace"
    );
}

#[test]
fn selectors_follow_kubernetes() {
    let cases = [
        (r"{matchLabels: {a: x}}", vec!["one"]),
        (
            r"{matchExpressions: [{key: a, operator: In, values: [x, y]}]}",
            vec!["one", "two"],
        ),
        (
            r"{matchExpressions: [{key: a, operator: NotIn, values: [x]}]}",
            vec!["ai", "none", "two"],
        ),
        (
            r"{matchExpressions: [{key: a, operator: Exists}]}",
            vec!["one", "two"],
        ),
        (
            r"{matchExpressions: [{key: a, operator: DoesNotExist}]}",
            vec!["ai", "none"],
        ),
        (
            r"{matchLabels: {a: x}, matchExpressions: [{key: a, operator: DoesNotExist}]}",
            vec![],
        ),
        (
            r"{matchLabels: {kubernetes.io/metadata.name: two}}",
            vec!["two"],
        ),
        (r"{}", vec!["ai", "none", "one", "two"]),
    ];
    for (selector, expected) in cases {
        let yaml = format!(
            "
kind: Provider
apiVersion: weighbridge.dev/v1alpha1
metadata: {{name: p, namespace: ai}}
spec:
  dialect: OpenAI
  accounts:
  - name: a
    secretRef: {{name: s, key: k}}
    allowedVirtualKeys: {{namespaces: {{from: Selector, selector: {selector}}}}}
---
kind: Secret
metadata: {{name: s, namespace: ai}}
stringData: {{k: v}}
---
kind: Namespace
metadata: {{name: one, labels: {{a: x, kubernetes.io/metadata.name: two}}}}
---
kind: Namespace
metadata: {{name: two, labels: {{a: y}}}}
---
kind: Namespace
metadata: {{name: none}}
"
        );
        let compiled = fresh(&world(&yaml));
        let admits = &compiled.snapshot.providers[&name("ai/p")].accounts[0].admits;
        let expected = expected
            .into_iter()
            .map(str::to_owned)
            .collect::<BTreeSet<_>>();
        assert_eq!(admits, &Namespaces::Only(expected), "{selector}");
    }
}

#[test]
fn nothing_is_said_to_hold_of_labels_that_are_not_known() {
    let admits = |selector: &str, unreadable: &str, given: bool| {
        let yaml = format!(
            "
kind: Route
apiVersion: weighbridge.dev/v1alpha1
metadata: {{name: r, namespace: ai}}
spec:
  models: [m]
  targets: [{{name: t, backends: [{{name: b, providerRef: {{name: p}}}}]}}]
  allowedVirtualKeys: {{namespaces: {{from: Selector, selector: {selector}}}}}
"
        );
        let mut world = world(&yaml);
        world.unreadable_namespaces.insert(unreadable.to_owned());
        if given {
            let labels = [("stage".to_owned(), "test".to_owned())].into();
            world.namespaces.insert(unreadable.to_owned(), labels);
        }
        let admits = fresh(&world).snapshot.routes[&name("ai/r")].admits.clone();
        admits.contains(unreadable)
    };
    for selector in [
        "{matchLabels: {stage: test}}",
        "{matchExpressions: [{key: stage, operator: In, values: [test]}]}",
        "{matchExpressions: [{key: stage, operator: NotIn, values: [prod]}]}",
        "{matchExpressions: [{key: stage, operator: Exists}]}",
        "{matchExpressions: [{key: barred, operator: DoesNotExist}]}",
    ] {
        // `ai` holds an object, which says nothing of its labels.
        assert!(!admits(selector, "team", false), "{selector}");
        assert!(!admits(selector, "ai", false), "{selector}");
        assert!(
            admits(selector, "team", true),
            "known from before: {selector}"
        );
    }
    let by_name = "{matchLabels: {kubernetes.io/metadata.name: team}}";
    assert!(admits(by_name, "team", false), "the name is known");
}

#[test]
fn narrowing_to_an_account_out_of_reach_is_said() {
    let narrowed = |provider: &str, account: &str| {
        let mut world = world(WORLD);
        key(&mut world).accounts = vec![weighbridge_crds::AccountNarrowing {
            namespace: "ai".to_owned(),
            provider: provider.to_owned(),
            names: vec![account.to_owned()],
        }];
        verdict(&fresh(&world), Kind::VirtualKey, "team/k")
            .resolved_refs
            .clone()
    };
    assert!(narrowed("hosted", "one").holds());
    assert_eq!(
        narrowed("hosted", "three").message,
        "spec.accounts[0].names: account \"three\" of Provider ai/hosted isn't there, or isn't within this key's reach"
    );
    assert!(!narrowed("none", "one").holds());
}

#[test]
fn a_bad_edit_leaves_the_last_good_spec_in_force() {
    let mut world = world(WORLD);
    world
        .providers
        .get_mut(&name("ai/hosted"))
        .unwrap()
        .metadata
        .generation = Some(3);
    let before = fresh(&world);
    let bad = world.providers.get_mut(&name("ai/hosted")).unwrap();
    bad.metadata.generation = Some(4);
    bad.spec.accounts[0].weight = Some(-1);
    bad.spec.timeouts.connect = Duration::from("9s");
    let after = compile(&world, &before.last_good);
    assert_eq!(after.snapshot, before.snapshot);
    assert_eq!(after.last_good, before.last_good);
    let refused = verdict(&after, Kind::Provider, "ai/hosted");
    assert!(refused.is_refused());
    assert_eq!(refused.generation, Some(4));
    assert_eq!(
        refused.accepted.message,
        "spec.accounts[0].weight: found -1; allowed is 0 to 1000000 (its last good form, generation 3, stays in force)"
    );
}

#[test]
fn an_object_that_cannot_be_read_leaves_its_last_good_spec_in_force() {
    let mut world = world(WORLD);
    let before = fresh(&world);
    world.routes.clear();
    let unreadable = Unreadable {
        message: "spec: unknown field `modles`".to_owned(),
        ..Unreadable::default()
    };
    let id = ObjectId::new(Kind::Route, name("ai/chat"));
    world.unreadable.insert(id.clone(), unreadable);
    let after = compile(&world, &before.last_good);
    assert_eq!(after.snapshot, before.snapshot);
    assert_eq!(after.verdicts[&id].accepted.reason, Reason::Unreadable);
    assert!(fresh(&world).snapshot.routes.is_empty());
}

#[test]
fn grants_suspension_and_expiry_of_a_bad_edit_are_in_force_at_once() {
    let mut world = world(WORLD);
    let before = fresh(&world);
    let hosted = provider(&mut world, "ai/hosted");
    hosted.accounts[0].weight = Some(-1);
    hosted.accounts[1].allowed_virtual_keys = Some(weighbridge_crds::Grant::default());
    let own = provider(&mut world, "gpus/own");
    own.timeouts.idle = Duration::from("never");
    own.allowed_routes = weighbridge_crds::Grant::default();
    let chat = route(&mut world);
    chat.models.clear();
    chat.allowed_virtual_keys = weighbridge_crds::Grant::default();
    let spec = key(&mut world);
    spec.route_refs.clear();
    spec.suspend = true;
    spec.expires_at = Some("2027-01-01T00:00:00Z".into());
    let after = compile(&world, &before.last_good);
    assert!(after.verdicts.values().all(Verdict::is_refused));
    let only_ai = Namespaces::Only(BTreeSet::from(["ai".to_owned()]));
    let accounts = &after.snapshot.providers[&name("ai/hosted")].accounts;
    assert_eq!((accounts[0].weight, &accounts[1].admits), (70, &only_ai));
    assert_eq!(
        backend_providers(&after),
        [Some("ai/hosted".to_owned()), None]
    );
    let chat = &after.snapshot.routes[&name("ai/chat")];
    assert_eq!((chat.models.len(), &chat.admits), (2, &only_ai));
    let spec = &after.snapshot.virtual_keys[&name("team/k")];
    assert_eq!((spec.routes.len(), spec.suspended), (1, true));
    assert_eq!(spec.expires_at, Some(1_798_761_600));
}

#[test]
fn a_grant_that_is_itself_bad_leaves_the_last_good_one_in_force() {
    let mut world = world(WORLD);
    let before = fresh(&world);
    route(&mut world).allowed_virtual_keys.namespaces.from = weighbridge_crds::From::Selector;
    assert_eq!(compile(&world, &before.last_good).snapshot, before.snapshot);
}

#[test]
fn an_object_made_anew_under_an_old_name_inherits_nothing() {
    let mut world = world(WORLD);
    world
        .providers
        .get_mut(&name("gpus/own"))
        .unwrap()
        .metadata
        .uid = Some("first".to_owned());
    let before = fresh(&world);
    let anew = world.providers.get_mut(&name("gpus/own")).unwrap();
    anew.metadata.uid = Some("second".to_owned());
    anew.spec.timeouts.idle = Duration::from("never");
    let after = compile(&world, &before.last_good);
    assert!(!after.snapshot.providers.contains_key(&name("gpus/own")));
    assert!(!after.last_good.providers.contains_key(&name("gpus/own")));
}

#[test]
fn a_deleted_object_is_gone_at_once() {
    let mut world = world(WORLD);
    let before = fresh(&world);
    world.virtual_keys.clear();
    let after = compile(&world, &before.last_good);
    assert!(after.snapshot.virtual_keys.is_empty());
    assert!(after.last_good.virtual_keys.is_empty() && after.last_good.tokens.is_empty());
}

#[test]
fn a_token_counts_only_from_a_secret_labelled_for_its_key() {
    let token = "sixteen-or-more-characters";
    let tokens = |secret: Secret| {
        let mut world = world(WORLD);
        world.secrets.insert(name("team/k"), secret);
        let compiled = fresh(&world);
        let resolved = verdict(&compiled, Kind::VirtualKey, "team/k")
            .resolved_refs
            .clone();
        (
            compiled.snapshot.virtual_keys[&name("team/k")]
                .tokens
                .clone(),
            resolved,
        )
    };
    let (found, resolved) = tokens(secret("k", token));
    assert_eq!(
        (found, resolved.holds()),
        (vec![TokenDigest::of(token.as_bytes())], true)
    );
    let (found, resolved) = tokens(secret("another", token));
    assert_eq!((found, resolved.holds()), (vec![], false));
    assert_eq!(
        resolved.message,
        "spec.secretName: Secret team/k lacks the label weighbridge.dev/virtual-key: k, so it is neither read nor written"
    );
    for unusable in [
        "fifteen-letters",
        "white space is refused",
        &"x".repeat(513),
    ] {
        let (found, resolved) = tokens(secret("k", unusable));
        assert_eq!((found, resolved.holds()), (vec![], false));
        assert!(!resolved.message.contains(unusable));
    }
    let (found, _) = tokens(secret("k", &"x".repeat(512)));
    assert_eq!(found.len(), 1);
}

#[test]
fn a_token_in_force_keeps_its_key_and_a_second_claim_is_refused() {
    let mut world = world(WORLD);
    let before = fresh(&world);
    let claim = world.virtual_keys[&name("team/k")].clone();
    // First by name, and late.
    world.virtual_keys.insert(name("a/k"), claim);
    world
        .secrets
        .insert(name("a/k"), secret("k", "sixteen-or-more-characters"));
    let after = compile(&world, &before.last_good);
    assert_eq!(after.snapshot.virtual_keys[&name("team/k")].tokens.len(), 1);
    assert!(after.snapshot.virtual_keys[&name("a/k")].tokens.is_empty());
    let refused = &verdict(&after, Kind::VirtualKey, "a/k").accepted;
    assert_eq!(
        (refused.holds(), refused.reason),
        (false, Reason::TokenInUse)
    );
    // With no history, the first by name has it.
    let fresh = fresh(&world);
    assert_eq!(fresh.snapshot.virtual_keys[&name("a/k")].tokens.len(), 1);
    assert!(verdict(&fresh, Kind::VirtualKey, "team/k").is_refused());
}

/// Another key in `team`, with the Secret of `team/k`.
fn add_sharer(world: &mut World, key: &str) {
    let sharer = world.virtual_keys[&name("team/k")].clone();
    world.virtual_keys.insert(name(key), sharer);
}

fn tokens(compiled: &Compiled, key: &str) -> Option<usize> {
    let key = compiled.snapshot.virtual_keys.get(&name(key));
    key.map(|key| key.tokens.len())
}

#[test]
fn of_keys_that_share_a_secret_the_labelled_one_keeps_it() {
    let mut world = world(WORLD);
    add_sharer(&mut world, "team/a");
    let compiled = fresh(&world);
    assert_eq!(
        (tokens(&compiled, "team/k"), tokens(&compiled, "team/a")),
        (Some(1), None)
    );
    assert!(!verdict(&compiled, Kind::VirtualKey, "team/k").is_refused());
    let refused = verdict(&compiled, Kind::VirtualKey, "team/a");
    assert_eq!(refused.accepted.reason, Reason::SecretInUse);
    assert_eq!(
        refused.accepted.message,
        "spec.secretName: found \"k\", which is also VirtualKey team/k's; allowed is a Secret of its own (nothing of it is in force)"
    );
    assert_eq!(refused.resolved_refs.status, Status::Unknown);
    // It never was accepted, so it may be corrected.
    world
        .virtual_keys
        .get_mut(&name("team/a"))
        .unwrap()
        .spec
        .secret_name = "a".to_owned();
    let corrected = compile(&world, &compiled.last_good);
    assert!(!verdict(&corrected, Kind::VirtualKey, "team/a").is_refused());
}

#[test]
fn of_keys_that_share_an_unlabelled_secret_the_one_before_or_else_the_first_keeps_it() {
    let mut world = world(WORLD);
    world.secrets.remove(&name("team/k"));
    let before = fresh(&world);
    add_sharer(&mut world, "team/a");
    let owner =
        |world: &World, good: &LastGood| token_owners(world, good)[&name("team/k")].to_string();
    assert_eq!(owner(&world, &before.last_good), "team/k");
    assert_eq!(owner(&world, &LastGood::default()), "team/a");
    let after = compile(&world, &before.last_good);
    assert!(verdict(&after, Kind::VirtualKey, "team/a").is_refused());
    let fresh = fresh(&world);
    assert!(verdict(&fresh, Kind::VirtualKey, "team/k").is_refused());
    assert!(!verdict(&fresh, Kind::VirtualKey, "team/a").is_refused());
}

#[test]
fn a_key_whose_secret_is_labelled_for_another_is_without_a_token_from_then_on() {
    let mut world = world(WORLD);
    let before = fresh(&world);
    add_sharer(&mut world, "team/a");
    world
        .secrets
        .insert(name("team/k"), secret("a", "sixteen-or-more-characters"));
    let after = compile(&world, &before.last_good);
    assert_eq!(
        (tokens(&after, "team/k"), tokens(&after, "team/a")),
        (Some(0), Some(1))
    );
    let refused = &verdict(&after, Kind::VirtualKey, "team/k").accepted;
    assert_eq!(refused.reason, Reason::SecretInUse);
    assert_eq!(compile(&world, &after.last_good), after);
}

#[test]
fn a_secret_name_that_was_accepted_cannot_be_changed() {
    let mut world = world(WORLD);
    let before = fresh(&world);
    let spec = key(&mut world);
    spec.secret_name = "other".to_owned();
    spec.suspend = true;
    let after = compile(&world, &before.last_good);
    assert_eq!(
        verdict(&after, Kind::VirtualKey, "team/k").accepted.message,
        "spec.secretName: found \"other\"; allowed is \"k\" as before: it can't be changed, so make another VirtualKey (its last good form stays in force)"
    );
    let in_force = &after.snapshot.virtual_keys[&name("team/k")];
    assert_eq!((in_force.tokens.len(), in_force.suspended), (1, true));
    // Another object of the same name is free to.
    let anew = world.virtual_keys.get_mut(&name("team/k")).unwrap();
    anew.metadata.uid = Some("second".to_owned());
    let anew = compile(&world, &before.last_good);
    assert!(!verdict(&anew, Kind::VirtualKey, "team/k").is_refused());
}

#[test]
fn what_loses_a_name_is_said_at_the_key() {
    let mut world = world(WORLD);
    let mut second = world.routes[&name("ai/chat")].clone();
    second.spec.models.push("only-mine".into());
    world.routes.insert(name("ai/later"), second);
    key(&mut world).route_refs[0].name = "*".to_owned();
    let shadowed = verdict(&fresh(&world), Kind::VirtualKey, "team/k")
        .shadowed
        .clone();
    assert_eq!(
        shadowed,
        [
            "\"chat\" of Route ai/later: Route ai/chat serves it",
            "\"openai/*\" of Route ai/later: Route ai/chat serves it",
        ]
    );
}

#[test]
fn drained_targets_and_timeouts_without_failover_are_warned_about() {
    let mut world = world(WORLD);
    provider(&mut world, "ai/hosted").timeouts.first_event = Duration::from("2m");
    let chat = route(&mut world);
    for backend in &mut chat.targets[0].backends {
        backend.weight = Some(0);
    }
    let compiled = fresh(&world);
    insta::assert_snapshot!(
        verdict(&compiled, Kind::Route, "ai/chat")
            .warnings
            .join("\n")
    );
}

#[test]
fn every_secret_in_question_is_asked_for_and_no_path_leaves_the_directory() {
    let mut world = world(WORLD);
    let before = fresh(&world);
    let hosted = provider(&mut world, "ai/hosted");
    hosted.accounts[0].secret_ref.key = "../../../etc/passwd".to_owned();
    let refs: Vec<_> = secret_refs(&world, &before.last_good)
        .into_iter()
        .map(|(secret, key)| format!("{secret} {key}"))
        .collect();
    // The last good spec still needs `one`.
    assert_eq!(refs, ["ai/hosted one", "ai/hosted two", "team/k token"]);
}

#[test]
fn nothing_is_asked_for_what_is_gone() {
    let mut world = world(WORLD);
    let before = fresh(&world).last_good;
    world.virtual_keys.clear();
    world.providers.remove(&name("ai/hosted"));
    assert!(secret_refs(&world, &before).is_empty());
    assert!(token_owners(&world, &before).is_empty());
    // What can't be read is there.
    for (kind, object) in [(Kind::VirtualKey, "team/k"), (Kind::Provider, "ai/hosted")] {
        let id = ObjectId::new(kind, name(object));
        world.unreadable.insert(id, Unreadable::default());
    }
    assert_eq!(secret_refs(&world, &before).len(), 3);
    assert_eq!(
        token_owners(&world, &before)[&name("team/k")],
        name("team/k")
    );
    // And what was made anew is another object.
    for unreadable in world.unreadable.values_mut() {
        unreadable.uid = Some("second".to_owned());
    }
    assert!(secret_refs(&world, &before).is_empty());
}

#[test]
fn a_secret_has_one_file_and_one_variable() {
    let secret = ObjectName::new("ai-platform", "open.ai");
    assert_eq!(
        secret_file(&secret, "key_1").to_str(),
        Some("ai-platform/open.ai/key_1")
    );
    assert_eq!(
        secret_variable(&secret, "key_1"),
        "WEIGHBRIDGE_SECRET_AI_PLATFORM__OPEN_AI__KEY_1"
    );
}

#[test]
fn the_conditions_of_a_refused_object_are_those_an_operator_writes() {
    let mut world = world(WORLD);
    world
        .providers
        .get_mut(&name("ai/hosted"))
        .unwrap()
        .metadata
        .generation = Some(7);
    provider(&mut world, "ai/hosted").accounts[0].weight = Some(-1);
    let compiled = fresh(&world);
    insta::assert_json_snapshot!(verdict(&compiled, Kind::Provider, "ai/hosted").conditions());
}

#[test]
fn what_was_good_survives_being_written_and_read() {
    let compiled = fresh(&world(WORLD));
    let written = serde_json::to_string(&compiled.last_good).unwrap();
    assert!(!written.contains("credential-one") && !written.contains("sixteen"));
    assert_eq!(
        serde_json::from_str::<LastGood>(&written).unwrap(),
        compiled.last_good
    );
}

#[test]
fn an_object_id_is_read_as_it_is_written() {
    for kind in [Kind::Provider, Kind::Route, Kind::VirtualKey] {
        let id = ObjectId::new(kind, name("ai/x"));
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    for text in ["", "Provider", "Provider/x", "Secret/a/b", "Provider/a/b/c"] {
        assert!(text.parse::<ObjectId>().is_err(), "{text}");
    }
}
