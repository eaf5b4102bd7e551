//! Folders looked at again and again: edits, breakage, removal.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;
use weighbridge_compiler::{Compiled, Kind, ObjectId, compile};
use weighbridge_snapshot::ObjectName;

use super::*;
use crate::load::FILE_BYTES;

/// A folder of resources, looked at again and again.
struct Folder {
    directory: TempDir,
    sources: Sources,
    last_good: LastGood,
}

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let this = Self {
            sources: Sources::new(vec![folder.path().to_owned()], None).unwrap(),
            directory: folder,
            last_good: LastGood::default(),
        };
        for (name, text) in files {
            this.write(name, text);
        }
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn look(&mut self) -> (Reading, Compiled) {
        let reading = self.sources.read(&self.last_good, Minting::Kept);
        let compiled = compile(&reading.world, &self.last_good);
        self.last_good = compiled.last_good.clone();
        (reading, compiled)
    }

    /// Problems without the temporary folder's name.
    fn problems(&self, reading: &Reading) -> Vec<String> {
        let folder = format!("{}/", self.directory.path().display());
        let problems = reading.problems.iter();
        problems
            .map(|problem| problem.to_string().replace(&folder, ""))
            .collect()
    }
}

fn provider(name: &str, host: &str) -> String {
    format!(
        "---\napiVersion: weighbridge.dev/v1alpha1\nkind: Provider\nmetadata: {{name: {name}}}\nspec: {{dialect: OpenAI, endpoint: 'https://{host}'}}\n"
    )
}

fn secret(name: &str, value: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{k: {value}}}\n"
    )
}

fn hosts(compiled: &Compiled) -> Vec<String> {
    let providers = compiled.snapshot.providers.iter();
    providers
        .map(|(name, provider)| format!("{}@{}", name.name, provider.endpoint.host))
        .collect()
}

#[test]
fn reads_folders_in_depth_and_leaves_hidden_and_foreign_files_out() {
    let mut folder = Folder::with(&[
        ("a.yaml", &provider("a", "a")),
        ("deep/er/b.yml", &provider("b", "b")),
        (
            "c.json",
            r#"{"apiVersion": "weighbridge.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "c"}, "spec": {"dialect": "OpenAI", "endpoint": "https://c"}}"#,
        ),
        (".hidden.yaml", &provider("hidden", "x")),
        ("..data/d.yaml", &provider("data", "x")),
        ("secrets/e.yaml", &provider("secret", "x")),
        ("notes.txt", "not for us"),
    ]);
    let (reading, compiled) = folder.look();
    assert_eq!(folder.problems(&reading), Vec::<String>::new());
    assert_eq!(hosts(&compiled), ["a@a", "b@b", "c@c"]);
}

#[test]
fn a_mounted_folder_is_read_once_through_its_links() {
    let mut folder = Folder::with(&[("..2026/a.yaml", &provider("a", "a"))]);
    symlink("..2026", folder.path("..data")).unwrap();
    symlink("..data/a.yaml", folder.path("a.yaml")).unwrap();
    symlink(".", folder.path("round")).unwrap();
    let (reading, compiled) = folder.look();
    assert_eq!(folder.problems(&reading), Vec::<String>::new());
    assert_eq!(hosts(&compiled), ["a@a"]);
}

#[test]
fn a_removed_file_is_a_deletion() {
    let mut folder = Folder::with(&[
        ("a.yaml", &provider("a", "a")),
        ("b.yaml", &provider("b", "b")),
    ]);
    folder.look();
    fs::remove_file(folder.path("a.yaml")).unwrap();
    let (reading, compiled) = folder.look();
    assert!(reading.problems.is_empty());
    assert_eq!(hosts(&compiled), ["b@b"]);
}

#[test]
fn a_broken_document_keeps_what_its_file_held_and_others_apply() {
    let mut folder = Folder::with(&[
        (
            "a.yaml",
            &(provider("a", "a") + &provider("also", "a") + &secret("s", "old")),
        ),
        ("b.yaml", &provider("b", "b")),
    ]);
    folder.look();
    folder.write("a.yaml", &(provider("a", "new") + "---\nx: [\n"));
    folder.write("b.yaml", &provider("b", "new"));
    let (reading, compiled) = folder.look();
    assert_eq!(hosts(&compiled), ["a@new", "also@a", "b@new"]);
    assert!(
        reading
            .world
            .secrets
            .contains_key(&ObjectName::new("default", "s"))
    );
    assert_eq!(
        folder.problems(&reading),
        ["a.yaml:8:1: not YAML: did not find expected node content, while parsing a flow node"]
    );
    let also = ObjectId::new(Kind::Provider, ObjectName::new("default", "also"));
    assert!(compiled.verdicts[&also].is_refused());
    assert!(
        compiled.verdicts[&also]
            .accepted
            .message
            .contains("its last good form stays in force")
    );

    // Mended, and one object left out: that one is gone now.
    folder.write("a.yaml", &provider("a", "new"));
    let (reading, compiled) = folder.look();
    assert_eq!(hosts(&compiled), ["a@new", "b@new"]);
    assert!(reading.world.secrets.is_empty());
}

#[test]
fn an_unreadable_object_keeps_its_last_good_form_and_deletions_beside_it_apply() {
    let mut folder = Folder::with(&[(
        "a.yaml",
        &(provider("a", "a") + &provider("gone", "a") + &secret("s", "old")),
    )]);
    folder.look();
    let broken = provider("a", "new").replace("endpoint", "endpiont");
    let broken_secret = secret("s", "new").replace("stringData", "stringDate");
    folder.write("a.yaml", &(broken + &broken_secret));
    let (reading, compiled) = folder.look();
    assert_eq!(hosts(&compiled), ["a@a"]);
    let kept = &reading.world.secrets[&ObjectName::new("default", "s")];
    assert_eq!(kept.data["k"].expose(), b"old");
    assert_eq!(reading.problems.len(), 2);
}

#[test]
fn an_object_in_two_places_is_refused_with_both_named() {
    let mut folder = Folder::with(&[("a.yaml", &provider("a", "a"))]);
    folder.look();
    folder.write("b.yaml", &("# second\n".to_owned() + &provider("a", "b")));
    let (reading, compiled) = folder.look();
    assert_eq!(hosts(&compiled), ["a@a"], "the form of before stays");
    let problem = folder.problems(&reading).remove(0);
    let first = folder.path("a.yaml");
    let first = format!("{}/", first.parent().unwrap().display());
    assert_eq!(
        problem.replace(&first, ""),
        "b.yaml:3: Provider default/a: found a second time, first at a.yaml:2; allowed is one object of a kind, namespace and name"
    );
    fs::remove_file(folder.path("a.yaml")).unwrap();
    assert_eq!(hosts(&folder.look().1), ["a@b"]);
}

#[test]
fn an_object_may_move_to_another_file_while_its_old_one_is_broken() {
    let mut folder = Folder::with(&[("a.yaml", &provider("a", "a"))]);
    folder.look();
    folder.write("a.yaml", "x: [");
    folder.write("b.yaml", &provider("a", "b"));
    assert_eq!(hosts(&folder.look().1), ["a@b"]);
}

#[test]
fn a_given_path_that_disappears_keeps_its_objects() {
    let outer = TempDir::new().unwrap();
    let inner = outer.path().join("resources");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("a.yaml"), provider("a", "a")).unwrap();
    let mut sources = Sources::new(vec![inner.clone()], None).unwrap();
    let first = sources.read(&LastGood::default(), Minting::Kept);
    let last_good = compile(&first.world, &LastGood::default()).last_good;
    fs::remove_dir_all(&inner).unwrap();
    let second = sources.read(&last_good, Minting::Kept);
    assert_eq!(second.problems.len(), 1);
    assert_eq!(hosts(&compile(&second.world, &last_good)), ["a@a"]);
}

const KEY: &str = "apiVersion: weighbridge.dev/v1alpha1
kind: VirtualKey
metadata: {name: v}
spec: {routeRefs: [{namespace: default, name: '*'}], secretName: v}
";

#[test]
fn a_folder_that_is_moved_away_keeps_objects_tokens_and_credentials_and_is_not_made_anew() {
    let outer = TempDir::new().unwrap();
    let folder = outer.path().join("resources");
    fs::create_dir_all(folder.join("secrets/default/p")).unwrap();
    fs::write(folder.join("secrets/default/p/k"), "sk-one").unwrap();
    let account = "accounts: [{name: a, secretRef: {name: p, key: k}}], endpoint";
    let provider = provider("p", "p").replace("endpoint", account);
    fs::write(folder.join("a.yaml"), provider + "---\n" + KEY).unwrap();
    let mut sources = Sources::new(vec![folder.clone()], None).unwrap();
    let first = sources.read(&LastGood::default(), Minting::Kept);
    let first = compile(&first.world, &LastGood::default());
    let away = outer.path().join("away");
    fs::rename(&folder, &away).unwrap();
    // Again and again: what is kept once must not be lost the next time.
    let mut last_good = first.last_good.clone();
    for _ in 0..3 {
        let reading = sources.read(&last_good, Minting::Kept);
        let compiled = compile(&reading.world, &last_good);
        assert_eq!(compiled.snapshot, first.snapshot);
        assert_eq!(reading.search.minted, []);
        assert!(!folder.exists());
        last_good = compiled.last_good;
    }
    fs::rename(&away, &folder).unwrap();
    let reading = sources.read(&last_good, Minting::Kept);
    assert_eq!(reading.problems.len() + reading.search.faults.len(), 0);
    let back = compile(&reading.world, &last_good);
    assert_eq!(back.snapshot, first.snapshot);
    assert_eq!(first.snapshot.credentials.len(), 1);
    assert_eq!(
        first
            .snapshot
            .virtual_keys
            .values()
            .next()
            .unwrap()
            .tokens
            .len(),
        1
    );
}

#[test]
fn a_deleted_virtual_key_gets_no_new_token() {
    let mut folder = Folder::with(&[("p.yaml", &provider("p", "p")), ("key.yaml", KEY)]);
    folder.look();
    fs::remove_file(folder.path("secrets/default/v/token")).unwrap();
    fs::remove_file(folder.path("key.yaml")).unwrap();
    let (reading, compiled) = folder.look();
    assert_eq!(reading.search.minted, []);
    assert!(compiled.snapshot.virtual_keys.is_empty());
    assert!(!folder.path("secrets/default/v/token").exists());
}

#[test]
fn suspension_expiry_and_grants_do_not_wait_for_a_mended_edit() {
    let route = "---\napiVersion: weighbridge.dev/v1alpha1\nkind: Route\nmetadata: {name: r}\nspec:\n  models: [m]\n  targets: [{name: t, backends: [{name: b, providerRef: {name: p}, model: m}]}]\n  allowedVirtualKeys: {namespaces: {from: All}}\n";
    let list = |items: &[&str]| {
        let item = |text: &&str| {
            let lines: Vec<&str> = text.trim_start_matches("---").trim().lines().collect();
            format!("- {}\n", lines.join("\n  "))
        };
        let items: String = items.iter().map(item).collect();
        format!("apiVersion: v1\nkind: List\nitems:\n{items}")
    };
    let key = KEY.replace("secretName", "routeReffs: [], suspend: true, secretName");
    let closed = route
        .replace("from: All", "from: Same")
        .replace("models:", "modles:");
    let edits = [
        (key.clone() + &closed, "documents"),
        (list(&[&key, &closed]), "a List"),
    ];
    for (edit, name) in edits {
        let mut folder = Folder::with(&[
            ("p.yaml", &provider("p", "p")),
            ("a.yaml", &(KEY.to_owned() + route)),
        ]);
        let (_, compiled) = folder.look();
        let of = |compiled: &Compiled| {
            let key = compiled.snapshot.virtual_keys.values().next().unwrap();
            let route = compiled.snapshot.routes.values().next().unwrap();
            (key.suspended, route.admits.contains("elsewhere"))
        };
        assert_eq!(of(&compiled), (false, true), "{name}");
        folder.write("a.yaml", &edit);
        let (reading, compiled) = folder.look();
        assert_eq!(reading.problems.len(), 2, "{name}");
        assert_eq!(of(&compiled), (true, false), "{name}");
    }
}

#[test]
fn a_namespace_that_cannot_be_read_is_there_without_known_labels() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, labels: {a: b}}\n";
    let broken = namespace.replace("labels", "lables");
    let mut folder = Folder::with(&[("n.yaml", &broken), ("p.yaml", &provider("p", "p"))]);
    let (reading, _) = folder.look();
    assert!(reading.world.unreadable_namespaces.contains("n"));
    assert!(reading.world.namespaces.is_empty());
    // Once they were read, they are known.
    folder.write("n.yaml", namespace);
    folder.look();
    folder.write("n.yaml", &broken);
    let (reading, _) = folder.look();
    assert_eq!(reading.world.namespaces["n"]["a"], "b");
}

#[test]
fn a_file_that_is_being_written_counts_as_it_was() {
    let mut folder = Folder::with(&[("a.yaml", &(provider("a", "a") + "---\nx: [\n"))]);
    let (before, _) = folder.look();
    folder.write("a.yaml", "");
    let writing = BTreeSet::from([folder.path("a.yaml").canonicalize().unwrap()]);
    for _ in 0..2 {
        let reading = folder
            .sources
            .read_beside(&writing, &folder.last_good, Minting::Kept);
        assert_eq!(reading.world.providers, before.world.providers);
        assert_eq!(reading.problems, before.problems);
    }
    let (reading, compiled) = folder.look();
    assert_eq!(hosts(&compiled), Vec::<String>::new());
    assert_eq!(reading.ignored.len(), 1, "it is told that nothing is in it");
}

#[test]
fn what_links_lead_to_is_of_interest() {
    let other = TempDir::new().unwrap();
    let other = other.path().canonicalize().unwrap();
    fs::write(other.join("real.yaml"), provider("a", "a")).unwrap();
    fs::write(other.join("k"), "sk-one").unwrap();
    let account = "accounts: [{name: a, secretRef: {name: p, key: k}}], endpoint";
    let with_account = provider("b", "b").replace("endpoint", account);
    let mut folder = Folder::with(&[("b.yaml", &with_account)]);
    symlink(other.join("real.yaml"), folder.path("link.yaml")).unwrap();
    fs::create_dir_all(folder.path("secrets/default/p")).unwrap();
    symlink(other.join("k"), folder.path("secrets/default/p/k")).unwrap();
    let (reading, compiled) = folder.look();
    assert_eq!(hosts(&compiled), ["a@a", "b@b"]);
    for name in ["real.yaml", "k"] {
        let path = other.join(name);
        assert!(reading.interest.paths.contains(&path), "{name}");
    }
    let given = Sources::new(vec![folder.path("link.yaml")], None)
        .unwrap()
        .read(&LastGood::default(), Minting::Forgotten);
    assert!(given.interest.paths.contains(&other.join("real.yaml")));
}

#[test]
fn pipes_and_large_files_are_refused_without_reading_them() {
    let mut folder = Folder::with(&[("a.yaml", &provider("a", "a"))]);
    let made = std::process::Command::new("mkfifo")
        .arg(folder.path("pipe.yaml"))
        .status();
    assert!(made.unwrap().success());
    let large = fs::File::create(folder.path("large.yaml")).unwrap();
    large.set_len(FILE_BYTES + 1).unwrap();
    let (reading, compiled) = folder.look();
    assert_eq!(hosts(&compiled), ["a@a"]);
    assert_eq!(
        folder.problems(&reading),
        [
            "large.yaml: can't be read: found more than 16777216 bytes; allowed are that many",
            "pipe.yaml: found neither a file nor a folder",
        ]
    );
}

#[test]
fn a_path_that_is_not_there_is_refused() {
    let error = Sources::new(vec!["/not/there".into()], None).err().unwrap();
    assert_eq!(
        error.to_string(),
        "/not/there: there is no such file or folder"
    );
}

#[test]
fn the_directory_of_secrets_is_in_the_first_folder_or_beside_the_first_file() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, "").unwrap();
    let of = |paths: &[&Path], given: Option<&str>| {
        let paths = paths.iter().map(|path| path.to_path_buf()).collect();
        let sources = Sources::new(paths, given.map(PathBuf::from)).unwrap();
        sources.secrets().to_owned()
    };
    let secrets = folder.path().join("secrets");
    assert_eq!(of(&[&file], None), secrets);
    assert_eq!(
        of(&[Path::new("/proc/self/status"), folder.path()], None),
        secrets
    );
    assert_eq!(of(&[folder.path()], Some("/else")), Path::new("/else"));
}
