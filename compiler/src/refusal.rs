//! Why a spec is refused, and the checks every kind shares: counts, uniqueness, bounds.
//!
//! A refusal is one sentence: the field's path, what was found, what is allowed. The path grows from
//! the inside out, so that a check knows only its own field. Must never look past a list's bound.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use weighbridge_crds::Misfit;

/// Why a spec is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    path: String,
    found: String,
    allowed: String,
}

impl Refusal {
    pub(crate) fn new(found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            found: found.into(),
            allowed: allowed.into(),
        }
    }

    fn inside(mut self, parent: &str) -> Self {
        self.path = match self.path.as_str() {
            "" => parent.to_owned(),
            path => format!("{parent}.{path}"),
        };
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            found,
            allowed,
        } = self;
        write!(formatter, "{path}: found {found}; allowed is {allowed}")
    }
}

impl From<Misfit> for Refusal {
    fn from(misfit: Misfit) -> Self {
        Self::new(misfit.found, misfit.allowed)
    }
}

/// Says where a check stands.
pub(crate) trait At<T> {
    /// The check was about this field.
    fn at(self, field: &str) -> Result<T, Refusal>;
}

impl<T, E: Into<Refusal>> At<T> for Result<T, E> {
    fn at(self, field: &str) -> Result<T, Refusal> {
        self.map_err(|cause| cause.into().inside(field))
    }
}

/// Reads a list: its length within `count`, its keys unique, then each item.
pub(crate) fn list<I, O>(
    field: &str,
    items: &[I],
    count: RangeInclusive<usize>,
    key: impl Fn(&I) -> String,
    read: impl Fn(&I) -> Result<O, Refusal>,
) -> Result<Vec<O>, Refusal> {
    count_within(items.len(), count).at(field)?;
    let mut seen = BTreeSet::new();
    let read_one = |(index, item)| {
        let place = format!("{field}[{index}]");
        let read = read(item).at(&place)?;
        if !seen.insert(key(item)) {
            let found = format!("{:?} a second time", key(item));
            return Err(Refusal::new(found, "each once")).at(&place);
        }
        Ok(read)
    };
    items.iter().enumerate().map(read_one).collect()
}

/// The length of a list, within its bounds.
pub(crate) fn count_within(length: usize, count: RangeInclusive<usize>) -> Result<(), Refusal> {
    if count.contains(&length) {
        return Ok(());
    }
    let found = match length {
        1 => "1 item".to_owned(),
        length => format!("{length} items"),
    };
    let allowed = match (count.start(), count.end()) {
        (0, 0) => "none".to_owned(),
        (0, most) => format!("at most {most}"),
        (least, most) => format!("{least} to {most}"),
    };
    Err(Refusal::new(found, allowed))
}

/// A whole number within its bounds.
pub(crate) fn whole(value: i64, bounds: RangeInclusive<i64>) -> Result<u32, Refusal> {
    u32::try_from(value)
        .ok()
        .filter(|_| bounds.contains(&value))
        .ok_or_else(|| {
            let allowed = format!("{} to {}", bounds.start(), bounds.end());
            Refusal::new(value.to_string(), allowed)
        })
}
