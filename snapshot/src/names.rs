//! Which Route serves a model name for a virtual key. Pure, and the only place that decides it:
//! the compiler reports with it what a data plane will do.
//!
//! The order: exact before pattern, longer prefix before shorter, then the key's own order of
//! references, then namespace and name. Must never look at creation times.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{ModelPattern, ObjectName, Route, VirtualKey};

/// The Routes a key may use, most preferred first: its references in order, `*` expanded by name,
/// those left out that don't exist or don't admit the key's namespace. Each at most once.
pub fn routes_of<'a>(
    key: &ObjectName,
    spec: &VirtualKey,
    routes: &'a BTreeMap<ObjectName, Route>,
) -> Vec<(&'a ObjectName, &'a Route)> {
    let mut seen = BTreeSet::new();
    spec.routes
        .iter()
        .flat_map(|reference| {
            let first = ObjectName::new(
                reference.namespace.clone(),
                reference.name.clone().unwrap_or_default(),
            );
            routes
                .range(first..)
                .take_while(|(id, _)| id.namespace == reference.namespace)
                .take_while(|(id, _)| reference.name.as_ref().is_none_or(|name| *name == id.name))
        })
        .filter(|(_, route)| route.admits.contains(&key.namespace))
        .filter(|(id, _)| seen.insert(*id))
        .collect()
}

/// A table from model names to whatever a caller keeps per Route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names<R> {
    exact: HashMap<String, R>,
    /// Longest prefix first; among equals the first declared.
    prefixes: Vec<(String, R)>,
}

impl<R: Clone> Names<R> {
    /// Builds the table from Routes in order of preference: the first to claim a pattern keeps it.
    pub fn new<'a>(routes: impl IntoIterator<Item = (R, &'a [ModelPattern])>) -> Self {
        let mut exact = HashMap::new();
        let mut prefixes: Vec<(String, R)> = Vec::new();
        for (route, patterns) in routes {
            for pattern in patterns {
                match pattern {
                    ModelPattern::Exact(name) => {
                        exact.entry(name.clone()).or_insert_with(|| route.clone());
                    }
                    ModelPattern::Prefix(prefix) => {
                        prefixes.push((prefix.clone(), route.clone()));
                    }
                }
            }
        }
        // Stable: the order of preference survives among equal lengths.
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { exact, prefixes }
    }

    /// The Route that serves `model`, and what its pattern's `*` stood for (the whole name where the
    /// pattern has none).
    pub fn get<'a, 'm>(&'a self, model: &'m str) -> Option<(&'a R, &'m str)> {
        if let Some(route) = self.exact.get(model) {
            return Some((route, model));
        }
        self.prefixes
            .iter()
            .find_map(|(prefix, route)| Some((route, model.strip_prefix(prefix.as_str())?)))
    }

    /// The exact names, in no order.
    pub fn exact(&self) -> impl Iterator<Item = (&str, &R)> {
        self.exact
            .iter()
            .map(|(name, route)| (name.as_str(), route))
    }

    /// The prefixes (without `*`), longest first.
    pub fn prefixes(&self) -> impl Iterator<Item = (&str, &R)> {
        self.prefixes
            .iter()
            .map(|(prefix, route)| (prefix.as_str(), route))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failover, Namespaces, RouteRef};
    use std::time::Duration;

    fn patterns(texts: &[&str]) -> Vec<ModelPattern> {
        texts
            .iter()
            .map(|text| ModelPattern::from((*text).to_owned()))
            .collect()
    }

    fn route(admits: Namespaces) -> Route {
        Route {
            models: patterns(&["m"]),
            admits,
            targets: Vec::new(),
            failover: Failover {
                on: BTreeSet::new(),
                max_attempts: 1,
                window: Duration::ZERO,
            },
            request_timeout: Duration::ZERO,
        }
    }

    fn key(references: &[(&str, Option<&str>)]) -> VirtualKey {
        VirtualKey {
            tokens: Vec::new(),
            routes: references
                .iter()
                .map(|(namespace, name)| RouteRef {
                    namespace: (*namespace).to_owned(),
                    name: name.map(str::to_owned),
                })
                .collect(),
            accounts: Vec::new(),
            suspended: false,
            expires_at: None,
        }
    }

    #[test]
    fn exact_wins_over_pattern_and_longer_prefix_over_shorter() {
        let (any, long, exact) = (
            patterns(&["*"]),
            patterns(&["openai/gpt*"]),
            patterns(&["openai/gpt-5"]),
        );
        let names = Names::new([("any", &*any), ("long", &*long), ("exact", &*exact)]);
        assert_eq!(names.get("openai/gpt-5"), Some((&"exact", "openai/gpt-5")));
        assert_eq!(names.get("openai/gpt-6"), Some((&"long", "-6")));
        assert_eq!(names.get("claude"), Some((&"any", "claude")));
    }

    #[test]
    fn the_first_reference_keeps_a_name_that_two_routes_claim() {
        let same = patterns(&["m", "p*"]);
        let names = Names::new([("first", &*same), ("second", &*same)]);
        assert_eq!(names.get("m"), Some((&"first", "m")));
        assert_eq!(names.get("px"), Some((&"first", "x")));
        assert_eq!(names.get("q"), None);
    }

    #[test]
    fn references_keep_their_order_and_a_star_expands_by_name() {
        let routes: BTreeMap<_, _> = ["a/x", "a/y", "ab/z", "b/x"]
            .iter()
            .map(|id| (id.parse().unwrap(), route(Namespaces::All)))
            .collect();
        let spec = key(&[
            ("b", Some("x")),
            ("a", Some("y")),
            ("a", None),
            ("a", Some("none")),
        ]);
        let found: Vec<String> = routes_of(&ObjectName::new("team", "k"), &spec, &routes)
            .into_iter()
            .map(|(id, _)| id.to_string())
            .collect();
        assert_eq!(found, ["b/x", "a/y", "a/x"]);
    }

    #[test]
    fn a_route_that_does_not_admit_the_namespace_is_left_out() {
        let only = Namespaces::Only(BTreeSet::from(["other".to_owned()]));
        let routes = BTreeMap::from([(ObjectName::new("a", "x"), route(only))]);
        let spec = key(&[("a", None)]);
        assert!(routes_of(&ObjectName::new("team", "k"), &spec, &routes).is_empty());
        assert_eq!(
            routes_of(&ObjectName::new("other", "k"), &spec, &routes).len(),
            1
        );
    }
}
