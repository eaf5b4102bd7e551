//! Opening connections: name look-up, TCP, TLS. Must never verify less than the whole certificate chain
//! and name, and must never wait longer than it is told.

use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tower_service::Service as _;

use super::Link;
use super::transport::Transport;
use crate::runtime::Endpoint;

/// Opens connections for one worker.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    tls: TlsConnector,
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no TCP connection")]
    Tcp(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no TLS session")]
    Tls(#[source] io::Error),
    #[error("no HTTP connection")]
    Http(#[source] hyper::Error),
    #[error("no connection within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// Why the trusted certificate authorities can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file can't be read, or holds no certificate.
    #[error("the CA file {} can't be read as PEM certificates", path.display())]
    CaFile {
        /// As given.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate in it isn't one.
    #[error("a certificate in the CA file {} isn't valid", path.display())]
    Certificate {
        /// As given.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The TLS library refuses its own defaults.
    #[error("TLS can't be set up")]
    Setup(#[source] rustls::Error),
}

/// What this process trusts: the system's authorities and those of `ca_file`.
///
/// # Errors
/// When `ca_file` isn't a PEM file with certificates.
pub(crate) fn tls_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    // Authorities that can't be read are skipped: one odd file must not cost every provider.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let unreadable = |source| TlsError::CaFile {
        path: path.to_owned(),
        source,
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<_, _>>)
        .map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(unreadable(rustls::pki_types::pem::Error::NoItemsFound));
    }
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|source| TlsError::Certificate {
                path: path.to_owned(),
                source,
            })?;
    }
    Ok(())
}

impl Connector {
    pub(crate) fn new(tls: Arc<ClientConfig>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self {
            tcp,
            tls: tls.into(),
        }
    }

    /// Connects within `limit`: name look-up, TCP and TLS together.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        limit: Duration,
    ) -> Result<Link, ConnectError> {
        tokio::time::timeout(limit, self.open(endpoint))
            .await
            .map_err(|_| ConnectError::Timeout(limit))?
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Link, ConnectError> {
        let mut tcp = self.tcp.clone();
        poll_fn(|context| tcp.poll_ready(context))
            .await
            .map_err(|error| ConnectError::Tcp(error.into()))?;
        let stream = tcp
            .call(endpoint.uri.clone())
            .await
            .map_err(|error| ConnectError::Tcp(error.into()))?
            .into_inner();
        let transport = match &endpoint.tls_name {
            None => Transport::plain(stream),
            Some(name) => Transport::tls(self.secure(name.clone(), stream).await?),
        };
        Link::open(transport).await.map_err(ConnectError::Http)
    }

    async fn secure(
        &self,
        name: ServerName<'static>,
        stream: tokio::net::TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>, ConnectError> {
        self.tls
            .connect(name, stream)
            .await
            .map_err(ConnectError::Tls)
    }
}
