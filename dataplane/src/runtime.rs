//! A snapshot made ready to serve: everything a request needs is resolved, prebuilt and shared.
//!
//! Immutable, swapped as a whole. A request resolves against it once and then carries only its
//! `Arc<Key>` and `Arc<Route>`, so that a long stream pins no old configuration. What must survive a
//! swap (health, sequences, budgets, counters) hangs in `Arc`s that [`Runtime::build`] hands over by
//! name. Must never be changed in place.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;
use weighbridge_snapshot::{
    FailoverReason, ModelPattern, Names, ObjectName, Operation, ProviderTimeouts, Retry, Revision,
    TokenDigest,
};

use crate::choice::Choice;
use crate::health::Health;
use crate::metrics::{AccountMetrics, ProviderMetrics, RouteMetrics};
use crate::retry::RepeatBudget;

mod build;
#[cfg(test)]
pub(crate) mod example;
mod exclusive;

/// What is in force.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) revision: Revision,
    keys: HashMap<TokenDigest, Arc<Key>, BuildHasherDefault<DigestHasher>>,
    /// The same keys by what they reach.
    peers: Vec<exclusive::Peers>,
    pub(crate) routes: BTreeMap<ObjectName, Arc<Route>>,
    pub(crate) providers: BTreeMap<ObjectName, Arc<Provider>>,
}

/// A virtual key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: ObjectName,
    pub(crate) suspended: bool,
    /// Seconds since the Unix epoch.
    pub(crate) expires_at: Option<i64>,
    /// The models it may ask for; shared by all keys with the same Routes.
    pub(crate) models: Arc<Names<Arc<Route>>>,
    /// By [`Provider::index`]: the accounts it may use.
    grants: Arc<[u64]>,
}

/// A Route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: ObjectName,
    /// The name as `x-weighbridge-route` shows it.
    pub(crate) header: HeaderValue,
    pub(crate) targets: Vec<Target>,
    pub(crate) failover: Reasons,
    pub(crate) max_attempts: u32,
    pub(crate) window: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) metrics: Arc<RouteMetrics>,
}

/// Backends that share traffic by weight.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) backends: Vec<Backend>,
    pub(crate) choice: Arc<Choice>,
}

/// A model at a Provider.
#[derive(Debug)]
pub(crate) struct Backend {
    /// Whether it has any share at all.
    pub(crate) is_weighted: bool,
    /// `None`: unresolvable.
    pub(crate) provider: Option<Arc<Provider>>,
    pub(crate) model: UpstreamModel,
    /// The Provider's accounts that this backend may use, for any call.
    pub(crate) accounts: u64,
}

/// The name sent upstream.
#[derive(Debug)]
pub(crate) enum UpstreamModel {
    /// As the caller wrote it.
    Caller,
    /// What the Route pattern's `*` stood for.
    Wildcard,
    /// Always this one.
    Named {
        name: String,
        /// As a JSON string.
        json: Bytes,
        operations: Operations,
    },
}

/// A Provider.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: ObjectName,
    /// Its place among this Runtime's Providers.
    index: usize,
    /// The name as `x-weighbridge-provider` shows it.
    pub(crate) header: HeaderValue,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) accounts: Vec<Account>,
    pub(crate) choice: Arc<Choice>,
    pub(crate) retry: Retry,
    pub(crate) budget: Arc<RepeatBudget>,
    pub(crate) timeouts: ProviderTimeouts,
    /// Declared models and what they can do.
    pub(crate) catalogue: BTreeMap<String, Operations>,
    pub(crate) metrics: Arc<ProviderMetrics>,
}

/// Where a Provider is.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Unique in this process: connections are pooled by it.
    pub(crate) id: u64,
    pub(crate) source: weighbridge_snapshot::Endpoint,
    /// What to connect to.
    pub(crate) uri: Uri,
    /// The `host` header.
    pub(crate) host: HeaderValue,
    /// The name to verify; `None` for plain TCP.
    pub(crate) tls_name: Option<ServerName<'static>>,
    paths: [PathAndQuery; Operation::ALL.len()],
}

/// An account at a Provider.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    /// The name as `x-weighbridge-account` shows it.
    pub(crate) header: HeaderValue,
    /// `authorization`, marked sensitive; `None`: calls go out without.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) models: Vec<ModelPattern>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<AccountMetrics>,
    /// Who may use it, found out when first asked.
    users: OnceLock<exclusive::Users>,
}

/// A set of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operations(u8);

/// A set of failover reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reasons(u8);

impl Operations {
    /// All of the dialect.
    pub(crate) const ALL: Self = Self(u8::MAX);

    pub(crate) fn of<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> Self {
        Self(
            operations
                .into_iter()
                .fold(0, |set, operation| set | 1 << *operation as u8),
        )
    }

    pub(crate) fn contains(self, operation: Operation) -> bool {
        self.0 & 1 << operation as u8 != 0
    }
}

impl Reasons {
    pub(crate) fn of<'a>(reasons: impl IntoIterator<Item = &'a FailoverReason>) -> Self {
        Self(
            reasons
                .into_iter()
                .fold(0, |set, reason| set | 1 << *reason as u8),
        )
    }

    pub(crate) fn contains(self, reason: FailoverReason) -> bool {
        self.0 & 1 << reason as u8 != 0
    }
}

impl Runtime {
    /// The virtual key with this token.
    pub(crate) fn key(&self, digest: &TokenDigest) -> Option<&Arc<Key>> {
        self.keys.get(digest)
    }
}

impl Key {
    /// The accounts of a Provider that this key may use.
    pub(crate) fn grant(&self, provider: &Provider) -> u64 {
        self.grants.get(provider.index).copied().unwrap_or(0)
    }
}

impl Provider {
    /// Whether nothing there could ever be asked.
    pub(crate) fn is_unresolvable(&self) -> bool {
        self.accounts.is_empty()
    }

    /// What a model can do there: all, unless the catalogue says less.
    pub(crate) fn operations(&self, model: &str) -> Operations {
        self.catalogue
            .get(model)
            .copied()
            .unwrap_or(Operations::ALL)
    }

    /// The accounts that serve a model, by their own lists.
    pub(crate) fn serving(&self, model: &str) -> u64 {
        self.accounts
            .iter()
            .enumerate()
            .filter(|(_, account)| account.serves(model))
            .fold(0, |mask, (index, _)| mask | 1 << index)
    }
}

impl Account {
    fn serves(&self, model: &str) -> bool {
        self.models.is_empty()
            || self
                .models
                .iter()
                .any(|pattern| pattern.matches(model).is_some())
    }
}

impl Endpoint {
    /// The path of an operation.
    pub(crate) fn path(&self, operation: Operation) -> &PathAndQuery {
        let [chat, completions, responses, embeddings] = &self.paths;
        match operation {
            Operation::ChatCompletions => chat,
            Operation::Completions => completions,
            Operation::Responses => responses,
            Operation::Embeddings => embeddings,
        }
    }
}

/// Takes eight bytes of a digest as its hash: SHA-256 is uniform already.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(head) = bytes.first_chunk::<8>() {
            self.0 = u64::from_ne_bytes(*head);
        }
    }

    fn write_usize(&mut self, _: usize) {
        // The length prefix of an array says nothing.
    }
}
