//! Start, stop, start again.

use tokio::net::TcpStream;

use super::client::{Client, End, chat, mock, soon, stream};
use crate::{Config, Mock, Outcome};

#[tokio::test]
async fn a_stopped_mock_refuses_connects_until_it_starts_again() {
    let mock = mock().await;
    let mut idle = Client::to(&mock).await;
    idle.send(chat("")).await;
    idle.read_answer().await;
    let mut busy = Client::to(&mock).await;
    busy.send(stream("x-mock-fault: stall=1\r\n")).await;
    soon(mock.until(|counters| counters.events == 1)).await;

    soon(mock.stop()).await;
    let counters = mock.counters();
    assert_eq!(
        (
            counters.connections_open,
            counters.in_flight,
            counters.stopped
        ),
        (0, 0, 1)
    );
    assert_eq!(mock.log()[1].outcome, Outcome::Stopped);
    assert_eq!(idle.read_to_end().await, (Vec::new(), End::Closed));
    let refused = soon(TcpStream::connect(mock.address())).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    let address = mock.address();
    soon(mock.start_again()).await.unwrap();
    assert_eq!(mock.address(), address);
    let mut again = Client::to(&mock).await;
    again.send(chat("")).await;
    assert_eq!(again.read_answer().await.status, 200);
    assert_eq!(mock.counters().requests, 3);
}

#[tokio::test]
async fn stopping_and_starting_twice_changes_nothing() {
    let mock = mock().await;
    soon(mock.start_again()).await.unwrap();
    soon(mock.stop()).await;
    soon(mock.stop()).await;
    soon(mock.start_again()).await.unwrap();
    Client::to(&mock).await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_with_its_address() {
    let first = mock().await;
    let config = Config {
        listen: first.address(),
        ..Config::default()
    };
    let error = Mock::start(config).await.unwrap_err();
    assert_eq!(error.address, first.address());
    assert!(error.to_string().contains(&first.address().to_string()));
}

#[tokio::test]
async fn no_debug_form_shows_a_key() {
    let config = Config {
        keys: vec!["sk-hidden-key".to_owned()],
        ..Config::default()
    };
    let mock = Mock::start(config).await.unwrap();
    assert!(!format!("{mock:?}").contains("hidden"));
}
