//! Finding the files: folders sorted and recursive, hidden and secret folders left out.
//!
//! Guarantees: ends, whatever links point where; a file is listed once, however often it is reached.
//! Must never read a file's content.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Place, Problem};

/// The most files and folders that are looked at.
const ENTRIES: usize = 100_000;

/// What was found under the paths given.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The files to read, in order.
    pub(crate) files: Vec<Arc<Path>>,
    /// The folders that were looked into: a change in one changes the listing.
    pub(crate) folders: BTreeSet<PathBuf>,
    /// The links among what was found: a change behind one changes what is read.
    pub(crate) links: BTreeSet<PathBuf>,
    /// Paths and folders that could not be looked into. What was under them is unknown.
    pub(crate) problems: Vec<Problem>,
    /// What has been seen, by device and inode.
    seen: BTreeSet<(u64, u64)>,
    /// The folder that is left out.
    secrets: Option<(u64, u64)>,
}

/// Lists the files of `paths`; the folder `secrets` and the file `left_out` are left out.
pub(crate) fn list(paths: &[PathBuf], secrets: &Path, left_out: Option<&Path>) -> Listing {
    let identity_of = |path: &Path| path.metadata().ok().map(|metadata| identity(&metadata));
    let mut listing = Listing {
        secrets: identity_of(secrets),
        seen: left_out.and_then(identity_of).into_iter().collect(),
        ..Listing::default()
    };
    for path in paths {
        listing.visit_given(path);
    }
    listing
}

impl Listing {
    /// A path that was given: a file of any name, or a folder.
    fn visit_given(&mut self, path: &Path) {
        match path.metadata() {
            Ok(metadata) if self.secrets == Some(identity(&metadata)) => {
                let message = "found the folder of secrets among the paths; allowed is another one (--secrets DIR)";
                self.problems.push(Problem::new(place(path), message));
            }
            Ok(metadata) if metadata.is_dir() => self.visit_folder(path, &metadata),
            Ok(metadata) => self.visit_file(path, &metadata),
            Err(error) => self.refuse(path, &error),
        }
    }

    fn visit_folder(&mut self, folder: &Path, metadata: &std::fs::Metadata) {
        let identity = identity(metadata);
        if self.secrets == Some(identity) || !self.seen.insert(identity) {
            return;
        }
        self.folders.insert(folder.to_owned());
        match entries(folder) {
            Ok(entries) => entries.iter().for_each(|entry| self.visit_entry(entry)),
            // Removed since its parent was read. Of a path that was given that is noticed at the end.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.refuse(folder, &error),
        }
    }

    fn visit_entry(&mut self, entry: &Path) {
        if entry.is_symlink() {
            self.links.insert(entry.to_owned());
        }
        match entry.metadata() {
            _ if self.seen.len() > ENTRIES => self.refuse_more(entry),
            Ok(metadata) if metadata.is_dir() => self.visit_folder(entry, &metadata),
            Ok(metadata) if has_our_extension(entry) => self.visit_file(entry, &metadata),
            Ok(_) => {}
            // Removed meanwhile, or a link to nothing: absent.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.refuse(entry, &error),
        }
    }

    fn visit_file(&mut self, file: &Path, metadata: &std::fs::Metadata) {
        // Reading a pipe or a device could last for ever.
        if !metadata.is_file() {
            let problem = Problem::new(place(file), "found neither a file nor a folder");
            self.problems.push(problem);
        } else if self.seen.insert(identity(metadata)) {
            self.files.push(file.into());
        }
    }

    fn refuse(&mut self, path: &Path, error: &io::Error) {
        self.problems.push(unreadable(path, error));
    }

    fn refuse_more(&mut self, path: &Path) {
        let message = format!("left out, and what follows it: found more than {ENTRIES} files");
        let told = self
            .problems
            .iter()
            .any(|problem| problem.message == message);
        if !told {
            self.problems.push(Problem::new(place(path), message));
        }
    }
}

/// A file or folder that can't be looked into.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let cause = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    Problem::new(place(path), format!("can't be read: {cause}"))
}

/// A folder's visible entries, sorted. Hidden ones are editors' and mounts' own (`..data`).
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = folder
        .read_dir()?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    entries.retain(|entry| !is_hidden(entry));
    entries.sort();
    Ok(entries)
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".")
}

fn has_our_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    matches!(extension, Some("yaml" | "yml" | "json"))
}

fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn place(path: &Path) -> Place {
    Place::of(&path.into())
}
