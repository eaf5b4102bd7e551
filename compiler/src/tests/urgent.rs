//! What never waits for the rest of an object, however badly that is written.

use std::collections::BTreeSet;

use weighbridge_crds::{From, Grant, VIRTUAL_KEY_LABEL};
use weighbridge_snapshot::{Namespaces, ObjectName, Snapshot};

use super::worlds::world;
use crate::{Kind, LastGood, ObjectId, Stated, Unreadable, Urgent, World, compile};

const PROVIDER: &str = "
kind: Provider
apiVersion: weighbridge.dev/v1alpha1
metadata: {name: p, namespace: ai}
spec:
  dialect: OpenAI
  accounts:
  - name: a
    secretRef: {name: s, key: a}
    allowedVirtualKeys: {namespaces: {from: Same}}
  - {name: b, secretRef: {name: s, key: b}}
  allowedRoutes: {namespaces: {from: All}}
";

const ROUTE: &str = "
kind: Route
apiVersion: weighbridge.dev/v1alpha1
metadata: {name: r, namespace: ai}
spec:
  models: [m]
  targets: [{name: t, backends: [{name: b, providerRef: {name: p}}]}]
  allowedVirtualKeys: {namespaces: {from: All}}
";

const KEY: &str = "
kind: VirtualKey
apiVersion: weighbridge.dev/v1alpha1
metadata: {name: k, namespace: team}
spec:
  routeRefs: [{namespace: ai, name: r}]
  secretName: k
  expiresAt: 2027-01-01T00:00:00Z
";

const NEW_YEAR: i64 = 1_798_761_600;

fn base() -> World {
    let secrets = format!(
        "
kind: Secret
metadata: {{name: s, namespace: ai}}
stringData: {{a: credential-a, b: credential-b}}
---
kind: Secret
metadata: {{name: k, namespace: team, labels: {{{VIRTUAL_KEY_LABEL}: k}}}}
stringData: {{token: sixteen-or-more-characters}}
"
    );
    world(&[PROVIDER, ROUTE, KEY, &secrets].join("---"))
}

fn urgent(yaml: &str) -> Urgent {
    serde_yaml::from_str(yaml).unwrap()
}

/// What is in force after one of the objects of `base` is edited into something that can't be read.
fn edited(kind: Kind, yaml: &str) -> Snapshot {
    let mut world = base();
    let before = compile(&world, &LastGood::default());
    let name = match kind {
        Kind::Provider => {
            world.providers.clear();
            "ai/p"
        }
        Kind::Route => {
            world.routes.clear();
            "ai/r"
        }
        Kind::VirtualKey => {
            world.virtual_keys.clear();
            "team/k"
        }
    };
    let id = ObjectId::new(kind, name.parse().unwrap());
    let unreadable = Unreadable {
        urgent: urgent(yaml),
        ..Unreadable::default()
    };
    world.unreadable.insert(id.clone(), unreadable);
    let after = compile(&world, &before.last_good);
    assert!(after.verdicts[&id].is_refused());
    // What is followed is remembered, so that it holds when even this can't be read any more.
    world.unreadable.insert(id, Unreadable::default());
    let later = compile(&world, &after.last_good);
    assert_eq!(later.snapshot, after.snapshot);
    after.snapshot
}

fn name(text: &str) -> ObjectName {
    text.parse().unwrap()
}

fn only(namespaces: &[&str]) -> Namespaces {
    Namespaces::Only(
        namespaces
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>(),
    )
}

/// Whether the key is suspended, and when it expires.
fn key(yaml: &str) -> (bool, Option<i64>) {
    let snapshot = edited(Kind::VirtualKey, yaml);
    let key = &snapshot.virtual_keys[&name("team/k")];
    assert_eq!((key.tokens.len(), key.routes.len()), (1, 1));
    (key.suspended, key.expires_at)
}

#[test]
fn a_suspension_beside_a_field_that_nobody_knows_is_in_force_at_once() {
    for yaml in [
        format!("{KEY}  suspend: true\n  sekretName: x\n"),
        KEY.replace("secretName: k", "suspend: true\n  secretName: [3]"),
        "{kind: VirtualKey, spec: {suspend: true, routeRefs: !odd [x]}}".to_owned(),
        "{kind: VirtualKey, 3: x, spec: {[a]: b, suspend: true}}".to_owned(),
    ] {
        assert!(key(&yaml).0, "{yaml}");
    }
}

#[test]
fn an_expiry_beside_a_wrong_type_is_in_force_at_once() {
    let earlier = KEY
        .replace("2027-", "2026-")
        .replace("secretName: k", "secretName: 3");
    assert_eq!(key(&earlier), (false, Some(NEW_YEAR - 365 * 86_400)));
    let never = "{kind: VirtualKey, spec: {secretName: 3, expiresAt: null}}";
    assert_eq!(key(never), (false, None));
}

#[test]
fn what_is_unclear_opens_nothing() {
    // The field may be there, misspelt.
    assert_eq!(
        key("{kind: VirtualKey, spec: {expiersAt: x}}"),
        (false, Some(NEW_YEAR))
    );
    // It isn't of its type, not of its form, or stands there twice.
    for expiry in [
        "expiresAt: 3",
        "expiresAt: soon",
        "expiresAt: [x]",
        "expiresAt: !odd 2028-01-01T00:00:00Z",
    ] {
        let yaml = format!("{{kind: VirtualKey, spec: {{{expiry}}}}}");
        assert_eq!(key(&yaml), (false, Some(NEW_YEAR)), "{expiry}");
    }
    let twice = "
kind: VirtualKey
spec:
  suspend: true
  expiresAt: 2028-01-01T00:00:00Z
  expiresAt: 2029-01-01T00:00:00Z
  suspend: false
";
    assert_eq!(key(twice), (true, Some(NEW_YEAR)));
    // There is no spec, or two.
    for yaml in [
        "kind: VirtualKey",
        "{kind: VirtualKey, spec: x}",
        "[]",
        "x",
        "",
    ] {
        assert_eq!(urgent(yaml), Urgent::default(), "{yaml}");
    }
    let specs = "kind: VirtualKey\nspec: {suspend: false}\nspec: {expiresAt: null}\n";
    assert_eq!(urgent(specs), Urgent::default());
}

#[test]
fn a_suspension_ends_only_where_it_is_clear() {
    let suspended = Stated::Said(true);
    let of = |spec: &str| urgent(&format!("{{kind: VirtualKey, spec: {spec}}}")).suspend;
    assert_eq!(of("{suspend: false, x: y}"), Stated::Said(false));
    assert_eq!(of("{secretName: 3}"), Stated::LeftOut);
    assert_eq!(of("{suspned: true}"), Stated::Unclear);
    assert_eq!(of("{suspend: 'true'}"), Stated::Unclear);
    assert_eq!(of("{suspend: 0}"), Stated::Unclear);
    assert_eq!(of("{suspend: !odd false}"), Stated::Unclear);
    assert_eq!(of("{3: x}"), Stated::Unclear);
    assert_eq!(of("{suspend: true}"), suspended);
}

#[test]
fn a_grant_beside_a_field_that_nobody_knows_is_in_force_at_once() {
    let narrowed = ROUTE.replace("All", "Same");
    let admits = |yaml: &str| {
        edited(Kind::Route, yaml).routes[&name("ai/r")]
            .admits
            .clone()
    };
    assert_eq!(admits(&format!("{narrowed}  wieght: 3\n")), only(&["ai"]));
    // Left out, it is the narrow default, whatever stands beside it.
    assert_eq!(admits("{kind: Route, spec: {wieght: 3}}"), only(&["ai"]));
    // A grant that can't be read itself stays as it was.
    for grant in [
        "{namespaces: {from: Some}}",
        "{namespaces: {from: Same, selektor: {}}}",
        "{namespaces: {from: Selector}}",
        "{namespaces: {from: Selector, selector: {matchLabels: {a: x, a: y}}}}",
        "{namespaces: {from: Selector, selector: {matchLabels: {a: 1}}}}",
        "{namespaces: {from: Selector, selector: {matchLabels: {1: a}}}}",
        "{namespaces: {from: !odd Same}}",
        "!odd {namespaces: {from: Same}}",
        "{0: {from: Same}}",
        "All",
    ] {
        let yaml = format!("{{kind: Route, spec: {{x: y, allowedVirtualKeys: {grant}}}}}");
        assert_eq!(admits(&yaml), Namespaces::All, "{grant}");
    }
}

#[test]
fn grants_of_a_provider_and_of_its_accounts_are_in_force_at_once() {
    let accounts = |yaml: &str| {
        let snapshot = edited(Kind::Provider, yaml);
        let accounts = &snapshot.providers[&name("ai/p")].accounts;
        let admits: Vec<_> = accounts
            .iter()
            .map(|account| account.admits.clone())
            .collect();
        admits
    };
    let same = only(&["ai"]);
    let narrowed = format!("{PROVIDER}  retry: never\n").replace(
        "secretRef: {name: s, key: b}",
        "secretRef: 3, allowedVirtualKeys: {namespaces: {from: Same}}",
    );
    assert_eq!(accounts(&narrowed), [same.clone(), same.clone()]);
    // Left out is all that the Route admits, but not beside what may be the grant, misspelt.
    let widened = PROVIDER.replace("    allowedVirtualKeys", "    allowdVirtualKeys");
    assert_eq!(accounts(&widened), [same.clone(), Namespaces::All]);
    let cleared = "{kind: Provider, spec: {dialekt: x, accounts: [3, {}, {name: [a]}, {name: a}]}}";
    assert_eq!(accounts(cleared), [Namespaces::All, Namespaces::All]);
    // Of two with one name, nobody knows which is meant.
    let twice = "{kind: Provider, spec: {accounts: [{name: a}, {name: a}]}}";
    assert_eq!(accounts(twice), [same, Namespaces::All]);
    let routes =
        urgent("{kind: Provider, spec: {allowedRoutes: {namespaces: {from: Same}}, x: y}}");
    assert_eq!(routes.allowed_routes, Stated::Said(grant(From::Same)));
}

#[test]
fn json_is_read_like_yaml() {
    let text =
        r#"{"kind": "VirtualKey", "spec": {"suspend": true, "x": [1, 1.5, null, {"y": -1}]}}"#;
    assert_eq!(serde_json::from_str::<Urgent>(text).unwrap(), urgent(text));
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(
        serde_json::from_value::<Urgent>(value).unwrap().suspend,
        Stated::Said(true)
    );
}

fn grant(from: From) -> Grant {
    let mut grant = Grant::default();
    grant.namespaces.from = from;
    grant
}
