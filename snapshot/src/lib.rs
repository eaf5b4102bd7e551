//! The contract between the two processes: what the compiler hands to a data plane.
//!
//! Owns validated plain data, object names, secrets as [`Redacted`], the digest by which a virtual
//! key is known downstream, the choice of a Route for a model name, the revision, and the file form.
//! Must never know Kubernetes, HTTP or a clock, and must never read or write anything itself.

mod model;
mod names;
mod object;
mod revision;
mod secret;
mod wire;

pub use model::{
    Account, AccountNarrowing, Backend, BackendModel, Backoff, CatalogueModel, Credential,
    CredentialName, Dialect, Endpoint, Failover, FailoverReason, ModelPattern, Namespaces,
    Operation, Provider, ProviderTimeouts, Retry, RetryBudget, Route, RouteRef, Scheme, Snapshot,
    Target, VirtualKey,
};
pub use names::{Names, routes_of};
pub use object::{ObjectName, ParseObjectNameError};
pub use revision::Revision;
pub use secret::{ParseTokenDigestError, Redacted, TokenDigest};
pub use wire::{DecodeError, FORMAT, decode, encode};
