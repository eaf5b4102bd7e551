//! Programs as plain data: what is written, in which pieces, and where it breaks off.

use proptest::prelude::*;

use super::*;
use crate::answer::Part;

fn stream() -> Answer {
    let event = |data: &str, part| Event {
        name: None,
        data: data.to_owned(),
        part,
    };
    let events = vec![
        event("role", Part::Opening),
        event("né", Part::Content),
        event("more", Part::Content),
        event("[DONE]", Part::Terminal),
    ];
    Answer {
        status: 200,
        headers: Vec::new(),
        body: Body::Events(events),
    }
}

fn unary() -> Answer {
    let body = Body::Whole(Bytes::from_static(b"0123456789"));
    Answer {
        status: 200,
        headers: Vec::new(),
        body,
    }
}

fn with(answer: &Answer, fault: &str) -> Program {
    let fault = fault.parse().unwrap();
    let delivery = Delivery {
        fault: &fault,
        pace: Pace {
            first: Duration::from_secs(7),
            between: Duration::from_secs(1),
        },
        keep_alive: true,
        head_only: false,
        now: SystemTime::UNIX_EPOCH,
    };
    write(answer, delivery)
}

/// Steps in short, heads left out.
fn shown(program: &Program) -> Vec<String> {
    let show = |step: &Step| match step {
        Step::Write(bytes) if bytes.starts_with(b"HTTP/1.1 ") => "head".to_owned(),
        Step::Write(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Step::Wait(duration) => format!("wait {duration:?}"),
        step => format!("{step:?}"),
    };
    let mut steps: Vec<String> = program.steps.iter().map(show).collect();
    steps.push(format!("{:?}", program.then));
    steps
}

fn written(program: &Program) -> Vec<u8> {
    let writes = program.steps.iter().filter_map(|step| match step {
        Step::Write(bytes) => Some(bytes.to_vec()),
        _ => None,
    });
    writes.collect::<Vec<_>>().concat()
}

#[test]
fn a_stream_is_written_event_by_event_at_its_pace() {
    insta::assert_debug_snapshot!(shown(&with(&stream(), "")));
}

#[test]
fn a_unary_answer_is_written_at_once() {
    assert_eq!(
        shown(&with(&unary(), "")),
        ["wait 7s", "head", "Headed(200)", "\"0123456789\"", "Keep"]
    );
}

#[test]
fn a_stream_breaks_off_where_the_fault_says() {
    let faults = [
        "cut=before-head",
        "cut=after-head",
        "cut=before-content",
        "cut=2",
        "cut=mid-body",
        "stall=0",
        "stall=1",
        "end=before-head",
        "end=after-head",
        "end=2",
        "end=99",
        "cut=99",
    ];
    let shown: Vec<_> = faults
        .iter()
        .map(|fault| {
            let quick = format!("{fault},first-event-delay=0ms,event-delay=0ms");
            format!("{fault}: {}", shown(&with(&stream(), &quick)).join(", "))
        })
        .collect();
    insta::assert_debug_snapshot!(shown);
}

#[test]
fn a_unary_answer_breaks_off_where_the_fault_says() {
    let faults = [
        "cut=before-head",
        "cut=after-head",
        "cut=0",
        "cut=mid-body",
        "end=mid-body",
        "stall=3",
    ];
    let shown: Vec<_> = faults
        .iter()
        .map(|fault| format!("{fault}: {}", shown(&with(&unary(), fault)).join(", ")))
        .collect();
    insta::assert_debug_snapshot!(shown);
}

#[test]
fn waits_follow_the_fault_rather_than_the_pace() {
    let program = with(
        &stream(),
        "delay=2s,first-event-delay=300ms,event-delay=20ms,batch=2,cut=3",
    );
    assert_eq!(
        shown(&program),
        [
            "wait 2s",
            "head",
            "Headed(200)",
            "wait 300ms",
            "\"17\\r\\ndata: role\\n\\ndata: né\\n\\n\\r\\n\"",
            "Told(2)",
            "wait 20ms",
            "\"c\\r\\ndata: more\\n\\n\\r\\n\"",
            "Told(1)",
            "Reset",
            "Close",
        ]
    );
}

#[test]
fn a_drip_goes_drop_by_drop() {
    let program = with(&unary(), "drip=4/50ms");
    assert_eq!(
        shown(&program)[3..],
        [
            "wait 50ms",
            "\"0123\"",
            "wait 50ms",
            "\"4567\"",
            "wait 50ms",
            "\"89\"",
            "Keep"
        ]
    );
}

#[test]
fn a_stream_without_done_ends_at_its_last_event() {
    let text = String::from_utf8(written(&with(&stream(), "sse=no-done+no-last-blank"))).unwrap();
    assert!(text.ends_with("data: more\n\r\n0\r\n\r\n"), "{text}");
}

#[test]
fn a_fault_sets_its_headers() {
    let text = |fault| {
        let head = with(&unary(), fault).steps;
        let writes = head.into_iter().find_map(|step| match step {
            Step::Write(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            _ => None,
        });
        writes.unwrap()
    };
    insta::assert_snapshot!(
        [
            text("retry-after=2,retry-after-ms=1500,reset-requests=6m0s,reset-tokens=120ms"),
            text("retry-after-date=90s,header-bytes=5,content-type=text/html"),
            text("retry-after=soon,hang-up=announced,header.x-should-retry=true"),
            text("framing=close"),
            text("framing=chunked"),
        ]
        .join("")
    );
}

#[test]
fn the_connection_is_kept_unless_something_says_otherwise() {
    let cases = [
        ("", Then::Keep),
        ("hang-up=announced", Then::Close),
        ("hang-up=unannounced", Then::Close),
        ("hang-up=on-reuse", Then::CloseOnReuse),
        ("framing=close", Then::Close),
        ("cut=mid-body", Then::Close),
    ];
    for (fault, then) in cases {
        assert_eq!(with(&unary(), fault).then, then, "{fault}");
    }
}

/// Takes chunked coding apart: the chunks.
fn chunks(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    loop {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            assert_eq!(&bytes[end..], b"\r\n\r\n");
            return chunks;
        }
        chunks.push(bytes[end + 2..end + 2 + size].to_vec());
        assert_eq!(&bytes[end + 2 + size..end + 4 + size], b"\r\n");
        bytes = &bytes[end + 4 + size..];
    }
}

proptest! {
    #[test]
    fn no_way_of_cutting_into_pieces_changes_the_bytes(
        chop in 1usize..40, batch in 1usize..6, drip in 1usize..40,
        quirk in prop::sample::select(vec!["bom", "crlf", "comments", "pings", "no-space"]),
    ) {
        let body = |fault: &str| {
            let bytes = written(&with(&stream(), fault));
            let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            chunks(&bytes[head + 4..])
        };
        let plain = body(&format!("sse={quirk}")).concat();
        let pieces =
            body(&format!("sse={quirk},chop={chop},batch={batch},drip={drip}/1ms"));
        prop_assert!(pieces.iter().all(|piece| piece.len() <= chop));
        prop_assert_eq!(pieces.concat(), plain);
    }
}
