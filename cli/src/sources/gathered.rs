//! What the files give, before it is put together with what was known.
//!
//! Must never let a file that can't be read cost another one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weighbridge_compiler::Urgent;

use crate::load::{About, FILE_BYTES, Found, Id, Listing, Parsed, Place, Problem, parse};

/// What every file gave when it was last read.
pub(super) type LastRead = BTreeMap<Arc<Path>, Parsed>;

/// What the files give.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) found: BTreeMap<Id, Found>,
    pub(super) broken: BTreeMap<Id, Problem>,
    /// What of the broken ones never waits.
    pub(super) urgent: BTreeMap<Id, Urgent>,
    pub(super) problems: BTreeSet<Problem>,
    pub(super) ignored: BTreeSet<Problem>,
    /// Files and folders of which it isn't known what they hold.
    pub(super) unknown: BTreeMap<Arc<Path>, Problem>,
}

/// Reads the files of a listing. Those that are being written count as they were read last.
pub(super) fn gather(
    listing: &Listing,
    writing: &BTreeSet<PathBuf>,
    last: &mut LastRead,
) -> Gathered {
    let mut gathered = Gathered::default();
    for problem in &listing.problems {
        gathered.add_problem(problem.clone());
    }
    let mut before = std::mem::take(last);
    for file in &listing.files {
        let read = if is_one_of(file, writing) {
            Ok(before.remove(file).unwrap_or_default())
        } else {
            read(file).map(|bytes| parse(file, &bytes))
        };
        match read {
            Ok(parsed) => {
                last.insert(Arc::clone(file), parsed.clone());
                gathered.add(parsed);
            }
            // Removed since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let message = format!("can't be read: {error}");
                gathered.add_problem(Problem::new(Place::of(file), message));
            }
        }
    }
    gathered.refuse_duplicates();
    gathered
}

impl Gathered {
    fn add(&mut self, parsed: Parsed) {
        for problem in parsed.problems {
            self.add_problem(problem);
        }
        self.ignored.extend(parsed.ignored);
        for found in parsed.objects {
            self.add_object(found);
        }
        for (id, urgent) in parsed.urgent {
            // Of two with one name nobody knows which is meant.
            let unclear = |known: &mut Urgent| *known = Urgent::default();
            self.urgent.entry(id).and_modify(unclear).or_insert(urgent);
        }
    }

    /// Adds a problem: with an object it is about that one, else about a whole file or folder.
    pub(super) fn add_problem(&mut self, problem: Problem) {
        if let Some(about) = &problem.about {
            self.broken.insert(about.id.clone(), problem.clone());
        } else {
            let file = Arc::clone(&problem.place.file);
            self.unknown.entry(file).or_insert_with(|| problem.clone());
        }
        self.problems.insert(problem);
    }

    fn add_object(&mut self, found: Found) {
        let Some(first) = self.found.get(&found.id) else {
            self.found.insert(found.id.clone(), found);
            return;
        };
        let message = format!(
            "found a second time, first at {}; allowed is one object of a kind, namespace and name",
            first.place
        );
        let about = About {
            id: found.id.clone(),
            uid: first.uid.clone(),
            generation: first.generation,
        };
        self.add_problem(Problem {
            place: found.place,
            about: Some(about),
            message,
        });
    }

    /// Takes out what was found twice: which of the two was meant isn't known.
    fn refuse_duplicates(&mut self) {
        let Self {
            found,
            broken,
            urgent,
            ..
        } = self;
        found.retain(|id, _| {
            let once = !broken.contains_key(id);
            if !once {
                urgent.remove(id);
            }
            once
        });
    }
}

/// Whether a file is one of these, which are named without links.
fn is_one_of(file: &Path, files: &BTreeSet<PathBuf>) -> bool {
    !files.is_empty() && file.canonicalize().is_ok_and(|file| files.contains(&file))
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?
        .take(FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES {
        let message = format!("found more than {FILE_BYTES} bytes; allowed are that many");
        return Err(io::Error::other(message));
    }
    Ok(bytes)
}
