//! Grants: which namespaces may use something.
//!
//! Must never default inside a list item; what a left-out grant means is said at the field.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{bounds, strict, text};

/// A grant to whole namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// The namespaces that are granted access.
    pub namespaces: NamespaceSelector,
}

/// A choice of namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(self.from == 'Selector') == has(self.selector)",
    "message": "selector belongs to from: Selector, and from: Selector needs it",
}]))]
pub struct NamespaceSelector {
    /// How the namespaces are chosen. `Same` is this object's own, `All` is every namespace,
    /// `Selector` is those whose labels match.
    pub from: From,
    /// The labels a namespace must carry; only with `from: Selector`. Choose labels that tenants
    /// can't set, such as `kubernetes.io/metadata.name`. An empty selector matches every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How namespaces are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum From {
    /// The object's own namespace.
    #[default]
    Same,
    /// Every namespace.
    All,
    /// Those whose labels match.
    Selector,
}

/// A choice by labels; everything stated must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct LabelSelector {
    /// Labels that must be present with exactly these values.
    #[serde(
        deserialize_with = "strict::labels",
        default,
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    #[schemars(schema_with = "match_labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements on labels, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::SELECTOR), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
    "message": "values belong to the operators In and NotIn, which need at least one",
}]))]
pub struct LabelRequirement {
    /// The label's name.
    #[serde(deserialize_with = "strict::text")]
    #[schemars(length(min = 1, max = bounds::LABEL_NAME), pattern(text::LABEL_NAME))]
    pub key: String,
    /// How the label is compared with `values`.
    pub operator: LabelOperator,
    /// The values to compare with; only for `In` and `NotIn`.
    #[serde(
        deserialize_with = "strict::texts",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(
        length(max = bounds::SELECTOR),
        inner(length(max = bounds::NAME), pattern(text::LABEL_VALUE)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// The names of the labels are left to the compiler: a rule on unbounded keys is over CEL's budget.
fn match_labels(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": bounds::SELECTOR,
        "additionalProperties": {
            "type": "string",
            "maxLength": bounds::NAME,
            "pattern": text::LABEL_VALUE,
        },
    })
}
