//! The scanner against `serde_json`, and over any split.

use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value as Json};

/// Asks for every member and writes down what it is told.
#[derive(Debug, Default, PartialEq)]
struct Log(Vec<String>);

impl Visitor for Log {
    type Error = Flaw;

    fn key(&mut self, depth: usize, name: &[u8]) -> Result<bool, Flaw> {
        let name = String::from_utf8(name.to_vec()).unwrap();
        self.0.push(format!("{depth} {name}"));
        Ok(true)
    }

    fn value(&mut self, value: Value<'_>, at: Range<usize>) -> Result<(), Flaw> {
        let told = match value {
            Value::String(text) => format!("string {:?}", text.map(String::from_utf8_lossy)),
            Value::Number(text) => format!("number {:?}", text.map(String::from_utf8_lossy)),
            other => format!("{other:?}"),
        };
        self.0.push(format!("{told} at {at:?}"));
        Ok(())
    }
}

fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Result<(), Flaw>, Log) {
    let mut scanner = Scanner::new();
    let mut log = Log::default();
    for piece in pieces {
        if let Err(flaw) = scanner.feed(piece, &mut log) {
            return (Err(flaw), log);
        }
    }
    (scanner.finish(), log)
}

fn flaw(text: &[u8]) -> Option<Flaw> {
    scan([text]).0.err()
}

/// Whether both agree on `text`, but for the exceptions the module states.
fn agrees(text: &[u8]) -> bool {
    let ours = scan([text]).0;
    let theirs = serde_json::from_slice::<Map<String, Json>>(text);
    match (ours, theirs) {
        (Ok(()), Err(error)) => {
            let error = error.to_string();
            error.contains("number out of range")
                || error.contains("surrogate")
                || error.contains("hex escape")
                    && text.to_ascii_lowercase().windows(3).any(|at| at == b"\\ud")
        }
        (ours, theirs) => ours.is_ok() == theirs.is_ok(),
    }
}

#[test]
fn tells_the_members_with_their_places() {
    let (result, log) =
        scan([&br#" {"a":"x\n","b":[{"c":-1.5e3}], "d":{},"e":true,"f":null}"#[..]]);
    assert_eq!(result, Ok(()));
    assert_eq!(
        log.0,
        [
            "1 a",
            r#"string Some("x\\n") at 6..11"#,
            "1 b",
            "Array at 16..17",
            "3 c",
            r#"number Some("-1.5e3") at 22..28"#,
            "1 d",
            "Object at 36..37",
            "1 e",
            "True at 43..47",
            "1 f",
            "Null at 52..56",
        ]
    );
}

#[test]
fn says_what_is_wrong_and_where() {
    let cases: &[(&[u8], Flaw)] = &[
        (b"", Flaw::Empty),
        (b" \r\n\t", Flaw::Empty),
        (b"[1]", Flaw::NotAnObject),
        (b"\"a\"", Flaw::NotAnObject),
        (b"nonsense", Flaw::NotAnObject),
        (b"\xEF\xBB\xBF{}", Flaw::Syntax { offset: 0 }),
        (b"{", Flaw::Syntax { offset: 1 }),
        (b"{}x", Flaw::Syntax { offset: 2 }),
        (b"{}{}", Flaw::Syntax { offset: 2 }),
        (b"{,}", Flaw::Syntax { offset: 1 }),
        (b"{\"a\"}", Flaw::Syntax { offset: 4 }),
        (b"{\"a\":}", Flaw::Syntax { offset: 5 }),
        (b"{\"a\":1,}", Flaw::Syntax { offset: 7 }),
        (b"{\"a\":[1,]}", Flaw::Syntax { offset: 8 }),
        (b"{\"a\":[1}", Flaw::Syntax { offset: 7 }),
        (b"{\"a\":{]", Flaw::Syntax { offset: 6 }),
        (b"{\"a\":01}", Flaw::Syntax { offset: 6 }),
        (b"{\"a\":1.}", Flaw::Syntax { offset: 7 }),
        (b"{\"a\":+1}", Flaw::Syntax { offset: 5 }),
        (b"{\"a\":NaN}", Flaw::Syntax { offset: 5 }),
        (b"{\"a\":trux}", Flaw::Syntax { offset: 8 }),
        (b"{\"a\":\"\\x\"}", Flaw::Syntax { offset: 7 }),
        (b"{\"a\":\"\\u12g4\"}", Flaw::Syntax { offset: 10 }),
        (b"{\"a\":\"b\nc\"}", Flaw::Syntax { offset: 7 }),
        (b"{\"a\":\"\xFF\"}", Flaw::NotUtf8),
        (b"{\"a\":\"\xE4\xB8\"}", Flaw::NotUtf8),
        (b"{\"a\":\"\xE4\xB8\\n\"}", Flaw::NotUtf8),
        (b"{\"a\":\"\xC0\x80\"}", Flaw::NotUtf8),
        (b"{\"a\":\"\xED\xA0\x80\"}", Flaw::NotUtf8),
    ];
    for (text, expected) in cases {
        let shown = String::from_utf8_lossy(text);
        assert_eq!(flaw(text), Some(*expected), "{shown}");
        let bytes = text.chunks(1);
        assert_eq!(scan(bytes).0, Err(*expected), "{shown}, byte by byte");
    }
}

#[test]
fn control_characters_are_refused_wherever_they_stand_in_a_string() {
    for control in 0..0x20 {
        for before in 0..40 {
            let text = [
                &b"{\"a\":\""[..],
                &vec![b'x'; before],
                &[control],
                &[b'x'; 40],
                b"\"}",
            ]
            .concat();
            let offset = 6 + before;
            assert_eq!(flaw(&text), Some(Flaw::Syntax { offset }));
        }
    }
}

#[test]
fn takes_as_many_levels_as_it_says() {
    let nested = |levels: usize| {
        let inside = levels - 1;
        [
            "{\"a\":",
            &"[".repeat(inside),
            "1",
            &"]".repeat(inside),
            "}",
        ]
        .concat()
    };
    assert_eq!(flaw(nested(MAX_DEPTH).as_bytes()), None);
    assert_eq!(flaw(nested(MAX_DEPTH + 1).as_bytes()), Some(Flaw::TooDeep));
    let open = "{\"a\":".repeat(1_000_000);
    assert_eq!(flaw(open.as_bytes()), Some(Flaw::TooDeep));
}

#[test]
fn texts_are_told_up_to_the_longest_however_they_are_split() {
    for (len, is_told) in [(MAX_TEXT, true), (MAX_TEXT + 1, false)] {
        let text = format!("{{\"a\":\"{}\"}}", "x".repeat(len));
        for size in [1, 100, text.len()] {
            let (result, log) = scan(text.as_bytes().chunks(size));
            assert_eq!(result, Ok(()));
            assert_eq!(log.0[1].starts_with("string Some"), is_told);
        }
    }
}

#[test]
fn escapes_in_names_are_resolved_and_names_that_are_no_text_not_told() {
    let (result, log) = scan([&br#"{"mod\u0065l":1,"\ud83d\ude00":2,"\ud83d":3}"#[..]]);
    assert_eq!(result, Ok(()));
    let keys: Vec<_> = log.0.iter().filter(|line| line.starts_with("1 ")).collect();
    assert_eq!(keys, ["1 model", "1 \u{1F600}"]);
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        ".{0,20}".prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::btree_map(".{0,8}", inner, 0..6)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Json> {
    prop::collection::btree_map(".{0,8}", json(), 0..6)
        .prop_map(|members| Json::Object(members.into_iter().collect()))
}

proptest! {
    #[test]
    fn takes_what_serde_json_writes(value in object(), pretty: bool) {
        let text = if pretty {
            serde_json::to_vec_pretty(&value).unwrap()
        } else {
            serde_json::to_vec(&value).unwrap()
        };
        prop_assert_eq!(flaw(&text), None);
    }

    #[test]
    fn agrees_with_serde_json_on_damaged_text(
        value in object(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut text = serde_json::to_vec(&value).unwrap();
        for (at, byte, kind) in damage {
            let at = at.index(text.len().max(1)).min(text.len().saturating_sub(1));
            match kind {
                0 if !text.is_empty() => text[at] = byte,
                1 if !text.is_empty() => drop(text.remove(at)),
                _ => text.insert(at, byte),
            }
        }
        prop_assert!(agrees(&text), "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn agrees_with_serde_json_on_anything_that_looks_like_json(
        text in "\\{(\"a\":)?[\\[\\]{}\",:0-9eE+.truefalsn \\\\-]{0,12}\\}",
    ) {
        prop_assert!(agrees(text.as_bytes()), "{text}");
    }

    #[test]
    fn agrees_with_serde_json_on_numbers(number in "-?[0-9]{0,3}[.eE+-]{0,2}[0-9]{0,3}[eE]?[+-]?[0-9]{0,2}") {
        let text = format!("{{\"a\":{number}}}");
        prop_assert!(agrees(text.as_bytes()), "{text}");
    }

    #[test]
    fn agrees_with_serde_json_on_bytes_in_strings(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x80_u8..0xC0, 0xC0_u8..=0xFF], 0..8),
    ) {
        let text = [&b"{\"a\":\""[..], &bytes, b"\"}"].concat();
        prop_assert!(agrees(&text), "{:?}", bytes);
    }

    #[test]
    fn splitting_never_changes_what_is_told(
        value in object(),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        size in 1_usize..9,
    ) {
        let mut text = serde_json::to_vec(&value).unwrap();
        if let Some((at, byte)) = damage {
            let at = at.index(text.len());
            text[at] = byte;
        }
        prop_assert_eq!(scan(text.chunks(size)), scan([&text[..]]));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..256),
        size in 1_usize..9,
    ) {
        prop_assert_eq!(scan(bytes.chunks(size)), scan([&bytes[..]]));
    }
}
