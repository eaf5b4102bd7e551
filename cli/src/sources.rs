//! From paths to a world, again and again: what is found each time, and what stays of before.
//!
//! An object that can't be read keeps its last good form until it can, or until it is known to be
//! gone; a file that can't be read keeps all of its objects. Must never compile or serve.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use weighbridge_compiler::{LastGood, ObjectId, SecretPlaces, Unreadable, World};

use crate::load::{About, FILE_BYTES, Found, Id, Listing, Object, Place, Problem, list, parse};
use crate::secrets::{self, Minting, Search, Seeker};

/// Files and folders of resources, and a directory of secrets.
pub(crate) struct Sources {
    paths: Vec<PathBuf>,
    secrets: PathBuf,
    known: BTreeMap<Id, Known>,
}

/// What one look at the sources gave.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// What a compile is to be given.
    pub(crate) world: World,
    /// Where the objects stand.
    pub(crate) places: BTreeMap<ObjectId, Place>,
    /// What can't be read.
    pub(crate) problems: BTreeSet<Problem>,
    /// Objects of kinds that aren't read.
    pub(crate) ignored: BTreeSet<Problem>,
    /// What came of looking for secrets.
    pub(crate) search: Search,
    /// Objects that were not read now and stay as they were.
    pub(crate) retained: BTreeSet<Id>,
    /// Files and folders of which it isn't known what they hold, and which keep objects.
    pub(crate) keepers: BTreeSet<Arc<Path>>,
    /// Where a change matters.
    pub(crate) interest: Interest,
}

/// Where a change in the file system matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    /// Folders whose entries matter.
    pub(crate) folders: BTreeSet<PathBuf>,
    /// Paths that matter by themselves: those given, which may be replaced as a whole.
    pub(crate) paths: BTreeSet<PathBuf>,
}

/// An object as it was last read.
struct Known {
    place: Place,
    uid: Option<String>,
    generation: Option<i64>,
    /// The object itself, if nobody else remembers it: the compiler keeps specs.
    kept: Option<Object>,
}

/// What the files gave, before it is put together.
#[derive(Default)]
struct Gathered {
    found: BTreeMap<Id, Found>,
    broken: BTreeMap<Id, Problem>,
    problems: BTreeSet<Problem>,
    ignored: BTreeSet<Problem>,
    /// Files and folders of which it isn't known what they hold.
    unknown: BTreeMap<Arc<Path>, Problem>,
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
        let secrets = secrets.unwrap_or_else(|| {
            let folder = paths.iter().find(|path| path.is_dir());
            let beside = paths.first().and_then(|file| file.parent());
            let folder = folder.map(PathBuf::as_path).or(beside);
            folder.unwrap_or(Path::new("")).join("secrets")
        });
        Ok(Self {
            paths,
            secrets,
            known: BTreeMap::new(),
        })
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
        &self.secrets
    }

    /// Reads everything. `last_good` is what the next compile will be given with it.
    pub(crate) fn read(&mut self, last_good: &LastGood, minting: Minting) -> Reading {
        let listing = list(&self.paths, &self.secrets);
        let gathered = gather(&listing);
        let mut reading = Reading::default();
        self.retain(&gathered, &mut reading);
        for problem in gathered.broken.into_values() {
            if let Some(about) = &problem.about {
                reading.add_unreadable(&problem.place, about, cited(&problem));
            }
        }
        for found in gathered.found.into_values() {
            self.known.insert(found.id.clone(), Known::of(&found));
            reading.add(found);
        }
        reading.problems = gathered.problems;
        reading.ignored = gathered.ignored;
        self.seek_secrets(&mut reading, last_good, minting);
        let given = self.paths.iter().chain([&self.secrets]);
        reading.interest.paths = given.cloned().collect();
        reading.interest.folders = listing.folders;
        let folders = std::mem::take(&mut reading.search.folders);
        reading.interest.folders.extend(folders);
        reading
    }

    fn seek_secrets(&self, reading: &mut Reading, last_good: &LastGood, minting: Minting) {
        reading.world.secret_places = SecretPlaces::Standalone {
            directory: self.secrets.display().to_string(),
        };
        let seeker = Seeker {
            directory: &self.secrets,
            environment: &secrets::environment,
            minting,
        };
        reading.search = seeker.fill(&mut reading.world, last_good);
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
                reading.add_unreadable(&known.place, &known.about(id), cited(problem));
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

impl Reading {
    /// An object with its place, as messages name it.
    pub(crate) fn about(&self, id: &ObjectId) -> String {
        let id_text = Id::Judged(id.clone());
        match self.places.get(id) {
            Some(place) => format!("{place}: {id_text}"),
            None => id_text.to_string(),
        }
    }

    fn add(&mut self, found: Found) {
        let Found {
            id, place, object, ..
        } = found;
        let name = match id {
            Id::Judged(id) => {
                let name = id.name.clone();
                self.places.insert(id, place);
                name
            }
            id => return self.add_given(id, object),
        };
        match object {
            Object::Provider(object) => drop(self.world.providers.insert(name, *object)),
            Object::Route(object) => drop(self.world.routes.insert(name, *object)),
            Object::VirtualKey(object) => drop(self.world.virtual_keys.insert(name, *object)),
            Object::Secret(_) | Object::Namespace(_) => {}
        }
    }

    fn add_given(&mut self, id: Id, object: Object) {
        match (id, object) {
            (Id::Secret(name), Object::Secret(secret)) => {
                self.world.secrets.insert(name, secret);
            }
            (Id::Namespace(name), Object::Namespace(labels)) => {
                self.world.namespaces.insert(name, labels);
            }
            _ => {}
        }
    }

    fn add_unreadable(&mut self, place: &Place, about: &About, message: String) {
        if let Id::Judged(id) = &about.id {
            let unreadable = Unreadable {
                uid: about.uid.clone(),
                generation: about.generation,
                message,
                ..Unreadable::default()
            };
            self.places.insert(id.clone(), place.clone());
            self.world.unreadable.insert(id.clone(), unreadable);
        }
    }
}

fn gather(listing: &Listing) -> Gathered {
    let mut gathered = Gathered::default();
    for problem in &listing.problems {
        gathered.add_problem(problem.clone());
    }
    for file in &listing.files {
        match read(file) {
            Ok(bytes) => {
                let parsed = parse(file, &bytes);
                parsed
                    .problems
                    .into_iter()
                    .for_each(|problem| gathered.add_problem(problem));
                gathered.ignored.extend(parsed.ignored);
                parsed
                    .objects
                    .into_iter()
                    .for_each(|found| gathered.add_object(found));
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
    fn add_problem(&mut self, problem: Problem) {
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
        let Self { found, broken, .. } = self;
        found.retain(|id, _| !broken.contains_key(id));
    }
}

/// A problem as a condition's message names it.
fn cited(problem: &Problem) -> String {
    format!("{}: {}", problem.place, problem.message)
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

#[cfg(test)]
mod tests;
