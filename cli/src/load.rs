//! Reading resources from files and folders of YAML and JSON.
//!
//! Owns the objects as they stand in files, each with its place, and the problems in the way. Must
//! never judge a spec (the compiler does), look for a secret elsewhere, or show a Secret's value.

mod documents;
mod error;
mod files;
mod list;
mod manifest;
mod object;
mod parse;
mod syntax;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use weighbridge_compiler::{ObjectId, Secret};
use weighbridge_crds::{Provider, Route, VirtualKey};
use weighbridge_snapshot::ObjectName;

pub(crate) use files::{Listing, list, unreadable};
pub(crate) use parse::{Parsed, parse};

/// The largest file that is read, in bytes.
pub(crate) const FILE_BYTES: u64 = 16 << 20;

/// Where in the files something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The file, as it is reached from the path that was given.
    pub(crate) file: Arc<Path>,
    /// The line, from 1.
    pub(crate) line: Option<usize>,
    /// The column, from 1.
    pub(crate) column: Option<usize>,
}

/// An object of any kind that is read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Id {
    /// A Provider, Route or VirtualKey.
    Judged(ObjectId),
    /// A Secret.
    Secret(ObjectName),
    /// A Namespace.
    Namespace(String),
}

/// What was read of an object.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    /// A Provider.
    Provider(Box<Provider>),
    /// A Route.
    Route(Box<Route>),
    /// A VirtualKey.
    VirtualKey(Box<VirtualKey>),
    /// A Secret.
    Secret(Secret),
    /// A Namespace's labels.
    Namespace(BTreeMap<String, String>),
}

/// An object and its place.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) id: Id,
    pub(crate) place: Place,
    pub(crate) uid: Option<String>,
    pub(crate) generation: Option<i64>,
    pub(crate) object: Object,
}

/// Something that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) place: Place,
    /// The object, where that much could be read.
    pub(crate) about: Option<About>,
    /// What was found, and what is allowed: one sentence.
    pub(crate) message: String,
}

/// An object that was recognised but can't be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct About {
    pub(crate) id: Id,
    pub(crate) uid: Option<String>,
    pub(crate) generation: Option<i64>,
}

impl Place {
    /// A whole file.
    pub(crate) fn of(file: &Arc<Path>) -> Self {
        Self {
            file: Arc::clone(file),
            line: None,
            column: None,
        }
    }

    /// A line, or a line and column, of the same file; both from 1.
    pub(crate) fn at(&self, line: usize, column: Option<usize>) -> Self {
        Self {
            file: Arc::clone(&self.file),
            line: Some(line),
            column,
        }
    }
}

impl Problem {
    /// A problem of which no more is known than its place.
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            about: None,
            message: message.into(),
        }
    }

    /// What there is to say, without where.
    pub(crate) fn without_place(&self) -> String {
        match &self.about {
            Some(about) => format!("{}: {}", about.id, self.message),
            None => self.message.clone(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        let numbers = [self.line, self.column];
        numbers
            .into_iter()
            .flatten()
            .try_for_each(|number| write!(formatter, ":{number}"))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Judged(id) => write!(formatter, "{} {}", id.kind, id.name),
            Self::Secret(name) => write!(formatter, "Secret {name}"),
            Self::Namespace(name) => write!(formatter, "Namespace {name}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.without_place())
    }
}

#[cfg(test)]
mod tests;
