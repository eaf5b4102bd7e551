//! A JSON object whose fields keep the order in which they were given.
//!
//! Owns that order: readers of bytes, unlike readers of JSON, can tell.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// A JSON object under construction.
#[derive(Clone, Debug, Default)]
pub(super) struct Object(Vec<(&'static str, Box<RawValue>)>);

impl Object {
    /// An object without fields.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The object with one more field.
    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: impl Serialize) -> Self {
        // What is given here has text keys and finite numbers only, so it always has a form.
        self.0
            .push((name, to_raw_value(&value).unwrap_or_default()));
        self
    }

    /// The object with one more field, if there is a value for it.
    #[must_use]
    pub(super) fn with_some(self, name: &'static str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The object with another's fields after its own.
    #[must_use]
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
