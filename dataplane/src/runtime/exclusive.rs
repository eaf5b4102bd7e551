//! Which accounts a virtual key reaches with a model's name: whether there is any, and whether state that
//! a call leaves there stays the caller's own. Must only say the latter when the key's only candidate is
//! one account that no other key may use.

use std::sync::Arc;

use weighbridge_snapshot::ObjectName;

use super::{Account, Key, Provider, Route, Runtime, UpstreamModel};

/// Whose keys may use an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Users {
    /// This key alone.
    One(ObjectName),
    /// None, or several.
    Other,
}

impl Runtime {
    /// Whether all that `key` may use for `model` on `route` is one account, and that account is its own.
    pub(crate) fn is_exclusive(&self, key: &Key, route: &Route, model: (&str, &str)) -> bool {
        let mut places = places(key, route, Some(model));
        let Some((provider, index)) = places.next() else {
            return false;
        };
        let is_single =
            places.all(|(other, account)| other.name == provider.name && account == index);
        let Some(account) = provider.accounts.get(index) else {
            return false;
        };
        is_single && self.users(account, provider, index) == Users::One(key.name.clone())
    }

    fn users(&self, account: &Account, provider: &Provider, index: usize) -> Users {
        let find = || {
            let mut users = self
                .keys()
                .filter(|key| reaches(key, provider, index))
                .map(|key| &key.name);
            match users.next() {
                Some(first) if users.all(|other| other == first) => Users::One(first.clone()),
                _ => Users::Other,
            }
        };
        account.users.get_or_init(find).clone()
    }
}

impl Key {
    /// Whether some account could serve this name for this key, whatever the accounts' health.
    pub(crate) fn may_ask(&self, model: &str) -> bool {
        self.models.get(model).is_some_and(|(route, wildcard)| {
            places(self, route, Some((model, wildcard)))
                .next()
                .is_some()
        })
    }
}

fn reaches(key: &Key, provider: &Provider, index: usize) -> bool {
    let by_pattern = key.models.prefixes().map(|(_, route)| route);
    let routes = key.models.exact().map(|(_, route)| route);
    routes.chain(by_pattern).any(|route| {
        places(key, route, None)
            .any(|(other, account)| other.name == provider.name && account == index)
    })
}

/// The accounts that a key may use on a Route: for `model` (as asked, and what `*` stood for), else for
/// any.
fn places<'a>(
    key: &'a Key,
    route: &'a Route,
    model: Option<(&'a str, &'a str)>,
) -> impl Iterator<Item = (&'a Arc<Provider>, usize)> {
    let backends = route.targets.iter().flat_map(|target| &target.backends);
    backends
        .filter(|backend| backend.is_weighted)
        .filter_map(move |backend| {
            let provider = backend.provider.as_ref()?;
            let serving = match (&backend.model, model) {
                (UpstreamModel::Caller, Some((asked, _))) => provider.serving(asked),
                (UpstreamModel::Wildcard, Some((_, wildcard))) => provider.serving(wildcard),
                (UpstreamModel::Named { .. }, _) | (_, None) => u64::MAX,
            };
            Some((provider, backend.accounts & key.grant(provider) & serving))
        })
        .flat_map(|(provider, mask)| {
            (0..64)
                .filter(move |index| mask & 1 << index != 0)
                .map(move |index| (provider, index))
        })
}
