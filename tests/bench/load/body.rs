//! The request that the load generator repeats: head and body, built once. It must keep the shape that
//! the figures name: English prose, `messages` before `model`, one escape per 80 bytes.

use std::net::SocketAddr;

/// How the upstream shall answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// One JSON document
    Plain,
    /// A stream, all chunks at once
    Burst,
    /// A stream, one chunk per millisecond
    Paced,
}

/// Bytes from one escape to the next in the text.
const ESCAPE_EVERY_BYTES: usize = 80;
const PROSE: &str = "Please rewrite the following note so that a visitor who has never been to the valley can \
follow it. We left the village after breakfast and walked along the river until the path turned towards the \
old mill. The miller showed us how the wheel is set in motion and told us about the flood that took the \
bridge away. In the afternoon the clouds came over the ridge and we found shelter in a barn, where somebody \
had left a lamp and a pot of tea. ";

/// A chat request body of exactly `bytes` bytes, or of the least that the mode needs.
pub(crate) fn chat_body(bytes: usize, mode: Mode) -> String {
    let before = r#"{"messages":[{"role":"system","content":"You are a careful editor."},{"role":"user","content":""#;
    let after = match mode {
        Mode::Plain => r#""}],"model":"chat"}"#,
        Mode::Burst => {
            r#""}],"model":"chat","stream":true,"stream_options":{"include_usage":true}}"#
        }
        Mode::Paced => {
            r#""}],"model":"chat","stream":true,"stream_options":{"include_usage":true},"user":"paced"}"#
        }
    };
    let text = escaped_prose(bytes.saturating_sub(before.len() + after.len()));
    [before, &text, after].concat()
}

/// The whole request for `address`, head and body.
pub(crate) fn request(address: SocketAddr, token: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\naccept: application/json\r\nuser-agent: bench-load\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Prose of exactly `bytes` bytes as it stands inside a JSON string: whole lines end with an escaped
/// line feed, the last one is cut short.
fn escaped_prose(bytes: usize) -> String {
    let mut prose = PROSE.chars().cycle();
    let mut text = String::with_capacity(bytes);
    while text.len() + ESCAPE_EVERY_BYTES <= bytes {
        text.extend(prose.by_ref().take(ESCAPE_EVERY_BYTES - 2));
        text.push_str(r"\n");
    }
    text.extend(prose.take(bytes - text.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn bodies_have_exactly_the_size_asked_for_and_are_json() {
        for mode in [Mode::Plain, Mode::Burst, Mode::Paced] {
            for bytes in [512, 1023, 1024, 1025, 16 * 1024, 256 * 1024] {
                let body = chat_body(bytes, mode);
                assert_eq!(body.len(), bytes);
                let json: Value = serde_json::from_str(&body).unwrap();
                assert_eq!(json["model"], "chat");
            }
        }
    }

    #[test]
    fn a_line_feed_is_escaped_every_80_bytes() {
        let body = chat_body(16 * 1024, Mode::Plain);
        let escapes = body.matches('\\').count();
        assert!((195..=204).contains(&escapes), "{escapes} escapes");
    }

    #[test]
    fn only_streams_ask_for_a_stream() {
        assert!(!chat_body(1024, Mode::Plain).contains("stream"));
        assert!(chat_body(1024, Mode::Burst).contains(r#""stream":true"#));
        assert!(!chat_body(1024, Mode::Burst).contains("paced"));
        assert!(chat_body(1024, Mode::Paced).contains(r#""user":"paced""#));
    }

    #[test]
    fn the_head_carries_key_and_length() {
        let request = request("127.0.0.1:80".parse().unwrap(), "wb-token", "{}");
        let text = String::from_utf8(request).unwrap();
        let expected = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:80\r\nauthorization: Bearer wb-token\r\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("content-length: 2\r\n\r\n{}"), "{text}");
    }
}
