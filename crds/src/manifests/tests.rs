//! The chart's copies of the manifests are the generated ones.
//!
//! `UPDATE=1 cargo test -p weighbridge-crds manifests` writes them anew.

use std::path::PathBuf;

use super::{manifests, manifests_yaml, required_fields};
use serde_json::Value;

const BANNER: &str = "# Generated from the types in crds/; don't edit.\n";

fn templates() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../charts/weighbridge-crds/templates")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a switch of this test alone, not a setting of the program"
)]
fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

#[test]
fn the_chart_holds_exactly_the_generated_manifests() {
    let mut expected = Vec::new();
    for manifest in manifests() {
        let file = format!("{}.yaml", manifest.spec.names.plural);
        let yaml = serde_yaml::to_string(&manifest).unwrap();
        let path = templates().join(&file);
        let text = format!("{BANNER}{yaml}");
        if is_update() {
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{file} is out of date; run with UPDATE=1");
        expected.push(file);
    }
    let mut files: Vec<_> = std::fs::read_dir(templates())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, expected);
}

#[test]
fn helm_takes_the_manifests_as_they_are() {
    assert!(!manifests_yaml().contains("{{"));
}

#[test]
fn kinds_have_their_names() {
    let names: Vec<_> = manifests()
        .iter()
        .map(|manifest| {
            let names = &manifest.spec.names;
            let short = names.short_names.clone().unwrap_or_default().join(",");
            let categories = names.categories.clone().unwrap_or_default().join(",");
            format!("{} {} {short} {categories}", names.kind, names.plural)
        })
        .collect();
    assert_eq!(
        names,
        [
            "Provider providers wbp weighbridge",
            "Route routes wbr weighbridge",
            "VirtualKey virtualkeys vkey weighbridge",
        ]
    );
}

#[test]
fn what_a_spec_cannot_do_without_is_told() {
    assert_eq!(required_fields("Provider"), ["dialect"]);
    assert_eq!(required_fields("Route"), ["models", "targets"]);
    assert_eq!(required_fields("VirtualKey"), ["routeRefs", "secretName"]);
    assert!(required_fields("Secret").is_empty());
}

/// Calls `visit` with every schema of every manifest, its path, and whether it lies in a list item.
fn each_schema(visit: &mut impl FnMut(&str, &Value, bool)) {
    for manifest in manifests() {
        let value = serde_json::to_value(&manifest).unwrap();
        let schema = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        walk(&manifest.spec.names.kind, schema, false, visit);
    }
}

fn walk(path: &str, schema: &Value, in_item: bool, visit: &mut impl FnMut(&str, &Value, bool)) {
    visit(path, schema, in_item);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, in_item, visit);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], true, visit);
    }
    if schema["additionalProperties"].is_object() {
        let path = format!("{path}{{}}");
        walk(&path, &schema["additionalProperties"], in_item, visit);
    }
}

#[test]
fn every_field_is_described_in_a_sentence() {
    each_schema(&mut |path, schema, _| {
        let described = schema["description"].as_str().unwrap_or_default();
        let is_field = !path.ends_with("[]") && !path.ends_with("{}");
        let is_sentence = described.ends_with('.') && described.starts_with(char::is_uppercase);
        assert!(!is_field || is_sentence, "{path}: {described:?}");
    });
}

#[test]
fn no_list_item_states_a_default_and_nothing_may_be_null() {
    each_schema(&mut |path, schema, in_item| {
        assert!(!in_item || schema.get("default").is_none(), "{path}");
        assert!(schema.get("nullable").is_none(), "{path}");
    });
}

#[test]
fn everything_is_bounded() {
    each_schema(&mut |path, schema, _| {
        let bounded = match schema["type"].as_str() {
            Some("string") => {
                schema.get("maxLength").is_some()
                    || schema.get("enum").is_some()
                    || schema["format"] == "date-time"
            }
            Some("integer") => schema.get("minimum").is_some() && schema.get("maximum").is_some(),
            Some("array") => {
                schema.get("maxItems").is_some() && schema.get("x-kubernetes-list-type").is_some()
            }
            Some("object") => {
                schema.get("properties").is_some() || schema.get("maxProperties").is_some()
            }
            Some("boolean") => true,
            _ => false,
        };
        assert!(bounded, "{path}");
    });
}

#[test]
fn no_word_means_something_else_in_yaml_1_1() {
    // What Kubernetes' own YAML reader takes for a boolean or for nothing.
    let taken = [
        "on", "off", "yes", "no", "y", "n", "true", "false", "null", "~",
    ];
    let is_free = |word: &str| !taken.contains(&word.to_lowercase().as_str());
    each_schema(&mut |path, schema, _| {
        let field = path.rsplit('.').next().unwrap_or_default();
        assert!(is_free(field), "{path}");
        for value in schema["enum"].as_array().into_iter().flatten() {
            assert!(value.as_str().is_some_and(is_free), "{path}: {value}");
        }
    });
}
