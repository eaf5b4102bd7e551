//! A file's text, split into YAML documents before anything is parsed: a document that can't be read
//! then costs none of its neighbours.
//!
//! Owns the bounds that keep the parser's work proportional to the text. Must never look at what a
//! document means.

/// The deepest nesting of `[` and `{`; the parser's work grows with its square.
const DEPTH: usize = 128;
/// The longest document in which anchors are allowed, in bytes: an alias repeats what it names.
const ANCHORED_BYTES: usize = 16 << 10;

/// One document of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// How many lines of the file come before it.
    pub(super) lines_before: usize,
    /// The line of the file on which its content begins, from 1.
    pub(super) first_line: usize,
    /// Its text, its own separator and directives included.
    pub(super) text: &'a str,
}

/// Something that makes a text unfit for the parser; line and column from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) message: String,
}

/// A text that is one document by itself, unless it holds nothing.
pub(super) fn whole(text: &str) -> Vec<Document<'_>> {
    let document = Document {
        lines_before: 0,
        first_line: 1,
        text,
    };
    Vec::from_iter((!text.trim().is_empty()).then_some(document))
}

/// Splits a file's text at its document markers, and leaves out what holds nothing.
///
/// `---` and `...` at the beginning of a line end every kind of content, block scalars included (YAML
/// 1.2.2, production `c-forbidden`), so that no parsing is needed to find them.
pub(super) fn split(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let mut open = Open::default();
    let mut end = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let ends = is_marker(line, "...");
        // Directives belong to the document after them.
        let begins = is_marker(line, "---") && (open.content.is_some() || !open.holds_directive);
        if ends || begins {
            documents.extend(open.close(text, end));
            let (begin, lines_before) = if ends {
                (end + line.len(), number + 1)
            } else {
                (end, number)
            };
            open = Open {
                begin,
                lines_before,
                ..Open::default()
            };
        }
        if !ends {
            open.take(number, line);
        }
        end += line.len();
    }
    documents.extend(open.close(text, end));
    documents
}

/// A document whose end isn't found yet. What is known of it is kept line by line: looking through it
/// again at every line would take the square of its length.
#[derive(Default)]
struct Open {
    begin: usize,
    lines_before: usize,
    holds_directive: bool,
    /// The first line with content, from 0.
    content: Option<usize>,
}

impl Open {
    fn take(&mut self, number: usize, line: &str) {
        if line.starts_with('%') {
            self.holds_directive = true;
        } else if self.content.is_none() && holds_content(line) {
            self.content = Some(number);
        }
    }

    /// The document, unless it holds nothing.
    fn close<'a>(&self, text: &'a str, end: usize) -> Option<Document<'a>> {
        Some(Document {
            lines_before: self.lines_before,
            first_line: self.content? + 1,
            text: text.get(self.begin..end)?,
        })
    }
}

impl Document<'_> {
    /// Whether the parser may have it.
    pub(super) fn check(&self) -> Result<(), Unfit> {
        self.check_depth()?;
        self.check_anchors()
    }

    fn check_depth(&self) -> Result<(), Unfit> {
        let mut depth = 0_usize;
        for (index, byte) in self.text.bytes().enumerate() {
            match byte {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > DEPTH {
                let message = format!("found brackets nested deeper than {DEPTH}");
                return Err(self.unfit(index, message));
            }
        }
        Ok(())
    }

    fn check_anchors(&self) -> Result<(), Unfit> {
        let anchor = (self.text.len() > ANCHORED_BYTES)
            .then(|| find_anchor(self.text))
            .flatten();
        match anchor {
            None => Ok(()),
            Some(index) => {
                let message = format!(
                    "found an anchor (&) in a document of more than {ANCHORED_BYTES} bytes; allowed are anchors in smaller documents, because aliases repeat what they name"
                );
                Err(self.unfit(index, message))
            }
        }
    }

    fn unfit(&self, index: usize, message: String) -> Unfit {
        let (line, column) = position(self.text.as_bytes(), index);
        Unfit {
            line: line + self.lines_before,
            column,
            message,
        }
    }
}

/// Decodes a file, or says where it isn't text.
pub(super) fn decode(bytes: &[u8]) -> Result<&str, Unfit> {
    let unfit = |index, message: &str| {
        let (line, column) = position(bytes, index);
        let message = message.to_owned();
        Unfit {
            line,
            column,
            message,
        }
    };
    let text = std::str::from_utf8(bytes)
        .map_err(|error| unfit(error.valid_up_to(), "found bytes that are not UTF-8 text"))?;
    let control = |byte: &u8| matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127);
    match bytes.iter().position(control) {
        Some(index) => Err(unfit(index, "found a control character; not YAML")),
        None => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
    }
}

/// Line and column, from 1, of the byte at `index`.
fn position(bytes: &[u8], index: usize) -> (usize, usize) {
    let before = bytes.get(..index).unwrap_or(bytes);
    let mut lines = before.split(|byte| *byte == b'\n');
    let last = lines.next_back().unwrap_or_default();
    let column = String::from_utf8_lossy(last).chars().count() + 1;
    (lines.count() + 1, column)
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn is_empty(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn holds_content(line: &str) -> bool {
    let content = if is_marker(line, "---") {
        line.get(3..).unwrap_or_default()
    } else {
        line
    };
    !is_empty(content)
}

/// Where an anchor stands: `&` and a name where a value may begin, a tag in front of it or not.
fn find_anchor(text: &str) -> Option<usize> {
    let is_named = |index: usize| {
        let after = text.get(index + 1..).unwrap_or_default();
        after.starts_with(|name: char| name.is_ascii_alphanumeric() || "-_".contains(name))
    };
    text.match_indices('&')
        .map(|(index, _)| index)
        .find(|index| is_named(*index) && may_begin(text.get(..*index).unwrap_or_default()))
}

/// Whether a value may begin after this text.
fn may_begin(mut before: &str) -> bool {
    loop {
        let closed = before.trim_end_matches([' ', '\t']);
        // The parser's line breaks, which are YAML 1.1's.
        let breaks = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
        if closed.is_empty() || closed.ends_with(breaks) {
            return true;
        }
        if closed.ends_with(['-', ':', '?', '[', '{', ',']) {
            return true;
        }
        // Only what stands apart can be a tag; looking for one inside a word would take long.
        if closed.len() == before.len() {
            return false;
        }
        let Some(untagged) = without_tag(closed) else {
            return false;
        };
        before = untagged;
    }
}

/// The text before the tag that it ends with.
fn without_tag(text: &str) -> Option<&str> {
    let word = text.rfind(char::is_whitespace).map_or(text, |space| {
        text.get(space..).unwrap_or_default().trim_start()
    });
    let begins = |tag: usize| {
        let inside = word.get(..tag).unwrap_or_default();
        inside.is_empty() || inside.ends_with(['-', ':', '?', '[', '{', ','])
    };
    let mut marks = word.match_indices('!').map(|(index, _)| index);
    let tag = marks.find(|tag| begins(*tag))?;
    text.get(..text.len() - word.len() + tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<(usize, &str)> {
        let documents = split(text);
        documents
            .iter()
            .map(|document| (document.first_line, document.text))
            .collect()
    }

    #[test]
    fn documents_are_split_at_markers_and_empty_ones_left_out() {
        assert_eq!(
            parts("a: 1\n---\nb: 2\n"),
            [(1, "a: 1\n"), (3, "---\nb: 2\n")]
        );
        assert_eq!(
            parts("---\n# only a comment\n---\n\n# and\nb: 2"),
            [(6, "---\n\n# and\nb: 2")]
        );
        assert_eq!(parts("a: 1\n...\nb: 2\n"), [(1, "a: 1\n"), (3, "b: 2\n")]);
        assert_eq!(parts("--- {a: 1}\n--- {b: 2}\n").len(), 2);
        assert!(parts("").is_empty());
        assert!(parts("---\n---\n# nothing\n...\n").is_empty());
    }

    #[test]
    fn a_directive_belongs_to_the_document_after_it() {
        assert_eq!(
            parts("%YAML 1.2\n---\na: 1\n"),
            [(3, "%YAML 1.2\n---\na: 1\n")]
        );
    }

    #[test]
    fn a_document_of_megabytes_is_split_in_one_pass() {
        let line = "a: 1\n";
        let text = line.repeat((2 << 20) / line.len()) + "---\nb: 2\n";
        let lines: Vec<usize> = split(&text).iter().map(|part| part.first_line).collect();
        assert_eq!(lines, [1, 419_432]);
    }

    #[test]
    fn markers_inside_lines_are_content() {
        assert_eq!(parts("a: |\n  ---\n ---\n  ---x\n---x: 1\n").len(), 1);
    }

    #[test]
    fn carriage_returns_do_not_hide_markers() {
        assert_eq!(parts("a: 1\r\n---\r\nb: 2\r\n").len(), 2);
    }

    #[test]
    fn text_that_is_none_is_refused_with_its_place() {
        fn place(bytes: &[u8]) -> Result<&str, (usize, usize)> {
            decode(bytes).map_err(|unfit| (unfit.line, unfit.column))
        }
        assert_eq!(place(b"a: 1\nb: \xff"), Err((2, 4)));
        assert_eq!(place("ä: 1\nüb\u{0}: 1".as_bytes()), Err((2, 3)));
        assert_eq!(place("\u{feff}a: 1".as_bytes()), Ok("a: 1"));
    }

    #[test]
    fn deep_nesting_and_anchors_in_long_documents_are_refused() {
        let check = |text: &str| split(text)[0].check();
        assert_eq!(
            check(&format!("a: {}1{}", "[".repeat(128), "]".repeat(128))),
            Ok(())
        );
        let deep = check(&format!("a: 1\nb: {}", "[".repeat(129))).unwrap_err();
        assert_eq!((deep.line, deep.column), (2, 132));
        let filler = "x".repeat(ANCHORED_BYTES);
        assert_eq!(check("a: &a 1\nb: *a"), Ok(()));
        for anchored in [
            "a: &a 1",
            "a: !!str &a 1",
            "a: !!str\t &a 1",
            "a: !<tag:yaml.org,2002:str> &a 1",
            "a: [!!str &a 1]",
            "a: [x!,! &a 1]",
            "!t &a b: 1",
            "--- !t &a\nb: 1",
            "a: !t\r  &a 1",
            "a: !!str\n  &a 1",
            "? !t &a b\n: 1",
            "- !t &a b",
        ] {
            let text = format!("{anchored}\nb: {filler}");
            assert!(find_anchor(&text).is_some(), "{anchored}");
        }
        assert!(check(&format!("a: !!str &a 1\nb: {filler}")).is_err());
        assert_eq!(
            check(&format!(
                "a: a&b\nb: x &y && z, & yes! &co hey!you &me {filler}"
            )),
            Ok(())
        );
    }
}
