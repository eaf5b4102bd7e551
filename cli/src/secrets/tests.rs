//! Where secrets are found, in which order, and how a token is minted.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use std::path::Path;

use tempfile::TempDir;
use weighbridge_compiler::Secret;

use super::*;
use crate::load::{Object, parse};

/// A world with one Provider that refers to Secret `p`, key `k`, and a VirtualKey with Secret `t`.
fn world() -> World {
    world_of(
        "
apiVersion: weighbridge.dev/v1alpha1
kind: Provider
metadata: {name: p, namespace: n}
spec:
  dialect: OpenAI
  endpoint: https://example.com
  accounts: [{name: a, secretRef: {name: p, key: k}}]
---
apiVersion: weighbridge.dev/v1alpha1
kind: VirtualKey
metadata: {name: v, namespace: n}
spec: {routeRefs: [{namespace: n, name: r}], secretName: t}
",
    )
}

fn world_of(yaml: &str) -> World {
    let mut world = World::default();
    let parsed = parse(&Path::new("a.yaml").into(), yaml.as_bytes());
    assert_eq!(parsed.problems, []);
    for found in parsed.objects {
        match found.object {
            Object::Provider(object) => {
                let name = object.metadata.name.clone().unwrap();
                world.providers.insert(ObjectName::new("n", name), *object);
            }
            Object::VirtualKey(object) => {
                let name = object.metadata.name.clone().unwrap();
                world
                    .virtual_keys
                    .insert(ObjectName::new("n", name), *object);
            }
            other => panic!("not for this test: {other:?}"),
        }
    }
    world
}

fn nothing(_: &str) -> Option<OsString> {
    None
}

fn fill(
    world: &mut World,
    directory: &Path,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Search {
    let directory = Directory::given(directory.to_owned());
    let seeker = Seeker {
        directory: &directory,
        environment,
        writing: &BTreeSet::new(),
        minting: Minting::Kept,
    };
    seeker.fill(world, &LastGood::default())
}

fn put(directory: &TempDir, file: &str, text: &[u8]) {
    let file = directory.path().join(file);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

fn value<'a>(world: &'a World, secret: &str, key: &str) -> Option<&'a [u8]> {
    let secret = world.secrets.get(&ObjectName::new("n", secret))?;
    Some(secret.data.get(key)?.expose())
}

fn manifest(world: &mut World, name: &str, labels: &[(&str, &str)], data: &[(&str, &str)]) {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let data = data.iter().map(own);
    let data = data.map(|(key, value)| (key, Redacted::new(value.into_bytes())));
    let secret = Secret {
        labels: labels.iter().map(own).collect(),
        data: data.collect(),
    };
    world.secrets.insert(ObjectName::new("n", name), secret);
}

#[test]
fn manifests_come_before_the_directory_and_that_before_the_environment() {
    let directory = TempDir::new().unwrap();
    let environment =
        |name: &str| (name == "WEIGHBRIDGE_SECRET_N__P__K").then(|| "of-environment".into());
    let mut third = world();
    fill(&mut third, directory.path(), &environment);
    assert_eq!(value(&third, "p", "k"), Some(b"of-environment".as_slice()));

    put(&directory, "n/p/k", b"of-directory\n");
    let mut second = world();
    fill(&mut second, directory.path(), &environment);
    assert_eq!(value(&second, "p", "k"), Some(b"of-directory\n".as_slice()));

    let mut first = world();
    manifest(&mut first, "p", &[], &[("k", "of-manifest")]);
    fill(&mut first, directory.path(), &environment);
    assert_eq!(value(&first, "p", "k"), Some(b"of-manifest".as_slice()));
}

#[test]
fn a_file_is_read_as_it_is_and_its_line_break_left_to_the_compiler() {
    let directory = TempDir::new().unwrap();
    put(&directory, "n/p/k", b"sk-one\r\n");
    let mut world = world();
    fill(&mut world, directory.path(), &nothing);
    assert_eq!(value(&world, "p", "k"), Some(b"sk-one\r\n".as_slice()));
    let compiled = weighbridge_compiler::compile(&world, &LastGood::default());
    let credential = compiled.snapshot.credentials.values().next().unwrap();
    let weighbridge_snapshot::Credential::ApiKey(key) = credential;
    assert_eq!(key.expose(), "sk-one");
}

#[test]
fn a_token_is_made_kept_for_the_owner_alone_and_used_again() {
    let directory = TempDir::new().unwrap();
    let secrets = directory.path().join("secrets");
    let mut first = world();
    let search = fill(&mut first, &secrets, &nothing);
    let file = secrets.join("n/t/token");
    let minted = Minted {
        virtual_key: ObjectName::new("n", "v"),
        file: file.clone(),
    };
    assert_eq!(search.minted, [minted]);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&file), 0o600);
    for folder in ["", "n", "n/t"] {
        assert_eq!(mode(&secrets.join(folder)), 0o700, "{folder}");
    }
    let kept = fs::read(&file).unwrap();
    assert_eq!(kept.strip_suffix(b"\n"), value(&first, "t", "token"));
    let label = &first.secrets[&ObjectName::new("n", "t")].labels[VIRTUAL_KEY_LABEL];
    assert_eq!(label, "v");
    assert_eq!(
        fs::read_dir(file.parent().unwrap()).unwrap().count(),
        1,
        "no draft stays"
    );

    let mut second = world();
    let search = fill(&mut second, &secrets, &nothing);
    assert_eq!(search.minted, []);
    assert_eq!(search.token_files[&ObjectName::new("n", "v")], file);
    assert_eq!(value(&second, "t", "token"), Some(kept.as_slice()));
}

#[test]
fn a_check_makes_no_file() {
    let directory = TempDir::new().unwrap();
    let given = Directory::given(directory.path().to_owned());
    let seeker = Seeker {
        directory: &given,
        environment: &nothing,
        writing: &BTreeSet::new(),
        minting: Minting::Forgotten,
    };
    let mut world = world();
    let search = seeker.fill(&mut world, &LastGood::default());
    assert_eq!(search.to_mint, BTreeSet::from([ObjectName::new("n", "v")]));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    assert!(value(&world, "t", "token").is_some());
}

#[test]
fn a_virtual_keys_secret_without_its_label_is_neither_read_nor_written() {
    let directory = TempDir::new().unwrap();
    put(&directory, "n/t/token", b"a-token-of-a-directory");
    for labels in [&[][..], &[(VIRTUAL_KEY_LABEL, "another")]] {
        let mut world = world();
        manifest(&mut world, "t", labels, &[]);
        let search = fill(&mut world, directory.path(), &nothing);
        assert_eq!(value(&world, "t", "token"), None);
        assert_eq!(search.minted, []);
    }
    let mut labelled = world();
    manifest(
        &mut labelled,
        "t",
        &[(VIRTUAL_KEY_LABEL, "v")],
        &[("token", "brought-by-its-owner")],
    );
    let search = fill(&mut labelled, directory.path(), &nothing);
    assert_eq!(
        value(&labelled, "t", "token"),
        Some(b"brought-by-its-owner".as_slice())
    );
    assert_eq!(search.minted, []);
}

#[test]
fn a_variable_with_two_meanings_is_refused_and_not_used() {
    let mut world = world_of(
        "
apiVersion: weighbridge.dev/v1alpha1
kind: Provider
metadata: {name: p, namespace: n}
spec:
  dialect: OpenAI
  endpoint: https://example.com
  accounts:
  - {name: a, secretRef: {name: p-q, key: k}}
  - {name: b, secretRef: {name: p.q, key: k}}
",
    );
    let directory = TempDir::new().unwrap();
    let environment =
        |name: &str| (name == "WEIGHBRIDGE_SECRET_N__P_Q__K").then(|| "hunter2".into());
    let search = fill(&mut world, directory.path(), &environment);
    assert_eq!(
        (value(&world, "p-q", "k"), value(&world, "p.q", "k")),
        (None, None)
    );
    let faults: Vec<&String> = search.faults.iter().collect();
    assert_eq!(
        faults,
        [
            "variable WEIGHBRIDGE_SECRET_N__P_Q__K: found 2 meanings (key \"k\" of Secret n/p-q, key \"k\" of Secret n/p.q); allowed is one, so it is not used; put these secrets into files"
        ]
    );
}

#[test]
fn a_variable_has_one_meaning_once_the_other_secret_is_in_a_file() {
    let mut world = world_of(
        "
apiVersion: weighbridge.dev/v1alpha1
kind: Provider
metadata: {name: p, namespace: n}
spec:
  dialect: OpenAI
  endpoint: https://example.com
  accounts:
  - {name: a, secretRef: {name: p-q, key: k}}
  - {name: b, secretRef: {name: p.q, key: k}}
  - {name: c, secretRef: {name: p-q, key: K}}
",
    );
    manifest(&mut world, "p-q", &[], &[("K", "of-manifest")]);
    let directory = TempDir::new().unwrap();
    put(&directory, "n/p.q/k", b"of-directory");
    let environment =
        |name: &str| (name == "WEIGHBRIDGE_SECRET_N__P_Q__K").then(|| "of-environment".into());
    let search = fill(&mut world, directory.path(), &environment);
    assert_eq!(search.faults, BTreeSet::new());
    assert_eq!(
        (value(&world, "p-q", "k"), value(&world, "p.q", "k")),
        (
            Some(b"of-environment".as_slice()),
            Some(b"of-directory".as_slice())
        )
    );
}

#[test]
fn no_token_is_made_for_a_virtual_key_that_only_was() {
    let directory = TempDir::new().unwrap();
    let mut first = world();
    let given = Directory::given(directory.path().to_owned());
    let seeker = Seeker {
        directory: &given,
        environment: &nothing,
        writing: &BTreeSet::new(),
        minting: Minting::Kept,
    };
    seeker.fill(&mut first, &LastGood::default());
    let last_good = weighbridge_compiler::compile(&first, &LastGood::default()).last_good;
    fs::remove_dir_all(directory.path().join("n")).unwrap();
    let search = seeker.fill(&mut World::default(), &last_good);
    assert_eq!(search.minted, []);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_went_away_is_neither_forgotten_nor_made_anew() {
    let outer = TempDir::new().unwrap();
    let folder = outer.path().join("resources");
    fs::create_dir(&folder).unwrap();
    for (directory, base) in [
        (Directory::within(Some(&folder)), folder.clone()),
        (Directory::given(folder.join("given")), folder.join("given")),
    ] {
        let mut directory = directory;
        let mut first = world();
        let seek = |directory: &Directory, world: &mut World| {
            let seeker = Seeker {
                directory,
                environment: &nothing,
                writing: &BTreeSet::new(),
                minting: Minting::Kept,
            };
            seeker.fill(world, &LastGood::default())
        };
        let search = seek(&directory, &mut first);
        assert_eq!(search.minted.len(), 1);
        directory.remember(&search.read);
        let away = outer.path().join("away");
        fs::rename(&base, &away).unwrap();

        let mut second = world();
        let search = seek(&directory, &mut second);
        directory.remember(&search.read);
        assert_eq!(value(&second, "t", "token"), value(&first, "t", "token"));
        assert_eq!(search.minted, []);
        let fault = search.faults.first().unwrap();
        assert!(fault.contains("is gone; what it held stays"), "{fault}");

        let mut other = world();
        for key in other.virtual_keys.values_mut() {
            key.spec.secret_name = "new".to_owned();
        }
        let search = seek(&directory, &mut other);
        assert_eq!((search.minted.len(), search.faults.len()), (0, 2));
        assert!(!base.exists());
        fs::rename(&away, &base).unwrap();
    }
}

#[test]
fn a_file_that_is_being_written_counts_as_it_was() {
    let outer = TempDir::new().unwrap();
    put(&outer, "n/p/k", b"sk-old");
    let mut directory = Directory::given(outer.path().to_owned());
    let file = outer.path().join("n/p/k").canonicalize().unwrap();
    let mut worlds = [world(), world()];
    for (world, writing) in worlds
        .iter_mut()
        .zip([BTreeSet::new(), BTreeSet::from([file])])
    {
        let seeker = Seeker {
            directory: &directory,
            environment: &nothing,
            writing: &writing,
            minting: Minting::Kept,
        };
        let search = seeker.fill(world, &LastGood::default());
        directory.remember(&search.read);
        put(&outer, "n/p/k", b"");
    }
    assert_eq!(value(&worlds[1], "p", "k"), Some(b"sk-old".as_slice()));
}

#[test]
fn what_cannot_be_read_or_kept_is_told_without_a_secret() {
    let directory = TempDir::new().unwrap();
    put(&directory, "n/p/k/x", b"a folder where a file should be");
    put(&directory, "n/t", b"a file where a folder should be");
    let mut world = world();
    let search = fill(&mut world, directory.path(), &nothing);
    let folder = format!("{}/", directory.path().display());
    let faults: Vec<String> = search
        .faults
        .iter()
        .map(|fault| fault.replace(&folder, ""))
        .collect();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_eq!(
        faults[0],
        "n/p/k: the secret can't be read: it is not a file"
    );
    assert!(
        faults[1].starts_with("n/t/token: the token made for VirtualKey n/v can't be kept: "),
        "{}",
        faults[1]
    );
    assert!(!faults.concat().contains("wb-"));
}
