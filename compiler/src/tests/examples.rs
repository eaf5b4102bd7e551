//! Every example, compiled: the snapshot and the verdicts, as golden files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use weighbridge_snapshot::{CredentialName, ObjectName, Provider, Route, VirtualKey};

use super::worlds::world;
use crate::{Compiled, LastGood, ObjectId, StatusCondition, compile};

/// A compile's results in a readable form, without credentials.
#[derive(Serialize)]
struct Golden<'a> {
    providers: &'a BTreeMap<ObjectName, Provider>,
    routes: &'a BTreeMap<ObjectName, Route>,
    virtual_keys: &'a BTreeMap<ObjectName, VirtualKey>,
    credentials: Vec<&'a CredentialName>,
    verdicts: BTreeMap<&'a ObjectId, GoldenVerdict<'a>>,
}

#[derive(Serialize)]
struct GoldenVerdict<'a> {
    conditions: Vec<StatusCondition>,
    shadowed: &'a [String],
    warnings: &'a [String],
}

fn golden(compiled: &Compiled) -> Golden<'_> {
    let verdicts = compiled.verdicts.iter();
    Golden {
        providers: &compiled.snapshot.providers,
        routes: &compiled.snapshot.routes,
        virtual_keys: &compiled.snapshot.virtual_keys,
        credentials: compiled.snapshot.credentials.keys().collect(),
        verdicts: verdicts
            .map(|(id, verdict)| {
                let golden = GoldenVerdict {
                    conditions: verdict.conditions(),
                    shadowed: &verdict.shadowed,
                    warnings: &verdict.warnings,
                };
                (id, golden)
            })
            .collect(),
    }
}

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn example(folder: &str) -> Compiled {
    let mut files: Vec<_> = std::fs::read_dir(examples().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let texts = files
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap());
    compile(
        &world(&texts.collect::<Vec<_>>().join("\n---\n")),
        &LastGood::default(),
    )
}

#[test]
fn quickstart_shares_the_traffic_of_two_accounts() {
    insta::assert_yaml_snapshot!(golden(&example("quickstart")));
}

#[test]
fn failover_has_two_targets_in_order() {
    insta::assert_yaml_snapshot!(golden(&example("failover")));
}

#[test]
fn teams_are_granted_what_the_platform_team_wrote() {
    insta::assert_yaml_snapshot!(golden(&example("teams")));
}

#[test]
fn no_example_is_refused_or_warned_about() {
    let mut folders = 0;
    for entry in std::fs::read_dir(examples()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            folders += 1;
            for (id, verdict) in example(path.file_name().unwrap().to_str().unwrap()).verdicts {
                assert!(!verdict.is_refused(), "{id}: {verdict:?}");
                assert!(verdict.warnings.is_empty(), "{id}: {verdict:?}");
            }
        }
    }
    assert!(folders >= 3);
}
