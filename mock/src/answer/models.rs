//! The models that are served.
//!
//! Owns `/v1/models`, and the refusal of a model that isn't there.

use serde::Serialize;

use super::Context;
use super::error::Complaint;
use crate::fault::ErrorKind;

/// Shown when no models are configured: a few names in the style of the day.
const SHOWN: [&str; 4] = [
    "gpt-5",
    "gpt-5-mini",
    "text-embedding-3-small",
    "text-embedding-3-large",
];

/// What is appended to a model's name in answers.
const DATE: &str = "-2026-08-07";

/// A model, as the provider shows it.
#[derive(Debug, Serialize)]
pub(super) struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

/// The models, as the provider shows them.
#[derive(Debug, Serialize)]
pub(super) struct Models<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

fn shown<'a>(id: &'a str, context: Context<'a>) -> Model<'a> {
    Model {
        id,
        object: "model",
        created: 1_754_524_800,
        owned_by: &context.config.name,
    }
}

/// All models.
pub(super) fn list(context: Context<'_>) -> Models<'_> {
    let configured = context.config.models.iter().map(String::as_str);
    let built_in = SHOWN
        .into_iter()
        .filter(|_| context.config.models.is_empty());
    let data = configured
        .chain(built_in)
        .map(|id| shown(id, context))
        .collect();
    Models {
        object: "list",
        data,
    }
}

/// One model.
pub(super) fn one<'a>(id: &'a str, context: Context<'a>) -> Result<Model<'a>, Complaint> {
    check(id, context).map(|()| shown(id, context))
}

/// Refuses a model that isn't served.
pub(super) fn check(model: &str, context: Context<'_>) -> Result<(), Complaint> {
    let models = &context.config.models;
    if models.is_empty() || models.iter().any(|served| served == model) {
        return Ok(());
    }
    let message = format!("there is no model `{model}` here, or this key may not use it");
    Err(Complaint::of(ErrorKind::ModelNotFound, message).about("model"))
}

/// The name under which a model answers: its dated snapshot.
pub(super) fn dated(model: &str) -> String {
    let tail: String = model.chars().rev().take(11).collect();
    let dated = tail.len() == 11
        && tail
            .chars()
            .rev()
            .enumerate()
            .all(|(index, letter)| match index {
                0 | 5 | 8 => letter == '-',
                _ => letter.is_ascii_digit(),
            });
    if dated {
        model.to_owned()
    } else {
        format!("{model}{DATE}")
    }
}

#[cfg(test)]
mod tests {
    use super::dated;

    #[test]
    fn a_model_answers_as_its_dated_snapshot() {
        assert_eq!(dated("gpt-5-mini"), "gpt-5-mini-2026-08-07");
        assert_eq!(dated("gpt-5-2025-08-07"), "gpt-5-2025-08-07");
        assert_eq!(dated(""), "-2026-08-07");
    }
}
