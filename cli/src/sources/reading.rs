//! What one look at the sources gave: a world, and all there is to say about it.
//!
//! Must never read a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weighbridge_compiler::{ObjectId, Unreadable, Urgent, World};

use crate::load::{About, Found, Id, Object, Place, Problem};
use crate::secrets::Search;

/// What one look at the sources gave.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// What a compile is to be given.
    pub(crate) world: World,
    /// Where the objects stand.
    pub(crate) places: BTreeMap<ObjectId, Place>,
    /// Every object that was read, now or before, and isn't known to be gone.
    pub(crate) objects: BTreeMap<Id, Place>,
    /// What can't be read.
    pub(crate) problems: BTreeSet<Problem>,
    /// What isn't read.
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
    /// Paths that matter by themselves: those given, which may be replaced as a whole, and what links
    /// lead to.
    pub(crate) paths: BTreeSet<PathBuf>,
}

impl Reading {
    /// An object's place, where it has one.
    pub(crate) fn place(&self, id: &ObjectId) -> Option<&Place> {
        self.places.get(id)
    }

    /// Puts an object that was read where a compile looks for it.
    pub(super) fn add(&mut self, found: Found) {
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

    /// The same for the kinds that nobody judges.
    pub(super) fn add_given(&mut self, id: Id, object: Object) {
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

    /// Says that an object is there and can't be read; `urgent` is what of it nevertheless counts.
    pub(super) fn add_unreadable(&mut self, problem: &Problem, about: &About, urgent: Urgent) {
        match &about.id {
            Id::Judged(id) => {
                let unreadable = Unreadable {
                    uid: about.uid.clone(),
                    generation: about.generation,
                    message: format!("{}: {}", problem.place, problem.message),
                    urgent,
                };
                self.world.unreadable.insert(id.clone(), unreadable);
            }
            Id::Namespace(name) => {
                self.world.unreadable_namespaces.insert(name.clone());
            }
            Id::Secret(_) => {}
        }
    }
}
