//! Provider: somewhere that models run.
//!
//! Must never state a default inside a list item (the compiler applies those).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, EndpointUrl, Grant, ModelName, ModelPattern, bounds, strict, text};

/// What a Provider is.
#[expect(
    clippy::duplicated_attributes,
    reason = "the lint takes the columns' properties for repeated attributes"
)]
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "weighbridge.dev",
    version = "v1alpha1",
    kind = "Provider",
    namespaced,
    doc = "A Provider is somewhere that models run: an address, the accounts to use there, and how patient to be.",
    derive = "PartialEq",
    shortname = "wbp",
    category = "weighbridge",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(name = "Dialect", type_ = "string", json_path = ".spec.dialect"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpoint"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderSpec {
    /// The wire format spoken there.
    pub dialect: Dialect,
    /// The base address, such as `https://api.example.com/v1`; operations are added to its path.
    /// Left out, it is the dialect's own: `https://api.openai.com/v1` for `OpenAI`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointUrl>,
    /// The accounts that share the traffic by weight. Left out, calls go out without a credential,
    /// through one account named `default`.
    #[serde(
        deserialize_with = "strict::accounts",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(
        length(max = bounds::ACCOUNTS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub accounts: Vec<Account>,
    /// How often, and how soon, the same backend is asked again. Other backends and targets come
    /// first.
    #[serde(default)]
    pub retry: Retry,
    /// The bounds of one attempt.
    #[serde(default)]
    pub timeouts: ProviderTimeouts,
    /// The catalogue of models this provider has; optional.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = bounds::CATALOGUE),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub models: Vec<CatalogueModel>,
    /// The namespaces whose Routes may point here. Left out, only Routes of this namespace.
    #[serde(default)]
    pub allowed_routes: Grant,
}

/// The wire format spoken at a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Dialect {
    /// The `OpenAI` API, and servers compatible with it.
    OpenAI,
}

/// A credential at the provider, with its share of the traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Account {
    /// The account's name, unique in this Provider; callers see it in `x-weighbridge-account`.
    #[serde(deserialize_with = "strict::text")]
    #[schemars(length(min = 1, max = bounds::NAME), pattern(text::PART_NAME))]
    pub name: String,
    /// The Secret that holds the credential, in this namespace.
    #[serde(deserialize_with = "strict::secret_ref")]
    pub secret_ref: SecretKeyRef,
    /// The share among the accounts, 0 to 1000000; left out, 1. 0 gets nothing.
    #[serde(
        deserialize_with = "strict::optional_whole::<_, 0, { bounds::WEIGHT }>",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = bounds::WEIGHT))]
    pub weight: Option<i64>,
    /// The upstream models this account may serve, exact or a prefix and `*`. Left out, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::MODELS), extend("x-kubernetes-list-type" = "set"))]
    pub models: Option<Vec<ModelPattern>>,
    /// The namespaces whose VirtualKeys may use this account. Left out, all that the Route admits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_virtual_keys: Option<Grant>,
}

/// A key of a Secret in the object's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[serde(deserialize_with = "strict::text")]
    #[schemars(length(min = 1, max = bounds::TEXT), pattern(text::OBJECT_NAME))]
    pub name: String,
    /// The key in the Secret's data.
    #[serde(deserialize_with = "strict::text")]
    #[schemars(length(min = 1, max = bounds::TEXT), pattern(text::SECRET_KEY))]
    pub key: String,
}

/// How often, and how soon, the same backend is asked again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retry {
    /// The most repeats of the same backend in one call, 0 to 10.
    #[serde(deserialize_with = "strict::whole::<_, 0, { bounds::RETRIES }>")]
    #[schemars(range(min = 0, max = bounds::RETRIES))]
    pub max_retries: i64,
    /// The waits between repeats, exponential with jitter.
    pub backoff: Backoff,
    /// How many repeats all calls together may make, as a share of first attempts. It holds per data
    /// plane: several together may make that many each.
    pub budget: RetryBudget,
}

/// The bounds of the waits between repeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "duration(self.initial) <= duration(self.max)",
    "message": "initial must not be above max",
}]))]
pub struct Backoff {
    /// The upper bound of the first wait; each further wait doubles it.
    pub initial: Duration,
    /// The upper bound of every wait.
    pub max: Duration,
}

/// A bound on repeats as a share of first attempts, per data plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryBudget {
    /// Repeats per hundred first attempts, 0 to 100; 0 allows none.
    #[serde(deserialize_with = "strict::whole::<_, 0, { bounds::PERCENT }>")]
    #[schemars(range(min = 0, max = bounds::PERCENT))]
    pub percent: i64,
    /// The time over which first attempts are counted.
    pub interval: Duration,
}

/// The bounds of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProviderTimeouts {
    /// The time to connect, TLS included.
    pub connect: Duration,
    /// The time until a stream's first content; streams only.
    pub first_event: Duration,
    /// The time between two events of a stream; streams only. A slow drip is bounded by `request`.
    pub idle: Duration,
    /// The time of the whole attempt. It bounds answers that take long on purpose, so it may well be
    /// above a Route's `failover.window`.
    pub request: Duration,
}

/// A model this provider has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogueModel {
    /// The model's name at the provider.
    pub name: ModelName,
    /// What the model can do. Left out, all that the dialect has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub operations: Option<Vec<Operation>>,
}

/// A call's kind, named after the API operation.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Operation {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/embeddings`
    Embeddings,
}

impl Dialect {
    /// Where a Provider is that names no endpoint.
    pub fn default_endpoint(self) -> EndpointUrl {
        match self {
            Self::OpenAI => "https://api.openai.com/v1".into(),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_retries: 1,
            backoff: Backoff::default(),
            budget: RetryBudget::default(),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: "100ms".into(),
            max: "5s".into(),
        }
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            percent: 20,
            interval: "10s".into(),
        }
    }
}

impl Default for ProviderTimeouts {
    fn default() -> Self {
        Self {
            connect: "2s".into(),
            first_event: "60s".into(),
            idle: "60s".into(),
            request: "10m".into(),
        }
    }
}
