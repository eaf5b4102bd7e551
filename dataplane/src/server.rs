//! A worker's thread: its connections, from the acceptor's hand to their end, and the sweep that closes
//! what is idle or too slow and lets go of what was replaced. Must never block: everything on this thread waits for it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::connection::{Activity, Connection, End, Socket};
use crate::service;
use crate::tasks;
use crate::worker::Worker;

/// How often idle and slow connections, and replaced Runtimes, are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// hyper's buffer for a head; a larger one is answered with 431.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// A reset throws away what the system hasn't sent yet, and with some callers what they haven't read: this
/// long it waits for an answer's last event to arrive.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// What a worker is told.
pub(crate) enum Command {
    /// Serve a connection; the permit goes back when it closes.
    Serve(std::net::TcpStream, OwnedSemaphorePermit),
    /// End every connection after its running answer, then the thread.
    Drain,
}

/// How others reach a worker.
pub(crate) struct Handle {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    /// Connections it has now.
    pub(crate) open: Arc<AtomicUsize>,
    /// Resolves when it has ended.
    pub(crate) ended: oneshot::Receiver<()>,
}

/// A worker's connections.
type Connections = Rc<RefCell<HashMap<u64, Rc<Connection>>>>;

/// What runs on the worker's thread.
pub(crate) struct Server {
    worker: Rc<Worker>,
    connections: Connections,
    open: Arc<AtomicUsize>,
    /// Seconds since the thread began.
    tick: Rc<Cell<u32>>,
}

impl Server {
    pub(crate) fn new(worker: Worker, open: Arc<AtomicUsize>) -> Self {
        Self {
            worker: Rc::new(worker),
            connections: Rc::default(),
            open,
            tick: Rc::default(),
        }
    }

    /// Serves until told to drain and done with it, or until nobody can tell any more.
    pub(crate) async fn run(self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = 0;
        let mut is_draining = false;
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Serve(stream, permit)) => {
                        next += 1;
                        self.accept(next, stream, permit);
                    }
                    Some(Command::Drain) => is_draining = true,
                    None => return,
                },
                _ = sweep.tick() => self.sweep(),
            }
            if is_draining && self.is_drained() {
                return;
            }
        }
    }

    fn accept(&self, id: u64, stream: std::net::TcpStream, permit: OwnedSemaphorePermit) {
        let connection = Rc::new(Connection::new(Rc::clone(&self.tick)));
        let worker = Rc::clone(&self.worker);
        let place = self.place(id, Rc::clone(&connection), permit);
        tasks::spawn_local(async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => serve(worker, stream, connection).await,
                Err(error) => tracing::warn!(%error, "a connection couldn't be taken over"),
            }
            drop(place);
        });
    }

    fn place(&self, id: u64, connection: Rc<Connection>, permit: OwnedSemaphorePermit) -> Place {
        self.connections.borrow_mut().insert(id, connection);
        self.worker.cells().accepted.add(1);
        Place {
            id,
            worker: Rc::clone(&self.worker),
            connections: Rc::clone(&self.connections),
            open: Arc::clone(&self.open),
            _permit: permit,
        }
    }

    /// Ends what serves after its answer, and the idle connections last: closing one races with its next
    /// request, and by then most callers have moved on. One whose head is arriving is waited for: hyper
    /// would close it as if it were idle. True when none is left.
    fn is_drained(&self) -> bool {
        let connections = self.connections.borrow();
        let activity = |connection: &Rc<Connection>| connection.activity().0;
        let are_all_idle = connections
            .values()
            .all(|connection| activity(connection) == Activity::Idle);
        for connection in connections.values() {
            if are_all_idle || activity(connection) == Activity::Serving {
                connection.end(End::Gracefully);
            }
        }
        connections.is_empty()
    }

    fn sweep(&self) {
        self.tick.set(self.tick.get().saturating_add(1));
        self.worker.pool.sweep(Instant::now());
        self.worker.refresh();
        let settings = &self.worker.shared.settings;
        for connection in self.connections.borrow().values() {
            if connection.stuck() > settings.write_timeout_seconds {
                connection.end(End::Now);
            }
            match connection.activity() {
                (Activity::Head, seconds) if seconds > settings.head_timeout_seconds => {
                    connection.end(End::Now);
                }
                (Activity::Idle, seconds) if seconds > settings.idle_timeout_seconds => {
                    connection.end(End::Gracefully);
                }
                _ => {}
            }
        }
    }
}

/// A connection's place among all. Given up when dropped, so that one whose task panics is neither counted
/// nor waited for any longer.
struct Place {
    id: u64,
    worker: Rc<Worker>,
    connections: Connections,
    open: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.borrow_mut().remove(&self.id);
        self.worker.cells().closed.add(1);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves one connection to its end. A caller's broken connection is nobody's error.
async fn serve(worker: Rc<Worker>, stream: TcpStream, connection: Rc<Connection>) {
    let socket = Socket::new(stream, Rc::clone(&connection));
    let service = {
        let connection = Rc::clone(&connection);
        service_fn(move |request: Request<Incoming>| {
            connection.set_version(request.version());
            service::serve(Rc::clone(&worker), Rc::clone(&connection), request)
        })
    };
    let serving = hyper::server::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    let mut serving = pin!(serving);
    let mut is_ending = false;
    poll_fn(|context| {
        match connection.poll_end(context) {
            End::Now => return Poll::Ready(()),
            End::Gracefully if !is_ending => {
                is_ending = true;
                serving.as_mut().graceful_shutdown();
            }
            End::Gracefully | End::NotYet => {}
        }
        serving.as_mut().poll(context).map(drop)
    })
    .await;
    if connection.breaks_by_reset() {
        // hyper holds the socket until `serving` drops.
        tokio::time::sleep(LAST_WORDS).await;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::runtime::example::{built, snapshot};
    use crate::settings::Settings;
    use crate::shared::Shared;
    use crate::upstream::{Connector, tls_config};

    #[test]
    fn a_connection_whose_task_panics_is_forgotten() {
        let shared = Arc::new(Shared::new(&Settings::default(), built(&snapshot())));
        let connector = Connector::new(tls_config(None).unwrap());
        // As the acceptor leaves it: counted, with a permit.
        let open = Arc::new(AtomicUsize::new(1));
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
        let server = Server::new(Worker::new(0, shared, connector), Arc::clone(&open));
        let connection = Rc::new(Connection::new(Rc::clone(&server.tick)));
        let place = server.place(7, connection, permit);
        assert!(!server.is_drained());
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _place = place;
            panic!("as a bug would");
        }));
        assert!(panicked.is_err());
        assert!(server.is_drained());
        assert_eq!(server.worker.cells().closed.get(), 1);
        assert_eq!(open.load(Ordering::Relaxed), 0);
        assert_eq!(permits.available_permits(), 1);
    }
}
