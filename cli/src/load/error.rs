//! The parser's errors, worded for the person who wrote the file: the field, what was found, what is
//! allowed; the place in front.
//!
//! Must never repeat a value of a Secret.

use super::Place;
use super::documents::Document;
use super::syntax::Fault;

/// How many allowed names a message lists.
const NAMES: usize = 10;

/// A worded error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Worded {
    pub(super) place: Place,
    pub(super) message: String,
}

/// Whether a message may repeat what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// It may.
    Shown,
    /// It may not: the document is a Secret, or could be one.
    Hidden,
}

/// Words what a parser says against `document`, a part of `file`.
pub(super) fn word(fault: &Fault, document: &Document<'_>, file: &Place, values: Values) -> Worded {
    let place = match fault.at {
        None => file.at(document.first_line, None),
        Some((line, column)) => file.at(line + document.lines_before, Some(column)),
    };
    let message = reword(&in_file(&fault.message, document.lines_before), values);
    Worded { place, message }
}

/// Turns the lines that a message names from the document's into the file's.
fn in_file(message: &str, lines_before: usize) -> String {
    let mut parts = message.split(" at line ");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len()
            - part
                .trim_start_matches(|digit: char| digit.is_ascii_digit())
                .len();
        let (number, rest) = part.split_at(digits);
        let number = number.parse::<usize>().map_or_else(
            |_| number.to_owned(),
            |number| (number + lines_before).to_string(),
        );
        whole = format!("{whole} at line {number}{rest}");
    }
    whole
}

fn reword(message: &str, values: Values) -> String {
    let structure = [
        ("unknown field ", "found the unknown field "),
        ("missing field ", "found no field "),
        ("duplicate field ", "found twice the field "),
    ];
    let value = [
        ("unknown variant ", "found "),
        ("invalid type: ", "found "),
        ("invalid value: ", "found "),
        ("invalid length ", "found length "),
    ];
    for (theirs, ours) in structure {
        if let Some((path, rest)) = cut(message, theirs) {
            return format!("{path}{ours}{}", allowed(rest));
        }
    }
    for (theirs, ours) in value {
        match cut(message, theirs) {
            Some((path, rest)) if values == Values::Shown => {
                return format!("{path}{ours}{}", allowed(rest));
            }
            Some((path, rest)) => {
                let expected = rest
                    .rsplit_once(", expected ")
                    .map(|(_, expected)| expected);
                let expected = expected.map_or("another form", plain);
                return format!("{path}found something else; allowed is {expected}");
            }
            None => {}
        }
    }
    message.to_owned()
}

/// What comes before and after a serde phrase that begins the message proper; the first is a path.
fn cut<'a>(message: &'a str, phrase: &str) -> Option<(&'a str, &'a str)> {
    if let Some(rest) = message.strip_prefix(phrase) {
        return Some(("", rest));
    }
    let (path, rest) = message.split_once(&format!(": {phrase}"))?;
    let is_path = !path.contains([' ', '`']);
    is_path
        .then(|| message.split_at(path.len() + 2))
        .map(|(path, _)| (path, rest))
}

/// `found, expected allowed` in our words.
fn allowed(rest: &str) -> String {
    if let Some((found, names)) = rest.split_once(", expected one of ") {
        return format!("{found}; allowed are {}", shortened(names));
    }
    match rest.rsplit_once(", expected ") {
        Some((found, expected)) => format!("{found}; allowed is {}", plain(expected)),
        None => rest.to_owned(),
    }
}

/// The parser's words for a type in the user's.
fn plain(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "i64" | "u64" | "u32" => "a whole number",
        "a YAML tag starting with '!'" => "a name",
        expected if expected.starts_with("struct ") => "a map",
        expected => expected,
    }
}

/// A list of names, cut where nobody would read on.
fn shortened(names: &str) -> String {
    let names: Vec<&str> = names.split(", ").collect();
    let shown = names.iter().take(NAMES).copied();
    let shown = shown.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(message: &str) -> String {
        reword(message, Values::Shown)
    }

    #[test]
    fn messages_say_field_finding_and_what_is_allowed() {
        assert_eq!(
            shown("spec.targets[0]: unknown field `weigth`, expected one of `name`, `weight`"),
            "spec.targets[0]: found the unknown field `weigth`; allowed are `name`, `weight`"
        );
        assert_eq!(
            shown("spec.weight: invalid type: string \"x\", expected i64"),
            "spec.weight: found string \"x\"; allowed is a whole number"
        );
        assert_eq!(shown("missing field `spec`"), "found no field `spec`");
        assert_eq!(
            shown("did not find expected key"),
            "did not find expected key"
        );
    }

    #[test]
    fn hidden_values_are_not_repeated() {
        assert_eq!(
            reword(
                "data.token: invalid type: string \"sk-1: a, expected b\", expected a map",
                Values::Hidden
            ),
            "data.token: found something else; allowed is a map"
        );
    }

    #[test]
    fn lines_are_the_files_not_the_documents() {
        assert_eq!(
            in_file(
                "did not find a key, while parsing a mapping at line 3 column 2",
                10
            ),
            "did not find a key, while parsing a mapping at line 13 column 2"
        );
        assert_eq!(in_file("x at line ", 10), "x at line ");
    }
}
