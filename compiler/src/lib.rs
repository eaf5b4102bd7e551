//! From what users wrote to what a data plane serves: `compile(&World, &LastGood)`, pure, total and
//! deterministic.
//!
//! Owns the meaning of the resources: defaults inside lists, grants, references, tokens, and the
//! verdicts that say what became of each object. A bad object becomes a verdict and its last good
//! spec stays in force, while its grants, suspension and expiry follow the new one at once; it never
//! blocks another object. Must never watch, read a file, look at a clock, or fail.

mod compile;
mod grants;
mod judge;
mod last_good;
mod provider;
mod refusal;
mod route;
mod secrets;
#[cfg(test)]
mod tests;
mod tokens;
mod untyped;
mod urgent;
mod verdict;
mod virtual_key;
mod world;

pub use compile::{Compiled, compile};
pub use last_good::{Good, LastGood};
pub use secrets::{secret_file, secret_refs, secret_variable};
pub use tokens::token_owners;
pub use untyped::Untyped;
pub use urgent::{Stated, Urgent};
pub use verdict::{
    Condition, Kind, ObjectId, ParseObjectIdError, Reason, Status, StatusCondition, Verdict,
};
pub use world::{Secret, SecretPlaces, Unreadable, World};
