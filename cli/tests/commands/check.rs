//! `check`: verdicts, exit codes, the snapshot.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::program::{run, text};
use super::resources::{Folder, KEY, provider, route};

fn good() -> Folder {
    let folder = Folder::new();
    let address = "127.0.0.1:9".parse().unwrap();
    fs::write(
        folder.path("a.yaml"),
        [provider(address, "a"), route("m"), KEY.to_owned()].join("---\n"),
    )
    .unwrap();
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: p}\nstringData: {k: hunter2-credential}\n";
    fs::write(folder.path("secret.yaml"), secret).unwrap();
    folder
}

/// A command's standard output, without the folder's name.
fn shown(folder: &Folder, output: &std::process::Output) -> String {
    text(&output.stdout)
        .replace(&folder.text(""), "")
        .replace(&*folder.0.path().to_string_lossy(), "FOLDER")
}

#[test]
fn a_good_folder_is_0_and_stays_as_it_was() {
    let folder = good();
    let output = run(&["check", &folder.text("")]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(shown(&folder, &output));
    let names: Vec<_> = fs::read_dir(folder.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn what_is_refused_missing_or_ignored_is_told_and_refusals_are_1() {
    let folder = good();
    fs::write(folder.path("b.yaml"), "a: [").unwrap();
    fs::write(
        folder.path("c.yaml"),
        route("m")
            .replace("name: r}", "name: typo}")
            .replace("models", "modles"),
    )
    .unwrap();
    fs::write(
        folder.path("d.yaml"),
        provider("127.0.0.1:9".parse().unwrap(), "a")
            .replace("name: p}\nspec", "name: q}\nspec")
            .replace("key: k", "key: none"),
    )
    .unwrap();
    fs::write(
        folder.path("e.yaml"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n",
    )
    .unwrap();
    fs::write(
        folder.path("f.yaml"),
        route("m")
            .replace("name: r}", "name: empty}")
            .replace("[m]", "[]"),
    )
    .unwrap();
    let output = run(&["check", &folder.text("")]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(shown(&folder, &output));
}

#[test]
fn json_holds_the_conditions_of_a_status() {
    let folder = good();
    fs::remove_file(folder.path("secret.yaml")).unwrap();
    fs::write(folder.path("b.yaml"), "a: [").unwrap();
    let output = run(&["check", &folder.text(""), "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = shown(&folder, &output);
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let item = &value["items"][0];
    assert_eq!(
        (&item["kind"], &item["metadata"]["name"]),
        (&"Provider".into(), &"p".into())
    );
    assert_eq!(item["status"]["conditions"][1]["type"], "ResolvedRefs");
    assert_eq!(item["status"]["conditions"][1]["status"], "False");
    let problem = &value["problems"][0];
    assert_eq!(
        (&problem["file"], &problem["line"], &problem["column"]),
        (&"b.yaml".into(), &2.into(), &1.into())
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn a_missing_secret_names_every_place() {
    let folder = good();
    fs::remove_file(folder.path("secret.yaml")).unwrap();
    let output = run(&["check", &folder.text("")]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "a missing reference is no refusal"
    );
    let shown = shown(&folder, &output);
    for place in [
        "the files given",
        "secrets/default/p/k",
        "WEIGHBRIDGE_SECRET_DEFAULT__P__K",
    ] {
        assert!(shown.contains(place), "{shown}");
    }
}

#[test]
fn the_snapshot_is_whole_private_and_stable() {
    let folder = good();
    let file = folder.path("out.json");
    fs::write(&file, "the old one").unwrap();
    let snapshot = folder.text("out.json");
    let paths = [folder.text("a.yaml"), folder.text("secret.yaml")];
    let arguments = ["check", &paths[0], &paths[1], "--snapshot", &snapshot];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("hunter2"));
    assert_eq!(
        file.metadata().unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let first = fs::read(&file).unwrap();
    let decoded = weighbridge_snapshot::decode(&first).unwrap();
    assert_eq!(
        decoded.providers.len() + decoded.routes.len() + decoded.virtual_keys.len(),
        3
    );
    let token = fs::read_to_string(folder.path("secrets/default/v/token")).unwrap();
    let digest = weighbridge_snapshot::TokenDigest::of(token.trim_end().as_bytes());
    assert_eq!(
        decoded.virtual_keys.values().next().unwrap().tokens,
        [digest]
    );
    run(&arguments);
    assert_eq!(
        fs::read(&file).unwrap(),
        first,
        "the token made first is used again"
    );
}

#[test]
fn a_snapshot_that_would_lack_something_is_not_written() {
    let folder = good();
    fs::write(folder.path("b.yaml"), "a: [").unwrap();
    let output = run(&[
        "check",
        &folder.text(""),
        "--snapshot",
        &folder.text("out.json"),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is not written"));
    assert!(!folder.path("out.json").exists() && !folder.path("secrets").exists());
}

#[test]
fn a_token_that_cannot_be_kept_is_a_refusal_and_no_snapshot() {
    let folder = good();
    fs::write(folder.path("file"), "").unwrap();
    let output = run(&[
        "check",
        &folder.text(""),
        "--secrets",
        &folder.text("file"),
        "--snapshot",
        &folder.text("out.json"),
    ]);
    let shown = shown(&folder, &output);
    assert!(
        shown.contains("refused: file/default/v/token: the token"),
        "{shown}"
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(!folder.path("out.json").exists());
}

#[test]
fn a_snapshot_among_the_files_is_none_of_them() {
    let folder = good();
    let (path, file) = (folder.text(""), folder.text("snapshot.json"));
    for _ in 0..2 {
        let output = run(&["check", &path, "--snapshot", &file]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
        assert!(!text(&output.stdout).contains("ignored"));
    }
    let output = run(&["check", &path]);
    assert_eq!(output.status.code(), Some(0));
    let shown = shown(&folder, &output);
    assert!(
        shown.contains("ignored: snapshot.json:1: a compiled snapshot is not read here"),
        "{shown}"
    );
}

#[test]
fn no_name_can_forge_a_line_or_move_the_cursor() {
    let folder = good();
    let forged = r#""x\nrefused: all is lost\e[2J""#;
    for (name, value) in [("b.yaml", "name: FORGED"), ("c.yaml", "FORGED: 1, name: c")] {
        let route = route("m").replace("name: r}", "NAME}");
        let route = route.replace("NAME", &value.replace("FORGED", forged));
        fs::write(folder.path(name), route).unwrap();
    }
    fs::write(
        folder.path("d.yaml"),
        format!("apiVersion: v1\nkind: {forged}\n"),
    )
    .unwrap();
    let output = run(&["check", &folder.text("")]);
    assert_eq!(output.status.code(), Some(1));
    let shown = shown(&folder, &output);
    assert!(!shown.contains('\u{1b}'), "{shown}");
    let forged = shown
        .lines()
        .filter(|line| line.starts_with("refused: all"));
    assert_eq!(forged.count(), 0, "{shown}");
    assert!(shown.matches("all is lost").count() >= 4, "{shown}");
}

#[test]
fn nothing_to_check_is_2() {
    let folder = Folder::new();
    for (path, part) in [
        (folder.text(""), "found no Provider"),
        (folder.text("none"), "no such file or folder"),
    ] {
        let output = run(&["check", &path]);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            text(&output.stderr).contains(part),
            "{}",
            text(&output.stderr)
        );
    }
}
