//! What a user may write: the resources of `weighbridge.dev/v1alpha1`, their schema and its bounds,
//! and the manifests generated from them.
//!
//! The types are as lenient as YAML allows and the schema is strict: a value out of bounds must still
//! be readable, because its object's grants count although the object is refused. Structure (unknown
//! fields, wrong types, unknown enumeration values) is refused on reading, with the field's path.
//!
//! Must never watch, speak HTTP, or decide what an object means; the compiler does.

pub mod bounds;
mod duration;
mod endpoint;
mod manifests;
mod namespaces;
mod provider;
mod route;
mod strict;
#[cfg(test)]
mod tests;
mod text;
mod timestamp;
mod virtual_key;

pub use duration::Duration;
pub use endpoint::EndpointUrl;
pub use manifests::{manifests, manifests_yaml, required_fields};
pub use namespaces::{
    From, Grant, LabelOperator, LabelRequirement, LabelSelector, NamespaceSelector,
};
pub use provider::{
    Account, Backoff, CatalogueModel, Dialect, Operation, Provider, ProviderSpec, ProviderTimeouts,
    Retry, RetryBudget, SecretKeyRef,
};
pub use route::{
    Backend, Failover, FailoverReason, ProviderRef, Route, RouteSpec, RouteTimeouts, Target,
};
pub use text::{
    Misfit, ModelName, ModelPattern, check_label_name, check_label_value, check_object_name,
    check_part_name, check_secret_key, check_upstream_model,
};
pub use timestamp::Timestamp;
pub use virtual_key::{AccountNarrowing, RouteRef, VirtualKey, VirtualKeySpec};

/// The API group of every kind.
pub const GROUP: &str = "weighbridge.dev";

/// The API version of every kind.
pub const VERSION: &str = "v1alpha1";

/// The label that makes a Secret a VirtualKey's; its value is the VirtualKey's name.
pub const VIRTUAL_KEY_LABEL: &str = "weighbridge.dev/virtual-key";

/// The key under which such a Secret holds the token.
pub const TOKEN_KEY: &str = "token";
