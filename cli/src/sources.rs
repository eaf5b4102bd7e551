//! From paths to a world, again and again: what is found each time, and what stays of before.
//!
//! An object that can't be read keeps its last good form until it can, or until it is known to be
//! gone; a file that can't be read keeps all of its objects, and a path from the command line that is
//! gone everything it held, secrets included. Must never compile or serve.

mod gathered;
mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use weighbridge_compiler::{LastGood, SecretPlaces, Urgent};

use crate::links::way;
use crate::load::{About, Found, Id, Listing, Object, Place, list, unreadable};
use crate::secrets::{self, Directory, Minting, Seeker};
use gathered::{Gathered, LastRead, gather};
pub(crate) use reading::{Interest, Reading};

/// Files and folders of resources, and a directory of secrets.
pub(crate) struct Sources {
    paths: Vec<PathBuf>,
    /// A file that is none of them, wherever it is.
    left_out: Option<PathBuf>,
    secrets: Directory,
    known: BTreeMap<Id, Known>,
    last_read: LastRead,
}

/// An object as it was last read.
struct Known {
    place: Place,
    uid: Option<String>,
    generation: Option<i64>,
    /// The object itself, if nobody else remembers it: the compiler keeps specs.
    kept: Option<Object>,
}

impl Sources {
    /// Sources of these paths. Without a directory of secrets it is `secrets` in the first folder, or
    /// beside the first file.
    ///
    /// # Errors
    /// When one of the paths isn't there.
    pub(crate) fn new(paths: Vec<PathBuf>, secrets: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(path) = paths.iter().find(|path| !path.exists()) {
            bail!("{}: there is no such file or folder", path.display());
        }
        let secrets = secrets.map_or_else(
            || {
                let folder = paths.iter().find(|path| path.is_dir());
                let beside = paths.first().and_then(|file| file.parent());
                Directory::within(folder.map(PathBuf::as_path).or(beside))
            },
            Directory::given,
        );
        Ok(Self {
            paths,
            left_out: None,
            secrets,
            known: BTreeMap::new(),
            last_read: LastRead::new(),
        })
    }

    /// The same without this file, should it be among them.
    pub(crate) fn without(mut self, file: Option<PathBuf>) -> Self {
        self.left_out = file;
        self
    }

    /// Refuses to go on with nothing: no object, and no problem that says why.
    ///
    /// # Errors
    /// With what was looked at, and what to do.
    pub(crate) fn must_hold_something(&self, reading: &Reading) -> anyhow::Result<()> {
        let world = &reading.world;
        let objects = world.providers.len() + world.routes.len() + world.virtual_keys.len();
        if objects == 0 && world.unreadable.is_empty() && reading.problems.is_empty() {
            let paths: Vec<String> = self
                .paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            bail!(
                "found no Provider, Route or VirtualKey in {} (files ending in .yaml, .yml or .json); `weighbridge demo` shows some, and examples/ has more",
                paths.join(", ")
            );
        }
        Ok(())
    }

    /// The directory of secrets.
    pub(crate) fn secrets(&self) -> &Path {
        self.secrets.path()
    }

    /// Reads everything. `last_good` is what the next compile will be given with it.
    pub(crate) fn read(&mut self, last_good: &LastGood, minting: Minting) -> Reading {
        self.read_beside(&BTreeSet::new(), last_good, minting)
    }

    /// Reads everything but the files that are being written, named without links: these count as they
    /// were.
    pub(crate) fn read_beside(
        &mut self,
        writing: &BTreeSet<PathBuf>,
        last_good: &LastGood,
        minting: Minting,
    ) -> Reading {
        let listing = list(&self.paths, self.secrets(), self.left_out.as_deref());
        let mut gathered = gather(&listing, writing, &mut self.last_read);
        // One that went away meanwhile seemed empty.
        for path in &self.paths {
            if let Err(error) = path.metadata() {
                gathered.add_problem(unreadable(path, &error));
            }
        }
        let mut reading = Reading::default();
        self.retain(&gathered, &mut reading);
        for (id, problem) in gathered.broken {
            if let Some(about) = &problem.about {
                let urgent = gathered.urgent.get(&id).cloned().unwrap_or_default();
                reading.add_unreadable(&problem, about, urgent);
            }
            if let Id::Judged(id) = id {
                reading.places.insert(id, problem.place);
            }
        }
        for found in gathered.found.into_values() {
            self.known.insert(found.id.clone(), Known::of(&found));
            reading.add(found);
        }
        let known = self.known.iter();
        reading.objects = known
            .map(|(id, known)| (id.clone(), known.place.clone()))
            .collect();
        reading.problems = gathered.problems;
        reading.ignored = gathered.ignored;
        self.seek_secrets(writing, &mut reading, last_good, minting);
        reading.interest = self.interest(listing, &reading);
        reading
    }

    fn seek_secrets(
        &mut self,
        writing: &BTreeSet<PathBuf>,
        reading: &mut Reading,
        last_good: &LastGood,
        minting: Minting,
    ) {
        reading.world.secret_places = SecretPlaces::Standalone {
            directory: self.secrets().display().to_string(),
        };
        let mut seek = || {
            let seeker = Seeker {
                directory: &self.secrets,
                environment: &secrets::environment,
                writing,
                minting,
            };
            seeker.fill(&mut reading.world, last_good)
        };
        let was_gone = self.secrets.is_gone();
        reading.search = seek();
        // What was looked for while the directory went away was not found for that reason.
        if !was_gone && self.secrets.is_gone() {
            let first = reading.search.read.clone();
            reading.search = seek();
            reading.search.read.extend(first);
        }
        self.secrets.remember(&reading.search.read);
    }

    fn interest(&self, listing: Listing, reading: &Reading) -> Interest {
        let given = self.paths.iter().map(PathBuf::as_path);
        let links = listing.links.iter().chain(&reading.search.links);
        let paths = given
            .chain([self.secrets()])
            .chain(links.map(PathBuf::as_path));
        let mut folders = listing.folders;
        folders.extend(reading.search.folders.iter().cloned());
        Interest {
            paths: paths.flat_map(way).collect(),
            folders,
        }
    }

    /// Keeps the objects of before that were not found now and are not known to be gone; forgets the
    /// others.
    fn retain(&mut self, gathered: &Gathered, reading: &mut Reading) {
        self.known.retain(|id, known| {
            if gathered.found.contains_key(id) {
                return true;
            }
            if !gathered.broken.contains_key(id) {
                let mut holders = known.place.file.ancestors();
                let Some(problem) = holders.find_map(|path| gathered.unknown.get(path)) else {
                    return false;
                };
                reading.keepers.insert(Arc::clone(&problem.place.file));
                reading.add_unreadable(problem, &known.about(id), Urgent::default());
                if let Id::Judged(id) = id {
                    reading.places.insert(id.clone(), known.place.clone());
                }
            }
            reading.retained.insert(id.clone());
            if let Some(object) = known.kept.clone() {
                reading.add_given(id.clone(), object);
            }
            true
        });
    }
}

impl Known {
    fn of(found: &Found) -> Self {
        let kept = match &found.object {
            Object::Secret(_) | Object::Namespace(_) => Some(found.object.clone()),
            Object::Provider(_) | Object::Route(_) | Object::VirtualKey(_) => None,
        };
        Self {
            place: found.place.clone(),
            uid: found.uid.clone(),
            generation: found.generation,
            kept,
        }
    }

    fn about(&self, id: &Id) -> About {
        About {
            id: id.clone(),
            uid: self.uid.clone(),
            generation: self.generation,
        }
    }
}

#[cfg(test)]
mod tests;
