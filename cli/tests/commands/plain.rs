//! `crds`, `mock`, and the command line itself.

use std::fs;

use super::http;
use super::program::{Program, run, text};
use super::resources::Folder;

#[test]
fn crds_prints_the_three_manifests() {
    let output = run(&["crds"]);
    assert_eq!(output.status.code(), Some(0));
    let text = text(&output.stdout);
    for name in ["providers", "routes", "virtualkeys"] {
        assert!(
            text.contains(&format!("  name: {name}.weighbridge.dev\n")),
            "{name}"
        );
    }
    assert_eq!(text.matches("kind: CustomResourceDefinition\n").count(), 3);
}

#[test]
fn wrong_use_is_2_and_names_the_way_out() {
    for arguments in [&["serve"][..], &["check"], &["nonsense"], &[]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output.stderr).contains("--help") || text(&output.stderr).contains("Usage"),
            "{arguments:?}"
        );
    }
}

#[test]
fn mock_answers_and_fails_as_told_and_ends_on_sigterm() {
    let folder = Folder::new();
    fs::write(
        folder.path("faults.yaml"),
        "rules: [{times: 1, fault: {status: 429, retry-after: 7}}]",
    )
    .unwrap();
    let script = folder.text("faults.yaml");
    let mut mock = Program::start(&[
        "mock",
        "--listen",
        "127.0.0.1:0",
        "--key",
        "sk-one",
        "--models",
        "m,n",
        "--script",
        &script,
    ]);
    let address = mock.address();
    let limited = http::chat(address, "sk-one", "m");
    assert_eq!(
        (limited.status, limited.headers["retry-after"].as_str()),
        (429, "7")
    );
    assert_eq!(http::chat(address, "sk-one", "m").status, 200);
    assert_eq!(http::chat(address, "sk-two", "m").status, 401);
    let models = http::send(
        address,
        "GET",
        "/v1/models",
        &[("authorization", "Bearer sk-one")],
        "",
    );
    assert!(
        models.body.contains("\"m\"") && models.body.contains("\"n\""),
        "{}",
        models.body
    );
    mock.signal("TERM");
    assert_eq!(mock.ended().0, Some(0));
}

#[test]
fn a_broken_script_is_told_with_its_file() {
    let folder = Folder::new();
    fs::write(folder.path("faults.yaml"), "rules: [{falt: {}}]").unwrap();
    for (file, part) in [("faults.yaml", "falt"), ("none.yaml", "can't be read")] {
        let output = run(&["mock", "--script", &folder.text(file)]);
        assert_eq!(output.status.code(), Some(2));
        let told = text(&output.stderr);
        assert!(told.contains(file) && told.contains(part), "{told}");
    }
}

#[test]
fn an_address_in_use_is_told_with_a_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for arguments in [
        &["mock", "--listen", &address][..],
        &["demo", "--listen", &address],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2));
        let told = text(&output.stderr);
        assert!(told.contains(&address) && told.contains("port 0"), "{told}");
    }
}
