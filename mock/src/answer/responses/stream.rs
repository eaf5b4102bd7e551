//! The events of a streamed response, in order.
//!
//! Owns that order and the numbers. Must never decide what is said.

use super::super::object::Object;
use super::super::speech::{Call, Speech, Wish};
use super::super::{Context, Event, Part};
use super::item::{Item, items};
use super::{Response, event};

/// The events of a stream, numbered as they are written down.
pub(super) struct Script<'a> {
    wish: &'a Wish,
    context: Context<'a>,
    events: Vec<Event>,
}

impl<'a> Script<'a> {
    pub(super) fn new(wish: &'a Wish, context: Context<'a>) -> Self {
        Self {
            wish,
            context,
            events: Vec::new(),
        }
    }

    pub(super) fn play(mut self, speech: &Speech, response: &Response) -> Vec<Event> {
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
        let kind = if text { "text" } else { "refusal" };
        let (delta, done) = if text {
            ("response.output_text.delta", "response.output_text.done")
        } else {
            ("response.refusal.delta", "response.refusal.done")
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
            .with(kind, pieces.concat())
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
