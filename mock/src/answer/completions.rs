//! `/v1/completions`.
//!
//! Owns this endpoint's JSON, unary and streamed.

use serde::Serialize;
use serde_json::Value;

use super::chat::{FINGERPRINT, choices};
use super::error::Complaint;
use super::speech::{Speech, Wish, speak};
use super::usage::{Told, Usage, UsageField};
use super::{Body, Context, Event, Part, models, prose, whole};

/// Both the whole answer and a chunk.
#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageField>,
    system_fingerprint: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    obfuscation: Option<String>,
}

#[derive(Clone, Serialize)]
struct Choice {
    text: String,
    index: usize,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

pub(super) fn answer(body: &Value, context: Context<'_>) -> Result<Body, Complaint> {
    let (wish, prompts) = wish(body)?;
    let mut speeches = Vec::new();
    for prompt in &prompts {
        let wish = Wish {
            said: prompt.clone(),
            ..wish.clone()
        };
        for _ in 0..choices(body) {
            speeches.push(speak(&wish, context, speeches.len()));
        }
    }
    let id = prose::id("cmpl-", context, 0);
    let model = models::dated(&wish.model);
    let completion = |choices, usage, obfuscation| Completion {
        id: &id,
        object: "text_completion",
        created: context.now,
        model: &model,
        choices,
        usage,
        system_fingerprint: FINGERPRINT,
        obfuscation,
    };
    let total = UsageField::Is(Usage::of_speeches(&wish, &speeches));
    if !wish.stream {
        let choices = speeches.iter().enumerate().map(whole_choice).collect();
        return Ok(whole(&completion(
            choices,
            Told::unary(context).then_some(total),
            None,
        )));
    }
    let told = Told::of(body, context);
    let mut events = Vec::new();
    for (choice, part) in interleaved(&speeches) {
        let so_far = Usage::of(wish.input_tokens, events.len() as u64 + 1, 0);
        let padding = wish.padding(context, events.len());
        let chunk = completion(vec![choice], told.before_end(so_far), padding);
        events.push(Event::nameless(&chunk, part));
    }
    if told.at_end() {
        let padding = wish.padding(context, events.len());
        events.push(Event::nameless(
            &completion(Vec::new(), Some(total), padding),
            Part::Closing,
        ));
    }
    events.push(Event::done());
    Ok(Body::Events(events))
}

/// The wish, and the prompts, each of which is answered.
fn wish(body: &Value) -> Result<(Wish, Vec<String>), Complaint> {
    let prompt = body
        .get("prompt")
        .ok_or_else(|| Complaint::missing("prompt"))?;
    let (prompts, input_tokens) = match prompt {
        Value::Array(parts) if parts.iter().all(Value::is_number) => {
            (vec!["(tokens)".to_owned()], parts.len() as u64)
        }
        Value::Array(parts) => {
            let text = |part: &Value| part.as_str().unwrap_or("(tokens)").to_owned();
            let tokens = |part: &Value| match part {
                Value::Array(tokens) => tokens.len() as u64,
                text => prose::tokens(text.as_str().unwrap_or_default()),
            };
            (
                parts.iter().map(text).collect(),
                parts.iter().map(tokens).sum(),
            )
        }
        text => {
            let text = text.as_str().unwrap_or_default();
            (vec![text.to_owned()], prose::tokens(text))
        }
    };
    // The old endpoint's default is 16, as its callers know to their cost.
    let limit = body.get("max_tokens").and_then(Value::as_u64).unwrap_or(16);
    Ok((
        Wish {
            input_tokens,
            limit: Some(limit),
            ..Wish::common(body)
        },
        prompts,
    ))
}

fn finish(speech: &Speech) -> &'static str {
    if speech.cut_short { "length" } else { "stop" }
}

/// The text of a speech; this endpoint knows no thoughts and no refusals.
fn text(speech: &Speech) -> &[String] {
    if speech.text.is_empty() {
        &speech.refusal
    } else {
        &speech.text
    }
}

fn whole_choice((index, speech): (usize, &Speech)) -> Choice {
    let finish_reason = Some(finish(speech));
    Choice {
        text: text(speech).concat(),
        index,
        logprobs: None,
        finish_reason,
    }
}

fn interleaved(speeches: &[Speech]) -> Vec<(Choice, Part)> {
    let longest = speeches
        .iter()
        .map(|speech| text(speech).len())
        .max()
        .unwrap_or(0);
    let mut chunks = Vec::new();
    for position in 0..=longest {
        for (index, speech) in speeches.iter().enumerate() {
            let chunk = |text: String, finish_reason| Choice {
                text,
                index,
                logprobs: None,
                finish_reason,
            };
            if let Some(piece) = text(speech).get(position) {
                chunks.push((chunk(piece.clone(), None), Part::Content));
            } else if text(speech).len() == position {
                chunks.push((chunk(String::new(), Some(finish(speech))), Part::Closing));
            }
        }
    }
    chunks
}
