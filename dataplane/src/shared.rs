//! What all workers of a data plane share: the Runtime in force, the budget of held bytes, the drain,
//! and the cells that are summed for metrics. Must never be locked by a request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use weighbridge_snapshot::Snapshot;

use crate::cells::PerWorker;
use crate::metrics::WorkerCells;
use crate::runtime::Runtime;
use crate::settings::Settings;

/// Shared by the workers, the acceptor and the admin port.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) runtime: ArcSwap<Runtime>,
    pub(crate) settings: Settings,
    pub(crate) buffered: Arc<Buffered>,
    pub(crate) workers: PerWorker<WorkerCells>,
    is_draining: AtomicBool,
    /// The snapshot in force without its credentials, for `/config`.
    shown: Mutex<Arc<Snapshot>>,
}

impl Shared {
    pub(crate) fn new(settings: &Settings, runtime: Runtime) -> Self {
        Self {
            runtime: ArcSwap::from_pointee(runtime),
            buffered: Arc::new(Buffered {
                held: AtomicUsize::new(0),
                limit: settings.max_buffered_bytes,
            }),
            workers: PerWorker::new(settings.worker_count()),
            settings: settings.clone(),
            is_draining: AtomicBool::new(false),
            shown: Mutex::default(),
        }
    }

    /// Remembers what to show as the configuration in force.
    pub(crate) fn show(&self, snapshot: &Snapshot) {
        let shown = Snapshot {
            providers: snapshot.providers.clone(),
            routes: snapshot.routes.clone(),
            virtual_keys: snapshot.virtual_keys.clone(),
            credentials: BTreeMap::new(),
        };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(shown);
    }

    /// The configuration in force, without credentials.
    pub(crate) fn shown(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this data plane is going away.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }
}

/// A budget of bytes held for all calls together.
#[derive(Debug)]
pub(crate) struct Buffered {
    held: AtomicUsize,
    limit: usize,
}

/// Bytes taken from the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Buffered>,
    bytes: usize,
}

impl Buffered {
    /// Bytes held now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Takes nothing yet.
    pub(crate) fn hold_nothing(self: &Arc<Self>) -> Held {
        Held {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }
}

impl Held {
    /// Takes `bytes` more; false, and nothing taken, when the budget doesn't have them.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let before = self.budget.held.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.budget.limit {
            self.budget.held.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beyond_the_budget_are_refused_and_come_back_when_dropped() {
        let budget = Arc::new(Buffered {
            held: AtomicUsize::new(0),
            limit: 10,
        });
        let (mut one, mut other) = (budget.hold_nothing(), budget.hold_nothing());
        assert!(one.grow(6));
        assert!(!other.grow(5));
        assert!(other.grow(4));
        drop(one);
        assert_eq!(budget.held(), 4);
    }
}
