//! Grants: from a choice of namespaces to the namespaces chosen.
//!
//! Must never grant more than is written: a selector matches only namespaces that are known.

use std::collections::{BTreeMap, BTreeSet};

use weighbridge_crds::{
    From, Grant, LabelOperator, LabelRequirement, LabelSelector, bounds, check_label_name,
    check_label_value,
};
use weighbridge_snapshot::Namespaces;

use crate::refusal::{At, Refusal, count_within, list};
use crate::{Stated, World};

/// The label that every namespace carries, with its own name; nobody can set it otherwise.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The labels of every namespace there is.
pub(crate) struct NamespaceLabels<'a>(BTreeMap<&'a str, Labels<'a>>);

/// The labels of a namespace, beside its name.
enum Labels<'a> {
    Given(&'a BTreeMap<String, String>),
    /// Nothing is said of the namespace.
    None,
    Unknown,
}

/// What is known of one label.
#[derive(Clone, Copy)]
enum Label<'a> {
    Is(&'a str),
    Absent,
    Unknown,
}

impl<'a> NamespaceLabels<'a> {
    /// The namespaces of a world: those given, and those that hold an object.
    pub(crate) fn of(world: &'a World) -> Self {
        let holding = world
            .providers
            .keys()
            .chain(world.routes.keys())
            .chain(world.virtual_keys.keys())
            .chain(world.unreadable.keys().map(|id| &id.name))
            .map(|name| (name.namespace.as_str(), Labels::None));
        let unreadable = world.unreadable_namespaces.iter();
        let unreadable = unreadable.map(|name| (name.as_str(), Labels::Unknown));
        let given = world
            .namespaces
            .iter()
            .map(|(name, labels)| (name.as_str(), Labels::Given(labels)));
        // The later of two entries wins: what is given was read, now or before.
        Self(holding.chain(unreadable).chain(given).collect())
    }

    /// The namespaces that a valid grant of an object in `own` grants to.
    pub(crate) fn granted(&self, grant: &Grant, own: &str) -> Namespaces {
        let choice = &grant.namespaces;
        match (choice.from, &choice.selector) {
            (From::All, _) => Namespaces::All,
            (From::Selector, Some(selector)) => Namespaces::Only(self.matching(selector)),
            (From::Same | From::Selector, _) => Namespaces::Only(BTreeSet::from([own.to_owned()])),
        }
    }

    fn matching(&self, selector: &LabelSelector) -> BTreeSet<String> {
        self.0
            .keys()
            .filter(|namespace| self.matches(selector, namespace))
            .map(|namespace| (*namespace).to_owned())
            .collect()
    }

    fn matches(&self, selector: &LabelSelector, namespace: &str) -> bool {
        let labels = &selector.match_labels;
        labels
            .iter()
            .all(|(name, value)| self.label(namespace, name).is(value))
            && selector
                .match_expressions
                .iter()
                .all(|requirement| holds(requirement, self.label(namespace, &requirement.key)))
    }

    fn label<'n>(&'n self, namespace: &'n str, name: &str) -> Label<'n> {
        if name == NAME_LABEL {
            return Label::Is(namespace);
        }
        match self.0.get(namespace) {
            Some(Labels::Given(labels)) => match labels.get(name) {
                Some(value) => Label::Is(value),
                None => Label::Absent,
            },
            Some(Labels::None) | None => Label::Absent,
            Some(Labels::Unknown) => Label::Unknown,
        }
    }
}

impl Label<'_> {
    fn is(self, value: &str) -> bool {
        matches!(self, Self::Is(own) if own == value)
    }
}

/// Takes over a newer grant; an invalid or unclear one leaves the grant as it is.
pub(crate) fn follow(grant: &mut Grant, newer: Stated<Grant>) {
    match newer {
        Stated::Said(newer) if check(&newer).is_ok() => *grant = newer,
        Stated::LeftOut => *grant = Grant::default(),
        Stated::Said(_) | Stated::Unclear => {}
    }
}

/// Checks a grant.
pub(crate) fn check(grant: &Grant) -> Result<(), Refusal> {
    let choice = &grant.namespaces;
    let checked = match (choice.from, &choice.selector) {
        (From::Selector, Some(selector)) => check_selector(selector),
        (From::Selector, None) => Err(Refusal::new(
            "nothing",
            "a label selector, because from is Selector",
        )),
        (From::Same | From::All, Some(_)) => Err(Refusal::new(
            "a selector",
            "none, because from isn't Selector",
        )),
        (From::Same | From::All, None) => Ok(()),
    };
    checked.at("selector").at("namespaces")
}

fn check_selector(selector: &LabelSelector) -> Result<(), Refusal> {
    check_match_labels(&selector.match_labels).at("matchLabels")?;
    // Any number of requirements may speak of one label: their places are their keys.
    let requirements: Vec<_> = selector.match_expressions.iter().enumerate().collect();
    let place = |(index, _): &(usize, &LabelRequirement)| index.to_string();
    let check_one = |(_, requirement): &(usize, &LabelRequirement)| check_requirement(requirement);
    list(
        "matchExpressions",
        &requirements,
        0..=bounds::SELECTOR,
        place,
        check_one,
    )?;
    Ok(())
}

fn check_match_labels(labels: &BTreeMap<String, String>) -> Result<(), Refusal> {
    count_within(labels.len(), 0..=bounds::SELECTOR)?;
    for (name, value) in labels {
        check_label_name(name)?;
        check_label_value(value)?;
    }
    Ok(())
}

fn check_requirement(requirement: &LabelRequirement) -> Result<(), Refusal> {
    check_label_name(&requirement.key).at("key")?;
    let count = match requirement.operator {
        LabelOperator::In | LabelOperator::NotIn => 1..=bounds::SELECTOR,
        LabelOperator::Exists | LabelOperator::DoesNotExist => 0..=0,
    };
    list(
        "values",
        &requirement.values,
        count,
        Clone::clone,
        |value| Ok(check_label_value(value).map(drop)?),
    )?;
    Ok(())
}

/// Kubernetes' own rule: an absent label satisfies `NotIn`. Of an unknown one nothing holds.
fn holds(requirement: &LabelRequirement, label: Label<'_>) -> bool {
    let listed = || requirement.values.iter().any(|value| label.is(value));
    match (requirement.operator, label) {
        (_, Label::Unknown) => false,
        (LabelOperator::In, _) => listed(),
        (LabelOperator::NotIn, _) => !listed(),
        (LabelOperator::Exists, _) => matches!(label, Label::Is(_)),
        (LabelOperator::DoesNotExist, _) => matches!(label, Label::Absent),
    }
}
