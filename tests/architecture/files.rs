//! Holds what every source file owes its reader. It must judge files by their text alone.

use std::io;
use std::path::PathBuf;

/// Names that say nothing about what a module owns.
const EMPTY_NAMES: [&str; 8] = [
    "common", "core", "helper", "helpers", "manager", "misc", "util", "utils",
];

/// Every Rust file of the workspace with its text, relative to the root.
fn sources() -> io::Result<Vec<(PathBuf, String)>> {
    let mut open = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")];
    let mut sources = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_generated = name.starts_with('.') || name == "target" || name == "node_modules";
            if path.is_dir() && !is_generated {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)?;
                sources.push((path, text));
            }
        }
    }
    assert!(sources.len() > 20, "the search found the workspace");
    Ok(sources)
}

#[test]
fn every_file_opens_with_what_it_owns() {
    for (path, text) in sources().unwrap() {
        assert!(text.starts_with("//! "), "{}", path.display());
    }
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    for (path, _) in sources().unwrap() {
        for part in &path.with_extension("") {
            let part = part.to_string_lossy();
            assert!(!EMPTY_NAMES.contains(&&*part), "{}", path.display());
        }
    }
}
