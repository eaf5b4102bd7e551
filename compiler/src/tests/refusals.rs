//! What a refused object is told, as a golden file: one bad value each in an otherwise good object.

use std::fmt::Write;

use serde_json::{Value, json};
use weighbridge_snapshot::ObjectName;

use crate::{Compiled, LastGood, Verdict, World, compile};

fn good(kind: &str) -> Value {
    match kind {
        "Provider" => json!({
            "dialect": "OpenAI",
            "accounts": [{"name": "a", "secretRef": {"name": "s", "key": "k"}}],
            "models": [{"name": "m"}],
        }),
        "Route" => json!({
            "models": ["m"],
            "targets": [{"name": "t", "backends": [{"name": "b", "providerRef": {"name": "p"}}]}],
        }),
        _ => json!({"routeRefs": [{"namespace": "n", "name": "r"}], "secretName": "s"}),
    }
}

fn world_with(kind: &str, name: &ObjectName, spec: &Value) -> World {
    let object = json!({
        "apiVersion": "weighbridge.dev/v1alpha1", "kind": kind, "metadata": {}, "spec": spec,
    });
    let mut world = World::default();
    match kind {
        "Provider" => {
            let object = serde_json::from_value(object).unwrap();
            world.providers.insert(name.clone(), object);
        }
        "Route" => {
            let object = serde_json::from_value(object).unwrap();
            world.routes.insert(name.clone(), object);
        }
        _ => {
            let object = serde_json::from_value(object).unwrap();
            world.virtual_keys.insert(name.clone(), object);
        }
    }
    world
}

fn verdict_of(kind: &str, name: &ObjectName, spec: &Value) -> Verdict {
    let Compiled { verdicts, .. } = compile(&world_with(kind, name, spec), &LastGood::default());
    verdicts.into_values().next().unwrap()
}

/// Sets the field at `path` (dots, indices), making objects and list items on the way.
fn set(spec: &mut Value, path: &str, value: Value) {
    let place = path
        .split('.')
        .fold(spec, |place, step| match step.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[step],
        });
    *place = value;
}

fn many(count: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..count).map(item).collect()
}

fn account(index: usize) -> Value {
    json!({"name": format!("a{index}"), "secretRef": {"name": "s", "key": "k"}})
}

fn target(index: usize) -> Value {
    let backend = json!({"name": "b", "providerRef": {"name": "p"}});
    json!({"name": format!("t{index}"), "backends": [backend]})
}

fn selecting(selector: &Value) -> Value {
    json!({"namespaces": {"from": "Selector", "selector": selector}})
}

fn provider_cases() -> Vec<(&'static str, Value)> {
    let text = "x".repeat(300);
    vec![
        ("endpoint", json!("api.openai.com")),
        ("endpoint", json!("https://me:hunter2@host/v1")),
        ("endpoint", json!("https://host/v1?key=1")),
        ("endpoint", json!("https:api.openai.com/v1")),
        ("endpoint", json!("HTTPS://api.openai.com/v1")),
        ("accounts", many(65, account)),
        ("accounts", json!([account(0), account(1), account(0)])),
        ("accounts.0.name", json!("Research Account")),
        ("accounts.0.weight", json!(-1)),
        ("accounts.0.weight", json!(1_000_001)),
        ("accounts.0.weight", json!(i64::MAX)),
        ("accounts.0.secretRef.name", json!("")),
        ("accounts.0.secretRef.key", json!("../../etc/passwd")),
        ("accounts.0.models", json!([])),
        ("accounts.0.models", json!(["gpt-5*", "*-mini"])),
        ("accounts.0.models", json!([text])),
        (
            "accounts.0.allowedVirtualKeys",
            json!({"namespaces": {"from": "Selector"}}),
        ),
        (
            "accounts.0.allowedVirtualKeys",
            json!({"namespaces": {"from": "All", "selector": {}}}),
        ),
        ("retry.maxRetries", json!(11)),
        ("retry.backoff", json!({"initial": "10s"})),
        ("retry.budget", json!({"percent": 101})),
        ("retry.budget", json!({"interval": "0s"})),
        ("timeouts.connect", json!("2 seconds")),
        ("timeouts.firstEvent", json!("0ms")),
        ("timeouts.idle", json!("")),
        ("timeouts.request", json!("100000h")),
        (
            "models",
            many(513, |index| json!({"name": format!("m{index}")})),
        ),
        ("models", json!([{"name": "m"}, {"name": "m"}])),
        ("models.0.name", json!("gpt *")),
        ("models.0.operations", json!(["Responses", "Responses"])),
        (
            "allowedRoutes",
            selecting(&json!({"matchLabels": {"a b": "c"}})),
        ),
        (
            "allowedRoutes",
            selecting(&json!({"matchLabels": {"a": "b c"}})),
        ),
        (
            "allowedRoutes",
            selecting(&json!({"matchExpressions": [{"key": "a", "operator": "In"}]})),
        ),
        (
            "allowedRoutes",
            selecting(
                &json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
            ),
        ),
    ]
}

fn route_cases() -> Vec<(&'static str, Value)> {
    vec![
        ("models", json!([])),
        ("models", json!(["m", "m"])),
        ("models", json!(["a*b"])),
        ("models", many(65, |index| json!(format!("m{index}")))),
        ("targets", json!([])),
        ("targets", many(9, target)),
        ("targets", json!([target(0), target(0)])),
        ("targets.0.backends", json!([])),
        (
            "targets.0.backends",
            many(17, |_| json!({"name": "b", "providerRef": {"name": "p"}})),
        ),
        ("targets.0.backends.0.name", json!("b_1")),
        ("targets.0.backends.0.weight", json!(-70)),
        ("targets.0.backends.0.model", json!("gpt-*")),
        ("targets.0.backends.0.model", json!("")),
        ("targets.0.backends.0.providerRef.name", json!("../p")),
        ("targets.0.backends.0.providerRef.namespace", json!("a.b")),
        ("targets.0.backends.0.accounts", json!([])),
        ("failover", json!({"maxAttempts": 0})),
        ("failover", json!({"window": "forever"})),
        ("failover", json!({"reasons": ["Timeout", "Timeout"]})),
        ("timeouts", json!({"request": "0s"})),
        (
            "allowedVirtualKeys",
            json!({"namespaces": {"from": "Selector"}}),
        ),
    ]
}

fn virtual_key_cases() -> Vec<(&'static str, Value)> {
    let reference = |index: usize| json!({"namespace": "n", "name": format!("r{index}")});
    vec![
        ("routeRefs", json!([])),
        ("routeRefs", many(129, reference)),
        ("routeRefs", json!([reference(0), reference(0)])),
        ("routeRefs.0.namespace", json!("*")),
        ("routeRefs.0.name", json!("research/*")),
        ("secretName", json!("Captions Key")),
        (
            "accounts",
            json!([{"namespace": "n", "provider": "p", "names": []}]),
        ),
        (
            "accounts",
            json!([{"namespace": "n", "provider": "p", "names": ["a", "a"]}]),
        ),
        (
            "accounts",
            json!([{"namespace": "n", "provider": "", "names": ["a"]}]),
        ),
        ("expiresAt", json!("2027-01-01")),
        ("expiresAt", json!("2027-01-01 00:00:00Z")),
    ]
}

#[test]
fn every_bad_value_is_told_with_field_finding_and_what_is_allowed() {
    let name = ObjectName::new("n", "o");
    let mut told = String::new();
    let cases = [
        ("Provider", provider_cases()),
        ("Route", route_cases()),
        ("VirtualKey", virtual_key_cases()),
    ];
    for (kind, cases) in cases {
        assert!(!verdict_of(kind, &name, &good(kind)).is_refused(), "{kind}");
        for (path, value) in cases {
            let mut spec = good(kind);
            set(&mut spec, path, value);
            let verdict = verdict_of(kind, &name, &spec);
            assert!(verdict.is_refused(), "{kind} {path}");
            writeln!(told, "{}", verdict.accepted.message).unwrap();
        }
    }
    for (namespace, object) in [("n", "Upper"), ("../n", "o"), ("n", ""), ("n", "../../o")] {
        let name = ObjectName::new(namespace, object);
        let verdict = verdict_of("Provider", &name, &good("Provider"));
        writeln!(told, "{}", verdict.accepted.message).unwrap();
    }
    let long = ObjectName::new("n", "k".repeat(64));
    let verdict = verdict_of("VirtualKey", &long, &good("VirtualKey"));
    writeln!(told, "{}", verdict.accepted.message).unwrap();
    assert!(!told.contains("hunter2"));
    insta::assert_snapshot!(told.replace(" (nothing of it is in force)", ""));
}
