//! `serve`: starting, following its files, ending.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::http::{self, Answer};
use super::program::{PATIENCE, Program, run, text};
use super::resources::{Folder, KEY, provider, route};

const TOKEN_FILE: &str = "secrets/default/v/token";

/// A gateway from a folder, before a fake provider that lets in the keys `one` and `two`.
struct Stack {
    folder: Folder,
    mock: SocketAddr,
    provider: Program,
    gateway: Program,
    address: SocketAddr,
}

impl Stack {
    fn start() -> Self {
        let mut mock = Program::start(&[
            "mock",
            "--listen",
            "127.0.0.1:0",
            "--key",
            "sk-one",
            "--key",
            "sk-two",
        ]);
        let address = mock.address();
        let folder = Folder::new();
        fs::write(folder.path("provider.yaml"), provider(address, "first")).unwrap();
        fs::write(folder.path("route.yaml"), route("m")).unwrap();
        fs::write(folder.path("key.yaml"), KEY).unwrap();
        fs::create_dir_all(folder.path("secrets/default/p")).unwrap();
        fs::write(folder.path("secrets/default/p/k"), "sk-one\n").unwrap();
        Self::serve(folder, address, mock)
    }

    fn serve(folder: Folder, mock_address: SocketAddr, mock: Program) -> Self {
        let mut gateway = Program::start(&arguments(&folder.text("")));
        let address = gateway.address();
        Self {
            folder,
            mock: mock_address,
            provider: mock,
            gateway,
            address,
        }
    }

    fn token(&self) -> String {
        let token = fs::read_to_string(self.folder.path(TOKEN_FILE)).unwrap();
        token.trim_end().to_owned()
    }

    fn chat(&self, model: &str) -> Answer {
        http::chat(self.address, &self.token(), model)
    }

    /// Asks until the answer is as wanted. Every answer before must be as well: `always`.
    fn until(
        &self,
        model: &str,
        always: impl Fn(&Answer) -> bool,
        wanted: impl Fn(&Answer) -> bool,
    ) {
        let begin = Instant::now();
        loop {
            let answer = self.chat(model);
            if wanted(&answer) {
                return;
            }
            assert!(always(&answer), "{answer:?}");
            assert!(begin.elapsed() < PATIENCE, "it never came: {answer:?}");
        }
    }
}

fn arguments(folder: &str) -> [&str; 8] {
    [
        "serve",
        folder,
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--drain-delay-seconds",
        "0",
    ]
}

fn account(answer: &Answer) -> Option<&str> {
    answer
        .headers
        .get("x-weighbridge-account")
        .map(String::as_str)
}

#[test]
fn serves_with_a_token_of_its_own_making_and_uses_it_again() {
    let stack = Stack::start();
    assert_eq!(stack.chat("m").status, 200);
    assert_eq!(http::chat(stack.address, "wb-wrong", "m").status, 401);
    let mode = stack
        .folder
        .path(TOKEN_FILE)
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    let token = stack.token();
    stack.gateway.signal("TERM");
    let Stack {
        folder,
        mock,
        provider,
        gateway,
        ..
    } = stack;
    let (code, lines) = gateway.ended();
    assert_eq!(code, Some(0));
    let all = lines.join("\n");
    assert!(
        all.contains(TOKEN_FILE) && !all.contains(&token) && !all.contains("sk-one"),
        "{all}"
    );

    let again = Stack::serve(folder, mock, provider);
    assert_eq!(again.token(), token);
    assert_eq!(again.chat("m").status, 200);
}

#[test]
fn an_edit_applies_without_a_restart_and_without_a_failed_request() {
    let stack = Stack::start();
    let (token, address) = (stack.token(), stack.address);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let mut answered = 0;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(http::chat(address, &token, "m").status, 200);
                answered += 1;
            }
            answered
        });
        for round in ["second", "third", "fourth"] {
            stack
                .folder
                .replace("provider.yaml", &provider(stack.mock, round));
            stack.until(
                "m",
                |answer| answer.status == 200,
                |answer| account(answer) == Some(round),
            );
        }
        stop.store(true, Ordering::Relaxed);
        assert!(traffic.join().unwrap() > 0);
    });
}

#[test]
fn a_broken_edit_is_told_once_with_its_place_and_the_last_good_form_stays() {
    let mut stack = Stack::start();
    stack.folder.replace(
        "provider.yaml",
        "apiVersion: weighbridge.dev/v1alpha1\nkind: [\n",
    );
    let told = stack.gateway.line("provider.yaml:3:1");
    assert!(
        told.contains("not YAML") && told.contains("stays in force"),
        "{told}"
    );
    assert_eq!(account(&stack.chat("m")), Some("first"));

    // Another file's edit applies meanwhile, and the old complaint isn't repeated.
    stack.folder.replace("route.yaml", &route("other"));
    stack.until(
        "other",
        |answer| answer.status == 404,
        |answer| answer.status == 200,
    );

    stack.folder.replace(
        "provider.yaml",
        &provider(stack.mock, "mended").replace("dialect", "dialekt"),
    );
    let told = stack.gateway.line("dialekt");
    assert!(
        told.contains("provider.yaml:5:") && told.contains("its last good form stays in force"),
        "{told}"
    );
    assert_eq!(account(&stack.chat("other")), Some("first"));

    stack
        .folder
        .replace("provider.yaml", &provider(stack.mock, "mended"));
    stack.until(
        "other",
        |answer| answer.status == 200,
        |answer| account(answer) == Some("mended"),
    );
    stack.gateway.signal("TERM");
    let (_, lines) = stack.gateway.ended();
    let told = lines
        .iter()
        .filter(|line| line.contains("not YAML") && !line.contains("no longer"));
    assert_eq!(told.count(), 1, "{}", lines.join("\n"));
}

#[test]
fn a_slow_writer_never_empties_the_gateway() {
    let mut stack = Stack::start();
    // Another edit's line shows that the first part was not taken for the whole.
    let mark = |stack: &mut Stack, kind: &str| {
        let marker = format!("apiVersion: v1\nkind: {kind}\n");
        stack.folder.replace("marker.yaml", &marker);
        stack.gateway.line(&format!("kind {kind} of v1"));
    };
    for (index, name) in ["provider.yaml", "route.yaml", "key.yaml"]
        .iter()
        .enumerate()
    {
        let text = fs::read_to_string(stack.folder.path(name)).unwrap();
        let changed = text.replace("name: first", "name: second");
        let (begin, rest) = changed.split_at(changed.len() / 2);
        let mut file = fs::File::create(stack.folder.path(name)).unwrap();
        mark(&mut stack, &format!("Empty{index}"));
        assert_eq!(stack.chat("m").status, 200, "{name} is empty");
        file.write_all(begin.as_bytes()).unwrap();
        mark(&mut stack, &format!("Half{index}"));
        assert_eq!(stack.chat("m").status, 200, "{name} is half written");
        file.write_all(rest.as_bytes()).unwrap();
    }
    stack.until(
        "m",
        |answer| answer.status == 200,
        |answer| account(answer) == Some("second"),
    );
}

#[test]
fn an_edit_behind_a_link_applies() {
    let stack = Stack::start();
    let other = Folder::new();
    fs::write(other.path("route.yaml"), route("linked")).unwrap();
    fs::write(other.path("k"), "sk-one").unwrap();
    fs::remove_file(stack.folder.path("route.yaml")).unwrap();
    symlink(other.path("route.yaml"), stack.folder.path("route.yaml")).unwrap();
    stack.until("linked", |_| true, |answer| answer.status == 200);
    // In place, then as editors do.
    fs::write(other.path("route.yaml"), route("in-place")).unwrap();
    stack.until(
        "in-place",
        |answer| answer.status == 404,
        |answer| answer.status == 200,
    );
    other.replace("route.yaml", &route("replaced"));
    stack.until(
        "replaced",
        |answer| answer.status == 404,
        |answer| answer.status == 200,
    );
}

#[test]
fn a_folder_that_is_moved_away_and_back_costs_no_request() {
    let outer = Folder::new();
    let mut mock = Program::start(&["mock", "--listen", "127.0.0.1:0"]);
    let address = mock.address();
    fs::create_dir_all(outer.path("folder/secrets/default/p")).unwrap();
    fs::write(outer.path("folder/secrets/default/p/k"), "sk-any").unwrap();
    let all = [provider(address, "first"), route("m"), KEY.to_owned()].join("---\n");
    fs::write(outer.path("folder/all.yaml"), all).unwrap();
    let path = outer.text("folder");
    let mut gateway = Program::start(&arguments(&path));
    let address = gateway.address();
    let token = fs::read_to_string(outer.path("folder/secrets/default/v/token")).unwrap();
    let chat = || http::chat(address, token.trim_end(), "m").status;
    fs::rename(outer.path("folder"), outer.path("away")).unwrap();
    gateway.line("there is no such file or folder");
    assert_eq!(chat(), 200);
    fs::rename(outer.path("away"), outer.path("folder")).unwrap();
    gateway.line("no longer so: refused");
    assert_eq!(chat(), 200);
    gateway.signal("TERM");
    let (_, lines) = gateway.ended();
    let all = lines.join("\n");
    assert!(!all.contains("deleted"), "{all}");
    assert_eq!(all.matches("made a token").count(), 1, "{all}");
    drop(mock);
}

#[test]
fn what_is_missing_stays_told_through_a_broken_edit_and_what_is_deleted_is_told() {
    let mut stack = Stack::start();
    let dangling = route("other")
        .replace("name: r}", "name: dangling}")
        .replace("{name: p}", "{name: none}");
    stack.folder.replace("dangling.yaml", &dangling);
    stack.gateway.line("missing: ");
    stack
        .folder
        .replace("dangling.yaml", &dangling.replace("models", "modles"));
    stack.gateway.line("modles");
    let moved = format!("# One line further down.\n{dangling}");
    stack.folder.replace("dangling.yaml", &moved);
    stack.gateway.line("no longer so: refused");
    fs::remove_file(stack.folder.path("dangling.yaml")).unwrap();
    let told = stack.gateway.line("deleted: ");
    assert!(
        told.contains("deleted: Route default/dangling, which was in ")
            && told.contains("dangling.yaml:2"),
        "{told}"
    );
    stack.gateway.signal("TERM");
    let (_, lines) = stack.gateway.ended();
    let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
    assert_eq!(count("no longer so: missing"), 1, "{}", lines.join("\n"));
    assert_eq!(count("missing: "), 2, "{}", lines.join("\n"));
}

#[test]
fn a_file_written_in_place_is_never_served_in_part() {
    let stack = Stack::start();
    for round in 0..10 {
        let account = format!("round-{round}");
        let text = provider(stack.mock, &account);
        fs::write(stack.folder.path("provider.yaml"), text).unwrap();
        stack.until(
            "m",
            |answer| answer.status == 200,
            |answer| self::account(answer) == Some(&account),
        );
    }
}

#[test]
fn a_removed_file_is_a_deletion_and_a_new_one_an_addition() {
    let stack = Stack::start();
    fs::remove_file(stack.folder.path("route.yaml")).unwrap();
    stack.until(
        "m",
        |answer| answer.status == 200,
        |answer| answer.status == 404,
    );
    fs::create_dir(stack.folder.path("deep")).unwrap();
    fs::write(stack.folder.path("deep/route.yaml"), route("m")).unwrap();
    stack.until(
        "m",
        |answer| answer.status == 404,
        |answer| answer.status == 200,
    );
    fs::remove_dir_all(stack.folder.path("deep")).unwrap();
    stack.until(
        "m",
        |answer| answer.status == 200,
        |answer| answer.status == 404,
    );
}

#[test]
fn a_rotated_secret_is_used_at_once() {
    let stack = Stack::start();
    let counters = || http::send(stack.mock, "GET", "/_mock/counters", &[], "").body;
    assert_eq!(stack.chat("m").status, 200);
    assert!(!counters().contains("-two"));
    let draft = stack.folder.path("secrets/default/p/.draft");
    fs::write(&draft, "sk-two\n").unwrap();
    fs::rename(draft, stack.folder.path("secrets/default/p/k")).unwrap();
    stack.until(
        "m",
        |answer| answer.status == 200,
        |_| counters().contains("-two"),
    );
}

#[test]
fn a_virtual_key_suspended_by_an_edit_is_refused() {
    let stack = Stack::start();
    assert_eq!(stack.chat("m").status, 200);
    stack.folder.replace(
        "key.yaml",
        &KEY.replace("secretName", "suspend: true, secretName"),
    );
    stack.until(
        "m",
        |answer| answer.status == 200,
        |answer| answer.status == 401,
    );
}

#[test]
fn a_swapped_link_applies_as_config_maps_do_it() {
    let mut mock = Program::start(&["mock", "--listen", "127.0.0.1:0"]);
    let address = mock.address();
    let folder = Folder::new();
    let version = |name: &str, account: &str| {
        fs::create_dir(folder.path(name)).unwrap();
        let all = [provider(address, account), route("m"), KEY.to_owned()].join("---\n");
        fs::write(folder.path(name).join("all.yaml"), all).unwrap();
    };
    fs::create_dir_all(folder.path("secrets/default/p")).unwrap();
    fs::write(folder.path("secrets/default/p/k"), "sk-any").unwrap();
    version("..one", "first");
    symlink("..one", folder.path("..data")).unwrap();
    symlink("..data/all.yaml", folder.path("all.yaml")).unwrap();
    let stack = Stack::serve(folder, address, mock);
    assert_eq!(account(&stack.chat("m")), Some("first"));

    let folder = &stack.folder;
    fs::create_dir(folder.path("..two")).unwrap();
    let all = [provider(address, "second"), route("m"), KEY.to_owned()].join("---\n");
    fs::write(folder.path("..two/all.yaml"), all).unwrap();
    symlink("..two", folder.path("..data_tmp")).unwrap();
    fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    fs::remove_dir_all(folder.path("..one")).unwrap();
    stack.until(
        "m",
        |answer| answer.status == 200,
        |answer| account(answer) == Some("second"),
    );
}

#[test]
fn a_folder_that_is_replaced_as_a_whole_is_followed() {
    let mut mock = Program::start(&["mock", "--listen", "127.0.0.1:0"]);
    let address = mock.address();
    let outer = Folder::new();
    let all =
        |account: &str| [provider(address, account), route("m"), KEY.to_owned()].join("---\n");
    for (name, account) in [("one", "first"), ("two", "second")] {
        fs::create_dir(outer.path(name)).unwrap();
        fs::write(outer.path(name).join("all.yaml"), all(account)).unwrap();
    }
    fs::create_dir_all(outer.path("keys/default/p")).unwrap();
    fs::write(outer.path("keys/default/p/k"), "sk-any").unwrap();
    symlink("one", outer.path("current")).unwrap();
    let (current, keys) = (outer.text("current"), outer.text("keys"));
    let mut all_arguments = arguments(&current).to_vec();
    all_arguments.extend(["--secrets", &keys]);
    let mut gateway = Program::start(&all_arguments);
    let address = gateway.address();
    let token = fs::read_to_string(outer.path("keys/default/v/token")).unwrap();
    let until = |wanted: &str| {
        let begin = Instant::now();
        loop {
            let answer = http::chat(address, token.trim_end(), "m");
            assert_eq!(answer.status, 200);
            if account(&answer) == Some(wanted) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE);
        }
    };
    until("first");
    symlink("two", outer.path("next")).unwrap();
    fs::rename(outer.path("next"), outer.path("current")).unwrap();
    until("second");
    // The folder behind the link now is watched.
    fs::write(outer.path("two/.draft"), all("third")).unwrap();
    fs::rename(outer.path("two/.draft"), outer.path("two/all.yaml")).unwrap();
    until("third");
    drop(mock);
}

#[test]
fn starts_with_what_is_good_and_tells_the_rest() {
    let folder = Folder::new();
    fs::write(folder.path("good.yaml"), route("m")).unwrap();
    fs::write(folder.path("bad.yaml"), "a: [").unwrap();
    let path = folder.text("");
    let mut gateway = Program::start(&arguments(&path));
    assert!(gateway.line("refused").contains("bad.yaml:2:1"));
    gateway.address();
    gateway.signal("INT");
    assert_eq!(gateway.ended().0, Some(0));
}

#[test]
fn nothing_valid_at_start_is_1_and_nothing_at_all_is_2() {
    let folder = Folder::new();
    let output = run(&arguments(&folder.text("")));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("weighbridge demo"));
    fs::write(folder.path("bad.yaml"), "a: [").unwrap();
    let output = run(&arguments(&folder.text("")));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("bad.yaml:2:1"));
}

#[test]
fn logs_are_json_where_that_is_asked_for() {
    let folder = Folder::new();
    fs::write(folder.path("bad.yaml"), "a: [").unwrap();
    let path = folder.text("");
    let mut all = arguments(&path).to_vec();
    all.extend(["--log-format", "json"]);
    let output = run(&all);
    let told = text(&output.stderr);
    let first: serde_json::Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    assert_eq!(first["level"], "ERROR");
    assert!(first["message"].as_str().unwrap().contains("bad.yaml:2:1"));
}
