//! `/v1/embeddings`.
//!
//! Owns vectors that depend on nothing but the text, as floats or as base64 of little-endian f32.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::Value;

use super::error::Complaint;
use super::{Body, Context, models, prose, whole};
use crate::fault::ErrorKind;

/// The most inputs of one request.
const INPUTS: usize = 2_048;
/// The most dimensions that can be asked for.
const DIMENSIONS: u64 = 4_096;

#[derive(Serialize)]
struct Embeddings {
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    #[serde(rename = "embedding")]
    vector: Vector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

pub(super) fn answer(body: &Value, context: Context<'_>) -> Result<Body, Complaint> {
    let inputs = inputs(body)?;
    let model = body
        .get("model")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let dimensions = dimensions(body, model)?;
    let base64 = body
        .get("encoding_format")
        .is_some_and(|format| format == "base64");
    let embedding = |(index, (text, _)): (usize, &(String, u64))| {
        let parts = vector(text, model, dimensions);
        let vector = if base64 {
            Vector::Base64(encoded(&parts))
        } else {
            Vector::Floats(parts)
        };
        Embedding {
            object: "embedding",
            index,
            vector,
        }
    };
    let tokens = inputs.iter().map(|(_, tokens)| tokens).sum();
    let usage = Usage {
        prompt_tokens: tokens,
        total_tokens: tokens,
    };
    Ok(whole(&Embeddings {
        object: "list",
        data: inputs.iter().enumerate().map(embedding).collect(),
        model: models::dated(model),
        usage: super::usage::Told::unary(context).then_some(usage),
    }))
}

/// The inputs as text, with their tokens. Lists of token numbers are their JSON.
fn inputs(body: &Value) -> Result<Vec<(String, u64)>, Complaint> {
    let input = body
        .get("input")
        .ok_or_else(|| Complaint::missing("input"))?;
    let one = |input: &Value| match input {
        Value::String(text) => (text.clone(), prose::tokens(text)),
        other => (
            other.to_string(),
            other.as_array().map_or(1, Vec::len) as u64,
        ),
    };
    let inputs = match input {
        Value::Array(parts) if !parts.iter().all(Value::is_number) => {
            parts.iter().map(one).collect()
        }
        other => vec![one(other)],
    };
    if inputs.len() > INPUTS {
        let message = format!(
            "`input` has {} parts, at most {INPUTS} are allowed",
            inputs.len()
        );
        return Err(Complaint::of(ErrorKind::BadRequest, message).about("input"));
    }
    Ok(inputs)
}

fn dimensions(body: &Value, model: &str) -> Result<usize, Complaint> {
    let natural = if model.contains("large") {
        3_072
    } else {
        1_536
    };
    let asked = body.get("dimensions").filter(|asked| !asked.is_null());
    let Some(asked) = asked else {
        return Ok(natural);
    };
    let number = asked
        .as_u64()
        .filter(|number| (1..=DIMENSIONS).contains(number));
    number
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| {
            let message = format!("`dimensions` is {asked}, from 1 to {DIMENSIONS} is allowed");
            Complaint::of(ErrorKind::BadRequest, message).about("dimensions")
        })
}

/// A vector of length 1.
fn vector(text: &str, model: &str, dimensions: usize) -> Vec<f32> {
    let mut random = prose::seeded(0, &format!("{model}\n{text}"));
    let raw: Vec<f32> = (0..dimensions).map(|_| random.f32() * 2.0 - 1.0).collect();
    let length = raw
        .iter()
        .map(|part| part * part)
        .sum::<f32>()
        .sqrt()
        .max(f32::MIN_POSITIVE);
    raw.iter().map(|part| part / length).collect()
}

fn encoded(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|part| part.to_le_bytes()).collect();
    BASE64_STANDARD.encode(bytes)
}
