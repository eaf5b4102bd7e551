//! Which spec of an object is in force: the new one when it is valid, else the last good one with the
//! new one's grants. The same for every kind.
//!
//! Must never let one object's fault reach another.

use std::collections::BTreeMap;

use weighbridge_crds::{check_object_name, check_part_name};
use weighbridge_snapshot::ObjectName;

use crate::refusal::{At, Refusal};
use crate::{Condition, Good, Kind, ObjectId, Reason, Unreadable, Urgent};

/// A kind's spec, as the compile sees it.
pub(crate) trait Spec: Clone {
    /// The kind.
    const KIND: Kind;
    /// The spec, read: valid, defaults written out, references not yet resolved.
    type Draft;

    /// Reads the spec of an object in the namespace `own`.
    fn read(&self, own: &str) -> Result<Self::Draft, Refusal>;

    /// What of it never waits.
    fn urgent(&self) -> Urgent;

    /// Takes over from a newer, refused form what never waits for its acceptance. A part of it that is
    /// itself invalid or unclear is not taken over.
    fn follow(&mut self, newer: Urgent);

    /// Checks that this may follow an accepted spec of the same object.
    fn check_change(&self, _accepted: &Self) -> Result<(), Refusal> {
        Ok(())
    }

    /// Checks the object's name beyond what every kind's must be.
    fn check_name(_name: &str) -> Result<(), Refusal> {
        Ok(())
    }
}

/// An object, as found in the world.
pub(crate) struct Found<'a, S> {
    pub(crate) name: &'a ObjectName,
    pub(crate) uid: Option<&'a str>,
    pub(crate) generation: Option<i64>,
    /// The spec, or why the object can't be read.
    pub(crate) spec: Result<&'a S, &'a Unreadable>,
}

/// What is in force of an object, and what to say about it.
pub(crate) struct Judged<S: Spec> {
    pub(crate) generation: Option<i64>,
    pub(crate) accepted: Condition,
    pub(crate) draft: Option<S::Draft>,
    /// Whether the same object was accepted before.
    pub(crate) known: bool,
    /// What the next compile falls back to.
    pub(crate) good: Option<Good<S>>,
}

/// Judges every object of a kind: those that were read, and those that can't be.
pub(crate) fn judge_all<'a, S: Spec + 'a>(
    readable: impl Iterator<Item = Found<'a, S>>,
    unreadable: &'a BTreeMap<ObjectId, Unreadable>,
    goods: &BTreeMap<ObjectName, Good<S>>,
) -> BTreeMap<ObjectName, Judged<S>> {
    let unreadable = unreadable
        .iter()
        .filter(|(id, _)| id.kind == S::KIND)
        .map(|(id, object)| Found {
            name: &id.name,
            uid: object.uid.as_deref(),
            generation: object.generation,
            spec: Err(object),
        });
    // A readable object of the same name comes last and wins.
    unreadable
        .chain(readable)
        .map(|found| (found.name.clone(), judge(&found, goods.get(found.name))))
        .collect()
}

fn judge<S: Spec>(found: &Found<'_, S>, good: Option<&Good<S>>) -> Judged<S> {
    let good = good.filter(|good| good.uid.as_deref() == found.uid);
    let accepted = good.map(|good| &good.spec);
    let (reason, cause) = match found
        .spec
        .map(|spec| (spec, read(found.name, spec, accepted)))
    {
        Ok((spec, Ok(draft))) => return accept(found, spec, draft, good.is_some()),
        Ok((_, Err(refusal))) => (Reason::Invalid, refusal.to_string()),
        Err(unreadable) => (Reason::Unreadable, unreadable.message.clone()),
    };
    let mut good = good.cloned();
    if let Some(good) = &mut good {
        good.spec.follow(match found.spec {
            Ok(newer) => newer.urgent(),
            Err(unreadable) => unreadable.urgent.clone(),
        });
    }
    let draft = good
        .as_ref()
        .and_then(|good| good.spec.read(&found.name.namespace).ok());
    let consequence = match (&draft, good.as_ref().and_then(|good| good.generation)) {
        (None, _) => "nothing of it is in force".to_owned(),
        (Some(_), None) => "its last good form stays in force".to_owned(),
        (Some(_), Some(generation)) => {
            format!("its last good form, generation {generation}, stays in force")
        }
    };
    Judged {
        generation: found.generation,
        accepted: Condition::refused(reason, format!("{cause} ({consequence})")),
        draft,
        known: good.is_some(),
        good,
    }
}

fn accept<S: Spec>(found: &Found<'_, S>, spec: &S, draft: S::Draft, known: bool) -> Judged<S> {
    Judged {
        generation: found.generation,
        accepted: Condition::accepted(),
        draft: Some(draft),
        known,
        good: Some(Good {
            uid: found.uid.map(str::to_owned),
            generation: found.generation,
            spec: spec.clone(),
        }),
    }
}

fn read<S: Spec>(name: &ObjectName, spec: &S, accepted: Option<&S>) -> Result<S::Draft, Refusal> {
    check_part_name(&name.namespace).at("metadata.namespace")?;
    check_object_name(&name.name).at("metadata.name")?;
    S::check_name(&name.name).at("metadata.name")?;
    let draft = spec.read(&name.namespace).at("spec")?;
    if let Some(accepted) = accepted {
        spec.check_change(accepted).at("spec")?;
    }
    Ok(draft)
}
