//! TLS to a provider whose certificate comes from an authority of one's own.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{copy, copy_bidirectional, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use weighbridge_mock::{Config, Mock};

use super::*;

/// A mock behind TLS; the file holds the authority.
struct Secured {
    mock: Mock,
    address: SocketAddr,
    authority: tempfile::NamedTempFile,
    _tasks: JoinSet<()>,
}

/// How a connection ends when the mock has ended its own.
#[derive(Clone, Copy)]
enum Goodbye {
    /// With TLS's `close_notify`.
    Said,
    /// Without, as many servers and load balancers do.
    Unsaid,
}

impl Secured {
    /// With a certificate for `name`.
    async fn start(name: &str) -> Self {
        Self::ending(name, Goodbye::Said).await
    }

    async fn ending(name: &str, goodbye: Goodbye) -> Self {
        let (acceptor, authority) = certified(name);
        let mock = Mock::start(Config::default()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, acceptor, mock.address(), goodbye));
        Self {
            mock,
            address,
            authority,
            _tasks: tasks,
        }
    }

    /// A gateway that reaches it as `host`, and trusts its authority or not.
    async fn stack(&self, host: &str, is_trusted: bool) -> Stack {
        let endpoint = format!("https://{host}:{}/v1", self.address.port());
        let mut settings = settings();
        settings.ca_file = is_trusted.then(|| self.authority.path().to_owned());
        Stack::with_settings(Vec::new(), &routes_to(&endpoint), settings).await
    }
}

fn certified(name: &str) -> (TlsAcceptor, tempfile::NamedTempFile) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), root.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    (Arc::new(config).into(), file)
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, to: SocketAddr, goodbye: Goodbye) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            // A gateway that doesn't trust the certificate ends the handshake.
            if let Ok(secured) = acceptor.accept(stream).await {
                carry(secured, TcpStream::connect(to).await.unwrap(), goodbye).await;
            }
        });
    }
}

async fn carry(mut secured: TlsStream<TcpStream>, mut plain: TcpStream, goodbye: Goodbye) {
    match goodbye {
        Goodbye::Said => drop(copy_bidirectional(&mut secured, &mut plain).await),
        Goodbye::Unsaid => {
            let (mut from_gateway, mut to_gateway) = split(secured);
            let (mut from_mock, mut to_mock) = plain.split();
            // The first that ends drops the socket; nothing is said in TLS.
            tokio::select! {
                done = copy(&mut from_gateway, &mut to_mock) => drop(done),
                done = copy(&mut from_mock, &mut to_gateway) => drop(done),
            }
        }
    }
}

#[tokio::test]
async fn a_provider_with_a_private_authority_is_reached_through_the_ca_file() {
    let secured = Secured::start("localhost").await;
    let stack = secured.stack("localhost", true).await;
    for _ in 0..3 {
        let answer = stack.chat("chat").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let stream = stack
            .post("/v1/chat/completions", &chat_stream("chat"))
            .await;
        assert!(stream.is_whole);
    }
    let log = secured.mock.log();
    assert_eq!(log[0].account.as_deref(), Some("arge"));
    let host = format!("localhost:{}", secured.address.port());
    assert_eq!(log[0].header("host"), Some(host.as_str()));
    // Sessions are kept: a handshake costs more than a call.
    assert!(secured.mock.counters().connections_accepted <= 2);
}

#[tokio::test]
async fn a_stale_connection_costs_no_request_however_its_tls_ended() {
    for goodbye in [Goodbye::Said, Goodbye::Unsaid] {
        let secured = Secured::ending("localhost", goodbye).await;
        secured
            .mock
            .script("hang-up=on-reuse".parse::<Fault>().unwrap());
        let stack = secured.stack("localhost", true).await;
        for call in 1..=10_u64 {
            let answer = stack.chat("chat").await;
            assert_eq!(answer.status, 200, "{call}: {}", answer.text());
            assert_eq!(answer.header("x-weighbridge-attempts"), "1");
            assert_eq!(secured.mock.counters().requests, call);
        }
        let hang_ups = secured.mock.counters().hang_ups;
        assert!(hang_ups > 0, "no connection closed under a request");
        let stale = format!("weighbridge_upstream_stale_connections_total {hang_ups}");
        within(stack.until_metric(&stale)).await;
    }
}

#[tokio::test]
async fn a_certificate_for_an_address_is_verified_by_that_address() {
    let secured = Secured::start("127.0.0.1").await;
    assert_eq!(
        secured
            .stack("127.0.0.1", true)
            .await
            .chat("chat")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_wrong_name_or_an_unknown_authority_gets_no_credential() {
    for (name, host, is_trusted) in [
        ("elsewhere.example", "localhost", true),
        ("localhost", "127.0.0.1", true),
        ("localhost", "localhost", false),
    ] {
        let secured = Secured::start(name).await;
        let stack = secured.stack(host, is_trusted).await;
        let answer = stack.chat("chat").await;
        assert_eq!(answer.status, 502, "{name} {host}");
        assert_eq!(answer.code(), "upstream_unreachable");
        assert_eq!(secured.mock.counters().connections_accepted, 0);
    }
}

#[tokio::test]
async fn a_ca_file_that_holds_no_certificate_stops_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut settings = settings();
    settings.ca_file = Some(file.path().to_owned());
    let snapshot = snapshot_of("");
    let started = weighbridge_dataplane::Gateway::start(&settings, &snapshot).await;
    let error: &dyn std::error::Error = &started.err().unwrap();
    let cause = error.source().unwrap().to_string();
    assert!(
        cause.contains("can't be read as PEM certificates"),
        "{cause}"
    );
}
