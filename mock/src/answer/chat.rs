//! `/v1/chat/completions`.
//!
//! Owns this endpoint's JSON, unary and streamed, with the fields in the order in which OpenAI
//! writes them.

use serde::Serialize;
use serde_json::Value;

use super::error::Complaint;
use super::object::Object;
use super::speech::{Call, Choice, Speech, Wish, any_object, content, functions, speak};
use super::usage::{Told, Usage, UsageField};
use super::{Body, Context, Event, Part, models, prose, whole};

/// The most choices of one answer.
const CHOICES: u64 = 128;

/// A constant, as it is while a provider's software doesn't change.
pub(super) const FINGERPRINT: &str = "fp_mock000001";

pub(super) fn answer(body: &Value, context: Context<'_>) -> Result<Body, Complaint> {
    let wish = wish(body)?;
    let speeches: Vec<Speech> = (0..choices(body))
        .map(|choice| speak(&wish, context, choice))
        .collect();
    if wish.stream {
        let stream = Stream {
            wish: &wish,
            context,
            told: Told::of(body, context),
        };
        return Ok(Body::Events(stream.events(&speeches)));
    }
    let usage = Told::unary(context).then(|| Usage::of_speeches(&wish, &speeches));
    Ok(whole(&Completion {
        id: prose::id("chatcmpl-", context, 0),
        object: "chat.completion",
        created: context.now,
        model: models::dated(&wish.model),
        choices: speeches.iter().enumerate().map(whole_choice).collect(),
        usage,
        service_tier: "default",
        system_fingerprint: FINGERPRINT,
    }))
}

/// How many choices are asked for.
pub(super) fn choices(body: &Value) -> usize {
    let choices = body
        .get("n")
        .and_then(Value::as_u64)
        .unwrap_or(1)
        .clamp(1, CHOICES);
    usize::try_from(choices).unwrap_or(1)
}

fn wish(body: &Value) -> Result<Wish, Complaint> {
    let messages = body.get("messages").and_then(Value::as_array);
    let messages = messages.ok_or_else(|| Complaint::missing("messages"))?;
    let is = |message: &Value, role: &str| message.get("role").is_some_and(|is| is == role);
    let said = messages.iter().rev().find(|message| is(message, "user"));
    let tokens = |message: &Value| prose::tokens(&content(message.get("content"))) + 4;
    let limit = body
        .get("max_completion_tokens")
        .or_else(|| body.get("max_tokens"));
    Ok(Wish {
        said: content(said.and_then(|message| message.get("content"))),
        input_tokens: messages.iter().map(tokens).sum::<u64>() + 3,
        limit: limit.and_then(Value::as_u64),
        functions: functions(body, |tool| tool.get("function")),
        choice: Choice::read(body.get("tool_choice"), |choice| {
            choice.get("function")?.get("name")?.as_str()
        }),
        has_result: messages.last().is_some_and(|message| is(message, "tool")),
        schema: schema(body),
        ..Wish::common(body)
    })
}

fn schema(body: &Value) -> Option<Value> {
    let format = body.get("response_format")?;
    match format.get("type")?.as_str()? {
        "json_schema" => format.pointer("/json_schema/schema").cloned(),
        "json_object" => Some(any_object()),
        _ => None,
    }
}

#[derive(Serialize)]
struct Completion {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    choices: Vec<WholeChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    service_tier: &'static str,
    system_fingerprint: &'static str,
}

#[derive(Serialize)]
struct WholeChoice {
    index: usize,
    message: Message,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Object>,
    annotations: [(); 0],
}

fn whole_choice((index, speech): (usize, &Speech)) -> WholeChoice {
    let said = |pieces: &[String]| (!pieces.is_empty()).then(|| pieces.concat());
    let silent = speech.calls.is_empty() && speech.refusal.is_empty();
    let message = Message {
        role: "assistant",
        content: silent.then(|| speech.text.concat()),
        reasoning_content: said(&speech.thoughts),
        refusal: said(&speech.refusal),
        tool_calls: speech
            .calls
            .iter()
            .map(|call| whole_call(call, &call.arguments))
            .collect(),
        annotations: [],
    };
    WholeChoice {
        index,
        message,
        logprobs: None,
        finish_reason: finish(speech),
    }
}

/// A call with its id, its name, and as much of its arguments.
fn whole_call(call: &Call, arguments: &str) -> Object {
    let function = Object::new()
        .with("name", &call.name)
        .with("arguments", arguments);
    Object::new()
        .with("id", &call.id)
        .with("type", "function")
        .with("function", function)
}

fn finish(speech: &Speech) -> &'static str {
    match (speech.calls.is_empty(), speech.cut_short) {
        (false, _) => "tool_calls",
        (true, true) => "length",
        (true, false) => "stop",
    }
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    service_tier: &'static str,
    system_fingerprint: &'static str,
    choices: Vec<ChunkChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageField>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obfuscation: Option<String>,
}

#[derive(Serialize)]
struct ChunkChoice {
    index: usize,
    delta: Object,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

/// A stream's chunks, before they have an id.
struct Stream<'a> {
    wish: &'a Wish,
    context: Context<'a>,
    told: Told,
}

impl Stream<'_> {
    fn events(&self, speeches: &[Speech]) -> Vec<Event> {
        let id = prose::id("chatcmpl-", self.context, 0);
        let model = models::dated(&self.wish.model);
        let reasoning = speeches
            .iter()
            .map(|speech| speech.thoughts.len() as u64)
            .sum::<u64>();
        let mut so_far = 0;
        let chunk = |choices: Vec<ChunkChoice>, usage, event| Chunk {
            id: &id,
            object: "chat.completion.chunk",
            created: self.context.now,
            model: &model,
            service_tier: "default",
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
            obfuscation: self.wish.padding(self.context, event),
        };
        let mut events = Vec::new();
        for (choice, part) in interleaved(speeches) {
            so_far += u64::from(part == Part::Content);
            let usage = Usage::of(self.wish.input_tokens, so_far, reasoning);
            let usage = self.told.before_end(usage);
            events.push(Event::nameless(
                &chunk(vec![choice], usage, events.len()),
                part,
            ));
        }
        if self.told.at_end() {
            let usage = UsageField::Is(Usage::of_speeches(self.wish, speeches));
            let last = chunk(Vec::new(), Some(usage), events.len());
            events.push(Event::nameless(&last, Part::Closing));
        }
        events.push(Event::done());
        events
    }
}

/// All choices' chunks, one of each in turn.
fn interleaved(speeches: &[Speech]) -> Vec<(ChunkChoice, Part)> {
    let mut waiting: Vec<_> = speeches
        .iter()
        .enumerate()
        .map(|(index, speech)| deltas(index, speech).into_iter())
        .collect();
    let mut chunks = Vec::new();
    loop {
        let before = chunks.len();
        chunks.extend(waiting.iter_mut().filter_map(Iterator::next));
        if chunks.len() == before {
            return chunks;
        }
    }
}

fn deltas(index: usize, speech: &Speech) -> Vec<(ChunkChoice, Part)> {
    let chunk = |delta: Object, finish_reason, part| {
        (
            ChunkChoice {
                index,
                delta,
                logprobs: None,
                finish_reason,
            },
            part,
        )
    };
    let content = |delta: Object| chunk(delta, None, Part::Content);
    let said = |name| move |text: &String| content(Object::new().with(name, text));
    let opening = speech.calls.is_empty().then_some("");
    let role = Object::new()
        .with("role", "assistant")
        .with("content", opening);
    let role = role.with("refusal", Value::Null);
    let mut chunks = vec![chunk(role, None, Part::Opening)];
    chunks.extend(speech.thoughts.iter().map(said("reasoning_content")));
    chunks.extend(speech.text.iter().map(said("content")));
    chunks.extend(speech.refusal.iter().map(said("refusal")));
    for (position, call) in speech.calls.iter().enumerate() {
        let part = |fields: Object| {
            let call = Object::new().with("index", position).and(fields);
            content(Object::new().with("tool_calls", [call]))
        };
        chunks.push(part(whole_call(call, "")));
        chunks.extend(call.fragments().into_iter().map(|fragment| {
            let function = Object::new().with("arguments", fragment);
            part(Object::new().with("function", function))
        }));
    }
    chunks.push(chunk(Object::new(), Some(finish(speech)), Part::Closing));
    chunks
}
