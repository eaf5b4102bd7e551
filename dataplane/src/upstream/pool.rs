//! A worker's idle connections. Must never be shared between workers: nothing here is locked.
//!
//! The one used last is used next, so that the others age and close. Nobody polls an idle connection,
//! so the pool is swept once a second; a server that closes one in between costs the race that
//! [`Link::send`](super::Link::send) reports as stale.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Link;

/// More idle connections than this to one endpoint are closed at once.
const MAX_IDLE: usize = 256;

/// Idle connections by endpoint.
#[derive(Default)]
pub(crate) struct Pool {
    idle: RefCell<HashMap<u64, Vec<Idle>>>,
}

struct Idle {
    link: Link,
    until: Instant,
}

impl Pool {
    /// An open connection to the endpoint, if one is idle.
    pub(crate) fn take(&self, endpoint: u64) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        let links = idle.get_mut(&endpoint)?;
        std::iter::from_fn(|| links.pop())
            .map(|idle| idle.link)
            .find_map(|mut link| link.is_open().then_some(link))
    }

    /// Keeps a connection for the next request, at most for `limit`.
    pub(crate) fn put(&self, endpoint: u64, link: Link, now: Instant, limit: Duration) {
        let mut idle = self.idle.borrow_mut();
        let links = idle.entry(endpoint).or_default();
        if links.len() < MAX_IDLE {
            links.push(Idle {
                link,
                until: now + limit,
            });
        }
    }

    /// Closes what has been idle too long or was closed by its server.
    pub(crate) fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|_, links| {
            links.retain_mut(|idle| idle.until > now && idle.link.is_open());
            !links.is_empty()
        });
    }
}
