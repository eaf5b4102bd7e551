//! The data of a snapshot: plain, validated, comparable; a value is its own cache key.
//!
//! Must never hold a reference that the compiler didn't resolve, a default that isn't written out,
//! or a secret outside [`Credential`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ObjectName, Redacted, TokenDigest};

/// Everything a data plane needs to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// Where models run.
    pub providers: BTreeMap<ObjectName, Provider>,
    /// Where model names lead.
    pub routes: BTreeMap<ObjectName, Route>,
    /// Who may call.
    pub virtual_keys: BTreeMap<ObjectName, VirtualKey>,
    /// The accounts' credentials, apart from the Providers so that a dump of these holds none and a
    /// rotated Secret changes nothing else.
    pub credentials: BTreeMap<CredentialName, Credential>,
}

/// Whose credential it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CredentialName {
    /// The Provider.
    pub provider: ObjectName,
    /// The account's name in it.
    pub account: String,
}

/// What an account proves itself with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A key sent in a header; visible ASCII.
    ApiKey(Redacted<String>),
}

/// The wire format spoken at a Provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Dialect {
    /// OpenAI's API and servers compatible with it.
    OpenAI,
}

/// A call's kind, named after the API operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain TCP.
    Http,
    /// TLS, verified.
    Https,
}

/// A Provider's base address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// How to connect.
    pub scheme: Scheme,
    /// Host name, IPv4 address, or IPv6 address in brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path prefix without a trailing slash; empty for the root.
    pub path: String,
}

/// A Provider with its resolved accounts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Provider {
    /// The wire format spoken there.
    pub dialect: Dialect,
    /// Where it is.
    pub endpoint: Endpoint,
    /// The accounts whose credential was found, in declared order; at most 64. None: unresolvable.
    pub accounts: Vec<Account>,
    /// Repeating the same backend.
    pub retry: Retry,
    /// Bounds of one attempt.
    pub timeouts: ProviderTimeouts,
    /// The declared catalogue; empty when none was declared.
    pub models: Vec<CatalogueModel>,
}

/// A credential at a Provider, with its share of the traffic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Account {
    /// Unique in its Provider.
    pub name: String,
    /// Whether a [`Credential`] belongs to it; without, calls go out without one.
    pub has_credential: bool,
    /// Share among its siblings, 0 to 1,000,000; 0 gets nothing.
    pub weight: u32,
    /// Upstream models it may serve; empty = all.
    pub models: Vec<ModelPattern>,
    /// The namespaces whose virtual keys may use it.
    pub admits: Namespaces,
}

/// How often, and how soon, the same backend is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Retry {
    /// Repeats of the same backend in one call.
    pub max_retries: u32,
    /// Waits between repeats.
    pub backoff: Backoff,
    /// How many repeats all calls together may make.
    pub budget: RetryBudget,
}

/// Bounds of the jittered exponential wait before a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Backoff {
    /// Upper bound of the first wait.
    #[serde(with = "millis")]
    pub initial: Duration,
    /// Upper bound of every wait.
    #[serde(with = "millis")]
    pub max: Duration,
}

/// Repeats allowed as a share of recent first attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RetryBudget {
    /// Repeats per hundred first attempts, 0 to 100.
    pub percent: u32,
    /// The time looked back over.
    #[serde(with = "millis")]
    pub interval: Duration,
}

/// Bounds of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProviderTimeouts {
    /// Name look-up, TCP and TLS together.
    #[serde(with = "millis")]
    pub connect: Duration,
    /// Until a stream's first content.
    #[serde(with = "millis")]
    pub first_event: Duration,
    /// Between two events of a stream.
    #[serde(with = "millis")]
    pub idle: Duration,
    /// The whole attempt.
    #[serde(with = "millis")]
    pub request: Duration,
}

/// A model that a Provider declares.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CatalogueModel {
    /// The name spoken upstream.
    pub name: String,
    /// What it can do; `None` = all of the dialect.
    pub operations: Option<BTreeSet<Operation>>,
}

/// A model name, or a prefix and `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ModelPattern {
    /// This name alone.
    Exact(String),
    /// Every name that begins so; empty = every name.
    Prefix(String),
}

/// Which namespaces something is granted to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Namespaces {
    /// Every namespace.
    All,
    /// These alone; none of them: nobody.
    Only(BTreeSet<String>),
}

/// Where some model names lead.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The names callers ask for.
    pub models: Vec<ModelPattern>,
    /// The namespaces whose virtual keys may use it.
    pub admits: Namespaces,
    /// In order: the first that can, serves. At most 8.
    pub targets: Vec<Target>,
    /// When and how long other candidates are tried.
    pub failover: Failover,
    /// Bound of the whole call.
    #[serde(with = "millis")]
    pub request_timeout: Duration,
}

/// Backends that share traffic by weight.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// Unique in its Route.
    pub name: String,
    /// At most 16.
    pub backends: Vec<Backend>,
}

/// A model at a Provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Backend {
    /// Unique in its target.
    pub name: String,
    /// The Provider; `None` = unresolvable: it keeps its share and fails it over.
    pub provider: Option<ObjectName>,
    /// The model asked for there.
    pub model: BackendModel,
    /// Share among its siblings, 0 to 1,000,000; 0 gets nothing.
    pub weight: u32,
    /// The accounts it may use; `None` = all of the Provider.
    pub accounts: Option<BTreeSet<String>>,
}

/// The model name sent upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BackendModel {
    /// The name the caller sent.
    Caller,
    /// What the Route pattern's `*` stood for.
    Wildcard,
    /// This one.
    Named(String),
}

/// When and how long other candidates are tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failover {
    /// The failures after which another backend is tried.
    pub on: BTreeSet<FailoverReason>,
    /// Attempts that a provider took on, in one call; at least 1.
    pub max_attempts: u32,
    /// Time from the call's start in which another attempt may begin.
    #[serde(with = "millis")]
    pub window: Duration,
}

/// Why another backend is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FailoverReason {
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// 429.
    RateLimited,
    /// 503, 529.
    Overloaded,
    /// Any other failure of the provider: 5xx, a cut or unreadable answer.
    ServerError,
}

/// A team's credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VirtualKey {
    /// The tokens that are this key; several while one is rotated.
    pub tokens: Vec<TokenDigest>,
    /// The Routes it asks for, in order of preference.
    pub routes: Vec<RouteRef>,
    /// Accounts it keeps to, per Provider; Providers not named are not narrowed.
    pub accounts: Vec<AccountNarrowing>,
    /// Refused everywhere.
    pub suspended: bool,
    /// Seconds since the Unix epoch from which it is refused.
    pub expires_at: Option<i64>,
}

/// One Route, or every Route of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RouteRef {
    /// The Routes' namespace.
    pub namespace: String,
    /// The Route's name; `None` = every Route there that admits the key.
    pub name: Option<String>,
}

/// The accounts of one Provider that a key keeps to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AccountNarrowing {
    /// The Provider.
    pub provider: ObjectName,
    /// Names of its accounts.
    pub names: BTreeSet<String>,
}

impl Operation {
    /// Every operation, in the order documents list them.
    pub const ALL: [Self; 4] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::Embeddings,
    ];
}

impl Namespaces {
    /// Whether the namespace is granted.
    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(namespace),
        }
    }
}

impl ModelPattern {
    /// Whether `model` is meant; if so, what the `*` stood for (empty for an exact name).
    pub fn matches<'a>(&self, model: &'a str) -> Option<&'a str> {
        match self {
            Self::Exact(name) => (name == model).then_some(""),
            Self::Prefix(prefix) => model.strip_prefix(prefix.as_str()),
        }
    }
}

impl From<String> for ModelPattern {
    fn from(text: String) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(text),
        }
    }
}

impl From<ModelPattern> for String {
    fn from(pattern: ModelPattern) -> Self {
        match pattern {
            ModelPattern::Exact(name) => name,
            ModelPattern::Prefix(prefix) => prefix + "*",
        }
    }
}

/// Durations as whole milliseconds, the finest unit a resource can write.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
