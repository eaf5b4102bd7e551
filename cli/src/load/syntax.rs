//! How a document is written, YAML or JSON, and what its parser says against it.
//!
//! The one place that knows the parsers. Must never look at what a document means.

use std::ffi::OsStr;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{DeserializeOwned, DeserializeSeed};

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// YAML.
    Yaml,
    /// JSON. YAML's parser doesn't do for it: a pair of escapes for one character is foreign to it.
    Json,
}

/// What a parser says against a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Line and column in the document, from 1.
    pub(super) at: Option<(usize, usize)>,
    /// What is wrong, without the place.
    pub(super) message: String,
}

impl Syntax {
    /// The syntax of a file, by its name.
    pub(super) fn of(file: &Path) -> Self {
        match file.extension().and_then(OsStr::to_str) {
            Some("json") => Self::Json,
            _ => Self::Yaml,
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Yaml => "YAML",
            Self::Json => "JSON",
        }
    }

    /// Reads one document.
    pub(super) fn read<T: DeserializeOwned>(self, text: &str) -> Result<T, Fault> {
        self.read_with(text, PhantomData)
    }

    /// Reads one document into what `seed` makes of it.
    pub(super) fn read_with<'de, S: DeserializeSeed<'de>>(
        self,
        text: &'de str,
        seed: S,
    ) -> Result<S::Value, Fault> {
        match self {
            Self::Yaml => seed
                .deserialize(serde_yaml::Deserializer::from_str(text))
                .map_err(|error| {
                    let place = error.location();
                    let at = place.map(|place| (place.line(), place.column()));
                    Fault::new(at, &error.to_string())
                }),
            Self::Json => {
                let mut json = serde_json::Deserializer::from_str(text);
                let value = seed.deserialize(&mut json);
                let whole = value.and_then(|value| json.end().map(|()| value));
                whole.map_err(|error| {
                    let at = (error.line() > 0).then(|| (error.line(), error.column()));
                    Fault::new(at, &error.to_string())
                })
            }
        }
    }
}

impl Fault {
    /// Takes the place out of the message.
    fn new(at: Option<(usize, usize)>, message: &str) -> Self {
        let message = match at {
            None => message.to_owned(),
            Some((line, column)) => {
                message.replacen(&format!(" at line {line} column {column}"), "", 1)
            }
        };
        Self { at, message }
    }
}
