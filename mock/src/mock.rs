//! The handle of a running mock, and its accept loop.
//!
//! Owns the listener's life: start, stop, start again on the same port. Must never know what a
//! request or an answer looks like.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::journal::{Counters, Entry, Journal};
use crate::script::{Run, Script};
use crate::{Config, connection};

/// Why a mock could not be started.
#[derive(Debug, thiserror::Error)]
#[error("a mock provider cannot listen on {address}")]
pub struct StartError {
    /// Where it was to listen.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// A running fake provider. It stops when it is dropped.
#[derive(Debug)]
pub struct Mock {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: Mutex<Option<Server>>,
}

/// What all connections of a mock share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) journal: Journal,
    run: Mutex<Run>,
}

impl Shared {
    /// The script that is running. Held for a moment only, never over an `await`.
    pub(crate) fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An accept loop; dropping it aborts the loop and every connection.
#[derive(Debug)]
struct Server {
    stop: oneshot::Sender<()>,
    accepting: JoinSet<()>,
}

impl Mock {
    /// Starts a mock provider on the current tokio runtime.
    ///
    /// # Errors
    /// When `config.listen` cannot be bound.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let (listener, address) = bind(config.listen).await?;
        let run = Mutex::new(Run::new(config.script.clone()));
        let shared = Arc::new(Shared {
            config,
            journal: Journal::default(),
            run,
        });
        let server = Mutex::new(Some(Server::start(listener, &shared)));
        Ok(Self {
            shared,
            address,
            server,
        })
    }

    /// Where it listens; the same before and after [`stop`](Self::stop).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL without a path: `http://127.0.0.1:12345`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Replaces the script; its counts begin anew. `Script::default()` takes all faults away.
    pub fn script(&self, script: impl Into<Script>) {
        *self.shared.run() = Run::new(script.into());
    }

    /// The kept log entries, oldest first.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.journal.entries()
    }

    /// Empties the log. Counters stay.
    pub fn clear_log(&self) {
        self.shared.journal.clear();
    }

    /// The counters as they are now.
    pub fn counters(&self) -> Counters {
        self.shared.journal.counters()
    }

    /// Waits until the counters satisfy `holds`, and returns them as they then were. No polling:
    /// `holds` runs once at once and then after every change. It should be quick and must not call
    /// this mock. There is no time limit in it.
    pub async fn until(&self, holds: impl FnMut(&Counters) -> bool) -> Counters {
        self.shared.journal.until(holds).await
    }

    /// Closes the listener and every connection, and returns when all are closed: from then on
    /// connects are refused. Log, counters and script stay. Does nothing to a stopped mock.
    pub async fn stop(&self) {
        let server = self.server().take();
        if let Some(server) = server {
            server.stop().await;
        }
    }

    /// Listens again on the same address after [`stop`](Self::stop). Does nothing to a running mock.
    ///
    /// # Errors
    /// When the address cannot be bound, for example because somebody else took the port.
    pub async fn start_again(&self) -> Result<(), StartError> {
        if self.server().is_some() {
            return Ok(());
        }
        let (listener, _) = bind(self.address).await?;
        let server = Server::start(listener, &self.shared);
        self.server().get_or_insert(server);
        Ok(())
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let refused = |source| StartError { address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}

impl Server {
    fn start(listener: TcpListener, shared: &Arc<Shared>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(shared), stopped));
        Self { stop, accepting }
    }

    async fn stop(mut self) {
        // An error means that the loop has ended already.
        let _ended = self.stop.send(());
        while self.accepting.join_next().await.is_some() {}
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => begin(&mut connections, &shared, stream),
                // Out of file descriptors, or a caller that left before it was accepted.
                Err(error) => {
                    tracing::warn!(%error, "the mock could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
            _ = &mut stopped => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
}

fn begin(connections: &mut JoinSet<()>, shared: &Arc<Shared>, stream: TcpStream) {
    let shared = Arc::clone(shared);
    let mut number = 0;
    shared.journal.count(|counters| {
        counters.connections_accepted += 1;
        counters.connections_open += 1;
        number = counters.connections_accepted;
    });
    let open = OpenConnection(Arc::clone(&shared));
    connections.spawn(async move {
        let _open = open;
        connection::serve(&shared, stream, number).await;
    });
}

/// Counts an open connection for as long as it lives, however its task ends.
struct OpenConnection(Arc<Shared>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0
            .journal
            .count(|counters| counters.connections_open -= 1);
    }
}
