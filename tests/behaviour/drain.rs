//! Leaving without failing a request: not ready first, still accepting for a while, closing as answers
//! end, idle connections last.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::task::JoinSet;
use weighbridge_dataplane::Settings;
use weighbridge_mock::{Config, Fault, Mock};

use crate::socket::{Socket, request, within};
use crate::stack::{Answer, Stack, chat, chat_stream, settings, two_accounts};

/// A gateway that has been told to leave, and those who can still reach it.
struct Leaving {
    listen: SocketAddr,
    admin: SocketAddr,
    provider: Mock,
    drain: JoinSet<()>,
}

impl Leaving {
    async fn begin(stack: Stack) -> Self {
        let Stack {
            gateway,
            mut providers,
            ..
        } = stack;
        let (listen, admin) = (gateway.listen_address(), gateway.admin_address());
        let mut drain = JoinSet::new();
        drain.spawn(gateway.drain());
        let leaving = Self {
            listen,
            admin,
            provider: providers.remove(0),
            drain,
        };
        within(async { while leaving.ready().await != 503 {} }).await;
        leaving
    }

    async fn gone(&mut self) {
        within(self.drain.join_next()).await.unwrap().unwrap();
    }

    async fn ready(&self) -> StatusCode {
        get(self.admin, "/readyz").await.status
    }

    async fn is_accepting(&self) -> bool {
        tokio::net::TcpStream::connect(self.listen).await.is_ok()
    }

    async fn until_closed(&self) {
        within(async { while self.is_accepting().await {} }).await;
    }
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    let mut caller = Socket::connect_to(address).await;
    caller
        .write(format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        ))
        .await;
    caller.answer().await
}

async fn call(caller: &mut Socket) -> Answer {
    caller.write(request(chat("chat").to_string())).await;
    within(caller.answer()).await
}

async fn start(delay: u32, limit: u32) -> Stack {
    let settings = Settings {
        drain_delay_seconds: delay,
        drain_limit_seconds: limit,
        ..settings()
    };
    let mock = Mock::start(Config::default()).await.unwrap();
    Stack::with_settings(vec![mock], &two_accounts(), settings).await
}

fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

#[tokio::test]
async fn it_is_not_ready_before_it_stops_accepting() {
    let stack = start(2, 60).await;
    let since = Instant::now();
    let mut leaving = Leaving::begin(stack).await;
    // Removal from endpoints takes its time: whoever still comes is served.
    let mut served = 0;
    while since.elapsed() < Duration::from_secs(1) {
        let mut caller = Socket::connect_to(leaving.listen).await;
        let answer = call(&mut caller).await;
        assert_eq!(answer.status, 200);
        // And told to come elsewhere next time.
        assert_eq!(answer.header("connection"), "close");
        assert_eq!(caller.rest().await, "");
        served += 1;
    }
    assert!(served > 0);
    assert_eq!(get(leaving.admin, "/livez").await.status, 200);
    leaving.until_closed().await;
    assert!(since.elapsed() >= Duration::from_secs(2));
    leaving.gone().await;
    assert_eq!(leaving.provider.counters().in_flight, 0);
}

#[tokio::test]
async fn an_idle_connection_is_closed_last_and_its_next_request_before_that_served() {
    let stack = start(1, 60).await;
    let (mut one, mut other) = (Socket::connect(&stack).await, Socket::connect(&stack).await);
    for caller in [&mut one, &mut other] {
        assert_eq!(call(caller).await.header("connection"), "");
    }
    let mut leaving = Leaving::begin(stack).await;
    let answer = call(&mut one).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("connection")),
        (200, "close")
    );
    assert_eq!(one.rest().await, "");
    // The other one never asks again.
    assert_eq!(other.rest().await, "");
    assert!(!leaving.is_accepting().await);
    leaving.gone().await;
}

#[tokio::test]
async fn a_request_whose_head_is_still_arriving_is_served() {
    let stack = start(0, 20).await;
    let mut caller = Socket::connect(&stack).await;
    // A second request: hyper takes a new connection for busy anyway.
    assert_eq!(call(&mut caller).await.status, 200);
    let request = request(chat("chat").to_string());
    let (first, rest) = request.split_at(30);
    caller.write(first).await;
    // The head's first bytes have been read once a later connection's call is answered.
    assert_eq!(call(&mut Socket::connect(&stack).await).await.status, 200);
    assert_eq!(call(&mut Socket::connect(&stack).await).await.status, 200);
    let mut leaving = Leaving::begin(stack).await;
    leaving.until_closed().await;
    // Longer than from one sweep of the worker to the next, which is when it looks who is left.
    let still = tokio::time::timeout(Duration::from_millis(1_200), leaving.drain.join_next());
    assert!(still.await.is_err(), "it left before the request was in");
    caller.write(rest).await;
    let answer = caller.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("connection"), "close");
    leaving.gone().await;
}

#[tokio::test]
async fn running_answers_end_as_they_should() {
    let stack = start(0, 60).await;
    stack.providers[0].script(fault("words=80,event-delay=20ms"));
    let mut stream = Socket::connect(&stack).await;
    stream.write(request(chat_stream("chat").to_string())).await;
    stream.hear("\"content\":\"").await;
    stack.providers[0].script(fault("delay=1500ms"));
    let mut whole = Socket::connect(&stack).await;
    whole.write(request(chat("chat").to_string())).await;
    within(stack.providers[0].until(|counters| counters.in_flight == 2)).await;
    let mut leaving = Leaving::begin(stack).await;
    leaving.until_closed().await;
    assert_eq!(leaving.provider.counters().in_flight, 2);
    let answer = within(whole.answer()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("connection")),
        (200, "close")
    );
    let answer = within(stream.answer()).await;
    assert!(answer.is_whole);
    assert_eq!(answer.events().last().map(String::as_str), Some("[DONE]"));
    assert_eq!(whole.rest().await + &stream.rest().await, "");
    leaving.gone().await;
    assert_eq!(leaving.provider.counters().answered, 2);
}

#[tokio::test]
async fn the_admin_port_answers_until_the_last_answer_is_out() {
    let stack = start(0, 60).await;
    stack.providers[0].script(fault("words=60,event-delay=20ms"));
    let mut stream = Socket::connect(&stack).await;
    stream.write(request(chat_stream("chat").to_string())).await;
    stream.hear("\"content\":\"").await;
    let mut leaving = Leaving::begin(stack).await;
    leaving.until_closed().await;
    assert_eq!(leaving.ready().await, 503);
    assert_eq!(get(leaving.admin, "/metrics").await.status, 200);
    assert!(within(stream.answer()).await.is_whole);
    leaving.gone().await;
    assert!(tokio::net::TcpStream::connect(leaving.admin).await.is_err());
}

#[tokio::test]
async fn without_anything_to_wait_for_it_is_gone_at_once() {
    let stack = start(0, 60).await;
    assert_eq!(stack.chat("chat").await.status, 200);
    let since = Instant::now();
    within(stack.gateway.drain()).await;
    assert!(since.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_outlasts_the_limit_is_ended() {
    let stack = start(0, 1).await;
    stack.providers[0].script(fault("stall=5"));
    let call = String::from_utf8(request(chat_stream("chat").to_string())).unwrap();
    let mut streams = Vec::new();
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let mut stream = Socket::connect(&stack).await;
        stream.write(call.replace("HTTP/1.1", version)).await;
        stream.hear("\"content\":\"").await;
        streams.push(stream);
    }
    let since = Instant::now();
    let mut leaving = Leaving::begin(stack).await;
    leaving.gone().await;
    assert!(since.elapsed() >= Duration::from_secs(1));
    assert!(since.elapsed() < Duration::from_secs(4));
    // Cut, not ended cleanly; and the provider isn't kept busy for nobody.
    for mut stream in streams {
        assert!(!within(stream.answer()).await.is_whole);
    }
    within(leaving.provider.until(|counters| counters.in_flight == 0)).await;
}
