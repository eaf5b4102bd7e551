//! VirtualKey: a team's credential, in the team's own namespace.
//!
//! Must never hold a token; the Secret does.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, bounds, strict, text};

/// What a VirtualKey is.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "weighbridge.dev",
    version = "v1alpha1",
    kind = "VirtualKey",
    namespaced,
    doc = "A VirtualKey is a team's credential: which Routes it may use, and where its token is.",
    derive = "PartialEq",
    shortname = "vkey",
    category = "weighbridge",
    annotation("helm.sh/resource-policy", "keep"),
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("a VirtualKey's name has at most 63 characters, because it is a label's value"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".spec.secretName", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualKeySpec {
    /// The Routes this key asks for, most preferred first. They must admit this namespace.
    #[schemars(
        length(min = 1, max = bounds::ROUTE_REFS),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["namespace", "name"]
        )
    )]
    pub route_refs: Vec<RouteRef>,
    /// The Secret that holds the token, in this namespace; it can't be changed. The Secret carries the
    /// label `weighbridge.dev/virtual-key` with this key's name; one without it is neither read nor
    /// written. To bring a token, make the labelled Secret first, with the key `token`.
    #[serde(deserialize_with = "strict::text")]
    #[schemars(
        length(min = 1, max = bounds::TEXT),
        pattern(text::OBJECT_NAME),
        extend("x-kubernetes-validations" = [{
            "rule": "self == oldSelf",
            "message": "secretName can't be changed; make another VirtualKey",
        }])
    )]
    pub secret_name: String,
    /// The accounts this key keeps to, per Provider. It narrows and never grants; Providers not named
    /// are not narrowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = bounds::NARROWINGS),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["namespace", "provider"]
        )
    )]
    pub accounts: Vec<AccountNarrowing>,
    /// Whether the key is refused everywhere; nothing is deleted.
    #[serde(default)]
    pub suspend: bool,
    /// The time from which the key is refused. Left out, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// One Route, or every Route of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteRef {
    /// The Route's namespace.
    #[serde(deserialize_with = "strict::text")]
    #[schemars(length(min = 1, max = bounds::NAME), pattern(text::PART_NAME))]
    pub namespace: String,
    /// The Route's name; `*` is every Route there that admits this namespace.
    #[serde(deserialize_with = "strict::text")]
    #[schemars(length(min = 1, max = bounds::TEXT), pattern(text::OBJECT_NAME_OR_STAR))]
    pub name: String,
}

/// The accounts of one Provider that a key keeps to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountNarrowing {
    /// The Provider's namespace.
    #[serde(deserialize_with = "strict::text")]
    #[schemars(length(min = 1, max = bounds::NAME), pattern(text::PART_NAME))]
    pub namespace: String,
    /// The Provider's name.
    #[serde(deserialize_with = "strict::text")]
    #[schemars(length(min = 1, max = bounds::TEXT), pattern(text::OBJECT_NAME))]
    pub provider: String,
    /// The accounts' names in it.
    #[serde(deserialize_with = "strict::texts")]
    #[schemars(
        length(min = 1, max = bounds::ACCOUNTS),
        inner(length(min = 1, max = bounds::NAME), pattern(text::PART_NAME)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub names: Vec<String>,
}
