//! Snapshots for tests, small and whole. Must never be compiled into the data plane.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use weighbridge_snapshot::{
    Account, Backend, BackendModel, Backoff, CatalogueModel, Credential, CredentialName, Dialect,
    Endpoint, Failover, FailoverReason, ModelPattern, Namespaces, ObjectName, Operation, Provider,
    ProviderTimeouts, Redacted, Retry, RetryBudget, Route, RouteRef, Scheme, Snapshot, Target,
    TokenDigest, VirtualKey,
};

use super::{Key, Runtime};

/// A name in the namespace `n`.
pub(crate) fn name(name: &str) -> ObjectName {
    ObjectName::new("n", name)
}

pub(crate) fn account(name: &str, weight: u32) -> Account {
    Account {
        name: name.to_owned(),
        has_credential: true,
        weight,
        models: Vec::new(),
        admits: Namespaces::All,
    }
}

/// A Provider with these accounts and weights.
pub(crate) fn provider(accounts: &[(&str, u32)]) -> Provider {
    Provider {
        dialect: Dialect::OpenAI,
        endpoint: Endpoint {
            scheme: Scheme::Http,
            host: "localhost".to_owned(),
            port: 1234,
            path: "/v1".to_owned(),
        },
        accounts: accounts
            .iter()
            .map(|(name, weight)| account(name, *weight))
            .collect(),
        retry: Retry {
            max_retries: 1,
            backoff: Backoff {
                initial: Duration::from_millis(100),
                max: Duration::from_secs(5),
            },
            budget: RetryBudget {
                percent: 20,
                interval: Duration::from_secs(10),
            },
        },
        timeouts: ProviderTimeouts {
            connect: Duration::from_secs(2),
            first_event: Duration::from_mins(1),
            idle: Duration::from_mins(1),
            request: Duration::from_mins(10),
        },
        models: Vec::new(),
    }
}

/// A backend of weight 1 at a Provider of namespace `n`; `*` and the empty model are what they are in a
/// Route.
pub(crate) fn backend(provider: &str, model: &str) -> Backend {
    Backend {
        name: format!("{provider}-{}", model.replace('*', "star")),
        provider: Some(name(provider)),
        model: match model {
            "" => BackendModel::Caller,
            "*" => BackendModel::Wildcard,
            named => BackendModel::Named(named.to_owned()),
        },
        weight: 1,
        accounts: None,
    }
}

/// A Route for one name or pattern, with one target per list.
pub(crate) fn route(model: &str, targets: &[&[Backend]]) -> Route {
    Route {
        models: vec![ModelPattern::from(model.to_owned())],
        admits: Namespaces::All,
        targets: targets
            .iter()
            .enumerate()
            .map(|(place, backends)| Target {
                name: format!("t{place}"),
                backends: backends.to_vec(),
            })
            .collect(),
        failover: Failover {
            on: BTreeSet::from([FailoverReason::Connect, FailoverReason::ServerError]),
            max_attempts: 6,
            window: Duration::from_mins(2),
        },
        request_timeout: Duration::from_mins(10),
    }
}

/// A key for every Route of namespace `n`.
pub(crate) fn key(token: &str) -> VirtualKey {
    VirtualKey {
        tokens: vec![TokenDigest::of(token.as_bytes())],
        routes: vec![RouteRef {
            namespace: "n".to_owned(),
            name: None,
        }],
        accounts: Vec::new(),
        suspended: false,
        expires_at: None,
    }
}

/// A catalogue's entry; no operations: all.
pub(crate) fn model(name: &str, operations: &[Operation]) -> CatalogueModel {
    CatalogueModel {
        name: name.to_owned(),
        operations: (!operations.is_empty()).then(|| operations.iter().copied().collect()),
    }
}

/// Provider `one` with accounts `large` (70) and `small` (30), Route `chat` to its model `gpt`, and key
/// `team` with the token `token`.
pub(crate) fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::default();
    add_provider(
        &mut snapshot,
        "one",
        provider(&[("large", 70), ("small", 30)]),
    );
    let chat = route("chat", &[&[backend("one", "gpt")]]);
    snapshot.routes.insert(name("chat"), chat);
    snapshot.virtual_keys.insert(name("team"), key("token"));
    snapshot
}

/// Puts a Provider in, with a credential for each of its accounts.
pub(crate) fn add_provider(snapshot: &mut Snapshot, called: &str, provider: Provider) {
    for account in &provider.accounts {
        set_credential(
            snapshot,
            (called, &account.name),
            &format!("sk-{}", account.name),
        );
    }
    snapshot.providers.insert(name(called), provider);
}

/// Sets an account's credential.
pub(crate) fn set_credential(
    snapshot: &mut Snapshot,
    (provider, account): (&str, &str),
    key: &str,
) {
    let place = CredentialName {
        provider: name(provider),
        account: account.to_owned(),
    };
    let credential = Credential::ApiKey(Redacted::new(key.to_owned()));
    snapshot.credentials.insert(place, credential);
}

/// A Runtime of one worker without a past.
pub(crate) fn built(snapshot: &Snapshot) -> Runtime {
    Runtime::build(snapshot, None, 1)
}

impl Runtime {
    /// The key with this token.
    pub(crate) fn key_of(&self, token: &str) -> &Arc<Key> {
        self.key(&TokenDigest::of(token.as_bytes())).unwrap()
    }
}
