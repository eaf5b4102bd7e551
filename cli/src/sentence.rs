//! What there is to say about a reading and its compile, as sentences: `check` prints them, `serve`
//! logs what is new.
//!
//! Must never say one thing twice.

use std::fmt;

use weighbridge_compiler::{Compiled, Kind, LastGood, Reason, Status, Verdict};

use crate::load::{Id, Place, Problem};
use crate::output::visible;
use crate::sources::Reading;

/// How grave a sentence is, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gravity {
    /// The user must act: something isn't in force as written.
    Refused,
    /// Something referred to isn't there.
    Missing,
    /// Valid, and probably not meant.
    Warning,
    /// Lost to something more preferred.
    Shadowed,
    /// Not for us.
    Ignored,
}

/// A sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sentence {
    pub(crate) gravity: Gravity,
    pub(crate) place: Option<Place>,
    /// Whether it speaks of just this line, and not of an object that begins there.
    pub(crate) is_of_line: bool,
    pub(crate) text: String,
}

/// What makes two sentences the same; of an object not its line, which an edit further up moves.
pub(crate) type Same = (Gravity, Option<Place>, String);

/// Everything that deserves a sentence, the gravest first.
pub(crate) fn sentences(reading: &Reading, compiled: &Compiled) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    let mut add = |gravity, place: Option<&Place>, is_of_line, text| {
        sentences.push(Sentence {
            gravity,
            place: place.cloned(),
            is_of_line,
            text,
        });
    };
    for problem in &reading.problems {
        let consequence = consequence(problem, reading, &compiled.last_good);
        let text = format!("{}{consequence}", problem.without_place());
        add(Gravity::Refused, Some(&problem.place), true, text);
    }
    for fault in &reading.search.faults {
        add(Gravity::Refused, None, false, fault.clone());
    }
    for (id, verdict) in &compiled.verdicts {
        let place = reading.place(id);
        let id = Id::Judged(id.clone());
        for (gravity, message) in of_verdict(verdict) {
            add(gravity, place, false, format!("{id}: {message}"));
        }
    }
    for ignored in &reading.ignored {
        let text = ignored.without_place();
        add(Gravity::Ignored, Some(&ignored.place), false, text);
    }
    sentences.sort_by_key(|sentence| sentence.gravity);
    sentences
}

impl Sentence {
    /// What it has in common with the same one said at another look.
    pub(crate) fn same(&self) -> Same {
        let place = self.place.as_ref().map(|place| {
            if self.is_of_line {
                place.clone()
            } else {
                Place::of(&place.file)
            }
        });
        (self.gravity, place, self.text.clone())
    }
}

fn of_verdict(verdict: &Verdict) -> Vec<(Gravity, &str)> {
    let mut said = Vec::new();
    // What makes an object unreadable is said as the problem that it is.
    if verdict.is_refused() && verdict.accepted.reason != Reason::Unreadable {
        said.push((Gravity::Refused, verdict.accepted.message.as_str()));
    }
    // Also of a refused object, whose last good form may miss something.
    if verdict.resolved_refs.status == Status::False {
        said.push((Gravity::Missing, verdict.resolved_refs.message.as_str()));
    }
    let warnings = verdict.warnings.iter();
    said.extend(warnings.map(|text| (Gravity::Warning, text.as_str())));
    let shadowed = verdict.shadowed.iter();
    said.extend(shadowed.map(|text| (Gravity::Shadowed, text.as_str())));
    said
}

/// What a problem means for what is served.
fn consequence(problem: &Problem, reading: &Reading, last_good: &LastGood) -> &'static str {
    let stays = match &problem.about {
        None if reading.keepers.contains(&problem.place.file) => {
            return " (what was read of it before stays in force)";
        }
        None => return "",
        Some(about) => match &about.id {
            Id::Judged(id) => match id.kind {
                Kind::Provider => last_good.providers.contains_key(&id.name),
                Kind::Route => last_good.routes.contains_key(&id.name),
                Kind::VirtualKey => last_good.virtual_keys.contains_key(&id.name),
            },
            Id::Namespace(_) if !reading.retained.contains(&about.id) => {
                return " (no selector of labels matches it)";
            }
            id => reading.retained.contains(id),
        },
    };
    if stays {
        " (its last good form stays in force)"
    } else {
        " (nothing of it is in force)"
    }
}

impl fmt::Display for Gravity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Refused => "refused",
            Self::Missing => "missing",
            Self::Warning => "warning",
            Self::Shadowed => "shadowed",
            Self::Ignored => "ignored",
        })
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.as_ref().map(|place| format!("{place}: "));
        let line = format!(
            "{}: {}{}",
            self.gravity,
            place.unwrap_or_default(),
            self.text
        );
        formatter.write_str(&visible(&line))
    }
}
