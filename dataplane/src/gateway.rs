//! A whole data plane in this process: acceptor, workers, admin port, and the swap of the Runtime. Must
//! never serve half a snapshot, and must never end a running answer before its time.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use weighbridge_snapshot::{ObjectName, Snapshot};

use crate::admin;
use crate::health::Eligibility;
use crate::metrics::AttemptOutcome;
use crate::runtime::{Account, Runtime};
use crate::server::{Command, Handle, Server};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::tasks::{self, Owned};
use crate::upstream::{Connector, TlsError, tls_config};
use crate::worker::Worker;

/// How long accepting rests after the system refused a socket (too many open files, no memory).
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often it is looked whether a replaced Runtime is still in use; workers let go of it within a second.
const FREE_EVERY: Duration = Duration::from_secs(1);

/// A running data plane.
pub struct Gateway {
    shared: Arc<Shared>,
    listen: SocketAddr,
    admin: SocketAddr,
    workers: Vec<Handle>,
    acceptor: Owned,
    _admin: Owned,
    _free: Owned,
    /// Takes what was replaced. One swap at a time: each hands over what the one before left.
    swap: Mutex<mpsc::UnboundedSender<Arc<Runtime>>>,
}

/// Why a data plane doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken, or isn't this machine's.
    #[error(
        "can't listen on {address} ({flag}); is it in use? choose another, or port 0 for any free one"
    )]
    Listen {
        /// As given.
        address: SocketAddr,
        /// The flag that gives it.
        flag: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Trust can't be set up.
    #[error("trusted certificate authorities can't be set up")]
    Tls(#[source] TlsError),
    /// No thread.
    #[error("a worker thread can't be started")]
    Worker(#[source] io::Error),
}

/// What an account has had to do, for people who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountTraffic {
    /// Its Provider.
    pub provider: ObjectName,
    /// Its name there.
    pub account: String,
    /// Requests sent to it so far.
    pub attempts: u64,
    /// Those that it didn't answer for the caller.
    pub failures: u64,
    /// Whether it may be asked now.
    pub state: AccountState,
}

/// Whether an account may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountState {
    /// It may.
    Usable,
    /// Not before this time has passed.
    CoolingDown(Duration),
    /// Its credential is refused, or out of money.
    Refused,
}

impl std::fmt::Display for AccountState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usable => formatter.write_str("Usable"),
            Self::CoolingDown(left) => write!(formatter, "CoolingDown {:.1} s", left.as_secs_f32()),
            Self::Refused => formatter.write_str("Refused"),
        }
    }
}

impl Gateway {
    /// Starts serving `snapshot`. Needs a tokio runtime; requests are served on threads of their own.
    ///
    /// # Errors
    /// When an address can't be listened on, the CA file can't be read, or no thread can be had.
    pub async fn start(settings: &Settings, snapshot: &Snapshot) -> Result<Self, StartError> {
        let settings = &settings.settled();
        let workers = settings.worker_count();
        let tls = tls_config(settings.ca_file.as_deref()).map_err(StartError::Tls)?;
        let (listener, listen) = bind(settings.listen, "--listen").await?;
        let (admin_listener, admin) = bind(settings.admin, "--admin").await?;
        let runtime = Runtime::build(snapshot, None, workers);
        let shared = Arc::new(Shared::new(settings, runtime));
        shared.show(snapshot);
        let connector = Connector::new(tls);
        let workers: Vec<Handle> = (0..workers)
            .map(|id| start_worker(id, &shared, &connector))
            .collect::<io::Result<_>>()
            .map_err(StartError::Worker)?;
        let queues = workers
            .iter()
            .map(|worker| (worker.commands.clone(), Arc::clone(&worker.open)))
            .collect();
        let permits = Arc::new(Semaphore::new(settings.max_connections));
        let (swap, replaced) = mpsc::unbounded_channel();
        Ok(Self {
            acceptor: tasks::spawn(accept(listener, queues, permits)),
            _admin: tasks::spawn(admin::serve(admin_listener, Arc::clone(&shared))),
            _free: tasks::spawn(free(replaced)),
            shared,
            listen,
            admin,
            workers,
            swap: Mutex::new(swap),
        })
    }

    /// Where callers connect: the real port when 0 was asked for.
    pub fn listen_address(&self) -> SocketAddr {
        self.listen
    }

    /// Where `/livez`, `/readyz`, `/metrics` and `/config` answer.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Puts a snapshot in force for every request that resolves from now on. One with the revision in
    /// force changes nothing.
    pub fn apply(&self, snapshot: &Snapshot) {
        let replaced = self.swap.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.shared.runtime.load_full();
        if current.revision == snapshot.revision() {
            return;
        }
        let workers = self.workers.len();
        let runtime = Runtime::build(snapshot, Some(&current), workers);
        tracing::info!(revision = %runtime.revision, "configuration applied");
        self.shared.show(snapshot);
        self.shared.runtime.store(Arc::new(runtime));
        // It fails when the tokio runtime is going away, and all with it.
        drop(replaced.send(current));
    }

    /// What each account in force has had to do.
    pub fn accounts(&self) -> Vec<AccountTraffic> {
        let runtime = self.shared.runtime.load_full();
        let now = Instant::now();
        let providers = runtime.providers.iter();
        providers
            .flat_map(|(name, provider)| {
                let accounts = provider.accounts.iter();
                accounts.map(move |account| traffic(name, account, now))
            })
            .collect()
    }

    /// Leaves without failing a request: not ready any more, then closed to new connections, then gone
    /// when the last answer is out or the drain limit has passed.
    pub async fn drain(self) {
        let settings = &self.shared.settings;
        self.shared.begin_drain();
        tracing::info!(
            seconds = settings.drain_delay_seconds,
            "draining: still accepting"
        );
        tokio::time::sleep(settings.drain_delay()).await;
        drop(self.acceptor);
        let (commands, ended): (Vec<_>, Vec<_>) = self
            .workers
            .into_iter()
            .map(|worker| (worker.commands, worker.ended))
            .unzip();
        for commands in &commands {
            // A worker that has gone already has nothing to drain.
            drop(commands.send(Command::Drain));
        }
        let all = futures::future::join_all(ended);
        if tokio::time::timeout(settings.drain_limit(), all)
            .await
            .is_err()
        {
            let seconds = settings.drain_limit_seconds;
            tracing::warn!(
                seconds,
                "the drain limit has passed: ending what still runs"
            );
        }
        // Held until here: a worker to whom nobody can talk any more ends at once.
        drop(commands);
        tracing::info!("drained");
    }
}

async fn bind(
    address: SocketAddr,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen {
        address,
        flag,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn start_worker(id: usize, shared: &Arc<Shared>, connector: &Connector) -> io::Result<Handle> {
    let (commands, received) = mpsc::unbounded_channel();
    let (end, ended) = oneshot::channel();
    let open = Arc::new(AtomicUsize::new(0));
    let handle = Handle {
        commands,
        open: Arc::clone(&open),
        ended,
    };
    let (shared, connector) = (Arc::clone(shared), connector.clone());
    let thread = tasks::start_worker(format!("worker-{id}"), move || async move {
        let worker = Worker::new(id, shared, connector);
        Server::new(worker, open).run(received).await;
        // Nobody may be waiting any more.
        let _ = end.send(());
    })?;
    // The thread ends when its commands do.
    drop(thread);
    Ok(handle)
}

type Queue = (mpsc::UnboundedSender<Command>, Arc<AtomicUsize>);

/// Hands each connection to the worker with the fewest: the kernel's own balancing by hash leaves some
/// with twice the mean.
async fn accept(listener: TcpListener, queues: Vec<Queue>, permits: Arc<Semaphore>) {
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let accepted = listener.accept().await;
        let stream = accepted.and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            stream.into_std()
        });
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection couldn't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let least = queues
            .iter()
            .min_by_key(|(_, open)| open.load(Ordering::Relaxed));
        if let Some((commands, open)) = least {
            open.fetch_add(1, Ordering::Relaxed);
            if commands.send(Command::Serve(stream, permit)).is_err() {
                tracing::error!("a worker has gone; its connection is lost");
            }
        }
    }
}

/// Holds each replaced Runtime until nobody looks at it any more. Whoever lets go of it last frees it, and ten
/// thousand keys take a while: that must not be a worker, in the middle of a request.
async fn free(mut replaced: mpsc::UnboundedReceiver<Arc<Runtime>>) {
    while let Some(runtime) = replaced.recv().await {
        while Arc::strong_count(&runtime) > 1 {
            tokio::time::sleep(FREE_EVERY).await;
        }
    }
}

fn traffic(provider: &ObjectName, account: &Account, now: Instant) -> AccountTraffic {
    let total: u64 = AttemptOutcome::ALL
        .iter()
        .map(|outcome| account.metrics.attempts(*outcome))
        .sum();
    let answered = account.metrics.attempts(AttemptOutcome::Answered);
    let cancelled = account.metrics.attempts(AttemptOutcome::Cancelled);
    AccountTraffic {
        provider: provider.clone(),
        account: account.name.clone(),
        attempts: total,
        failures: total.saturating_sub(answered + cancelled),
        state: state(account, now),
    }
}

/// An account's state, in the words that users know.
pub(crate) fn state(account: &Account, now: Instant) -> AccountState {
    match account.health.state(now) {
        Eligibility::Usable | Eligibility::RampingUp => AccountState::Usable,
        Eligibility::CoolingDown(until) => {
            AccountState::CoolingDown(until.saturating_duration_since(now))
        }
        Eligibility::Probe | Eligibility::Refused(..) => AccountState::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::example::{name, snapshot};

    async fn until(holds: impl Fn() -> bool) {
        let looking = async {
            let mut looks = tokio::time::interval(Duration::from_millis(5));
            while !holds() {
                looks.tick().await;
            }
        };
        let limit = Duration::from_secs(20);
        let looked = tokio::time::timeout(limit, looking).await;
        looked.expect("what should have happened didn't happen");
    }

    #[tokio::test]
    async fn what_was_replaced_is_freed_though_no_request_comes() {
        let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let settings = Settings {
            listen: anywhere,
            admin: anywhere,
            workers: std::num::NonZeroUsize::new(2),
            ..Settings::default()
        };
        let mut snapshot = snapshot();
        let gateway = Gateway::start(&settings, &snapshot).await.unwrap();
        let before = Arc::downgrade(&gateway.shared.runtime.load_full());
        // In force, and seen by both workers.
        until(|| before.strong_count() == 3).await;
        snapshot.virtual_keys.remove(&name("team"));
        gateway.apply(&snapshot);
        until(|| before.strong_count() == 0).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_runtime_in_use_is_held_so_that_its_user_does_not_free_it() {
        let runtime = Arc::new(crate::runtime::example::built(&snapshot()));
        let weak = Arc::downgrade(&runtime);
        let (sender, receiver) = mpsc::unbounded_channel();
        let _free = tasks::spawn(free(receiver));
        sender.send(Arc::clone(&runtime)).unwrap();
        tokio::time::sleep(5 * FREE_EVERY).await;
        assert_eq!(weak.strong_count(), 2);
        drop(runtime);
        // Whoever used it has let go, and didn't have to free it.
        assert_eq!(weak.strong_count(), 1);
        tokio::time::sleep(2 * FREE_EVERY).await;
        assert_eq!(weak.strong_count(), 0);
    }
}
