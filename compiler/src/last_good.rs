//! What was accepted last: the second input of a compile, and one of its results.
//!
//! Holds specs, generations and digests, never a token or a credential, so it may be persisted as it
//! is. Must never hold an object that no longer exists.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weighbridge_crds::{ProviderSpec, RouteSpec, VirtualKeySpec};
use weighbridge_snapshot::{ObjectName, TokenDigest};

/// The last accepted specs, and whose each token in force is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LastGood {
    /// Of Providers.
    pub providers: BTreeMap<ObjectName, Good<ProviderSpec>>,
    /// Of Routes.
    pub routes: BTreeMap<ObjectName, Good<RouteSpec>>,
    /// Of VirtualKeys.
    pub virtual_keys: BTreeMap<ObjectName, Good<VirtualKeySpec>>,
    /// The VirtualKey of each token in force: a second claim to it is refused.
    pub tokens: BTreeMap<TokenDigest, ObjectName>,
}

/// An accepted spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good<S> {
    /// The object's `metadata.uid`: an object made anew under the same name has another, and inherits
    /// nothing. None in files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The generation that was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// What it said.
    pub spec: S,
}
