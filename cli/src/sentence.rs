//! What there is to say about a reading and its compile, as sentences: `check` prints them, `serve`
//! logs what is new.
//!
//! Must never say one thing twice.

use std::fmt;

use weighbridge_compiler::{Compiled, Kind, LastGood, Reason, Status, Verdict};

use crate::load::{Id, Problem};
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sentence {
    pub(crate) gravity: Gravity,
    pub(crate) text: String,
}

/// Everything that deserves a sentence, the gravest first.
pub(crate) fn sentences(reading: &Reading, compiled: &Compiled) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    let mut add = |gravity, text| sentences.push(Sentence { gravity, text });
    for problem in &reading.problems {
        let text = format!(
            "{problem}{}",
            consequence(problem, reading, &compiled.last_good)
        );
        add(Gravity::Refused, text);
    }
    for fault in &reading.search.faults {
        add(Gravity::Refused, fault.clone());
    }
    for (id, verdict) in &compiled.verdicts {
        let about = reading.about(id);
        for (gravity, message) in of_verdict(verdict) {
            add(gravity, format!("{about}: {message}"));
        }
    }
    for ignored in &reading.ignored {
        add(Gravity::Ignored, ignored.to_string());
    }
    sentences.sort_by_key(|sentence| sentence.gravity);
    sentences
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
        write!(formatter, "{}: {}", self.gravity, self.text)
    }
}
