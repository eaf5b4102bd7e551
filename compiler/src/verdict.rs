//! What became of an object: the verdict, and the conditions an operator writes from it.
//!
//! Must never say `Programmed` or `Ready`: a compile knows what is valid, not what a data plane has.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use weighbridge_snapshot::{ObjectName, ParseObjectNameError};

/// The kinds a compile judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Somewhere that models run.
    Provider,
    /// Model names, and where they lead.
    Route,
    /// A team's credential.
    VirtualKey,
}

/// An object by kind, namespace and name. Written `Kind/namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectId {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub name: ObjectName,
}

/// The text isn't `Kind/namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseObjectIdError {
    /// Another kind, or none.
    #[error("found {0:?}; allowed is Kind/namespace/name with Provider, Route or VirtualKey")]
    Kind(String),
    /// No namespace and name behind the kind.
    #[error(transparent)]
    Name(#[from] ParseObjectNameError),
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The generation that was judged, where the object has one.
    pub generation: Option<i64>,
    /// Whether this generation is valid. If not, the last good spec stays in force.
    pub accepted: Condition,
    /// Whether everything it refers to is there and may be used.
    pub resolved_refs: Condition,
    /// What lost to a more preferred Route, as sentences; at most 16.
    pub shadowed: Vec<String>,
    /// What is valid and probably not meant, as sentences.
    pub warnings: Vec<String>,
}

/// How many missing things a message names; a condition's message has 32,768 characters at most.
const NAMED: usize = 16;

/// One statement about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether it holds.
    pub status: Status,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Status {
    /// It does.
    True,
    /// It doesn't.
    False,
    /// Nobody looked.
    Unknown,
}

/// Why a condition holds or doesn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Reason {
    /// The object is valid.
    Accepted,
    /// A field is out of its bounds or form.
    Invalid,
    /// The object can't be read as its kind.
    Unreadable,
    /// The Secret is another VirtualKey's.
    SecretInUse,
    /// The token already is another VirtualKey's.
    TokenInUse,
    /// Everything referred to is there and may be used.
    ResolvedRefs,
    /// Something referred to is missing or may not be used; which of the two isn't told.
    RefNotAvailable,
    /// Nothing of the object is in force, so it refers to nothing.
    NotInForce,
}

/// A condition as it stands in an object's status, without its transition time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusCondition {
    /// The condition's type.
    pub r#type: &'static str,
    /// Whether it holds.
    pub status: Status,
    /// A CamelCase word for programs.
    pub reason: Reason,
    /// A sentence for people.
    pub message: String,
    /// The generation it speaks of, where the object has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

impl Verdict {
    /// Whether this generation was refused: the user must act.
    pub fn is_refused(&self) -> bool {
        !self.accepted.holds()
    }

    /// The conditions of the object's status that a compile can tell: `Accepted`, `ResolvedRefs`, and
    /// `Stalled` while refused. `Programmed`, `Healthy` and `Ready` need a data plane's word.
    pub fn conditions(&self) -> Vec<StatusCondition> {
        let stalled = Condition {
            status: Status::True,
            ..self.accepted.clone()
        };
        let mut conditions = vec![
            self.status("Accepted", &self.accepted),
            self.status("ResolvedRefs", &self.resolved_refs),
        ];
        if self.is_refused() {
            conditions.push(self.status("Stalled", &stalled));
        }
        conditions
    }

    fn status(&self, kind: &'static str, condition: &Condition) -> StatusCondition {
        StatusCondition {
            r#type: kind,
            status: condition.status,
            reason: condition.reason,
            message: condition.message.clone(),
            observed_generation: self.generation,
        }
    }
}

impl Condition {
    /// Whether it is known to hold.
    pub fn holds(&self) -> bool {
        self.status == Status::True
    }

    pub(crate) fn accepted() -> Self {
        Self::new(Status::True, Reason::Accepted, "valid")
    }

    pub(crate) fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Status::False, reason, message)
    }

    /// Resolved when nothing is missing; else it names what is.
    pub(crate) fn resolved(missing: &[String]) -> Self {
        let rest = missing.len().saturating_sub(NAMED);
        let named = missing.iter().take(NAMED).map(String::as_str);
        let message = named.collect::<Vec<_>>().join("; ");
        match (missing.is_empty(), rest) {
            (true, _) => Self::new(
                Status::True,
                Reason::ResolvedRefs,
                "every reference is resolved",
            ),
            (false, 0) => Self::new(Status::False, Reason::RefNotAvailable, message),
            (false, rest) => {
                let message = format!("{message}; and {rest} more");
                Self::new(Status::False, Reason::RefNotAvailable, message)
            }
        }
    }

    /// Nothing was looked for, because nothing of the object is in force.
    pub(crate) fn unresolved() -> Self {
        let message = "nothing of the object is in force, so nothing was looked for";
        Self::new(Status::Unknown, Reason::NotInForce, message)
    }

    fn new(status: Status, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
        }
    }
}

impl ObjectId {
    /// Names an object of a kind.
    pub fn new(kind: Kind, name: ObjectName) -> Self {
        Self { kind, name }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Provider => "Provider",
            Self::Route => "Route",
            Self::VirtualKey => "VirtualKey",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind, self.name)
    }
}

impl FromStr for ObjectId {
    type Err = ParseObjectIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, name) = text.split_once('/').unwrap_or((text, ""));
        let kind = [Kind::Provider, Kind::Route, Kind::VirtualKey]
            .into_iter()
            .find(|candidate| candidate.to_string() == kind)
            .ok_or_else(|| ParseObjectIdError::Kind(text.to_owned()))?;
        Ok(Self::new(kind, name.parse()?))
    }
}

impl TryFrom<String> for ObjectId {
    type Error = ParseObjectIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ObjectId> for String {
    fn from(id: ObjectId) -> Self {
        id.to_string()
    }
}
