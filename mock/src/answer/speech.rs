//! What is said: text, a refusal, tool calls; and how many tokens it is.
//!
//! Owns the decision between them, the same for all dialects. Must never know a dialect's JSON.

use serde_json::{Value, json};

use super::{Context, example, prose};
use crate::fault::Voice;

/// The longest fragment of a tool call's arguments in a stream, in characters.
const FRAGMENT: usize = 12;

/// What a caller wants to hear, out of whichever dialect.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    /// The model, as asked for.
    pub(super) model: String,
    /// What the user said last.
    pub(super) said: String,
    /// How many tokens the whole input is.
    pub(super) input_tokens: u64,
    /// How many tokens the answer may be.
    pub(super) limit: Option<u64>,
    /// Where the answer stops.
    pub(super) stops: Vec<String>,
    /// Functions that may be called.
    pub(super) functions: Vec<Function>,
    /// Whether one of them has to be called, may be, or must not.
    pub(super) choice: Choice,
    /// Whether the last message is a tool's result.
    pub(super) has_result: bool,
    /// The schema that the text must satisfy, as JSON.
    pub(super) schema: Option<Value>,
    /// Whether a stream is asked for.
    pub(super) stream: bool,
    /// Whether a stream's padding is asked for.
    pub(super) padded: bool,
}

impl Wish {
    /// The fields that all generating endpoints have.
    pub(super) fn common(body: &Value) -> Self {
        let stops = match body.get("stop") {
            Some(Value::String(stop)) => vec![stop.clone()],
            Some(Value::Array(stops)) => stops
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        };
        let padded = body.pointer("/stream_options/include_obfuscation");
        Self {
            model: body
                .get("model")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            stream: body.get("stream").and_then(Value::as_bool).unwrap_or(false),
            padded: padded.and_then(Value::as_bool).unwrap_or(true),
            ..Self::default()
        }
    }

    /// A delta's padding, if it is asked for: it hides how long the delta is.
    pub(super) fn padding(&self, context: Context<'_>, event: usize) -> Option<String> {
        self.padded.then(|| {
            let salt = format!("{}/{event}", context.number);
            let mut random = prose::seeded(context.config.seed, &salt);
            let length = random.usize(1..=16);
            prose::letters(&mut random, length)
        })
    }
}

/// A function that may be called.
#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) parameters: Value,
}

/// Whether a function is to be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Choice {
    /// As the model likes: it calls unless it has a result already.
    #[default]
    Auto,
    /// No.
    None,
    /// Yes, any.
    Required,
    /// Yes, this one.
    Named(String),
}

impl Choice {
    /// Reads a `tool_choice`; `name` finds the function's name in an object.
    pub(super) fn read(value: Option<&Value>, name: impl Fn(&Value) -> Option<&str>) -> Self {
        match value {
            Some(Value::String(word)) if word == "none" => Self::None,
            Some(Value::String(word)) if word == "required" => Self::Required,
            Some(object) => name(object).map_or(Self::Auto, |name| Self::Named(name.to_owned())),
            None => Self::Auto,
        }
    }
}

/// What is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Speech {
    /// Thoughts that are told before, in pieces.
    pub(super) thoughts: Vec<String>,
    /// Content, in pieces.
    pub(super) text: Vec<String>,
    /// A refusal, in pieces.
    pub(super) refusal: Vec<String>,
    /// Calls of functions.
    pub(super) calls: Vec<Call>,
    /// Whether the limit cut it short.
    pub(super) cut_short: bool,
}

/// A call of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// `call_…`, by which the result refers to it.
    pub(super) id: String,
    /// The function.
    pub(super) name: String,
    /// Its arguments: JSON.
    pub(super) arguments: String,
}

impl Call {
    /// The arguments in fragments, one border inside of an escape if there is any.
    pub(super) fn fragments(&self) -> Vec<String> {
        let mut fragments = vec![String::new()];
        let mut escape_split = false;
        for character in self.arguments.chars() {
            let Some(last) = fragments.last_mut() else {
                break;
            };
            last.push(character);
            let escapes = character == '\\' && !escape_split;
            escape_split |= escapes;
            if escapes || last.chars().count() == FRAGMENT {
                fragments.push(String::new());
            }
        }
        fragments.retain(|fragment| !fragment.is_empty());
        fragments
    }
}

impl Speech {
    /// How many tokens it is, thoughts included.
    pub(super) fn tokens(&self) -> u64 {
        let said = self.thoughts.len() + self.text.len() + self.refusal.len();
        let calls: u64 = self
            .calls
            .iter()
            .map(|call| prose::tokens(&call.arguments) + 8)
            .sum();
        said as u64 + calls
    }
}

/// What is said for the `choice`-th time.
pub(super) fn speak(wish: &Wish, context: Context<'_>, choice: usize) -> Speech {
    let voice = context.fault.voice.unwrap_or_default();
    let called = called(wish);
    if !called.is_empty() && voice != Voice::Refusal && voice != Voice::Silent {
        let call = |(index, function): (usize, &&Function)| Call {
            id: prose::id("call_", context, choice * 128 + index),
            name: function.name.clone(),
            arguments: super::json(&example::of(&function.parameters)),
        };
        let calls = called.iter().enumerate().map(call).collect();
        return Speech {
            calls,
            ..Speech::default()
        };
    }
    let (text, cut_short) = text(wish, context, choice);
    match voice {
        Voice::Text => Speech {
            text,
            cut_short,
            ..Speech::default()
        },
        Voice::Refusal => Speech {
            refusal: text,
            cut_short,
            ..Speech::default()
        },
        Voice::Silent => Speech::default(),
        Voice::Reasoning => {
            let thoughts = prose::pieces("The user wants to know who answers. I will tell.");
            Speech {
                thoughts,
                text,
                cut_short,
                ..Speech::default()
            }
        }
    }
}

/// The functions to call: those that the user names, else the first.
fn called(wish: &Wish) -> Vec<&Function> {
    let named: Vec<&Function> = wish
        .functions
        .iter()
        .filter(|function| match &wish.choice {
            Choice::Named(name) => function.name == *name,
            _ => wish.said.contains(&function.name),
        })
        .collect();
    match wish.choice {
        Choice::None => Vec::new(),
        Choice::Auto if wish.has_result => Vec::new(),
        _ if named.is_empty() => wish.functions.iter().take(1).collect(),
        _ => named,
    }
}

/// The text in pieces, and whether the limit cut it short.
fn text(wish: &Wish, context: Context<'_>, choice: usize) -> (Vec<String>, bool) {
    let fault = context.fault;
    let text = match (&fault.text, &wish.schema) {
        (Some(text), _) => text.clone(),
        (None, Some(schema)) => super::json(&example::of(schema)),
        (None, None) => prose::speech(&opening(wish, context), choice, fault.words),
    };
    let stop = wish
        .stops
        .iter()
        .filter_map(|stop| text.find(stop.as_str()))
        .min();
    let text = stop.and_then(|stop| text.get(..stop)).unwrap_or(&text);
    let mut pieces = prose::pieces(text);
    if let Some(bytes) = fault.huge_line {
        let after_first = pieces.len().min(1);
        pieces.insert(after_first, "x".repeat(bytes));
    }
    let limit = wish
        .limit
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(usize::MAX);
    let cut_short = pieces.len() > limit;
    pieces.truncate(limit);
    (pieces, cut_short)
}

fn opening(wish: &Wish, context: Context<'_>) -> String {
    let key = context.account.map_or_else(
        || "without a key".to_owned(),
        |account| format!("for the key ending in {account}"),
    );
    let name = &context.config.name;
    let said = prose::shortened(&wish.said, 80);
    format!(
        "This is {name}, answering {key} as {}. You said: “{said}”.",
        wish.model
    )
}

/// The schema of a `json_object` answer.
pub(super) fn any_object() -> Value {
    json!({"type": "object", "properties": {"answer": {"type": "string"}}})
}

/// The functions among the tools; `definition` finds a tool's, if it is a function.
pub(super) fn functions(
    body: &Value,
    definition: impl Fn(&Value) -> Option<&Value>,
) -> Vec<Function> {
    let tools = body.get("tools").and_then(Value::as_array);
    let function = |tool: &Value| {
        let function = definition(tool)?;
        let parameters = function.get("parameters").cloned();
        Some(Function {
            name: function.get("name")?.as_str()?.to_owned(),
            // A function without any takes an empty object.
            parameters: parameters.unwrap_or_else(|| json!({"type": "object"})),
        })
    };
    tools.into_iter().flatten().filter_map(function).collect()
}

/// The text of a message's content: a string, or the text parts of a list.
pub(super) fn content(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}
