//! The compile itself.

use std::collections::BTreeMap;

use weighbridge_snapshot::Snapshot;

use crate::{LastGood, ObjectId, Verdict, World};

/// The results of a compile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// What a data plane is to serve.
    pub snapshot: Snapshot,
    /// What became of every object of the world.
    pub verdicts: BTreeMap<ObjectId, Verdict>,
    /// What the next compile is to be given.
    pub last_good: LastGood,
}

/// Compiles a world.
pub fn compile(_world: &World, _last_good: &LastGood) -> Compiled {
    Compiled::default()
}
