//! Providers: their spec read, their credentials found.
//!
//! Must never keep a credential whose Secret is gone: an account without one leaves the set at once.

use std::collections::{BTreeMap, BTreeSet};

use weighbridge_crds::{
    Account, Backoff, CatalogueModel, Dialect, EndpointUrl, Grant, ProviderSpec, ProviderTimeouts,
    Retry, RetryBudget, SecretKeyRef, bounds, check_object_name, check_part_name, check_secret_key,
};
use weighbridge_snapshot::{
    self as snapshot, Credential, CredentialName, ModelPattern, Namespaces, ObjectName, Operation,
};

use crate::grants::{self, NamespaceLabels};
use crate::judge::Spec;
use crate::refusal::{At, Refusal, list, whole};
use crate::{Kind, Stated, Urgent, World, secrets};

/// The account of a Provider that declares none.
const ONLY_ACCOUNT: &str = "default";

/// A Provider, read: valid, its accounts' credentials not yet looked for.
pub(crate) struct Draft {
    /// Without accounts.
    provider: snapshot::Provider,
    accounts: Vec<DraftAccount>,
    allowed_routes: Grant,
}

struct DraftAccount {
    /// Admits everybody until its grant is resolved.
    account: snapshot::Account,
    secret: Option<SecretKeyRef>,
    grant: Option<Grant>,
}

/// A Provider, resolved.
pub(crate) struct Resolved {
    /// As a data plane sees it: the accounts that have what they need.
    pub(crate) provider: snapshot::Provider,
    pub(crate) credentials: BTreeMap<CredentialName, Credential>,
    /// The namespaces whose Routes may point here.
    pub(crate) admits: Namespaces,
    /// Every declared account, and the namespaces whose VirtualKeys may use it.
    pub(crate) declared: BTreeMap<String, Namespaces>,
    /// What is missing, as sentences.
    pub(crate) missing: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl Spec for ProviderSpec {
    const KIND: Kind = Kind::Provider;
    type Draft = Draft;

    fn read(&self, _own: &str) -> Result<Draft, Refusal> {
        let name_of = |account: &Account| account.name.clone();
        let accounts = list(
            "accounts",
            &self.accounts,
            0..=bounds::ACCOUNTS,
            name_of,
            read_account,
        )?;
        grants::check(&self.allowed_routes).at("allowedRoutes")?;
        Ok(Draft {
            provider: snapshot::Provider {
                dialect: read_dialect(self.dialect),
                endpoint: read_endpoint(self.endpoint.as_ref(), self.dialect).at("endpoint")?,
                accounts: Vec::new(),
                retry: read_retry(&self.retry).at("retry")?,
                timeouts: read_timeouts(&self.timeouts).at("timeouts")?,
                models: read_catalogue(&self.models)?,
            },
            accounts: if accounts.is_empty() {
                vec![only_account()]
            } else {
                accounts
            },
            allowed_routes: self.allowed_routes.clone(),
        })
    }

    fn urgent(&self) -> Urgent {
        self.into()
    }

    fn follow(&mut self, mut newer: Urgent) {
        grants::follow(&mut self.allowed_routes, newer.allowed_routes);
        for account in &mut self.accounts {
            match newer.accounts.remove(&account.name).unwrap_or_default() {
                Stated::Said(grant) if grants::check(&grant).is_ok() => {
                    account.allowed_virtual_keys = Some(grant);
                }
                Stated::LeftOut => account.allowed_virtual_keys = None,
                Stated::Said(_) | Stated::Unclear => {}
            }
        }
    }
}

impl Draft {
    /// Looks for the credentials, and resolves the grants.
    pub(crate) fn resolve(
        self,
        name: &ObjectName,
        world: &World,
        labels: &NamespaceLabels<'_>,
    ) -> Resolved {
        let mut resolved = Resolved {
            provider: self.provider,
            credentials: BTreeMap::new(),
            admits: labels.granted(&self.allowed_routes, &name.namespace),
            declared: BTreeMap::new(),
            missing: Vec::new(),
            warnings: Vec::new(),
        };
        if self.accounts.iter().all(|draft| draft.account.weight == 0) {
            let warning = "spec.accounts: every weight is 0, so no account gets traffic";
            resolved.warnings.push(warning.to_owned());
        }
        for (index, draft) in self.accounts.into_iter().enumerate() {
            let credential = draft.credential(name, world);
            let account = draft.admitting(name, labels);
            let admits = account.admits.clone();
            resolved.declared.insert(account.name.clone(), admits);
            match credential {
                Ok(credential) => {
                    resolved.credentials.extend(credential);
                    resolved.provider.accounts.push(account);
                }
                Err(cause) => resolved.missing.push(format!(
                    "spec.accounts[{index}].secretRef (account {}): {cause}",
                    account.name
                )),
            }
        }
        resolved
    }
}

impl DraftAccount {
    /// Its credential, where it has one, or why that isn't there.
    fn credential(
        &self,
        provider: &ObjectName,
        world: &World,
    ) -> Result<Option<(CredentialName, Credential)>, String> {
        let Some(secret) = &self.secret else {
            return Ok(None);
        };
        let owner = CredentialName {
            provider: provider.clone(),
            account: self.account.name.clone(),
        };
        Ok(Some((owner, secrets::credential(world, provider, secret)?)))
    }

    /// The account with its grant resolved; without a grant it admits whom the Route admits.
    fn admitting(self, provider: &ObjectName, labels: &NamespaceLabels<'_>) -> snapshot::Account {
        let granted = |grant| labels.granted(grant, &provider.namespace);
        snapshot::Account {
            admits: self.grant.as_ref().map_or(Namespaces::All, granted),
            ..self.account
        }
    }
}

fn only_account() -> DraftAccount {
    DraftAccount {
        account: snapshot::Account {
            name: ONLY_ACCOUNT.to_owned(),
            has_credential: false,
            weight: 1,
            models: Vec::new(),
            admits: Namespaces::All,
        },
        secret: None,
        grant: None,
    }
}

fn read_account(account: &Account) -> Result<DraftAccount, Refusal> {
    check_part_name(&account.name).at("name")?;
    check_secret_ref(&account.secret_ref).at("secretRef")?;
    if let Some(grant) = &account.allowed_virtual_keys {
        grants::check(grant).at("allowedVirtualKeys")?;
    }
    Ok(DraftAccount {
        account: snapshot::Account {
            name: account.name.clone(),
            has_credential: true,
            weight: read_weight(account.weight).at("weight")?,
            models: match &account.models {
                Some(models) => read_patterns(models)?,
                None => Vec::new(),
            },
            admits: Namespaces::All,
        },
        secret: Some(account.secret_ref.clone()),
        grant: account.allowed_virtual_keys.clone(),
    })
}

fn check_secret_ref(reference: &SecretKeyRef) -> Result<(), Refusal> {
    check_object_name(&reference.name).at("name")?;
    check_secret_key(&reference.key).at("key")?;
    Ok(())
}

/// A weight inside a list item, where the schema states no default.
pub(crate) fn read_weight(weight: Option<i64>) -> Result<u32, Refusal> {
    whole(weight.unwrap_or(1), 0..=bounds::WEIGHT)
}

/// The field `models` of a Route or an account.
pub(crate) fn read_patterns(
    patterns: &[weighbridge_crds::ModelPattern],
) -> Result<Vec<ModelPattern>, Refusal> {
    let text = |pattern: &weighbridge_crds::ModelPattern| pattern.as_str().to_owned();
    list("models", patterns, 1..=bounds::MODELS, text, |pattern| {
        Ok(ModelPattern::from(pattern.parse()?.to_owned()))
    })
}

fn read_dialect(dialect: Dialect) -> snapshot::Dialect {
    match dialect {
        Dialect::OpenAI => snapshot::Dialect::OpenAI,
    }
}

fn read_endpoint(
    written: Option<&EndpointUrl>,
    dialect: Dialect,
) -> Result<snapshot::Endpoint, Refusal> {
    let url = match written {
        Some(written) => written.parse(),
        None => dialect.default_endpoint().parse(),
    }?;
    Ok(snapshot::Endpoint {
        scheme: match url.scheme() {
            "http" => snapshot::Scheme::Http,
            _ => snapshot::Scheme::Https,
        },
        host: url.host_str().unwrap_or_default().to_owned(),
        port: url.port_or_known_default().unwrap_or_default(),
        path: url.path().trim_end_matches('/').to_owned(),
    })
}

fn read_retry(retry: &Retry) -> Result<snapshot::Retry, Refusal> {
    Ok(snapshot::Retry {
        max_retries: whole(retry.max_retries, 0..=bounds::RETRIES).at("maxRetries")?,
        backoff: read_backoff(&retry.backoff).at("backoff")?,
        budget: read_budget(&retry.budget).at("budget")?,
    })
}

fn read_backoff(backoff: &Backoff) -> Result<snapshot::Backoff, Refusal> {
    let (initial, max) = (
        backoff.initial.parse().at("initial")?,
        backoff.max.parse().at("max")?,
    );
    if initial > max {
        let (found, allowed) = (
            backoff.initial.to_string(),
            format!("at most max, which is {}", backoff.max),
        );
        return Err(Refusal::new(found, allowed)).at("initial");
    }
    Ok(snapshot::Backoff { initial, max })
}

fn read_budget(budget: &RetryBudget) -> Result<snapshot::RetryBudget, Refusal> {
    Ok(snapshot::RetryBudget {
        percent: whole(budget.percent, 0..=bounds::PERCENT).at("percent")?,
        interval: budget.interval.parse().at("interval")?,
    })
}

fn read_timeouts(timeouts: &ProviderTimeouts) -> Result<snapshot::ProviderTimeouts, Refusal> {
    Ok(snapshot::ProviderTimeouts {
        connect: timeouts.connect.parse().at("connect")?,
        first_event: timeouts.first_event.parse().at("firstEvent")?,
        idle: timeouts.idle.parse().at("idle")?,
        request: timeouts.request.parse().at("request")?,
    })
}

fn read_catalogue(models: &[CatalogueModel]) -> Result<Vec<snapshot::CatalogueModel>, Refusal> {
    let name = |model: &CatalogueModel| model.name.as_str().to_owned();
    list("models", models, 0..=bounds::CATALOGUE, name, |model| {
        Ok(snapshot::CatalogueModel {
            name: model.name.parse().at("name")?.to_owned(),
            operations: match &model.operations {
                Some(operations) => Some(read_operations(operations)?),
                None => None,
            },
        })
    })
}

fn read_operations(
    operations: &[weighbridge_crds::Operation],
) -> Result<BTreeSet<Operation>, Refusal> {
    let word = |operation: &weighbridge_crds::Operation| format!("{operation:?}");
    let all = list(
        "operations",
        operations,
        1..=Operation::ALL.len(),
        word,
        |operation| Ok(read_operation(*operation)),
    )?;
    Ok(all.into_iter().collect())
}

fn read_operation(operation: weighbridge_crds::Operation) -> Operation {
    match operation {
        weighbridge_crds::Operation::ChatCompletions => Operation::ChatCompletions,
        weighbridge_crds::Operation::Completions => Operation::Completions,
        weighbridge_crds::Operation::Responses => Operation::Responses,
        weighbridge_crds::Operation::Embeddings => Operation::Embeddings,
    }
}
