//! Worlds from YAML, for the tests.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml::Value;
use weighbridge_snapshot::{ObjectName, Redacted};

use crate::{Secret, World};

/// Reads a stream of resources; panics on what can't be read.
pub(super) fn world(yaml: &str) -> World {
    let mut world = World::default();
    for document in serde_yaml::Deserializer::from_str(yaml) {
        let value = Value::deserialize(document).unwrap();
        if !value.is_null() {
            add(&mut world, value);
        }
    }
    world
}

fn add(world: &mut World, value: Value) {
    let metadata = &value["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or("default");
    let name = ObjectName::new(namespace, metadata["name"].as_str().unwrap());
    let labels = || texts(&metadata["labels"]);
    match value["kind"].as_str().unwrap() {
        "Provider" => {
            let provider = serde_yaml::from_value(value).unwrap();
            world.providers.insert(name, provider);
        }
        "Route" => {
            let route = serde_yaml::from_value(value).unwrap();
            world.routes.insert(name, route);
        }
        "VirtualKey" => {
            let key = serde_yaml::from_value(value).unwrap();
            world.virtual_keys.insert(name, key);
        }
        "Namespace" => {
            world.namespaces.insert(name.name, labels());
        }
        "Secret" => {
            let data = texts(&value["stringData"]).into_iter();
            let secret = Secret {
                labels: labels(),
                data: data
                    .map(|(key, text)| (key, Redacted::new(text.into_bytes())))
                    .collect(),
            };
            world.secrets.insert(name, secret);
        }
        kind => panic!("{kind}"),
    }
}

fn texts(value: &Value) -> BTreeMap<String, String> {
    serde_yaml::from_value::<Option<_>>(value.clone())
        .unwrap()
        .unwrap_or_default()
}
