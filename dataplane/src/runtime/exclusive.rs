//! Which accounts a virtual key reaches with a model's name: whether there is any, and whether state that
//! a call leaves there stays the caller's own. Must only say the latter when the key's only candidate is
//! one account that no other key may use.

use std::collections::HashMap;
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

/// The keys that reach the same accounts, because they have the same models and the same grants.
#[derive(Debug)]
pub(super) struct Peers {
    /// Any of them.
    one: Arc<Key>,
    is_alone: bool,
}

impl Peers {
    /// All keys by what they reach. What many keys have in common is shared by them, so that this is found
    /// without comparing it: ten thousand keys of one team are one entry.
    pub(super) fn among<'a>(keys: impl Iterator<Item = &'a Arc<Key>>) -> Vec<Self> {
        let mut found: HashMap<(usize, usize), Self> = HashMap::new();
        for key in keys {
            let place = (Arc::as_ptr(&key.models).addr(), key.grants.as_ptr().addr());
            let peers = found.entry(place).or_insert_with(|| Self {
                one: Arc::clone(key),
                is_alone: true,
            });
            // A key with several tokens comes several times.
            peers.is_alone &= peers.one.name == key.name;
        }
        found.into_values().collect()
    }

    fn reach(&self, provider: &Provider, index: usize) -> bool {
        let models = &self.one.models;
        let by_pattern = models.prefixes().map(|(_, route)| route);
        let routes = models.exact().map(|(_, route)| route).chain(by_pattern);
        routes
            .flat_map(|route| places(&self.one, route, None))
            .any(|(other, accounts)| other.name == provider.name && accounts & 1 << index != 0)
    }
}

impl Runtime {
    /// Whether all that `key` may use for `model` on `route` is one account, and that account is its own.
    pub(crate) fn is_exclusive(&self, key: &Key, route: &Route, model: (&str, &str)) -> bool {
        let mut places = places(key, route, Some(model));
        let Some((provider, first)) = places.next() else {
            return false;
        };
        let all = places.try_fold(first, |all, (other, accounts)| {
            (other.name == provider.name).then_some(all | accounts)
        });
        let index = match all {
            Some(all) if all.is_power_of_two() => all.trailing_zeros() as usize,
            _ => return false,
        };
        let account = provider.accounts.get(index);
        account.is_some_and(|account| {
            self.users(account, provider, index) == Users::One(key.name.clone())
        })
    }

    fn users(&self, account: &Account, provider: &Provider, index: usize) -> Users {
        let find = || {
            let mut users = self.peers.iter().filter(|keys| keys.reach(provider, index));
            match (users.next(), users.next()) {
                (Some(user), None) if user.is_alone => Users::One(user.one.name.clone()),
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

/// The accounts that a key may use on a Route, by Provider and never none: for `model` (as asked, and what
/// `*` stood for), else for any.
fn places<'a>(
    key: &'a Key,
    route: &'a Route,
    model: Option<(&'a str, &'a str)>,
) -> impl Iterator<Item = (&'a Arc<Provider>, u64)> {
    let backends = route.targets.iter().flat_map(|target| &target.backends);
    backends
        .filter(|backend| backend.is_weighted)
        .filter_map(move |backend| {
            let provider = backend.provider.as_ref()?;
            let granted = backend.accounts & key.grant(provider);
            let accounts = match (&backend.model, model) {
                (UpstreamModel::Caller, Some((asked, _))) => granted & provider.serving(asked),
                (UpstreamModel::Wildcard, Some((_, wildcard))) => {
                    granted & provider.serving(wildcard)
                }
                (UpstreamModel::Named { .. }, _) | (_, None) => granted,
            };
            (accounts != 0).then_some((provider, accounts))
        })
}

#[cfg(test)]
mod tests {
    use weighbridge_snapshot::{AccountNarrowing, TokenDigest};

    use super::*;
    use crate::runtime::example::{
        add_provider, backend, built, key, name, provider, route, snapshot,
    };

    /// A Provider `own` whose accounts `a` and `b` keys of one namespace share but for their narrowing, and
    /// a Route to it by name and by pattern.
    fn runtime(keys: &[(&str, &str)]) -> Runtime {
        let mut snapshot = snapshot();
        snapshot.virtual_keys.clear();
        add_provider(&mut snapshot, "own", provider(&[("a", 1), ("b", 1)]));
        let own = [backend("own", "m")];
        let star = [backend("own", "*")];
        snapshot
            .routes
            .insert(name("own"), route("own", &[&own, &own]));
        snapshot.routes.insert(name("star"), route("v/*", &[&star]));
        for (called, account) in keys {
            let mut narrowed = key(called);
            narrowed.accounts = vec![AccountNarrowing {
                provider: name("own"),
                names: std::iter::once((*account).to_owned()).collect(),
            }];
            narrowed
                .tokens
                .push(TokenDigest::of(format!("{called}-next").as_bytes()));
            snapshot.virtual_keys.insert(name(called), narrowed);
        }
        built(&snapshot)
    }

    fn is_exclusive(runtime: &Runtime, token: &str, model: &str) -> bool {
        let key = runtime.key_of(token);
        let (route, wildcard) = key.models.get(model).unwrap();
        runtime.is_exclusive(key, route, (model, wildcard))
    }

    #[test]
    fn another_key_with_the_same_models_and_grants_is_another_user() {
        let runtime = runtime(&[("one", "a"), ("two", "b"), ("three", "b")]);
        assert_eq!(runtime.peers.len(), 2);
        for model in ["own", "v/x"] {
            for token in ["one", "one-next"] {
                assert!(is_exclusive(&runtime, token, model), "{token} {model}");
            }
            for token in ["two", "two-next", "three"] {
                assert!(!is_exclusive(&runtime, token, model), "{token} {model}");
            }
        }
    }

    #[test]
    fn who_came_first_does_not_matter() {
        // The answer is kept per account, so each order is a Runtime of its own.
        for order in [["one", "two"], ["two", "one"]] {
            let runtime = runtime(&[("one", "a"), ("two", "a")]);
            for token in order {
                assert!(
                    !is_exclusive(&runtime, token, "own"),
                    "{token} of {order:?}"
                );
            }
        }
    }

    #[test]
    fn ten_thousand_keys_of_a_team_are_walked_as_one() {
        let names: Vec<String> = (0..10_000).map(|place| format!("k{place}")).collect();
        let mut keys: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "b")).collect();
        keys.push(("one", "a"));
        let runtime = runtime(&keys);
        assert_eq!(runtime.peers.len(), 2);
        assert!(is_exclusive(&runtime, "one", "own"));
        assert!(!is_exclusive(&runtime, "k0", "own"));
    }
}
