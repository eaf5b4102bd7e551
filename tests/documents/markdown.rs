//! Reading Markdown as far as the tests need it: fenced blocks, headings, links, tables. Must never fail on
//! a document; a form it doesn't know is plain text to it.

use std::path::{Path, PathBuf};

/// A document of the repository.
#[derive(Debug)]
pub(crate) struct Document {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What stands between fences, each with the words behind the opening fence.
    pub(crate) blocks: Vec<(String, String)>,
    /// The lines outside of fences.
    pub(crate) prose: Vec<String>,
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Markdown file, but those that others wrote.
pub(crate) fn documents() -> Vec<Document> {
    let mut open = vec![root()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_foreign = name.starts_with('.') || name == "target" || name == "node_modules";
            if path.is_dir() && !is_foreign {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(document(path));
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(found.len() > 10, "the search found the documents");
    found
}

/// One document by its path from the root.
pub(crate) fn document_at(path: &str) -> Document {
    document(root().join(path))
}

fn document(path: PathBuf) -> Document {
    let text = std::fs::read_to_string(&path).unwrap();
    let mut document = Document {
        path,
        blocks: Vec::new(),
        prose: Vec::new(),
    };
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        let fence = line.trim_start().strip_prefix("```");
        match (fence, open.take()) {
            (Some(info), None) => open = Some((info.trim().to_owned(), String::new())),
            (Some(_), Some(block)) => document.blocks.push(block),
            (None, Some((info, body))) => open = Some((info, body + line + "\n")),
            (None, None) => document.prose.push(line.to_owned()),
        }
    }
    assert!(open.is_none(), "{document}: a fence stays open");
    document
}

impl std::fmt::Display for Document {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.strip_prefix(root()).unwrap_or(&self.path);
        write!(formatter, "{}", path.display())
    }
}

impl Document {
    /// The bodies of the blocks with these words behind their fence.
    pub(crate) fn blocks_of(&self, info: &str) -> Vec<&str> {
        let blocks = self.blocks.iter().filter(|(words, _)| words == info);
        blocks.map(|(_, body)| body.as_str()).collect()
    }

    /// The targets of its links, `<https://…>` left out.
    pub(crate) fn links(&self) -> Vec<String> {
        let prose = self.prose.iter().map(|line| without_code(line));
        let links = prose.flat_map(|line| {
            let parts = line.split("](").skip(1).map(str::to_owned);
            parts.collect::<Vec<_>>()
        });
        links
            .map(|rest| rest.split(')').next().unwrap_or_default().to_owned())
            .collect()
    }

    /// The anchors that its headings give, as GitHub makes them.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let headings = self.prose.iter().filter(|line| line.starts_with('#'));
        headings
            .map(|line| anchor(line.trim_start_matches('#').trim()))
            .collect()
    }

    /// The cells of the rows of the first table under a heading.
    pub(crate) fn rows_under(&self, heading: &str) -> Vec<Vec<String>> {
        let lines = self.prose.iter();
        let table = lines
            .skip_while(|line| line.trim_start_matches('#').trim() != heading)
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'));
        // The first two are the header and the line below it.
        table.skip(2).map(|line| cells(line)).collect()
    }

    /// Whether there is a file at a path that stands in this document.
    pub(crate) fn reaches(&self, path: &str) -> bool {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        folder.join(path).exists()
    }
}

/// What stands between backticks, piece by piece.
pub(crate) fn code(text: &str) -> Vec<String> {
    let pieces = text.split('`').skip(1).step_by(2);
    pieces.map(str::to_owned).collect()
}

fn cells(line: &str) -> Vec<String> {
    let inside = line.strip_prefix('|').unwrap_or(line);
    let inside = inside.trim_end().strip_suffix('|').unwrap_or(inside);
    let cells = inside.split('|');
    cells.map(|cell| cell.trim().to_owned()).collect()
}

fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}
