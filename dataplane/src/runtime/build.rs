//! Building a Runtime from a Snapshot, and handing over what must survive the swap. Must never fail: a
//! part that can't be used is left out, and its users treat it as unresolvable.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;
use weighbridge_snapshot::{
    self as snapshot, BackendModel, Credential, CredentialName, Names, ObjectName, Operation,
    Scheme, Snapshot, routes_of,
};

use super::exclusive::Peers;
use super::{
    Account, Backend, Endpoint, Key, Operations, Provider, Reasons, Route, Runtime, Target,
    UpstreamModel,
};
use crate::choice::Choice;
use crate::probe::json_string;
use crate::retry::RepeatBudget;

/// More members than this can't be drawn from; the schema has the same bound.
const MAX_MEMBERS: usize = 64;

impl Runtime {
    /// Makes a snapshot ready; `previous` gives what survives, `workers` counts the metric cells.
    pub(crate) fn build(snapshot: &Snapshot, previous: Option<&Self>, workers: usize) -> Self {
        let providers = providers(snapshot, previous, workers);
        let routes = routes(snapshot, &providers, previous, workers);
        let keys = keys(snapshot, &routes, &providers);
        Self {
            revision: snapshot.revision(),
            peers: Peers::among(keys.values()),
            keys,
            routes,
            providers,
        }
    }
}

fn providers(
    snapshot: &Snapshot,
    previous: Option<&Runtime>,
    workers: usize,
) -> BTreeMap<ObjectName, Arc<Provider>> {
    let built = snapshot.providers.iter().enumerate();
    built
        .filter_map(|(index, (name, source))| {
            let before = previous.and_then(|runtime| runtime.providers.get(name));
            let builder = ProviderBuilder {
                name,
                index,
                before: before.map(AsRef::as_ref),
                credentials: &snapshot.credentials,
                workers,
            };
            Some((name.clone(), Arc::new(builder.build(source)?)))
        })
        .collect()
}

struct ProviderBuilder<'a> {
    name: &'a ObjectName,
    index: usize,
    before: Option<&'a Provider>,
    credentials: &'a BTreeMap<CredentialName, Credential>,
    workers: usize,
}

impl ProviderBuilder<'_> {
    fn build(&self, source: &snapshot::Provider) -> Option<Provider> {
        let accounts: Vec<Account> = source
            .accounts
            .iter()
            .take(MAX_MEMBERS)
            .filter_map(|account| self.account(account))
            .collect();
        let members = source
            .accounts
            .iter()
            .filter(|one| accounts.iter().any(|account| account.name == one.name))
            .map(|account| (account.name.clone(), account.weight))
            .collect();
        let before = self.before;
        Some(Provider {
            name: self.name.clone(),
            index: self.index,
            header: HeaderValue::try_from(self.name.to_string()).ok()?,
            endpoint: match before.filter(|one| one.endpoint.source == source.endpoint) {
                Some(before) => Arc::clone(&before.endpoint),
                None => Arc::new(endpoint(&source.endpoint)?),
            },
            accounts,
            choice: kept_choice(before.map(|before| &before.choice), members),
            retry: source.retry,
            budget: match before.filter(|one| one.budget.settings() == source.retry.budget) {
                Some(before) => Arc::clone(&before.budget),
                None => Arc::new(RepeatBudget::new(source.retry.budget)),
            },
            timeouts: source.timeouts,
            catalogue: catalogue(&source.models),
            metrics: match before {
                Some(before) => Arc::clone(&before.metrics),
                None => Arc::new(crate::metrics::ProviderMetrics::new(self.workers)),
            },
        })
    }

    /// `None`: its credential is missing or can't be sent.
    fn account(&self, source: &snapshot::Account) -> Option<Account> {
        let authorization = if source.has_credential {
            Some(self.authorization(&source.name)?)
        } else {
            None
        };
        let before = self
            .before
            .and_then(|provider| provider.accounts.iter().find(|one| one.name == source.name));
        Some(Account {
            header: HeaderValue::try_from(&source.name).ok()?,
            health: match before.filter(|one| one.authorization == authorization) {
                Some(before) => Arc::clone(&before.health),
                None => Arc::default(),
            },
            metrics: match before {
                Some(before) => Arc::clone(&before.metrics),
                None => Arc::new(crate::metrics::AccountMetrics::new(self.workers)),
            },
            name: source.name.clone(),
            authorization,
            models: source.models.clone(),
            users: std::sync::OnceLock::new(),
        })
    }

    /// The one place in the data plane where a credential is exposed.
    fn authorization(&self, account: &str) -> Option<HeaderValue> {
        let Credential::ApiKey(key) = self.credentials.get(&CredentialName {
            provider: self.name.clone(),
            account: account.to_owned(),
        })?;
        let mut value = HeaderValue::try_from(["Bearer ", key.expose()].concat()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

fn catalogue(models: &[snapshot::CatalogueModel]) -> BTreeMap<String, Operations> {
    models
        .iter()
        .map(|model| {
            let operations = model.operations.as_ref();
            let operations = operations.map_or(Operations::ALL, Operations::of);
            (model.name.clone(), operations)
        })
        .collect()
}

fn kept_choice(before: Option<&Arc<Choice>>, members: Vec<(String, u32)>) -> Arc<Choice> {
    match before.filter(|choice| choice.is_of(&members)) {
        Some(choice) => Arc::clone(choice),
        None => Arc::new(Choice::new(members)),
    }
}

fn endpoint(source: &snapshot::Endpoint) -> Option<Endpoint> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (scheme, default_port) = match source.scheme {
        Scheme::Http => ("http", 80),
        Scheme::Https => ("https", 443),
    };
    let authority = format!("{}:{}", source.host, source.port);
    let host = if source.port == default_port {
        &source.host
    } else {
        &authority
    };
    let path = |operation: &str| format!("{}{operation}", source.path).parse().ok();
    let unbracketed = source.host.trim_start_matches('[').trim_end_matches(']');
    Some(Endpoint {
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        uri: format!("{scheme}://{authority}/").parse::<Uri>().ok()?,
        host: HeaderValue::try_from(host).ok()?,
        tls_name: match source.scheme {
            Scheme::Http => None,
            Scheme::Https => Some(ServerName::try_from(unbracketed.to_owned()).ok()?),
        },
        paths: [
            path("/chat/completions")?,
            path("/completions")?,
            path("/responses")?,
            path("/embeddings")?,
        ],
        source: source.clone(),
    })
}

fn routes(
    snapshot: &Snapshot,
    providers: &BTreeMap<ObjectName, Arc<Provider>>,
    previous: Option<&Runtime>,
    workers: usize,
) -> BTreeMap<ObjectName, Arc<Route>> {
    let built = snapshot.routes.iter().filter_map(|(name, source)| {
        let before = previous.and_then(|runtime| runtime.routes.get(name));
        let target = |target| build_target(target, before.map(AsRef::as_ref), providers);
        let route = Route {
            name: name.clone(),
            header: HeaderValue::try_from(name.to_string()).ok()?,
            targets: source.targets.iter().map(target).collect(),
            failover: Reasons::of(&source.failover.on),
            max_attempts: source.failover.max_attempts,
            window: source.failover.window,
            request_timeout: source.request_timeout,
            metrics: match before {
                Some(before) => Arc::clone(&before.metrics),
                None => Arc::new(crate::metrics::RouteMetrics::new(workers)),
            },
        };
        Some((name.clone(), Arc::new(route)))
    });
    built.collect()
}

fn build_target(
    source: &snapshot::Target,
    before: Option<&Route>,
    providers: &BTreeMap<ObjectName, Arc<Provider>>,
) -> Target {
    let before = before.and_then(|route| route.targets.iter().find(|one| one.name == source.name));
    let backends = || source.backends.iter().take(MAX_MEMBERS);
    let members = backends()
        .map(|backend| (backend.name.clone(), backend.weight))
        .collect();
    Target {
        name: source.name.clone(),
        backends: backends()
            .map(|backend| build_backend(backend, providers))
            .collect(),
        choice: kept_choice(before.map(|before| &before.choice), members),
    }
}

fn build_backend(
    source: &snapshot::Backend,
    providers: &BTreeMap<ObjectName, Arc<Provider>>,
) -> Backend {
    let provider = source
        .provider
        .as_ref()
        .and_then(|name| providers.get(name));
    let model = match &source.model {
        BackendModel::Caller => UpstreamModel::Caller,
        BackendModel::Wildcard => UpstreamModel::Wildcard,
        BackendModel::Named(name) => UpstreamModel::Named {
            json: json_string(name).into(),
            operations: provider.map_or(Operations::ALL, |provider| provider.operations(name)),
            name: name.clone(),
        },
    };
    Backend {
        is_weighted: source.weight > 0,
        accounts: provider.map_or(0, |provider| usable_accounts(source, provider, &model)),
        provider: provider.map(Arc::clone),
        model,
    }
}

/// The accounts that this backend may use: named by it, with a weight, and serving its model as far as
/// that is known.
fn usable_accounts(source: &snapshot::Backend, provider: &Provider, model: &UpstreamModel) -> u64 {
    let named = provider
        .accounts
        .iter()
        .enumerate()
        .filter(|(index, account)| {
            let listed = source.accounts.as_ref();
            listed.is_none_or(|names| names.contains(&account.name))
                && provider.choice.weight(*index) > 0
        });
    let named = named.fold(0, |mask, (index, _)| mask | 1 << index);
    match model {
        UpstreamModel::Named { name, .. } => named & provider.serving(name),
        UpstreamModel::Caller | UpstreamModel::Wildcard => named,
    }
}

type Keys = HashMap<
    weighbridge_snapshot::TokenDigest,
    Arc<Key>,
    std::hash::BuildHasherDefault<super::DigestHasher>,
>;

fn keys(
    snapshot: &Snapshot,
    routes: &BTreeMap<ObjectName, Arc<Route>>,
    providers: &BTreeMap<ObjectName, Arc<Provider>>,
) -> Keys {
    let mut shared = Shared {
        snapshot,
        routes,
        providers,
        models: HashMap::new(),
        grants: HashMap::new(),
    };
    let mut keys = Keys::default();
    for (name, source) in &snapshot.virtual_keys {
        let key = Arc::new(Key {
            name: name.clone(),
            suspended: source.suspended,
            expires_at: source.expires_at,
            models: shared.models(name, source),
            grants: shared.grants(name, source),
        });
        for digest in &source.tokens {
            keys.entry(*digest).or_insert_with(|| Arc::clone(&key));
        }
    }
    keys
}

/// What many keys have in common, built once: ten thousand keys of one team cost one table.
struct Shared<'a> {
    snapshot: &'a Snapshot,
    routes: &'a BTreeMap<ObjectName, Arc<Route>>,
    providers: &'a BTreeMap<ObjectName, Arc<Provider>>,
    models: HashMap<Vec<&'a ObjectName>, Arc<Names<Arc<Route>>>>,
    grants: HashMap<(&'a str, &'a [snapshot::AccountNarrowing]), Arc<[u64]>>,
}

impl<'a> Shared<'a> {
    fn models(
        &mut self,
        name: &ObjectName,
        source: &snapshot::VirtualKey,
    ) -> Arc<Names<Arc<Route>>> {
        let found = routes_of(name, source, &self.snapshot.routes);
        let names: Vec<&ObjectName> = found.iter().map(|(name, _)| *name).collect();
        let table = self.models.entry(names).or_insert_with(|| {
            let built = found.iter().filter_map(|(name, source)| {
                Some((Arc::clone(self.routes.get(*name)?), &*source.models))
            });
            Arc::new(Names::new(built))
        });
        Arc::clone(table)
    }

    fn grants(&mut self, name: &'a ObjectName, source: &'a snapshot::VirtualKey) -> Arc<[u64]> {
        let place = (name.namespace.as_str(), source.accounts.as_slice());
        let grants = self.grants.entry(place).or_insert_with(|| {
            let mut masks = vec![0; self.snapshot.providers.len()];
            for (mask, (provider, source)) in masks.iter_mut().zip(&self.snapshot.providers) {
                if let Some(built) = self.providers.get(provider) {
                    *mask = granted(place, provider, (source, built));
                }
            }
            masks.into()
        });
        Arc::clone(grants)
    }
}

/// The accounts of one Provider that admit the namespace and that the key keeps to.
fn granted(
    (namespace, narrowing): (&str, &[snapshot::AccountNarrowing]),
    provider: &ObjectName,
    (source, built): (&snapshot::Provider, &Provider),
) -> u64 {
    let kept = narrowing.iter().find(|one| one.provider == *provider);
    let admits = |name: &str| {
        source
            .accounts
            .iter()
            .find(|account| account.name == name)
            .is_some_and(|account| account.admits.contains(namespace))
            && kept.is_none_or(|kept| kept.names.contains(name))
    };
    let admitted = built.accounts.iter().enumerate();
    admitted
        .filter(|(_, account)| admits(&account.name))
        .fold(0, |mask, (index, _)| mask | 1 << index)
}

/// The operations in the order of [`Endpoint`]'s paths; a new one doesn't compile until it has a path.
const _: [(); Operation::ALL.len()] = [(); 4];

#[cfg(test)]
mod tests;
