//! Whose a token is.
//!
//! A token in force keeps its key; else the first claimant by namespace and name has it. Must never
//! let a second key have a token, and never keep one whose Secret no longer holds it.

use std::collections::BTreeMap;

use weighbridge_snapshot::{ObjectName, TokenDigest};

/// Decides who has each claimed token. `claims`: each key with the token its Secret holds;
/// `in_force`: who had which token before.
pub(crate) fn owners(
    claims: &BTreeMap<ObjectName, TokenDigest>,
    in_force: &BTreeMap<TokenDigest, ObjectName>,
) -> BTreeMap<TokenDigest, ObjectName> {
    let mut owners: BTreeMap<TokenDigest, ObjectName> = in_force
        .iter()
        .filter(|(digest, key)| claims.get(*key) == Some(*digest))
        .map(|(digest, key)| (*digest, key.clone()))
        .collect();
    for (key, digest) in claims {
        owners.entry(*digest).or_insert_with(|| key.clone());
    }
    owners
}
