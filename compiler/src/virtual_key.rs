//! VirtualKeys: their spec read, their Routes found.
//!
//! Must never tell a tenant whether something is missing or merely not theirs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use weighbridge_crds::{
    AccountNarrowing, RouteRef, Timestamp, VirtualKeySpec, bounds, check_object_name,
    check_part_name,
};
use weighbridge_snapshot::{self as snapshot, ObjectName, routes_of};

use crate::judge::{Found, Judged, Spec, judge_all};
use crate::provider;
use crate::refusal::{At, Refusal, list};
use crate::route::read_account_names;
use crate::{Kind, LastGood, Stated, Urgent, World};

/// The most sentences about Routes that lost a name.
const SHADOWED: usize = 16;

/// A VirtualKey, read: valid, its token and Routes not yet looked for.
pub(crate) struct Draft {
    /// Without tokens.
    pub(crate) key: snapshot::VirtualKey,
    secret_name: String,
}

/// What a VirtualKey is resolved against.
pub(crate) struct Reach<'a> {
    pub(crate) providers: &'a BTreeMap<ObjectName, provider::Resolved>,
    /// By Route: the Providers it points to and may use.
    pub(crate) used_providers: &'a BTreeMap<ObjectName, BTreeSet<ObjectName>>,
    pub(crate) routes: &'a BTreeMap<ObjectName, snapshot::Route>,
}

impl Spec for VirtualKeySpec {
    const KIND: Kind = Kind::VirtualKey;
    type Draft = Draft;

    fn check_name(name: &str) -> Result<(), Refusal> {
        if name.len() <= bounds::NAME {
            return Ok(());
        }
        let found = format!("{} characters", name.len());
        Err(Refusal::new(
            found,
            "at most 63, because a VirtualKey's name is a label's value",
        ))
    }

    fn read(&self, _own: &str) -> Result<Draft, Refusal> {
        let reference_key =
            |reference: &RouteRef| format!("{}/{}", reference.namespace, reference.name);
        let narrowing_key = |narrowing: &AccountNarrowing| {
            format!("{}/{}", narrowing.namespace, narrowing.provider)
        };
        check_object_name(&self.secret_name).at("secretName")?;
        Ok(Draft {
            key: snapshot::VirtualKey {
                tokens: Vec::new(),
                routes: list(
                    "routeRefs",
                    &self.route_refs,
                    1..=bounds::ROUTE_REFS,
                    reference_key,
                    read_route_ref,
                )?,
                accounts: list(
                    "accounts",
                    &self.accounts,
                    0..=bounds::NARROWINGS,
                    narrowing_key,
                    read_narrowing,
                )?,
                suspended: self.suspend,
                expires_at: read_expiry(self.expires_at.as_ref()).at("expiresAt")?,
            },
            secret_name: self.secret_name.clone(),
        })
    }

    /// The schema's own rule; files have nobody else to hold them to it.
    fn check_change(&self, accepted: &Self) -> Result<(), Refusal> {
        if self.secret_name == accepted.secret_name {
            return Ok(());
        }
        let allowed = format!(
            "{:?} as before: it can't be changed, so make another VirtualKey",
            accepted.secret_name
        );
        Err(Refusal::new(format!("{:?}", self.secret_name), allowed)).at("secretName")
    }

    fn urgent(&self) -> Urgent {
        self.into()
    }

    fn follow(&mut self, newer: Urgent) {
        match newer.suspend {
            Stated::Said(suspend) => self.suspend = suspend,
            Stated::LeftOut => self.suspend = false,
            Stated::Unclear => {}
        }
        match newer.expires_at {
            Stated::Said(expiry) if expiry.parse().is_ok() => self.expires_at = Some(expiry),
            Stated::LeftOut => self.expires_at = None,
            Stated::Said(_) | Stated::Unclear => {}
        }
    }
}

impl Draft {
    /// The Secret that holds the token of `owner`, whose draft this is.
    pub(crate) fn secret(&self, owner: &ObjectName) -> ObjectName {
        ObjectName::new(&owner.namespace, &self.secret_name)
    }
}

/// Judges every VirtualKey.
pub(crate) fn judge_keys(
    world: &World,
    last_good: &LastGood,
) -> BTreeMap<ObjectName, Judged<VirtualKeySpec>> {
    let found = world.virtual_keys.iter().map(|(name, object)| Found {
        name,
        uid: object.metadata.uid.as_deref(),
        generation: object.metadata.generation,
        spec: Ok(&object.spec),
    });
    judge_all(found, &world.unreadable, &last_good.virtual_keys)
}

impl Reach<'_> {
    /// What the key asks for and can't have, as sentences.
    pub(crate) fn missing(&self, name: &ObjectName, key: &snapshot::VirtualKey) -> Vec<String> {
        let routes = key.routes.iter().enumerate();
        let routes = routes.filter_map(|(index, reference)| {
            let cause = self.missing_route(name, reference)?;
            Some(format!("spec.routeRefs[{index}]: {cause}"))
        });
        let usable = self.usable_accounts(name, key);
        let narrowings = key.accounts.iter().enumerate();
        let accounts = narrowings.flat_map(|(index, narrowing)| {
            let causes = missing_accounts(narrowing, usable.get(&narrowing.provider));
            causes.map(move |cause| format!("spec.accounts[{index}].names: {cause}"))
        });
        routes.chain(accounts).collect()
    }

    fn missing_route(&self, name: &ObjectName, reference: &snapshot::RouteRef) -> Option<String> {
        let namespace = &reference.namespace;
        let admitted = |(id, route): (&ObjectName, &snapshot::Route)| {
            id.namespace == *namespace && route.admits.contains(&name.namespace)
        };
        match &reference.name {
            Some(route) => {
                let route = ObjectName::new(namespace, route);
                let found = self.routes.get_key_value(&route).is_some_and(admitted);
                (!found).then(|| format!("Route {route} isn't there, or its allowedVirtualKeys doesn't admit this namespace"))
            }
            None => (!self.routes.iter().any(admitted))
                .then(|| format!("no Route in namespace {namespace} admits this namespace")),
        }
    }

    /// The accounts, per Provider, that calls with this key may use.
    fn usable_accounts<'a>(
        &'a self,
        name: &ObjectName,
        key: &snapshot::VirtualKey,
    ) -> BTreeMap<&'a ObjectName, BTreeSet<&'a str>> {
        let routes = routes_of(name, key, self.routes).into_iter();
        let providers = routes
            .filter_map(|(id, _)| self.used_providers.get(id))
            .flatten();
        providers
            .filter_map(|id| {
                let (id, provider) = self.providers.get_key_value(id)?;
                let usable = provider
                    .declared
                    .iter()
                    .filter(|(_, admits)| admits.contains(&name.namespace))
                    .map(|(account, _)| account.as_str());
                Some((id, usable.collect()))
            })
            .collect()
    }

    /// The model names that a Route claims and another, more preferred by this key, serves.
    pub(crate) fn shadowed(&self, name: &ObjectName, key: &snapshot::VirtualKey) -> Vec<String> {
        let routes = routes_of(name, key, self.routes);
        let claims = routes
            .iter()
            .flat_map(|(id, route)| route.models.iter().map(move |pattern| (*id, pattern)));
        // As `Names` has it: the first to claim a pattern keeps it.
        let mut first = HashMap::new();
        let lost = claims.filter_map(|(id, pattern)| {
            let winner = *first.entry(pattern).or_insert(id);
            (winner != id).then_some((id, pattern, winner))
        });
        lost.take(SHADOWED)
            .map(|(id, pattern, winner)| {
                let pattern = String::from(pattern.clone());
                format!("{pattern:?} of Route {id}: Route {winner} serves it")
            })
            .collect()
    }
}

/// The accounts a key keeps to and can't use; `usable` are those of the same Provider that it can.
fn missing_accounts<'a>(
    narrowing: &'a snapshot::AccountNarrowing,
    usable: Option<&'a BTreeSet<&'a str>>,
) -> impl Iterator<Item = String> + use<'a> {
    let unusable = narrowing.names.iter().filter(move |name| {
        let found = usable.is_some_and(|usable| usable.contains(name.as_str()));
        !found
    });
    let provider = &narrowing.provider;
    unusable.map(move |name| {
        format!(
            "account {name:?} of Provider {provider} isn't there, or isn't within this key's reach"
        )
    })
}

fn read_expiry(expiry: Option<&Timestamp>) -> Result<Option<i64>, Refusal> {
    Ok(expiry.map(Timestamp::parse).transpose()?)
}

fn read_route_ref(reference: &RouteRef) -> Result<snapshot::RouteRef, Refusal> {
    check_part_name(&reference.namespace).at("namespace")?;
    let name = match reference.name.as_str() {
        "*" => None,
        name => Some(check_object_name(name).at("name")?.to_owned()),
    };
    Ok(snapshot::RouteRef {
        namespace: reference.namespace.clone(),
        name,
    })
}

fn read_narrowing(narrowing: &AccountNarrowing) -> Result<snapshot::AccountNarrowing, Refusal> {
    check_part_name(&narrowing.namespace).at("namespace")?;
    check_object_name(&narrowing.provider).at("provider")?;
    Ok(snapshot::AccountNarrowing {
        provider: ObjectName::new(&narrowing.namespace, &narrowing.provider),
        names: read_account_names("names", &narrowing.names)?,
    })
}
