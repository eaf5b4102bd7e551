//! Server-sent events as bytes.
//!
//! Owns the text form of events and every legal departure from its plainest spelling. Must never
//! change an event's data.

use bytes::Bytes;

use crate::answer::Event;
use crate::scalar::{Quirk, Quirks};

/// What a comment between events says.
const COMMENT: &str = ": keep-alive";

/// An event as bytes. `first` and `last` tell whether it is the stream's first and last one.
pub(crate) fn render(event: &Event, quirks: &Quirks, first: bool, last: bool) -> Bytes {
    let end = line_end(quirks);
    let mut text = String::new();
    if first && quirks.has(Quirk::Bom) {
        text.push('\u{feff}');
    }
    if quirks.has(Quirk::Comments) {
        text.extend([COMMENT, end, end]);
    }
    if quirks.has(Quirk::Pings) {
        text.push_str(&fields(Some("ping"), "{\"type\": \"ping\"}", quirks));
        text.push_str(end);
    }
    let unnamed = quirks.has(Quirk::EventNames).then_some("message");
    text.push_str(&fields(event.name.or(unnamed), &event.data, quirks));
    if !(last && quirks.has(Quirk::NoLastBlank)) {
        text.push_str(end);
    }
    Bytes::from(text)
}

fn line_end(quirks: &Quirks) -> &'static str {
    if quirks.has(Quirk::Crlf) {
        "\r\n"
    } else if quirks.has(Quirk::Cr) {
        "\r"
    } else {
        "\n"
    }
}

/// An event's lines, without the blank one that ends it.
fn fields(name: Option<&str>, data: &str, quirks: &Quirks) -> String {
    let end = line_end(quirks);
    let space = if quirks.has(Quirk::NoSpace) { "" } else { " " };
    let mut text = String::new();
    if let Some(name) = name {
        text.extend(["event:", space, name, end]);
    }
    let lines = if quirks.has(Quirk::MultiLine) {
        lines(data)
    } else {
        vec![data.to_owned()]
    };
    for line in lines {
        text.extend(["data:", space, line.as_str(), end]);
    }
    text
}

/// JSON in lines, broken after commas that stand outside of texts.
fn lines(json: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for character in json.chars() {
        if let Some(line) = lines.last_mut() {
            line.push(character);
        }
        if character == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = character == '\\' && !escaped;
        if character == ',' && !quoted {
            lines.push(String::new());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Part;

    fn event(name: Option<&'static str>) -> Event {
        Event {
            name,
            data: r#"{"a":"x,\",y","b":1}"#.to_owned(),
            part: Part::Content,
        }
    }

    fn text(name: Option<&'static str>, quirks: impl Into<Quirks>) -> String {
        let bytes = render(&event(name), &quirks.into(), true, true);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn the_plain_form_is_data_and_a_blank_line() {
        assert_eq!(text(None, []), "data: {\"a\":\"x,\\\",y\",\"b\":1}\n\n");
        assert_eq!(
            text(Some("e"), []),
            "event: e\ndata: {\"a\":\"x,\\\",y\",\"b\":1}\n\n"
        );
    }

    #[test]
    fn every_quirk_shows() {
        let data = "{\"a\":\"x,\\\",y\",\"b\":1}";
        let cases = [
            (Quirk::Bom, format!("\u{feff}data: {data}\n\n")),
            (Quirk::Crlf, format!("data: {data}\r\n\r\n")),
            (Quirk::Cr, format!("data: {data}\r\r")),
            (Quirk::NoSpace, format!("data:{data}\n\n")),
            (Quirk::NoDone, format!("data: {data}\n\n")),
            (Quirk::NoLastBlank, format!("data: {data}\n")),
            (Quirk::Comments, format!(": keep-alive\n\ndata: {data}\n\n")),
            (
                Quirk::Pings,
                format!("event: ping\ndata: {{\"type\": \"ping\"}}\n\ndata: {data}\n\n"),
            ),
            (
                Quirk::EventNames,
                format!("event: message\ndata: {data}\n\n"),
            ),
            (
                Quirk::MultiLine,
                "data: {\"a\":\"x,\\\",y\",\ndata: \"b\":1}\n\n".to_owned(),
            ),
        ];
        for (quirk, expected) in cases {
            assert_eq!(text(None, [quirk]), expected, "{quirk}");
        }
    }
}
