//! What is done on a socket, and when, to deliver an answer with its fault.
//!
//! Owns HTTP/1.1's outward form (head, framing) and the carrying out of faults as a list of steps.
//! Must never touch a socket or a clock: a program is plain data.

mod head;

use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};

use crate::Pace;
use crate::answer::{Answer, Body, Event, place};
use crate::fault::{Fault, Framing, Garbage, HangUp};
use crate::scalar::{Point, Quirk};
use crate::sse;

/// One step of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Let time pass.
    Wait(Duration),
    /// Write these bytes, all at once.
    Write(Bytes),
    /// The head is written, with this status.
    Headed(u16),
    /// So many more events are written.
    Told(u64),
    /// Do nothing any more until the caller leaves.
    Stall,
    /// Reset the connection.
    Reset,
    /// Close the connection before the answer is whole.
    Close,
}

/// What becomes of the connection when all steps are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It waits for the next request.
    Keep,
    /// It is closed.
    Close,
    /// It is closed when the next request's first bytes arrive.
    CloseOnReuse,
}

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) steps: Vec<Step>,
    pub(crate) then: Then,
}

/// What a delivery depends on besides the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery<'a> {
    /// The fault.
    pub(crate) fault: &'a Fault,
    /// The provider's pace.
    pub(crate) pace: Pace,
    /// Whether the caller keeps the connection.
    pub(crate) keep_alive: bool,
    /// Whether the request was HEAD: no body is written.
    pub(crate) head_only: bool,
    /// The time, for headers with dates.
    pub(crate) now: SystemTime,
}

/// Where and how an answer breaks off.
type Break = Option<(Point, Step)>;

/// The steps that deliver an answer.
pub(crate) fn write(answer: &Answer, delivery: Delivery<'_>) -> Program {
    let stream = matches!(answer.body, Body::Events(_));
    let framing = framing(answer, delivery);
    let mut writer = Writer {
        delivery,
        steps: Vec::new(),
        framing,
        stream,
    };
    let broken_off = writer.answer(answer).is_none();
    let then = match (delivery.fault.hang_up, writer.framing) {
        _ if broken_off => Then::Close,
        (Some(HangUp::OnReuse), _) => Then::CloseOnReuse,
        (Some(HangUp::Announced | HangUp::Unannounced), _) | (_, Framing::Close) => Then::Close,
        _ if delivery.keep_alive => Then::Keep,
        _ => Then::Close,
    };
    Program {
        steps: writer.steps,
        then,
    }
}

fn framing(answer: &Answer, delivery: Delivery<'_>) -> Framing {
    let natural = match answer.body {
        Body::Whole(_) => Framing::Length,
        Body::Events(_) => Framing::Chunked,
    };
    delivery.fault.framing.unwrap_or(natural)
}

/// Writes a program down. Its methods return `None` when the answer broke off.
struct Writer<'a> {
    delivery: Delivery<'a>,
    steps: Vec<Step>,
    framing: Framing,
    stream: bool,
}

impl Writer<'_> {
    fn answer(&mut self, answer: &Answer) -> Option<()> {
        let fault = self.delivery.fault;
        self.wait(fault.delay.map(|pause| pause.0));
        if !self.stream && answer.status < 400 {
            self.wait(Some(self.delivery.pace.first));
        }
        if let Some(garbage) = fault.garbage {
            return self.garbage(garbage);
        }
        let breaks = self.breaks();
        self.break_at(&breaks, |point| point == Point::BeforeHead)?;
        let body = self.body_bytes(answer);
        let length = body.iter().map(Bytes::len).sum();
        let head = head::render(answer, self.delivery, self.framing, length);
        self.steps
            .extend([Step::Write(head), Step::Headed(answer.status)]);
        self.break_at(&breaks, |point| point == Point::AfterHead)?;
        if self.delivery.head_only || head::bodiless(answer.status) {
            return Some(());
        }
        match &answer.body {
            Body::Whole(bytes) => self.whole(bytes, &breaks),
            Body::Events(events) => self.events(events, &body, &breaks),
        }
    }

    fn wait(&mut self, duration: Option<Duration>) {
        if let Some(duration) = duration.filter(|duration| !duration.is_zero()) {
            self.steps.push(Step::Wait(duration));
        }
    }

    /// Where the answer breaks off; of several the first.
    fn breaks(&self) -> Break {
        let fault = self.delivery.fault;
        let cut = fault.cut.map(|point| (point, Step::Reset));
        let stall = fault.stall.map(|point| (point, Step::Stall));
        cut.or(stall)
            .or(fault.end.map(|point| (point, Step::Close)))
    }

    fn break_at(&mut self, breaks: &Break, here: impl Fn(Point) -> bool) -> Option<()> {
        match breaks {
            Some((point, step)) if here(*point) && !self.ends_cleanly(*point, step) => {
                self.steps.push(step.clone());
                None
            }
            _ => Some(()),
        }
    }

    /// Whether this is a stream's clean end: the body is ended properly, with nothing missing but
    /// the rest of the story.
    fn ends_cleanly(&self, point: Point, step: &Step) -> bool {
        *step == Step::Close && point != Point::BeforeHead && self.stream
    }

    fn garbage(&mut self, garbage: Garbage) -> Option<()> {
        let bytes: &'static [u8] = match garbage {
            Garbage::Bytes => b"\x16\x03\x01\x00\x00 this is not HTTP \xff\xfe\r\n\r\n",
            Garbage::Head => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nno colon here\r\n\r\n{}",
            Garbage::ChunkSize => {
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                  transfer-encoding: chunked\r\n\r\nxyz\r\n{}\r\n"
            }
        };
        self.steps
            .extend([Step::Write(Bytes::from_static(bytes)), Step::Close]);
        None
    }

    /// The body as it is before framing: a stream's events one by one.
    fn body_bytes(&self, answer: &Answer) -> Vec<Bytes> {
        let quirks = &self.delivery.fault.sse;
        match &answer.body {
            Body::Whole(bytes) => vec![bytes.clone()],
            Body::Events(events) => {
                let kept = |event: &&Event| !(quirks.has(Quirk::NoDone) && event.data == "[DONE]");
                let events: Vec<&Event> = events.iter().filter(kept).collect();
                let last = events.len().saturating_sub(1);
                let numbered = events.iter().enumerate();
                numbered
                    .map(|(at, event)| sse::render(event, quirks, at == 0, at == last))
                    .collect()
            }
        }
    }

    fn whole(&mut self, bytes: &Bytes, breaks: &Break) -> Option<()> {
        self.break_at(breaks, |point| {
            matches!(point, Point::AfterEvents(0) | Point::BeforeContent)
        })?;
        if let Some((Point::MidBody | Point::AfterEvents(_), step)) = breaks {
            let half = bytes.slice(..bytes.len() / 2);
            self.body(&half, false);
            self.steps.push(step.clone());
            return None;
        }
        self.body(bytes, true);
        Some(())
    }

    fn events(&mut self, events: &[Event], bytes: &[Bytes], breaks: &Break) -> Option<()> {
        let fault = self.delivery.fault;
        let whole = breaks
            .as_ref()
            .map_or(bytes.len(), |(point, _)| place(*point, events));
        let told = bytes.get(..whole).unwrap_or(bytes);
        let batch = fault.batch.unwrap_or(1).max(1);
        let ends_here = breaks.is_none();
        let batches = told.chunks(batch).count();
        for (index, events) in told.chunks(batch).enumerate() {
            self.wait_for_event(index);
            self.body(&joined(events), ends_here && index + 1 == batches);
            self.steps.push(Step::Told(events.len() as u64));
        }
        if let Some((Point::MidBody, _)) = breaks
            && let Some(next) = bytes.get(whole)
        {
            self.wait_for_event(batches);
            self.body(&next.slice(..next.len() / 2), false);
        }
        match breaks {
            None if batches == 0 => self.body(&Bytes::new(), true),
            None => {}
            Some((point, step)) if self.ends_cleanly(*point, step) => {
                self.body(&Bytes::new(), true);
            }
            Some((_, step)) => {
                self.steps.push(step.clone());
                return None;
            }
        }
        Some(())
    }

    fn wait_for_event(&mut self, index: usize) {
        let (fault, pace) = (self.delivery.fault, self.delivery.pace);
        let pause = match index {
            0 => fault.first_event_delay.map_or(pace.first, |pause| pause.0),
            _ => fault.event_delay.map_or(pace.between, |pause| pause.0),
        };
        self.wait(Some(pause));
    }

    /// Writes a part of the body, framed; `last` ends the body.
    fn body(&mut self, bytes: &Bytes, last: bool) {
        let size = self.delivery.fault.chop.unwrap_or(usize::MAX).max(1);
        let pieces = bytes.chunks(size);
        let count = pieces.len();
        for (index, piece) in pieces.enumerate() {
            self.piece(piece, last && index + 1 == count);
        }
        if count == 0 && last {
            self.piece(&[], true);
        }
    }

    fn piece(&mut self, piece: &[u8], last: bool) {
        let mut framed = BytesMut::with_capacity(piece.len() + 16);
        if self.framing == Framing::Chunked {
            if !piece.is_empty() {
                framed.put_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                framed.put_slice(piece);
                framed.put_slice(b"\r\n");
            }
            // In one write with the last bytes: a caller that leaves after `[DONE]` has all.
            if last {
                framed.put_slice(b"0\r\n\r\n");
            }
        } else {
            framed.put_slice(piece);
        }
        self.drip(framed.freeze());
    }

    fn drip(&mut self, mut bytes: Bytes) {
        if let Some(drip) = self.delivery.fault.drip {
            while bytes.len() > drip.bytes.max(1) {
                let drop = bytes.split_to(drip.bytes.max(1));
                self.wait(Some(drip.every.0));
                self.steps.push(Step::Write(drop));
            }
            self.wait(Some(drip.every.0));
        }
        if !bytes.is_empty() {
            self.steps.push(Step::Write(bytes));
        }
    }
}

fn joined(parts: &[Bytes]) -> Bytes {
    match parts {
        [one] => one.clone(),
        parts => parts.concat().into(),
    }
}

#[cfg(test)]
mod tests;
