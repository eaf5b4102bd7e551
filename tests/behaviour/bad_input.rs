//! Bad input from either side gets a clear error, harms nobody else, and breaks nothing.

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use weighbridge_dataplane::Settings;
use weighbridge_mock::{Config, Fault, Mock, Script};

use crate::socket::{COMPLETION, Scribe, Socket, head, request, within};
use crate::stack::{Answer, KEY, Stack, chat, chat_stream, key, provider, route, settings};

mod bodies;
mod chance;
mod sockets;
mod upstream;

/// Panics on the gateway's own threads, over all tests of this process.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn watch_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            if thread
                .name()
                .is_some_and(|name| name.starts_with("worker-"))
            {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            usual(panic);
        }));
    });
}

/// Provider `one` (mock 0, or what stands for it) under test, and Provider `calm` (the last mock), which
/// nothing happens to. Nothing is repeated, and little is waited for.
fn resources(endpoint: &str) -> String {
    let spec = "  retry: {maxRetries: 0}\n  timeouts: {request: 1s, firstEvent: 1s, idle: 1s}\n";
    let to = |provider: &str| {
        format!(
            "  targets: [{{name: only, backends: [{{name: b, providerRef: {{name: {provider}}}}}]}}]\n"
        )
    };
    [
        provider("one", 0, &[("only", 1)], spec).replace("{0}", endpoint),
        provider("calm", 1, &[("calm", 1)], ""),
        route("chat", "chat", &to("one")),
        route("calm", "calm", &to("calm")),
        key("team", KEY),
    ]
    .concat()
}

async fn start() -> Stack {
    start_with(settings()).await
}

async fn start_with(settings: Settings) -> Stack {
    watch_for_panics();
    let mocks = vec![mock().await, mock().await];
    Stack::with_settings(mocks, &resources("{0}"), settings).await
}

async fn mock() -> Mock {
    Mock::start(Config::default()).await.unwrap()
}

/// The gateway is as good as before: alive, serving, nothing held, nothing panicked.
async fn assert_unharmed(stack: &Stack) {
    assert_eq!(stack.admin("/livez").await.status, 200);
    let answer = within(stack.chat("calm")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    within(stack.until_metric("weighbridge_buffered_bytes 0")).await;
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}

fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

/// An error of ours in the dialect.
fn assert_error(answer: &Answer, status: u16, code: &str, message: &str) {
    assert_eq!(
        answer.status.as_u16(),
        status,
        "{message}: {}",
        answer.text()
    );
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.code(), code, "{message}");
    let said = answer.json()["error"]["message"].clone();
    assert!(
        said.as_str().unwrap().contains(message),
        "{message}: {said}"
    );
}
