//! The probe against `serde_json`, and the refusals.

use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use std::fmt::Write as _;

fn probe<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Facts, ProbeError> {
    let mut probe = Probe::new();
    for piece in pieces {
        probe.feed(piece)?;
    }
    probe.finish()
}

fn facts(text: &str) -> Facts {
    probe([text.as_bytes()]).unwrap()
}

fn error(text: &str) -> ProbeError {
    probe([text.as_bytes()]).unwrap_err()
}

#[test]
fn finds_the_model_after_the_messages() {
    let text = r#"{"messages":[{"role":"user","content":"\"model\":\"evil\" {"}],"model":"gpt\u002d5","stream":true}"#;
    let found = facts(text);
    assert_eq!(found.model, "gpt-5");
    assert_eq!(&text[found.model_at.clone()], r#""gpt\u002d5""#);
    assert!(found.stream);
    assert_eq!(found.state, None);
}

#[test]
fn a_model_inside_something_else_is_not_the_model() {
    let found = facts(r#"{"metadata":{"model":"inner"},"tools":[{"model":1}],"model":"outer"}"#);
    assert_eq!(found.model, "outer");
    assert_eq!(
        error(r#"{"a":{"model":"inner"}}"#),
        ProbeError::MissingModel
    );
}

#[test]
fn fields_acted_upon_are_refused_when_given_twice() {
    for (text, name) in [
        (r#"{"model":"a","model":"b"}"#, "model"),
        (r#"{"mod\u0065l":"a","model":"a"}"#, "model"),
        (r#"{"model":"a","Model":"b"}"#, "model"),
        (r#"{"model":"m","stream":true,"stream":false}"#, "stream"),
        (
            r#"{"model":"m","background":null,"background":true}"#,
            "background",
        ),
        (
            r#"{"model":"m","conversation":null,"conversation":null}"#,
            "conversation",
        ),
        (
            r#"{"model":"m","previous_response_id":null,"previous_respons\u0065_id":"r"}"#,
            "previous_response_id",
        ),
    ] {
        assert_eq!(error(text), ProbeError::Duplicate(name), "{text}");
    }
}

#[test]
fn a_model_must_be_a_string_of_at_most_256_bytes() {
    assert_eq!(error("{}"), ProbeError::MissingModel);
    assert_eq!(error(r#"{"Model":"a"}"#), ProbeError::MissingModel);
    for value in ["null", "1", "true", "[\"a\"]", "{\"a\":\"b\"}"] {
        assert_eq!(
            error(&format!("{{\"model\":{value}}}")),
            ProbeError::ModelNotAString
        );
    }
    let of = |name: &str| format!("{{\"model\":\"{name}\"}}");
    assert_eq!(facts(&of(&"x".repeat(256))).model.len(), 256);
    assert_eq!(facts(&of(&r"\u0078".repeat(256))).model.len(), 256);
    assert_eq!(error(&of(&"x".repeat(257))), ProbeError::ModelTooLong);
    assert_eq!(error(&of(&r"\u0078".repeat(257))), ProbeError::ModelTooLong);
    assert_eq!(error(&of(&"x".repeat(100_000))), ProbeError::ModelTooLong);
    assert_eq!(error(&of(r"a\ud800b")), ProbeError::Syntax { offset: 9 });
}

#[test]
fn state_that_one_account_has_is_named() {
    for (member, state) in [
        (
            r#""previous_response_id":"resp_1""#,
            Some("previous_response_id"),
        ),
        (r#""previous_response_id":null"#, None),
        (r#""conversation":{"id":"conv_1"}"#, Some("conversation")),
        (r#""conversation":null"#, None),
        (r#""background":true"#, Some("background")),
        (r#""background":false"#, None),
        (
            r#""input":[{"content":[{"type":"input_file","file_id":"file-1"}]}]"#,
            Some("file_id"),
        ),
        (
            r#""messages":[{"file":{"fil\u0065_id":"f"}},{"file":{"file_id":"g"}}]"#,
            Some("file_id"),
        ),
        (
            r#""tools":[{"parameters":{"properties":{"file_id":{"type":"string"}}}}]"#,
            None,
        ),
        (r#""input":"\"file_id\":\"f\"""#, None),
        (r#""required":["file_id","background"]"#, None),
        (r#""metadata":{"background":true,"conversation":"c"}"#, None),
    ] {
        assert_eq!(
            facts(&format!("{{{member},\"model\":\"m\"}}")).state,
            state,
            "{member}"
        );
    }
}

#[test]
fn only_true_asks_for_a_stream() {
    for value in [
        "false",
        "null",
        "\"true\"",
        "1",
        "[true]",
        "{\"stream\":true}",
    ] {
        assert!(!facts(&format!("{{\"model\":\"m\",\"stream\":{value}}}")).stream);
    }
}

#[test]
fn what_is_not_acted_upon_may_be_given_twice() {
    for members in [
        r#""stream_options":{"include_usage":true},"stream_options":{"include_usage":false}"#,
        r#""stream_options":{"include_usage":true,"include_usage":true}"#,
        r#""temperature":1,"temperature":1"#,
        r#""metadata":{"model":"a","model":"b","stream":true,"stream":true}"#,
        r#""messages":[{"file_id":"a"},{"file_id":"b"}]"#,
    ] {
        let found = facts(&format!("{{{members},\"model\":\"m\"}}"));
        assert_eq!((found.model.as_str(), found.stream), ("m", false));
    }
}

#[test]
fn refusals_are_sentences_that_echo_nothing() {
    for (text, sentence) in [
        (&b"  "[..], "the body is empty; a JSON object is expected"),
        (b"[\"secret\"]", "the body is not a JSON object"),
        (b"{\"secret\" 1}", "the body is not valid JSON at byte 10"),
        (b"{\"a\":\"\xFF\"}", "the body is not UTF-8"),
        (b"{\"model\":3}", "the field \"model\" is not a string"),
        (
            b"{\"model\":\"m\",\"model\":\"n\"}",
            "the field \"model\" is given more than once",
        ),
        (b"{}", "the field \"model\" is missing"),
    ] {
        assert_eq!(probe([text]).unwrap_err().to_string(), sentence);
    }
    let deep = "{\"a\":".repeat(200);
    assert_eq!(
        error(&deep).to_string(),
        "the body is nested deeper than 128 levels"
    );
}

#[test]
fn a_name_becomes_a_json_string() {
    assert_eq!(json_string("a\"b\\c\n"), br#""a\"b\\c\n""#);
}

/// What the fields mean, read from a tree.
fn expected(body: &Map<String, Json>) -> Result<Facts, ProbeError> {
    fn names_a_file(value: &Json) -> bool {
        match value {
            Json::Array(items) => items.iter().any(names_a_file),
            Json::Object(members) => members
                .iter()
                .any(|(name, value)| name == "file_id" && value.is_string() || names_a_file(value)),
            _ => false,
        }
    }
    let model = match body.get("model") {
        None => return Err(ProbeError::MissingModel),
        Some(Json::String(model)) => model.clone(),
        Some(_) => return Err(ProbeError::ModelNotAString),
    };
    // The order in which the tree was written.
    let state = body.iter().find_map(|(name, value)| match name.as_str() {
        "previous_response_id" if !value.is_null() => Some("previous_response_id"),
        "conversation" if !value.is_null() => Some("conversation"),
        "background" if *value == json!(true) => Some("background"),
        "file_id" if value.is_string() => Some("file_id"),
        _ => names_a_file(value).then_some("file_id"),
    });
    Ok(Facts {
        model,
        model_at: 0..0,
        stream: body.get("stream") == Some(&json!(true)),
        state,
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "model",
            "stream",
            "stream_options",
            "previous_response_id",
            "conversation",
            "background",
            "file_id",
            "messages",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,6}",
        "\\PC{0,4}",
    ]
    .prop_filter("a lookalike of model counts as a second one", |name| {
        name == "model" || !name.eq_ignore_ascii_case("model")
    })
}

fn body() -> impl Strategy<Value = Map<String, Json>> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        "\\PC{0,12}".prop_map(Json::from),
    ];
    let value = leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::btree_map(name(), inner, 0..5)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::btree_map(name(), value, 0..9)
        .prop_map(|members| members.into_iter().collect())
}

/// `text` with every n-th character of its strings written as an escape.
fn escaped(text: &str, every: usize) -> String {
    let mut out = String::new();
    let (mut in_string, mut after_backslash) = (false, false);
    for (at, character) in text.chars().enumerate() {
        let is_plain = in_string && !after_backslash && !matches!(character, '"' | '\\');
        // What follows a `\u` is plain hexadecimal: leave such strings alone.
        if is_plain && at % every == 0 && !text.contains("\\u") {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").unwrap();
            }
        } else {
            out.push(character);
        }
        if character == '"' && !after_backslash {
            in_string = !in_string;
        }
        after_backslash = in_string && character == '\\' && !after_backslash;
    }
    out
}

proptest! {
    #[test]
    fn finds_what_serde_json_finds(
        mut body in body(),
        model in prop::option::weighted(0.9, "\\PC{1,12}"),
        every in 1_usize..9,
        pretty: bool,
        size in 1_usize..99,
    ) {
        if let Some(model) = model {
            body.insert("model".to_owned(), model.into());
        }
        let text = if pretty {
            serde_json::to_string_pretty(&body).unwrap()
        } else {
            serde_json::to_string(&body).unwrap()
        };
        let text = escaped(&text, every);
        let same: Map<String, Json> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&same, &body);
        let found = probe(text.as_bytes().chunks(size));
        if let Ok(found) = &found {
            let model: String = serde_json::from_str(&text[found.model_at.clone()]).unwrap();
            prop_assert_eq!(&model, &found.model);
        }
        let found = found.map(|found| Facts { model_at: 0..0, ..found });
        prop_assert_eq!(found, expected(&body));
    }

    #[test]
    fn splitting_never_changes_the_result(
        body in body(),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut text = serde_json::to_vec(&body).unwrap();
        if let Some((at, byte)) = damage {
            let at = at.index(text.len());
            text[at] = byte;
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]);
        prop_assert_eq!(probe(pieces), probe([&text[..]]));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = probe([&bytes[..]]);
        let _ = probe(bytes.chunks(3));
    }

    #[test]
    fn a_spliced_name_reads_back(name in "\\PC{0,20}") {
        let read: String = serde_json::from_slice(&json_string(&name)).unwrap();
        prop_assert_eq!(read, name);
    }
}
