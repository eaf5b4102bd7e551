//! Resources in documents: read, compiled, and refused nothing. A block fenced as `yaml` is a stream of
//! resources, one fenced as `yaml script` a script of faults. Must never read a file of secrets: those that
//! an example refers to are made up.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_yaml::Value;
use weighbridge_compiler::{Compiled, LastGood, Secret, World, compile, secret_refs};
use weighbridge_crds::{TOKEN_KEY, VIRTUAL_KEY_LABEL};
use weighbridge_snapshot::{ObjectName, Redacted};

use crate::markdown::documents;

/// Compiles a stream of resources, with made-up Secrets where it refers to others.
pub(crate) fn compiled(yaml: &str) -> Result<Compiled, serde_yaml::Error> {
    let mut world = World::default();
    for document in serde_yaml::Deserializer::from_str(yaml) {
        let value = Value::deserialize(document)?;
        if !value.is_null() {
            add(&mut world, value)?;
        }
    }
    make_up_secrets(&mut world);
    Ok(compile(&world, &LastGood::default()))
}

fn add(world: &mut World, value: Value) -> Result<(), serde_yaml::Error> {
    let metadata = &value["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or("default");
    let name = ObjectName::new(namespace, metadata["name"].as_str().unwrap_or_default());
    let labels = texts(&metadata["labels"])?;
    match value["kind"].as_str().unwrap_or_default() {
        "Provider" => {
            let object = serde_yaml::from_value(value)?;
            world.providers.insert(name, object);
        }
        "Route" => {
            let object = serde_yaml::from_value(value)?;
            world.routes.insert(name, object);
        }
        "VirtualKey" => {
            let object = serde_yaml::from_value(value)?;
            world.virtual_keys.insert(name, object);
        }
        "Namespace" => {
            world.namespaces.insert(name.name, labels);
        }
        "Secret" => {
            let data = texts(&value["stringData"])?.into_iter();
            let data = data
                .map(|(key, text)| (key, Redacted::new(text.into_bytes())))
                .collect();
            world.secrets.insert(name, Secret { labels, data });
        }
        other => panic!("a kind {other:?}"),
    }
    Ok(())
}

fn texts(value: &Value) -> Result<BTreeMap<String, String>, serde_yaml::Error> {
    Ok(serde_yaml::from_value::<Option<_>>(value.clone())?.unwrap_or_default())
}

fn make_up_secrets(world: &mut World) {
    for (name, key) in secret_refs(world, &LastGood::default()) {
        let owner = world.virtual_keys.iter().find(|(owner, object)| {
            owner.namespace == name.namespace && object.spec.secret_name == name.name
        });
        let owner = owner.map(|(owner, _)| owner.name.clone());
        let value = format!("not-a-real-credential-{}-{key}", name.name);
        let secret = world.secrets.entry(name).or_default();
        if let (Some(owner), TOKEN_KEY) = (owner, key.as_str()) {
            secret
                .labels
                .entry(VIRTUAL_KEY_LABEL.to_owned())
                .or_insert(owner);
        }
        let value = Redacted::new(value.into_bytes());
        secret.data.entry(key).or_insert(value);
    }
}

#[test]
fn every_example_in_a_document_compiles_and_misses_nothing() {
    let mut objects = 0;
    for document in documents() {
        let yaml = document.blocks_of("yaml").join("\n---\n");
        let compiled = compiled(&yaml).unwrap_or_else(|error| panic!("{document}: {error}"));
        for (id, verdict) in compiled.verdicts {
            assert!(!verdict.is_refused(), "{document}: {id}: {verdict:?}");
            assert!(
                verdict.resolved_refs.holds(),
                "{document}: {id}: {verdict:?}"
            );
            objects += 1;
        }
    }
    assert!(objects >= 3, "the search found the examples");
}

#[test]
fn every_script_of_faults_in_a_document_can_be_carried_out() {
    let mut scripts = 0;
    for document in documents() {
        for script in document.blocks_of("yaml script") {
            let read = script.parse::<weighbridge_mock::Script>();
            let script = read.unwrap_or_else(|error| panic!("{document}: {error}"));
            assert!(!script.rules.is_empty(), "{document}");
            scripts += 1;
        }
    }
    assert!(scripts > 0, "the search found the scripts");
}
