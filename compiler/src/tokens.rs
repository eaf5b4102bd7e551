//! Whose a Secret with a token is, and whose the token.
//!
//! A Secret is one VirtualKey's: the one its label names, else the one that was accepted with it before,
//! else the first by namespace and name. A token in force keeps its key; else the first claimant by
//! namespace and name has it. Must never let a second key have a token, and never keep one whose Secret
//! no longer holds it.

use std::collections::BTreeMap;

use weighbridge_crds::VIRTUAL_KEY_LABEL;
use weighbridge_snapshot::{ObjectName, TokenDigest};

use crate::virtual_key::judge_keys;
use crate::{LastGood, World};

/// A VirtualKey that names a Secret.
pub(crate) struct Claim<'a> {
    pub(crate) key: &'a ObjectName,
    pub(crate) secret: ObjectName,
    /// Whether it was accepted with this Secret before.
    pub(crate) known: bool,
}

/// The VirtualKey of every Secret that one in force names; the compile of the same two gives a token to
/// no other.
pub fn token_owners(world: &World, last_good: &LastGood) -> BTreeMap<ObjectName, ObjectName> {
    let judged = judge_keys(world, last_good);
    let claims = judged.iter().filter_map(|(key, judged)| {
        Some(Claim {
            key,
            secret: judged.draft.as_ref()?.secret(key),
            known: judged.known,
        })
    });
    secret_owners(world, claims)
        .into_iter()
        .map(|(secret, key)| (secret, key.clone()))
        .collect()
}

/// Decides whose each Secret is.
pub(crate) fn secret_owners<'a>(
    world: &World,
    claims: impl Iterator<Item = Claim<'a>>,
) -> BTreeMap<ObjectName, &'a ObjectName> {
    let mut best: BTreeMap<ObjectName, (bool, bool, &ObjectName)> = BTreeMap::new();
    for Claim { key, secret, known } in claims {
        let manifest = world.secrets.get(&secret);
        let label = manifest.and_then(|secret| secret.labels.get(VIRTUAL_KEY_LABEL));
        // The least is the best.
        let rank = (label != Some(&key.name), !known, key);
        let best = best.entry(secret).or_insert(rank);
        *best = rank.min(*best);
    }
    let owners = best.into_iter();
    owners.map(|(secret, (_, _, key))| (secret, key)).collect()
}

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
