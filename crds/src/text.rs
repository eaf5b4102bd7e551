//! Strings with a form: names of things, models, keys of a Secret, labels.
//!
//! Each form is written twice, as a pattern for the schema and as a check for the compiler (no
//! regular expressions at run time); tests hold the two together. Must never echo more of a bad value
//! than a reader needs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{bounds, strict};

/// A value that isn't of its form: what was found, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found}; allowed is {allowed}")]
pub struct Misfit {
    /// The value, quoted and cut, or what is wrong about it where it may hold a secret.
    pub found: String,
    /// The form.
    pub allowed: &'static str,
}

/// How much of a bad value an error shows: enough to recognise it.
const SHOWN: usize = 64;

const OBJECT_NAME_FORM: &str = "at most 253 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit";
const PART_NAME_FORM: &str =
    "at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit";
const SECRET_KEY_FORM: &str =
    "at most 253 letters, digits, '-', '_' and '.', not beginning with '..'";
const PATTERN_FORM: &str =
    "a model name of at most 253 visible characters, or a prefix followed by one '*'";
const UPSTREAM_FORM: &str =
    "a model name of at most 253 visible characters without '*', or \"*\" alone";
const MODEL_FORM: &str = "a model name of at most 253 visible characters without '*'";
const LABEL_NAME_FORM: &str = "a label name: at most 63 letters, digits, '-', '_' and '.', with an optional DNS prefix and '/'";
const LABEL_VALUE_FORM: &str =
    "a label value: empty, or at most 63 letters, digits, '-', '_' and '.'";

pub(crate) const OBJECT_NAME: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
pub(crate) const PART_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A Route's name, or `*`.
pub(crate) const OBJECT_NAME_OR_STAR: &str =
    r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)$";
/// Not `.`, not `..`, and nothing that begins with `..`: a key is also a file's name.
pub(crate) const SECRET_KEY: &str = r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$";
pub(crate) const LABEL_VALUE: &str = r"^(([a-zA-Z0-9][-._a-zA-Z0-9]*)?[a-zA-Z0-9])?$";
pub(crate) const LABEL_NAME: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([a-zA-Z0-9][-._a-zA-Z0-9]*)?[a-zA-Z0-9]$";
pub(crate) const UPSTREAM_MODEL: &str = r"^(\*|[!-)+-~]+)$";

/// A model name, or a prefix followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ModelPattern(
    #[serde(deserialize_with = "strict::text")]
    #[schemars(length(min = 1, max = bounds::TEXT), pattern(r"^[!-)+-~]*\*?$"))]
    String,
);

/// A model name as the provider knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ModelName(
    #[serde(deserialize_with = "strict::text")]
    #[schemars(length(min = 1, max = bounds::TEXT), pattern(r"^[!-)+-~]+$"))]
    String,
);

impl Misfit {
    pub(crate) fn quoting(text: &str, allowed: &'static str) -> Self {
        let mut found = text.chars().take(SHOWN).collect::<String>();
        if found.len() < text.len() {
            found.push('…');
        }
        Self {
            found: format!("{found:?}"),
            allowed,
        }
    }

    pub(crate) fn saying(found: &str, allowed: &'static str) -> Self {
        Self {
            found: found.to_owned(),
            allowed,
        }
    }
}

impl ModelPattern {
    /// The text as written, whether it fits or not.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, `*` included.
    ///
    /// # Errors
    /// When it isn't a model name or a prefix followed by one `*`.
    pub fn parse(&self) -> Result<&str, Misfit> {
        let name = self.0.strip_suffix('*').unwrap_or(&self.0);
        let fits = (1..=bounds::TEXT).contains(&self.0.len()) && is_model(name);
        fitting(fits, &self.0, PATTERN_FORM)
    }
}

impl ModelName {
    /// The text as written, whether it fits or not.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text.
    ///
    /// # Errors
    /// When it isn't a model name.
    pub fn parse(&self) -> Result<&str, Misfit> {
        let fits = (1..=bounds::TEXT).contains(&self.0.len()) && is_model(&self.0);
        fitting(fits, &self.0, MODEL_FORM)
    }
}

impl std::convert::From<&str> for ModelPattern {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::convert::From<&str> for ModelName {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Checks the name of an object: a DNS-1123 subdomain.
///
/// # Errors
/// When it isn't one.
pub fn check_object_name(text: &str) -> Result<&str, Misfit> {
    let fits = text.len() <= bounds::TEXT && text.split('.').all(is_dns_label);
    fitting(fits, text, OBJECT_NAME_FORM)
}

/// Checks a namespace, or the name of a part of an object: a DNS-1123 label.
///
/// # Errors
/// When it isn't one.
pub fn check_part_name(text: &str) -> Result<&str, Misfit> {
    let fits = text.len() <= bounds::NAME && is_dns_label(text);
    fitting(fits, text, PART_NAME_FORM)
}

/// Checks a key of a Secret; it is safe as a file's name.
///
/// # Errors
/// When it isn't one.
pub fn check_secret_key(text: &str) -> Result<&str, Misfit> {
    let rest = text.strip_prefix('.').unwrap_or(text);
    let fits = text.len() <= bounds::TEXT && !rest.starts_with('.') && is_made_of(rest, b"-._");
    fitting(fits, text, SECRET_KEY_FORM)
}

/// Checks a backend's model: a name, or `*` alone.
///
/// # Errors
/// When it is neither.
pub fn check_upstream_model(text: &str) -> Result<&str, Misfit> {
    let named = (1..=bounds::TEXT).contains(&text.len()) && is_model(text);
    fitting(text == "*" || named, text, UPSTREAM_FORM)
}

/// Checks the name of a label.
///
/// # Errors
/// When it isn't one.
pub fn check_label_name(text: &str) -> Result<&str, Misfit> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let fits = prefix.is_none_or(|prefix| check_object_name(prefix).is_ok()) && is_label(name);
    fitting(fits, text, LABEL_NAME_FORM)
}

/// Checks the value of a label.
///
/// # Errors
/// When it isn't one.
pub fn check_label_value(text: &str) -> Result<&str, Misfit> {
    fitting(text.is_empty() || is_label(text), text, LABEL_VALUE_FORM)
}

fn fitting<'a>(fits: bool, text: &'a str, form: &'static str) -> Result<&'a str, Misfit> {
    fits.then_some(text)
        .ok_or_else(|| Misfit::quoting(text, form))
}

fn is_model(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'*')
}

fn is_dns_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().all(|byte| allowed(byte) || byte == b'-')
        && text.bytes().next().is_some_and(allowed)
        && text.bytes().next_back().is_some_and(allowed)
}

fn is_label(text: &str) -> bool {
    let ends = |byte: u8| byte.is_ascii_alphanumeric();
    text.len() <= bounds::NAME
        && is_made_of(text, b"-._")
        && text.bytes().next().is_some_and(ends)
        && text.bytes().next_back().is_some_and(ends)
}

/// Letters, digits and `others`, at least one.
fn is_made_of(text: &str, others: &[u8]) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_the_schema_admits_is_accepted(
            object in "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?){0,4}",
            part in "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
            key in "\\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,250}",
            label in "([a-z0-9]{1,9}\\.[a-z0-9]{1,9}/)?([a-zA-Z0-9][-._a-zA-Z0-9]{0,61})?[a-zA-Z0-9]",
            value in "(([a-zA-Z0-9][-._a-zA-Z0-9]{0,61})?[a-zA-Z0-9])?",
            upstream in "\\*|[!-)+-~]{1,253}",
            pattern in "[!-)+-~]{1,252}\\*?|\\*",
        ) {
            prop_assert!(check_object_name(&object).is_ok(), "{object}");
            prop_assert!(check_part_name(&part).is_ok(), "{part}");
            prop_assert!(check_secret_key(&key).is_ok(), "{key}");
            prop_assert!(check_label_name(&label).is_ok(), "{label}");
            prop_assert!(check_label_value(&value).is_ok(), "{value}");
            prop_assert!(check_upstream_model(&upstream).is_ok(), "{upstream}");
            prop_assert!(ModelPattern::from(pattern.as_str()).parse().is_ok(), "{pattern}");
        }

        #[test]
        fn an_accepted_secret_key_never_leaves_its_directory(key in ".{0,12}|[./]{0,6}") {
            let accepted = check_secret_key(&key).is_ok();
            prop_assert!(!accepted || !(key.contains('/') || key == "." || key == ".."));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "A",
            "a_b",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a/b",
            "é",
            &"a".repeat(254),
        ] {
            assert!(check_object_name(text).is_err(), "{text}");
        }
        for text in ["", "a.b", "A", "-a", "a-", &"a".repeat(64)] {
            assert!(check_part_name(text).is_err(), "{text}");
        }
        for text in ["", ".", "..", "..a", "a/b", "a b", "\0", &"a".repeat(254)] {
            assert!(check_secret_key(text).is_err(), "{text}");
        }
        for text in ["", "a*b", "*a", "a*", "**", "a b", "é", &"a".repeat(254)] {
            assert!(check_upstream_model(text).is_err(), "{text}");
        }
        for text in ["", "a*b", "*a", "**", "a b", "\n", &"a".repeat(254)] {
            assert!(ModelPattern::from(text).parse().is_err(), "{text}");
        }
        for text in ["", "-a", "a/b/c", "A/b", "/b", "a/"] {
            assert!(check_label_name(text).is_err(), "{text}");
        }
        for text in ["-a", "a-", "a/b", &"a".repeat(64)] {
            assert!(check_label_value(text).is_err(), "{text}");
        }
    }

    #[test]
    fn labels_of_kubernetes_are_accepted() {
        for text in ["kubernetes.io/metadata.name", "app", "A_b.c-D"] {
            assert!(check_label_name(text).is_ok(), "{text}");
        }
        assert!(check_label_value("").is_ok());
    }

    #[test]
    fn a_long_value_is_cut_when_it_is_shown() {
        let long = "A".repeat(300);
        let shown = check_object_name(&long).unwrap_err().found;
        assert_eq!(shown, format!("{:?}", "A".repeat(64) + "…"));
    }
}
