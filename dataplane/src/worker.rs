//! What one worker thread owns: its pool, its view of the Runtime, its cells. Must never be seen by
//! another thread.

use std::cell::RefCell;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use crate::metrics::WorkerCells;
use crate::runtime::Runtime;
use crate::shared::Shared;
use crate::upstream::{Connector, Pool};

/// One worker.
pub(crate) struct Worker {
    /// Its number, from 0; names its metric cells.
    pub(crate) id: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Pool,
    pub(crate) connector: Connector,
    runtime: RefCell<Cache<RuntimeOf, Arc<Runtime>>>,
}

/// Where the cache finds the current Runtime.
struct RuntimeOf(Arc<Shared>);

impl std::ops::Deref for RuntimeOf {
    type Target = ArcSwap<Runtime>;

    fn deref(&self) -> &Self::Target {
        &self.0.runtime
    }
}

impl Worker {
    pub(crate) fn new(id: usize, shared: Arc<Shared>, connector: Connector) -> Self {
        Self {
            id,
            pool: Pool::default(),
            connector,
            runtime: RefCell::new(Cache::new(RuntimeOf(Arc::clone(&shared)))),
            shared,
        }
    }

    /// Looks something up in the Runtime in force. What leaves must be an `Arc` of a part: a request that
    /// kept the whole would pin it.
    pub(crate) fn with_runtime<R>(&self, look_up: impl FnOnce(&Runtime) -> R) -> R {
        look_up(self.runtime.borrow_mut().load())
    }

    /// Lets go of a Runtime that has been replaced, when no request has come since to do so.
    pub(crate) fn refresh(&self) {
        self.with_runtime(|_| ());
    }

    /// This worker's cells.
    pub(crate) fn cells(&self) -> &WorkerCells {
        self.shared.workers.of(self.id)
    }
}
