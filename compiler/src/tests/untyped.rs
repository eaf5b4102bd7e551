//! Values of no type: what they keep, and what can be read from them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::Untyped;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Widget {
    name: String,
    count: Option<u8>,
    #[serde(default)]
    colour: Option<Colour>,
}

#[derive(Debug, PartialEq, Deserialize)]
enum Colour {
    Red,
}

fn yaml(text: &str) -> Untyped {
    serde_yaml::from_str(text).unwrap()
}

fn text(text: &str) -> Untyped {
    Untyped::Text(text.to_owned())
}

#[test]
fn everything_that_is_written_is_kept() {
    let cases = [
        ("null", Untyped::Null),
        ("true", Untyped::Bool(true)),
        ("-3", Untyped::Integer(-3)),
        ("3", Untyped::Unsigned(3)),
        ("1.5", Untyped::Float(1.5)),
        ("18446744073709551616", Untyped::Float(f64::INFINITY)),
        ("-9223372036854775809", Untyped::Float(f64::NEG_INFINITY)),
        ("'3'", text("3")),
        ("!odd 3", Untyped::Tagged(Box::new(Untyped::Unsigned(3)))),
        (
            "{a: [x], 3: y, a: z}",
            Untyped::Map(vec![
                (text("a"), Untyped::List(vec![text("x")])),
                (Untyped::Unsigned(3), text("y")),
                (text("a"), text("z")),
            ]),
        ),
    ];
    for (written, expected) in cases {
        assert!(yaml(written) == expected, "{written}");
        // It is a format itself, but for the tags.
        let again = Untyped::deserialize(yaml(written)).unwrap();
        let untagged = match expected {
            Untyped::Tagged(value) => *value,
            other => other,
        };
        assert!(again == untagged, "{written}");
    }
}

#[test]
fn a_type_is_read_from_it_as_from_its_format() {
    let widget = |count, colour| Widget {
        name: "w".to_owned(),
        count,
        colour,
    };
    for (written, expected) in [
        ("{name: w, count: 3}", widget(Some(3), None)),
        (
            "{name: w, count: null, colour: Red}",
            widget(None, Some(Colour::Red)),
        ),
        (
            "!a {name: !b w, count: !c 3, colour: !d Red}",
            widget(Some(3), Some(Colour::Red)),
        ),
    ] {
        assert_eq!(
            Widget::deserialize(yaml(written)).unwrap(),
            expected,
            "{written}"
        );
    }
    let numbers = BTreeMap::from([(1, -1)]);
    assert_eq!(BTreeMap::deserialize(yaml("{1: -1}")).unwrap(), numbers);
    assert!(IgnoredAny::deserialize(yaml("{a: !odd [x], 3: {}}")).is_ok());
}

#[test]
fn what_does_not_fit_a_type_is_not_read_as_it() {
    for written in [
        "{name: w, name: w}",
        "{name: 3}",
        "{name: w, count: 256}",
        "{name: w, count: 18446744073709551616}",
        "{name: w, colour: Blue}",
        "{name: w, colour: 0}",
        // Numbers, where names of fields belong, are no indices of fields.
        "{0: w}",
        // A list is longer than the type.
        "[w, 3, Red, x]",
        "null",
    ] {
        assert!(Widget::deserialize(yaml(written)).is_err(), "{written}");
    }
}

#[test]
fn it_does_not_show_itself() {
    let value = yaml("{stringData: {token: hunter2}}");
    assert_eq!(format!("{value:?}"), "Untyped");
}
