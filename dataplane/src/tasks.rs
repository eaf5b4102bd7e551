//! The one place where the data plane starts tasks and threads, so that each has an owner: a detached
//! task hides its panic and outlives what it works on. Must never know what a task does.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;

/// Starts a task on this worker's runtime. It owns what it works on and ends with the runtime.
pub(crate) fn spawn_local(task: impl Future<Output = ()> + 'static) {
    drop(tokio::task::spawn_local(task));
}

/// Starts a task of the gateway's own runtime (acceptor, admin); aborted when the handle drops.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Owned {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the place the ban points to"
    )]
    let handle = tokio::spawn(task);
    Owned(handle)
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(crate) struct Owned(tokio::task::JoinHandle<()>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts a worker: a thread with a current-thread runtime of its own, on which `task` runs to its end.
///
/// # Errors
/// When the system gives no thread or no event queue.
pub(crate) fn start_worker<F>(
    name: String,
    task: impl FnOnce() -> F + Send + 'static,
) -> io::Result<JoinHandle<()>>
where
    F: Future<Output = ()> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread();
    std::thread::Builder::new().name(name).spawn(move || {
        let mut runtime = runtime;
        match runtime
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
        {
            Ok(runtime) => runtime.block_on(task()),
            Err(error) => tracing::error!(%error, "a worker could not start"),
        }
    })
}
