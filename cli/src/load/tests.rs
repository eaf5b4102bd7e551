//! Documents, parsed: objects, broken ones, what stays.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use weighbridge_compiler::Secret;
use weighbridge_snapshot::ObjectName;

use super::parse::Parsed;
use super::*;

fn read(text: &str) -> Parsed {
    parse(&Path::new("a.yaml").into(), text.as_bytes())
}

fn ids(parsed: &Parsed) -> Vec<String> {
    parsed
        .objects
        .iter()
        .map(|found| found.id.to_string())
        .collect()
}

fn problems(parsed: &Parsed) -> Vec<String> {
    parsed.problems.iter().map(Problem::to_string).collect()
}

fn secret(parsed: &Parsed) -> &Secret {
    match &parsed.objects[0].object {
        Object::Secret(secret) => secret,
        other => panic!("not a Secret: {other:?}"),
    }
}

const PROVIDER: &str = "
apiVersion: weighbridge.dev/v1alpha1
kind: Provider
metadata: {name: p}
spec: {dialect: OpenAI, endpoint: https://example.com}
";

const KEY: &str = "
apiVersion: weighbridge.dev/v1alpha1
kind: VirtualKey
metadata: {name: k, namespace: team, labels: {a: b}, creationTimestamp: null}
spec: {routeRefs: [{namespace: n, name: r}], secretName: s}
status: {anything: [at, all]}
";

#[test]
fn reads_every_kind_with_its_place() {
    let text = format!(
        "# head\n---{PROVIDER}---{KEY}---
apiVersion: v1
kind: Secret
metadata: {{name: s, namespace: team, labels: {{x: y}}}}
type: Opaque
data: {{one: aGk=, two: aG8=}}
stringData: {{two: plain}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: team, labels: {{tier: gold}}}}
"
    );
    let parsed = read(&text);
    assert_eq!(problems(&parsed), Vec::<String>::new());
    let places: Vec<String> = parsed
        .objects
        .iter()
        .map(|found| format!("{} {}", found.place, found.id))
        .collect();
    assert_eq!(
        places,
        [
            "a.yaml:3 Provider default/p",
            "a.yaml:8 VirtualKey team/k",
            "a.yaml:14 Secret team/s",
            "a.yaml:21 Namespace team",
        ]
    );
    let Object::VirtualKey(key) = &parsed.objects[1].object else {
        panic!("not a VirtualKey");
    };
    assert_eq!(key.metadata.name.as_deref(), Some("k"));
    assert_eq!(key.metadata.namespace.as_deref(), Some("team"));
    assert_eq!(key.spec.secret_name, "s");
    let Object::Namespace(labels) = &parsed.objects[3].object else {
        panic!("not a Namespace");
    };
    assert_eq!(
        labels,
        &BTreeMap::from([("tier".to_owned(), "gold".to_owned())])
    );
}

#[test]
fn string_data_goes_over_data_and_base64_is_decoded() {
    let parsed = read(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata:\n  one: aGk=\n  two: aG8=\n  wrapped: |\n    aGk\n    =\nstringData: {two: \"plain\\n\"}\n",
    );
    let data: BTreeMap<&str, &[u8]> = secret(&parsed)
        .data
        .iter()
        .map(|(key, value)| (key.as_str(), value.expose().as_slice()))
        .collect();
    let expected: [(&str, &[u8]); 3] = [("one", b"hi"), ("two", b"plain\n"), ("wrapped", b"hi")];
    assert_eq!(data, BTreeMap::from(expected));
}

#[test]
fn a_list_is_its_items() {
    let list = |items: &str| format!("apiVersion: v1\nkind: List\nmetadata: {{}}\nitems:\n{items}");
    let item = |text: &str| {
        let lines: Vec<&str> = text.trim().lines().collect();
        format!("- {}\n", lines.join("\n  "))
    };
    let good = list(&(item(PROVIDER) + &item(KEY)));
    assert_eq!(
        ids(&read(&good)),
        ["Provider default/p", "VirtualKey team/k"]
    );

    let broken = PROVIDER
        .replace("name: p", "name: broken")
        .replace("dialect", "dialekt");
    let mixed = list(&(item(PROVIDER) + &item(&broken) + &item(KEY)));
    let parsed = read(&mixed);
    assert_eq!(ids(&parsed), ["Provider default/p", "VirtualKey team/k"]);
    assert_eq!(
        parsed.problems[0].about.as_ref().unwrap().id.to_string(),
        "Provider default/broken"
    );
    assert_eq!(parsed.problems[0].place.to_string(), "a.yaml:12:10");
    assert_eq!(parsed.problems.len(), 1);
}

#[test]
fn bad_items_of_a_list_keep_no_good_one_from_being_read() {
    let bad =
        "- {apiVersion: weighbridge.dev/v1alpha1, kind: Route, metadata: {name: NAME}, spec: {}}\n";
    let mut items: String = (0..40)
        .map(|index| bad.replace("NAME", &format!("r{index}")))
        .collect();
    // A name that a number isn't, and a number that is none: both as when it stands alone.
    items += "- {apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {k: 1}}\n";
    items += "- {apiVersion: weighbridge.dev/v1alpha1, kind: Provider, metadata: {name: p}, spec: {dialect: OpenAI, endpoint: https://e, accounts: [{name: a, secretRef: {name: s, key: k}, weight: 3}]}}\n";
    items += "- {apiVersion: v1, kind: Namespace, metadata: {name: n}}\n";
    let parsed = read(&format!("apiVersion: v1\nkind: List\nitems:\n{items}"));
    assert_eq!(ids(&parsed), ["Provider default/p", "Namespace n"]);
    assert_eq!(parsed.problems.len(), 41);
    for (index, problem) in parsed.problems.iter().enumerate() {
        let line = problem.place.line.unwrap();
        // The first ended the first pass, the next 16 are looked at one by one.
        assert_eq!(line, if index < 17 { index + 4 } else { 1 }, "{problem}");
        assert!(problem.about.is_some());
        assert!(problem.message.contains("found"), "{problem}");
    }
}

#[test]
fn json_is_read_as_json() {
    let read = |text: &str| parse(&Path::new("a.json").into(), text.as_bytes());
    let text = r#"{
	"apiVersion": "weighbridge.dev/v1alpha1", "kind": "Provider",
	"metadata": {"name": "p", "annotations": {"mood": "\ud83d\ude00"}},
	"spec": {"dialect": "OpenAI", "endpoint": "https:\/\/example.com"}
}"#;
    let parsed = read(text);
    assert_eq!(problems(&parsed), Vec::<String>::new());
    assert_eq!(ids(&parsed), ["Provider default/p"]);
    let Object::Provider(provider) = &parsed.objects[0].object else {
        panic!("not a Provider");
    };
    assert_eq!(
        provider.metadata.annotations.as_ref().unwrap()["mood"],
        "😀"
    );

    let list = format!(
        r#"{{"apiVersion": "v1", "kind": "List", "items": [{}, {text}]}}"#,
        text.replace("dialect", "dialekt").replace("\"p\"", "\"q\"")
    );
    let parsed = read(&list);
    assert_eq!(ids(&parsed), ["Provider default/p"]);
    let told = problems(&parsed).join("\n");
    let expected =
        "a.json:4:19: Provider default/q: found the unknown field `dialekt`; allowed are ";
    assert!(told.starts_with(expected), "{told}");
    assert_eq!(
        problems(&read("{\n  a: 1}")),
        ["a.json:2:3: not JSON: key must be a string"]
    );
    assert_eq!(
        problems(&read("{} {}")),
        ["a.json:1:4: not JSON: trailing characters"]
    );
}

#[test]
fn a_file_with_nothing_in_it_is_told() {
    for (name, text) in [
        ("a.yaml", ""),
        ("a.yaml", "---\n# later\n"),
        ("a.json", "\n"),
    ] {
        let parsed = parse(&Path::new(name).into(), text.as_bytes());
        let told: Vec<String> = parsed.ignored.iter().map(Problem::to_string).collect();
        assert_eq!(told, [format!("{name}: found nothing in it")]);
        assert_eq!(parsed.problems, []);
    }
}

#[test]
fn a_snapshot_is_no_object_and_no_fault() {
    let snapshot = weighbridge_snapshot::encode(&weighbridge_snapshot::Snapshot::default());
    for name in ["a.yaml", "a.json"] {
        let parsed = parse(&Path::new(name).into(), &snapshot);
        assert_eq!(problems(&parsed), Vec::<String>::new());
        assert!(parsed.ignored[0].message.contains("snapshot"));
    }
}

#[test]
fn a_broken_document_costs_none_of_its_neighbours() {
    let parsed = read(&format!("{PROVIDER}---\na: [\n---{KEY}"));
    assert_eq!(ids(&parsed), ["Provider default/p", "VirtualKey team/k"]);
    assert_eq!(parsed.problems.len(), 1);
    assert_eq!(parsed.problems[0].place.line, Some(8));
}

#[test]
fn foreign_kinds_are_named_and_ignored() {
    let parsed =
        read("apiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {name: r}\nspec: 3\n");
    assert!(parsed.objects.is_empty() && parsed.problems.is_empty());
    insta::assert_snapshot!(parsed.ignored[0], @"a.yaml:1: kind Route of route.openshift.io/v1 is not read here; Provider, Route and VirtualKey of weighbridge.dev/v1alpha1, and Secret, Namespace and List of v1 are");
}

#[test]
fn messages_name_place_field_finding_and_what_is_allowed() {
    let route = "apiVersion: weighbridge.dev/v1alpha1\nkind: Route\nmetadata: {name: r}\nspec:\n  models: [m]\n";
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
    let cases = [
        ("an unclosed bracket", "a: 1\nb: [\nc: 2\n".to_owned()),
        ("a tab", "a:\n\tb: 1\n".to_owned()),
        ("wrong indentation, second document", format!("{PROVIDER}---\na:\n  - b: 1\n c: 2\n")),
        ("no UTF-8 (a control character)", "a: 1\nb: \u{7}\n".to_owned()),
        ("a scalar", "sk-secret\n".to_owned()),
        ("no kind", "apiVersion: v1\n".to_owned()),
        ("no apiVersion", "kind: Route\n".to_owned()),
        ("another version", "apiVersion: weighbridge.dev/v1\nkind: Route\n".to_owned()),
        ("a mistyped kind", "apiVersion: weighbridge.dev/v1alpha1\nkind: Rout\n".to_owned()),
        ("no name", "apiVersion: weighbridge.dev/v1alpha1\nkind: Route\nmetadata: {generateName: x}\n".to_owned()),
        ("an unknown field", format!("{route}  targets:\n  - name: t\n    backends:\n    - {{name: b, providerRef: {{name: p}}, weigth: 3}}\n")),
        ("an unknown field at the top", format!("{PROVIDER}spce: 1\n")),
        ("an unknown field of metadata", PROVIDER.replace("name: p", "name: p, lables: {}")),
        ("no spec", "apiVersion: weighbridge.dev/v1alpha1\nkind: Route\nmetadata: {name: r}\n".to_owned()),
        ("a missing field", route.to_owned()),
        ("a wrong type", format!("{route}  targets: 3\n")),
        ("an unknown value", PROVIDER.replace("OpenAI", "OpenAi")),
        ("a field twice", format!("{route}  models: [n]\n")),
        ("a number that is too large", format!("{route}  targets: []\n  failover: {{maxAttempts: 99999999999999999999}}\n")),
        ("a Secret's value that isn't base64", format!("{secret}data:\n  k: '***hunter2***'\n")),
        ("a Secret's value that isn't quoted", format!("{secret}stringData:\n  k: 123456\n")),
        ("a Secret's data that is no map", format!("{secret}stringData: hunter2\n")),
        ("a Secret's key twice", format!("{secret}stringData:\n  k: a\n  k: b\n")),
        ("a Secret's key that is a path", format!("{secret}stringData:\n  ../k: a\n")),
        ("a Secret's unknown field", format!("{secret}dada: {{}}\n")),
        ("a Secret's name", "apiVersion: v1\nkind: Secret\nmetadata: {name: a/b}\n".to_owned()),
        ("a Namespace's name", "apiVersion: v1\nkind: Namespace\nmetadata: {name: A}\n".to_owned()),
        ("a label twice", "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: n\n  labels:\n    a: b\n    a: c\n".to_owned()),
        ("an annotation twice", PROVIDER.replace("name: p", "name: p, annotations: {a: b, a: c}")),
        ("metadata twice", "apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\nmetadata: {name: n}\n".to_owned()),
        ("labels twice", "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: n\n  labels: {}\n  labels: {a: b}\n".to_owned()),
        ("a name twice", "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, name: m}\n".to_owned()),
        ("a label that isn't text", "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, labels: {a: 1}}\n".to_owned()),
        ("a name that isn't text", PROVIDER.replace("name: p", "name: 12")),
        ("a namespace that isn't text", PROVIDER.replace("name: p", "name: p, namespace: true")),
        ("an alias bomb", "a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n".to_owned()),
        ("an unknown alias", "a: *b\n".to_owned()),
        ("a merge key", format!("{PROVIDER}<<: {{a: b}}\n")),
        ("deep nesting", format!("a: {}", "[".repeat(5000))),
        ("deep blocks", "- ".repeat(5000)),
    ];
    let mut golden = String::new();
    for (name, text) in cases {
        let parsed = read(&text);
        assert!(!parsed.problems.is_empty(), "{name} is taken for good");
        writeln!(golden, "{name}:").unwrap();
        for problem in problems(&parsed) {
            assert!(
                !problem.contains("hunter2")
                    && !problem.contains("123456")
                    && !problem.contains("sk-"),
                "{problem}"
            );
            writeln!(golden, "  {problem}").unwrap();
        }
    }
    insta::assert_snapshot!(golden);
}

#[test]
fn names_default_to_the_namespace_default() {
    let parsed = read(PROVIDER);
    let Object::Provider(provider) = &parsed.objects[0].object else {
        panic!("not a Provider");
    };
    assert_eq!(provider.metadata.namespace.as_deref(), Some("default"));
    let id = Id::Judged(ObjectId::new(
        weighbridge_compiler::Kind::Provider,
        ObjectName::new("default", "p"),
    ));
    assert_eq!(parsed.objects[0].id, id);
}

/// Pieces that parsers stumble over.
fn piece() -> impl Strategy<Value = String> {
    let fixed = [
        PROVIDER,
        KEY,
        "---\n",
        "...\n",
        "- ",
        "[",
        "{",
        "]",
        "}",
        ": ",
        "? ",
        "&a ",
        "*a",
        "!!binary ",
        "|\n",
        ">-\n",
        "\"",
        "'",
        "\n",
        "\n  ",
        "\t",
        "%YAML 1.2\n",
        "apiVersion: v1\nkind: List\nitems:\n",
        "kind: Secret\n",
        "data: ",
        "null",
        "~",
        "1e999",
        "\u{feff}",
        "\u{2028}",
        "#",
        "<<: ",
    ];
    prop_oneof![
        proptest::sample::select(fixed.to_vec()).prop_map(str::to_owned),
        any::<String>()
    ]
}

proptest! {
    #[test]
    fn any_bytes_give_objects_or_problems_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for name in ["a.yaml", "a.json"] {
            parse(&Path::new(name).into(), &bytes);
        }
    }

    #[test]
    fn any_yaml_like_text_gives_objects_or_problems_and_never_a_panic(pieces in proptest::collection::vec(piece(), 0..20)) {
        for name in ["a.yaml", "a.json"] {
            parse(&Path::new(name).into(), pieces.concat().as_bytes());
        }
    }

    #[test]
    fn a_good_document_is_read_whatever_document_stands_before_it(pieces in proptest::collection::vec(piece(), 0..8)) {
        let text = format!("{}\n---{KEY}", pieces.concat());
        let parsed = parse(&Path::new("a.yaml").into(), text.as_bytes());
        let read = parsed.objects.iter().any(|found| found.id.to_string() == "VirtualKey team/k");
        let not_text = parsed.problems.iter().any(|problem| problem.message.contains("control character"));
        // A directive in front belongs to the good document and can spoil it.
        let unmarked = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let directive = unmarked.lines().any(|line| line.starts_with('%'));
        prop_assert!(read || not_text || directive);
    }
}
