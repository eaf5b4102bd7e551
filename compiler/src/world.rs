//! The world: everything a compile looks at, as plain values.
//!
//! Whoever fills it (files, an API server) has read the objects; nobody has judged them yet. Must
//! never hold a client, a path that is read later, or a secret outside [`Redacted`].

use std::collections::{BTreeMap, BTreeSet};

use weighbridge_crds::{Provider, Route, VirtualKey};
use weighbridge_snapshot::{ObjectName, Redacted};

use crate::{ObjectId, Urgent};

/// Everything a compile looks at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Where models run.
    pub providers: BTreeMap<ObjectName, Provider>,
    /// Where model names lead.
    pub routes: BTreeMap<ObjectName, Route>,
    /// Who may call.
    pub virtual_keys: BTreeMap<ObjectName, VirtualKey>,
    /// Objects that are there but can't be read as their kind: refused, their last good spec in force.
    pub unreadable: BTreeMap<ObjectId, Unreadable>,
    /// Credentials and tokens.
    pub secrets: BTreeMap<ObjectName, Secret>,
    /// Namespaces with their labels. `kubernetes.io/metadata.name` is implied, and so is every
    /// namespace that holds an object.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Namespaces that are there but whose labels aren't known, neither now nor from before: nothing
    /// that a selector says of their labels holds, not even that one is absent.
    pub unreadable_namespaces: BTreeSet<String>,
    /// Where the secrets came from.
    pub secret_places: SecretPlaces,
}

/// A Secret's labels and data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    /// Its labels; a VirtualKey's Secret must carry [`weighbridge_crds::VIRTUAL_KEY_LABEL`].
    pub labels: BTreeMap<String, String>,
    /// Its values, decoded. One trailing line break is ignored: editors and `echo` leave it.
    pub data: BTreeMap<String, Redacted<Vec<u8>>>,
}

/// An object that can't be read as its kind: an unknown field, a value of the wrong type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// `metadata.uid`, where there is one.
    pub uid: Option<String>,
    /// `metadata.generation`, where there is one.
    pub generation: Option<i64>,
    /// Which field, what was found, what is allowed: one sentence.
    pub message: String,
    /// What of it never waits, as far as that can be read.
    pub urgent: Urgent,
}

/// Where Secrets are looked for; it only words the message about a missing one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SecretPlaces {
    /// The cluster's API.
    #[default]
    Cluster,
    /// Files, a directory in the shape of mounted Secrets, the environment.
    Standalone {
        /// The directory.
        directory: String,
    },
}
