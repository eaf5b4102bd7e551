//! Routes: their spec read, their Providers found.
//!
//! Must never shift a share: a backend whose Provider is missing stays in its target, unresolved.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weighbridge_crds::{
    Backend, Duration as Written, Failover, Grant, ProviderRef, RouteSpec, Target, bounds,
    check_object_name, check_part_name, check_upstream_model,
};
use weighbridge_snapshot::{
    self as snapshot, BackendModel, FailoverReason, Namespaces, ObjectName, ProviderTimeouts,
};

use crate::grants::{self, NamespaceLabels};
use crate::judge::Spec;
use crate::provider::{self, read_patterns, read_weight};
use crate::refusal::{At, Refusal, list, whole};
use crate::{Kind, Urgent};

/// A Route, read: valid, its Providers not yet looked for.
pub(crate) struct Draft {
    /// Every backend with the Provider it asks for; admits nobody until the grant is resolved.
    route: snapshot::Route,
    allowed_virtual_keys: Grant,
}

/// A Route, resolved.
pub(crate) struct Resolved {
    /// As a data plane sees it.
    pub(crate) route: snapshot::Route,
    /// The Providers it points to and may use, also those without a usable account.
    pub(crate) providers: BTreeSet<ObjectName>,
    /// What is missing, as sentences.
    pub(crate) missing: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl Spec for RouteSpec {
    const KIND: Kind = Kind::Route;
    type Draft = Draft;

    fn read(&self, own: &str) -> Result<Draft, Refusal> {
        let name_of = |target: &Target| target.name.clone();
        let read_one = |target: &Target| read_target(target, own);
        grants::check(&self.allowed_virtual_keys).at("allowedVirtualKeys")?;
        Ok(Draft {
            route: snapshot::Route {
                models: read_patterns(&self.models)?,
                admits: Namespaces::Only(BTreeSet::new()),
                targets: list(
                    "targets",
                    &self.targets,
                    1..=bounds::TARGETS,
                    name_of,
                    read_one,
                )?,
                failover: read_failover(&self.failover).at("failover")?,
                request_timeout: self.timeouts.request.parse().at("timeouts.request")?,
            },
            allowed_virtual_keys: self.allowed_virtual_keys.clone(),
        })
    }

    fn urgent(&self) -> Urgent {
        self.into()
    }

    fn follow(&mut self, newer: Urgent) {
        grants::follow(&mut self.allowed_virtual_keys, newer.allowed_virtual_keys);
    }
}

impl Draft {
    /// Looks for the Providers, and resolves the grant.
    pub(crate) fn resolve(
        self,
        name: &ObjectName,
        providers: &BTreeMap<ObjectName, provider::Resolved>,
        labels: &NamespaceLabels<'_>,
    ) -> Resolved {
        let own = name.namespace.as_str();
        let (mut route, mut used, mut missing) = (self.route, BTreeSet::new(), Vec::new());
        route.admits = labels.granted(&self.allowed_virtual_keys, own);
        for (target_index, target) in route.targets.iter_mut().enumerate() {
            for (index, backend) in target.backends.iter_mut().enumerate() {
                let place = format!("spec.targets[{target_index}].backends[{index}]");
                let causes = resolve_backend(backend, own, providers, &mut used);
                missing.extend(causes.into_iter().map(|cause| format!("{place}.{cause}")));
            }
        }
        let used_providers = used
            .iter()
            .filter_map(|name| Some((name, providers.get(name)?)));
        let slow = used_providers.flat_map(|(name, found)| {
            too_slow(name, &found.provider.timeouts, route.failover.window)
        });
        Resolved {
            warnings: drained(&route.targets).chain(slow).collect(),
            route,
            providers: used,
            missing,
        }
    }
}

/// Finds a backend's Provider, or leaves it unresolved; returns what is missing.
fn resolve_backend(
    backend: &mut snapshot::Backend,
    own: &str,
    providers: &BTreeMap<ObjectName, provider::Resolved>,
    used: &mut BTreeSet<ObjectName>,
) -> Vec<String> {
    let Some(asked) = backend.provider.take() else {
        return Vec::new();
    };
    let granted = providers
        .get(&asked)
        .filter(|found| found.admits.contains(own));
    let Some(provider) = granted else {
        return vec![format!(
            "providerRef: Provider {asked} isn't there, or its allowedRoutes doesn't admit this namespace"
        )];
    };
    let usable = provider.provider.accounts.iter().any(|account| {
        let names = backend.accounts.as_ref();
        names.is_none_or(|names| names.contains(&account.name))
    });
    let unknown = backend.accounts.iter().flatten();
    let mut missing: Vec<_> = unknown
        .filter(|name| !provider.declared.contains_key(*name))
        .map(|name| format!("accounts: Provider {asked} has no account {name:?}"))
        .collect();
    if !usable {
        missing.push(format!(
            "providerRef: no account of Provider {asked} that this backend may use has its credential"
        ));
    }
    used.insert(asked.clone());
    backend.provider = usable.then_some(asked);
    missing
}

fn drained(targets: &[snapshot::Target]) -> impl Iterator<Item = String> {
    targets
        .iter()
        .enumerate()
        .filter(|(_, target)| target.backends.iter().all(|backend| backend.weight == 0))
        .map(|(index, _)| format!("spec.targets[{index}]: every weight is 0, so it is skipped"))
}

/// Attempts that hang so long that nothing may follow them. `idle` begins after the first content,
/// when nothing may follow anyway; `request` bounds healthy answers too, and is long on purpose.
fn too_slow(name: &ObjectName, timeouts: &ProviderTimeouts, window: Duration) -> Vec<String> {
    [("connect", timeouts.connect), ("firstEvent", timeouts.first_event)]
        .into_iter()
        .filter(|(_, timeout)| *timeout >= window)
        .map(|(field, timeout)| {
            let (window, timeout) = (Written::from(window), Written::from(timeout));
            format!(
                "spec.failover.window: {window} isn't above timeouts.{field} of Provider {name}, {timeout}: what hangs there can't fail over"
            )
        })
        .collect()
}

fn read_target(target: &Target, own: &str) -> Result<snapshot::Target, Refusal> {
    check_part_name(&target.name).at("name")?;
    let name_of = |backend: &Backend| backend.name.clone();
    let read_one = |backend: &Backend| read_backend(backend, own);
    Ok(snapshot::Target {
        name: target.name.clone(),
        backends: list(
            "backends",
            &target.backends,
            1..=bounds::BACKENDS,
            name_of,
            read_one,
        )?,
    })
}

fn read_backend(backend: &Backend, own: &str) -> Result<snapshot::Backend, Refusal> {
    check_part_name(&backend.name).at("name")?;
    Ok(snapshot::Backend {
        name: backend.name.clone(),
        provider: Some(read_provider_ref(&backend.provider_ref, own).at("providerRef")?),
        model: read_model(backend.model.as_deref()).at("model")?,
        weight: read_weight(backend.weight).at("weight")?,
        accounts: match &backend.accounts {
            Some(names) => Some(read_account_names("accounts", names)?),
            None => None,
        },
    })
}

fn read_provider_ref(reference: &ProviderRef, own: &str) -> Result<ObjectName, Refusal> {
    let namespace = reference.namespace.as_deref().unwrap_or(own);
    check_part_name(namespace).at("namespace")?;
    check_object_name(&reference.name).at("name")?;
    Ok(ObjectName::new(namespace, &reference.name))
}

fn read_model(model: Option<&str>) -> Result<BackendModel, Refusal> {
    Ok(match model.map(check_upstream_model).transpose()? {
        None => BackendModel::Caller,
        Some("*") => BackendModel::Wildcard,
        Some(name) => BackendModel::Named(name.to_owned()),
    })
}

/// A list of account names, where a backend or a VirtualKey keeps to some.
pub(crate) fn read_account_names(
    field: &str,
    names: &[String],
) -> Result<BTreeSet<String>, Refusal> {
    let read_one = |name: &String| Ok(check_part_name(name)?.to_owned());
    let names = list(field, names, 1..=bounds::ACCOUNTS, String::clone, read_one)?;
    Ok(names.into_iter().collect())
}

fn read_failover(failover: &Failover) -> Result<snapshot::Failover, Refusal> {
    let word = |reason: &weighbridge_crds::FailoverReason| format!("{reason:?}");
    let reasons = list(
        "reasons",
        &failover.reasons,
        0..=weighbridge_crds::FailoverReason::ALL.len(),
        word,
        |reason| Ok(read_reason(*reason)),
    )?;
    Ok(snapshot::Failover {
        on: reasons.into_iter().collect(),
        max_attempts: whole(failover.max_attempts, 1..=bounds::ATTEMPTS).at("maxAttempts")?,
        window: failover.window.parse().at("window")?,
    })
}

fn read_reason(reason: weighbridge_crds::FailoverReason) -> FailoverReason {
    match reason {
        weighbridge_crds::FailoverReason::Connect => FailoverReason::Connect,
        weighbridge_crds::FailoverReason::Timeout => FailoverReason::Timeout,
        weighbridge_crds::FailoverReason::RateLimited => FailoverReason::RateLimited,
        weighbridge_crds::FailoverReason::Overloaded => FailoverReason::Overloaded,
        weighbridge_crds::FailoverReason::ServerError => FailoverReason::ServerError,
    }
}
