//! Route: model names that callers ask for, and where they go.
//!
//! Must never state a default inside a list item (the compiler applies those).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, Grant, ModelPattern, bounds, strict, text};

/// What a Route is.
#[expect(
    clippy::duplicated_attributes,
    reason = "the lint takes the columns' properties for repeated attributes"
)]
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "weighbridge.dev",
    version = "v1alpha1",
    kind = "Route",
    namespaced,
    doc = "A Route says which model names callers may ask for, and which backends serve them.",
    derive = "PartialEq",
    shortname = "wbr",
    category = "weighbridge",
    annotation("helm.sh/resource-policy", "keep"),
    // A column shows one value: of `[*]` the API server would print the first alone.
    printcolumn(name = "Models", type_ = "string", json_path = ".spec.models"),
    printcolumn(
        name = "First Target",
        type_ = "string",
        json_path = ".spec.targets[0].name"
    ),
    printcolumn(
        name = "First Provider",
        type_ = "string",
        json_path = ".spec.targets[0].backends[0].providerRef.name",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteSpec {
    /// The model names callers ask for: exact, or a prefix and `*`; `*` alone is every name.
    #[schemars(
        length(min = 1, max = bounds::MODELS),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub models: Vec<ModelPattern>,
    /// Where calls go, in order: the first target that can, serves; inside one, weights decide.
    #[schemars(
        length(min = 1, max = bounds::TARGETS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub targets: Vec<Target>,
    /// When, how often and how long other candidates are tried.
    #[serde(default)]
    pub failover: Failover,
    /// The bounds of a call.
    #[serde(default)]
    pub timeouts: RouteTimeouts,
    /// The namespaces whose VirtualKeys may use this Route. Left out, only those of this namespace.
    #[serde(default)]
    pub allowed_virtual_keys: Grant,
}

/// Backends that share traffic by weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// The target's name, unique in this Route.
    #[serde(deserialize_with = "strict::text")]
    #[schemars(length(min = 1, max = bounds::NAME), pattern(text::PART_NAME))]
    pub name: String,
    /// The backends that share this target's traffic. With all weights 0 the target is skipped:
    /// that drains it.
    #[schemars(
        length(min = 1, max = bounds::BACKENDS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub backends: Vec<Backend>,
}

/// A model at a Provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// The backend's name, unique in its target.
    #[serde(deserialize_with = "strict::text")]
    #[schemars(length(min = 1, max = bounds::NAME), pattern(text::PART_NAME))]
    pub name: String,
    /// The Provider to call.
    pub provider_ref: ProviderRef,
    /// The model asked for there. Left out, the name the caller sent; `*` is what the `*` of the
    /// pattern in `models` stood for.
    #[serde(
        deserialize_with = "strict::optional_text",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = bounds::TEXT), pattern(text::UPSTREAM_MODEL))]
    pub model: Option<String>,
    /// The share among the backends of this target, 0 to 1000000; left out, 1. 0 gets nothing.
    #[serde(
        deserialize_with = "strict::optional_whole::<_, 0, { bounds::WEIGHT }>",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = bounds::WEIGHT))]
    pub weight: Option<i64>,
    /// The Provider's accounts this backend keeps to. Left out, all.
    #[serde(
        deserialize_with = "strict::optional_texts",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(
        length(min = 1, max = bounds::ACCOUNTS),
        inner(length(min = 1, max = bounds::NAME), pattern(text::PART_NAME)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub accounts: Option<Vec<String>>,
}

/// A Provider, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderRef {
    /// The Provider's name.
    #[serde(deserialize_with = "strict::text")]
    #[schemars(length(min = 1, max = bounds::TEXT), pattern(text::OBJECT_NAME))]
    pub name: String,
    /// The Provider's namespace. Left out, the Route's own.
    #[serde(
        deserialize_with = "strict::optional_text",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = bounds::NAME), pattern(text::PART_NAME))]
    pub namespace: Option<String>,
}

/// When, how often and how long other candidates are tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Failover {
    /// The failures after which another backend is tried. A failed credential of ours always is one.
    // Not `on`: Kubernetes reads YAML 1.1, where a key `on` is the boolean `true`. Files follow YAML 1.2,
    // where it is a word, and the word that many expect: there it is taken for the same.
    #[serde(alias = "on")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "set"))]
    pub reasons: Vec<FailoverReason>,
    /// The most attempts that providers took on in one call, 1 to 64. Answers 429, 401, 402, 403 and
    /// failed connects don't count.
    #[serde(deserialize_with = "strict::whole::<_, 1, { bounds::ATTEMPTS }>")]
    #[schemars(range(min = 1, max = bounds::ATTEMPTS))]
    pub max_attempts: i64,
    /// The time from the call's start in which another attempt may begin; a running one isn't cut. It
    /// is meant to be above `connect` and `firstEvent` of the Providers used, and may well be below
    /// `request`: a call that is answered slowly is not one that hangs.
    pub window: Duration,
}

/// Why another backend is tried.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum FailoverReason {
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// Status 429.
    RateLimited,
    /// Status 503 or 529.
    Overloaded,
    /// Any other failure of the provider: 5xx, a cut or unreadable answer.
    ServerError,
}

/// The bounds of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RouteTimeouts {
    /// The time of the whole call, over all attempts. It bounds answers that take long on purpose, so
    /// it may well be above `failover.window`.
    pub request: Duration,
}

impl FailoverReason {
    /// Every reason; all of them by default.
    pub const ALL: [Self; 5] = [
        Self::Connect,
        Self::Timeout,
        Self::RateLimited,
        Self::Overloaded,
        Self::ServerError,
    ];
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            reasons: FailoverReason::ALL.to_vec(),
            max_attempts: 6,
            window: "2m".into(),
        }
    }
}

impl Default for RouteTimeouts {
    fn default() -> Self {
        Self {
            request: "10m".into(),
        }
    }
}
