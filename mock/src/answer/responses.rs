//! `/v1/responses`.
//!
//! Owns this endpoint's JSON and the order of its events. Nothing is stored: an id leads nowhere.

use serde::Serialize;
use serde_json::{Value, json};

use super::error::Complaint;
use super::object::Object;
use super::speech::{Call, Choice, Function, Speech, Wish, any_object, content, parameters, speak};
use super::usage::{Told, cached};
use super::{Body, Context, Event, Part, Question, models, prose, whole};

/// A response, whole or on its way. The order is OpenAI's.
#[derive(Clone, Debug, Serialize)]
struct Response {
    id: String,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    background: bool,
    error: Option<Value>,
    incomplete_details: Option<Value>,
    instructions: Value,
    max_output_tokens: Option<u64>,
    model: String,
    output: Vec<Object>,
    parallel_tool_calls: bool,
    previous_response_id: Value,
    reasoning: Value,
    service_tier: &'static str,
    store: bool,
    temperature: Value,
    text: Value,
    tool_choice: Value,
    tools: Value,
    top_p: Value,
    truncation: &'static str,
    usage: Option<Object>,
    user: Option<()>,
    metadata: Value,
}

pub(super) fn answer(body: &Value, context: Context<'_>) -> Result<Body, Complaint> {
    let wish = wish(body)?;
    let speech = speak(&wish, context, 0);
    let response = completed(body, &wish, &speech, context);
    if wish.stream {
        return Ok(Body::Events(
            Script::new(&wish, context).play(&speech, &response),
        ));
    }
    Ok(whole(&response))
}

/// A run that failed inside of a 200. `failure` is a code and a message.
pub(super) fn failed(question: &Question<'_>, context: Context<'_>, failure: (&str, &str)) -> Body {
    if question.stream() {
        return Body::Events(vec![failed_event(question, context, failure, 0)]);
    }
    whole(&failed_response(question, context, failure))
}

/// The event by which a stream tells that its run failed.
pub(super) fn failed_event(
    question: &Question<'_>,
    context: Context<'_>,
    failure: (&str, &str),
    sequence: usize,
) -> Event {
    let response = failed_response(question, context, failure);
    event(
        "response.failed",
        Object::new().with("response", response),
        sequence,
        Part::Terminal,
    )
}

/// The event by which a stream tells that it broke.
pub(super) fn error_event((code, message): (&str, &str), sequence: usize) -> Event {
    let data = Object::new().with("code", code).with("message", message);
    let data = data.with("param", Value::Null);
    event("error", data, sequence, Part::Terminal)
}

fn failed_response(
    question: &Question<'_>,
    context: Context<'_>,
    (code, message): (&str, &str),
) -> Response {
    let body = question.body.as_ref().unwrap_or(&Value::Null);
    let wish = wish(body).unwrap_or_default();
    let error = Some(json!({"code": code, "message": message}));
    Response {
        status: "failed",
        error,
        ..begun(body, &wish, context)
    }
}

fn wish(body: &Value) -> Result<Wish, Complaint> {
    let input = body
        .get("input")
        .ok_or_else(|| Complaint::missing("input"))?;
    let items = input.as_array().map(Vec::as_slice).unwrap_or_default();
    let said = match input {
        Value::String(text) => text.clone(),
        _ => {
            let user = items
                .iter()
                .rev()
                .find(|item| item.get("role") == Some(&json!("user")));
            content(user.and_then(|item| item.get("content")))
        }
    };
    let instructions = body
        .get("instructions")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let of_items = items
        .iter()
        .map(|item| prose::tokens(&content(item.get("content"))) + 4);
    let of_text = input.as_str().map_or(0, prose::tokens);
    let result = Some(json!("function_call_output"));
    Ok(Wish {
        said,
        input_tokens: of_items.sum::<u64>() + of_text + prose::tokens(instructions) + 3,
        limit: body.get("max_output_tokens").and_then(Value::as_u64),
        functions: functions(body),
        choice: Choice::read(body.get("tool_choice"), |choice| {
            choice.get("name")?.as_str()
        }),
        has_result: items
            .last()
            .is_some_and(|item| item.get("type") == result.as_ref()),
        schema: schema(body),
        // This endpoint has no stops.
        stops: Vec::new(),
        ..Wish::common(body)
    })
}

fn functions(body: &Value) -> Vec<Function> {
    let tools = body
        .get("tools")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let function = |tool: &Value| {
        let is_function = tool.get("type")? == "function";
        let name = tool.get("name")?.as_str()?.to_owned();
        is_function.then(|| Function {
            name,
            parameters: parameters(tool),
        })
    };
    tools.filter_map(function).collect()
}

fn schema(body: &Value) -> Option<Value> {
    let format = body.pointer("/text/format")?;
    match format.get("type")?.as_str()? {
        "json_schema" => format.get("schema").cloned(),
        "json_object" => Some(any_object()),
        _ => None,
    }
}

/// A response before anything was said.
fn begun(body: &Value, wish: &Wish, context: Context<'_>) -> Response {
    let or = |name: &str, default: Value| body.get(name).cloned().unwrap_or(default);
    let flag = |name: &str, default| body.get(name).and_then(Value::as_bool).unwrap_or(default);
    Response {
        id: prose::id("resp_", context, 0),
        object: "response",
        created_at: context.now,
        status: "in_progress",
        background: false,
        error: None,
        incomplete_details: None,
        instructions: or("instructions", Value::Null),
        max_output_tokens: wish.limit,
        model: models::dated(&wish.model),
        output: Vec::new(),
        parallel_tool_calls: flag("parallel_tool_calls", true),
        previous_response_id: or("previous_response_id", Value::Null),
        reasoning: or("reasoning", json!({"effort": null, "summary": null})),
        service_tier: "default",
        store: flag("store", true),
        temperature: or("temperature", json!(1.0)),
        text: or("text", json!({"format": {"type": "text"}})),
        tool_choice: or("tool_choice", json!("auto")),
        tools: or("tools", json!([])),
        top_p: or("top_p", json!(1.0)),
        truncation: "disabled",
        usage: None,
        user: None,
        metadata: or("metadata", json!({})),
    }
}

fn completed(body: &Value, wish: &Wish, speech: &Speech, context: Context<'_>) -> Response {
    let (status, details) = match speech.cut_short {
        true => ("incomplete", Some(json!({"reason": "max_output_tokens"}))),
        false => ("completed", None),
    };
    Response {
        status,
        incomplete_details: details,
        output: items(speech, context)
            .iter()
            .map(|item| item.whole(status))
            .collect(),
        usage: Told::unary(context).then(|| usage(wish.input_tokens, speech)),
        ..begun(body, wish, context)
    }
}

fn usage(input: u64, speech: &Speech) -> Object {
    let cache = Object::new()
        .with("cached_tokens", cached(input))
        .with("cache_write_tokens", 0);
    let output = Object::new().with("reasoning_tokens", speech.thoughts.len());
    Object::new()
        .with("input_tokens", input)
        .with("input_tokens_details", cache)
        .with("output_tokens", speech.tokens())
        .with("output_tokens_details", output)
        .with("total_tokens", input + speech.tokens())
}

/// One item of the output: what it says, in pieces.
enum Item<'a> {
    Reasoning {
        id: String,
        pieces: &'a [String],
    },
    Text {
        id: String,
        pieces: &'a [String],
    },
    Refusal {
        id: String,
        pieces: &'a [String],
    },
    Call {
        id: String,
        call: &'a super::speech::Call,
    },
}

fn items<'a>(speech: &'a Speech, context: Context<'_>) -> Vec<Item<'a>> {
    let id = |prefix: &str, part| prose::id(prefix, context, part);
    let mut items = Vec::new();
    if !speech.thoughts.is_empty() {
        items.push(Item::Reasoning {
            id: id("rs_", 0),
            pieces: &speech.thoughts,
        });
    }
    if !speech.refusal.is_empty() {
        items.push(Item::Refusal {
            id: id("msg_", 0),
            pieces: &speech.refusal,
        });
    } else if speech.calls.is_empty() {
        items.push(Item::Text {
            id: id("msg_", 0),
            pieces: &speech.text,
        });
    }
    let calls = speech.calls.iter().enumerate();
    items.extend(calls.map(|(part, call)| Item::Call {
        id: id("fc_", part),
        call,
    }));
    items
}

impl Item<'_> {
    fn id(&self) -> &str {
        match self {
            Self::Reasoning { id, .. }
            | Self::Text { id, .. }
            | Self::Refusal { id, .. }
            | Self::Call { id, .. } => id,
        }
    }

    /// The item as it is before anything was said.
    fn begun(&self) -> Object {
        match self {
            Self::Reasoning { .. } => self.head("reasoning").with("summary", [(); 0]),
            Self::Text { .. } | Self::Refusal { .. } => self.message("in_progress", Vec::new()),
            Self::Call { call, .. } => self.call(call, "in_progress", ""),
        }
    }

    /// The item when all is said.
    fn whole(&self, status: &str) -> Object {
        match self {
            Self::Reasoning { .. } => self.head("reasoning").with("summary", [self.part(true)]),
            Self::Text { .. } | Self::Refusal { .. } => self.message(status, vec![self.part(true)]),
            Self::Call { call, .. } => self.call(call, status, &call.arguments),
        }
    }

    fn head(&self, kind: &str) -> Object {
        Object::new().with("id", self.id()).with("type", kind)
    }

    fn message(&self, status: &str, content: Vec<Object>) -> Object {
        let head = self.head("message").with("status", status);
        head.with("content", content).with("role", "assistant")
    }

    fn call(&self, call: &Call, status: &str, arguments: &str) -> Object {
        let head = self.head("function_call").with("status", status);
        head.with("arguments", arguments)
            .with("call_id", &call.id)
            .with("name", &call.name)
    }

    /// The item's only part, empty or said. A call has none.
    fn part(&self, said: bool) -> Object {
        let text = |pieces: &[String]| if said { pieces.concat() } else { String::new() };
        match self {
            Self::Reasoning { pieces, .. } => Object::new()
                .with("type", "summary_text")
                .with("text", text(pieces)),
            Self::Text { pieces, .. } => {
                let head = Object::new()
                    .with("type", "output_text")
                    .with("annotations", [(); 0]);
                head.with("logprobs", [(); 0]).with("text", text(pieces))
            }
            Self::Refusal { pieces, .. } => Object::new()
                .with("type", "refusal")
                .with("refusal", text(pieces)),
            Self::Call { .. } => Object::new(),
        }
    }
}

/// The events of a stream, numbered as they are written down.
struct Script<'a> {
    wish: &'a Wish,
    context: Context<'a>,
    events: Vec<Event>,
}

impl<'a> Script<'a> {
    fn new(wish: &'a Wish, context: Context<'a>) -> Self {
        Self {
            wish,
            context,
            events: Vec::new(),
        }
    }

    fn play(mut self, speech: &Speech, response: &Response) -> Vec<Event> {
        let begun = Response {
            status: "in_progress",
            incomplete_details: None,
            output: Vec::new(),
            usage: None,
            ..response.clone()
        };
        let opening = Object::new().with("response", begun);
        self.tell("response.created", opening.clone(), Part::Opening);
        self.tell("response.in_progress", opening, Part::Opening);
        for (index, item) in items(speech, self.context).iter().enumerate() {
            self.item(index, item, response.status);
        }
        let last = match response.status {
            "incomplete" => "response.incomplete",
            _ => "response.completed",
        };
        self.tell(
            last,
            Object::new().with("response", response),
            Part::Terminal,
        );
        self.events
    }

    fn item(&mut self, index: usize, item: &Item<'_>, status: &str) {
        // A call's name is content: whoever has read it may act on it.
        let named = matches!(item, Item::Call { .. });
        let part = if named { Part::Content } else { Part::Opening };
        let place = Object::new().with("output_index", index);
        let added = place.clone().with("item", item.begun());
        self.tell("response.output_item.added", added, part);
        match item {
            Item::Reasoning { pieces, .. } => self.thoughts(index, item, pieces),
            Item::Text { pieces, .. } => self.said(index, item, pieces, true),
            Item::Refusal { pieces, .. } => self.said(index, item, pieces, false),
            Item::Call { call, .. } => self.arguments(index, item, call),
        }
        let done = place.with("item", item.whole(status));
        self.tell("response.output_item.done", done, Part::Closing);
    }

    fn arguments(&mut self, index: usize, item: &Item<'_>, call: &Call) {
        let place = Object::new()
            .with("item_id", item.id())
            .with("output_index", index);
        for fragment in call.fragments() {
            let data = place.clone().with("delta", fragment);
            self.delta("response.function_call_arguments.delta", data);
        }
        let done = place
            .with("arguments", &call.arguments)
            .with("name", &call.name);
        self.tell("response.function_call_arguments.done", done, Part::Closing);
    }

    /// A message's only part: text, or a refusal.
    fn said(&mut self, index: usize, item: &Item<'_>, pieces: &[String], text: bool) {
        let (delta, done, field) = match text {
            true => (
                "response.output_text.delta",
                "response.output_text.done",
                "text",
            ),
            false => ("response.refusal.delta", "response.refusal.done", "refusal"),
        };
        let place = Object::new()
            .with("item_id", item.id())
            .with("output_index", index);
        let place = place.with("content_index", 0);
        let added = place.clone().with("part", item.part(false));
        self.tell("response.content_part.added", added, Part::Opening);
        let logprobs = text.then_some([(); 0]);
        for piece in pieces {
            let data = place
                .clone()
                .with("delta", piece)
                .with_some("logprobs", logprobs);
            self.delta(delta, data);
        }
        let whole = place
            .clone()
            .with(field, pieces.concat())
            .with_some("logprobs", logprobs);
        self.tell(done, whole, Part::Closing);
        let ended = place.with("part", item.part(true));
        self.tell("response.content_part.done", ended, Part::Closing);
    }

    fn thoughts(&mut self, index: usize, item: &Item<'_>, pieces: &[String]) {
        let place = Object::new()
            .with("item_id", item.id())
            .with("output_index", index);
        let place = place.with("summary_index", 0);
        let added = place.clone().with("part", item.part(false));
        self.tell(
            "response.reasoning_summary_part.added",
            added,
            Part::Opening,
        );
        for piece in pieces {
            let data = place.clone().with("delta", piece);
            self.delta("response.reasoning_summary_text.delta", data);
        }
        let whole = place.clone().with("text", pieces.concat());
        self.tell("response.reasoning_summary_text.done", whole, Part::Closing);
        let ended = place.with("part", item.part(true));
        self.tell("response.reasoning_summary_part.done", ended, Part::Closing);
    }

    fn delta(&mut self, name: &'static str, data: Object) {
        let padding = self.wish.padding(self.context, self.events.len());
        self.tell(name, data.with_some("obfuscation", padding), Part::Content);
    }

    fn tell(&mut self, name: &'static str, data: Object, part: Part) {
        self.events.push(event(name, data, self.events.len(), part));
    }
}

/// An event whose data begins with its name and its number.
fn event(name: &'static str, data: Object, sequence: usize, part: Part) -> Event {
    let head = Object::new()
        .with("type", name)
        .with("sequence_number", sequence);
    Event {
        name: Some(name),
        data: super::json(&head.and(data)),
        part,
    }
}
