//! The revision: a content hash by which both ends check that they agree.
//!
//! A sum of object hashes, so that one change costs one hash instead of a pass over everything, and
//! order can't matter. Must never depend on anything but the objects' encoded bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A content hash of a snapshot: equal snapshots have equal revisions. 32 hexadecimal digits.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(u128);

impl Revision {
    /// Adds an object by its kind, its name and its encoded bytes.
    pub(crate) fn add(&mut self, kind: &str, name: &str, bytes: &[u8]) {
        let mut hasher = Sha256::new();
        for part in [kind.as_bytes(), name.as_bytes(), bytes] {
            // Lengths keep ("a", "bc") and ("ab", "c") apart.
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let hash = hasher
            .finalize()
            .iter()
            .take(16)
            .fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
        self.0 = self.0.wrapping_add(hash);
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl FromStr for Revision {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl TryFrom<String> for Revision {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> Self {
        revision.to_string()
    }
}
