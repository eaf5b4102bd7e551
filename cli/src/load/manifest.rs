//! The outer form of the manifests: envelope, metadata, Secret, Namespace.
//!
//! What an API server would fill in or ignore is read past; what it would refuse is refused. Must
//! never put a Secret's value into an error.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use weighbridge_compiler::Secret;
use weighbridge_crds::check_secret_key;
use weighbridge_snapshot::Redacted;

/// What says of which kind a document is, and whose it is.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Head {
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) metadata: Option<HeadMetadata>,
    /// Of no object, but of a compiled snapshot.
    pub(super) format: Option<Scalar>,
}

/// What names an object.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct HeadMetadata {
    pub(super) namespace: Option<Scalar>,
    pub(super) name: Option<Scalar>,
    pub(super) uid: Option<String>,
    pub(super) generation: Option<i64>,
}

/// What stands where text is allowed. What YAML takes for a number or a truth value is no text, as for
/// an API server.
#[derive(Debug)]
pub(super) enum Scalar {
    Text(String),
    /// Something else, and what.
    Other(&'static str),
}

/// An object with a spec.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Envelope<S> {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    pub(super) metadata: Metadata,
    pub(super) spec: S,
    #[serde(rename = "status", default)]
    _status: IgnoredAny,
}

/// The metadata that may stand in a file; only an operator or an API server acts on the rest.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Metadata {
    #[serde(rename = "name")]
    _name: IgnoredAny,
    #[serde(rename = "namespace")]
    _namespace: IgnoredAny,
    pub(super) labels: Texts,
    pub(super) annotations: Texts,
    #[serde(rename = "uid")]
    _uid: IgnoredAny,
    #[serde(rename = "generation")]
    _generation: IgnoredAny,
    #[serde(rename = "creationTimestamp")]
    _creation_timestamp: IgnoredAny,
    #[serde(rename = "deletionTimestamp")]
    _deletion_timestamp: IgnoredAny,
    #[serde(rename = "deletionGracePeriodSeconds")]
    _deletion_grace_period_seconds: IgnoredAny,
    #[serde(rename = "finalizers")]
    _finalizers: IgnoredAny,
    #[serde(rename = "generateName")]
    _generate_name: IgnoredAny,
    #[serde(rename = "managedFields")]
    _managed_fields: IgnoredAny,
    #[serde(rename = "ownerReferences")]
    _owner_references: IgnoredAny,
    #[serde(rename = "resourceVersion")]
    _resource_version: IgnoredAny,
    #[serde(rename = "selfLink")]
    _self_link: IgnoredAny,
}

/// A Secret.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SecretManifest {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    data: Values<Base64>,
    #[serde(default)]
    string_data: Values<Plain>,
    #[serde(rename = "type", default)]
    _type: IgnoredAny,
    #[serde(rename = "immutable", default)]
    _immutable: IgnoredAny,
}

/// A Namespace.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NamespaceManifest {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    pub(super) metadata: Metadata,
    #[serde(rename = "spec", default)]
    _spec: IgnoredAny,
    #[serde(rename = "status", default)]
    _status: IgnoredAny,
}

/// A map of texts, where there is one; a key twice is refused.
#[derive(Debug, Default)]
pub(super) struct Texts(pub(super) Option<BTreeMap<String, String>>);

/// A map of secret values; a key twice is refused.
struct Values<C> {
    values: BTreeMap<String, Redacted<Vec<u8>>>,
    coding: PhantomData<C>,
}

/// How a map's values are written.
trait Coding {
    /// The bytes of a value; `None` when it isn't written so.
    fn decode(text: &str) -> Option<Vec<u8>>;
}

/// Base64, as in `data`.
struct Base64;

/// As it is, as in `stringData`.
struct Plain;

/// A secret value. Only text is one: what YAML takes for a number or a truth value must be quoted, as
/// an API server demands; and the error must not repeat it.
struct Value<C>(Redacted<Vec<u8>>, PhantomData<C>);

impl From<SecretManifest> for Secret {
    fn from(manifest: SecretManifest) -> Self {
        let mut data = manifest.data.values;
        // An API server writes `stringData` over `data`.
        data.extend(manifest.string_data.values);
        Self {
            labels: manifest.metadata.labels.into(),
            data,
        }
    }
}

impl From<Texts> for BTreeMap<String, String> {
    fn from(texts: Texts) -> Self {
        texts.0.unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl<'de> Visitor<'de> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Other("nothing"))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
                Ok(Scalar::Other("a truth value"))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
                Ok(Scalar::Other("a number"))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Scalar, E> {
                Ok(Scalar::Other("a number"))
            }

            fn visit_i128<E>(self, _: i128) -> Result<Scalar, E> {
                Ok(Scalar::Other("a number"))
            }

            fn visit_u128<E>(self, _: u128) -> Result<Scalar, E> {
                Ok(Scalar::Other("a number"))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
                Ok(Scalar::Other("a number"))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other("a list"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other("a map"))
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;
        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of keys and texts")
            }

            fn visit_unit<E>(self) -> Result<Texts, E> {
                Ok(Texts(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut texts = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Scalar>()? {
                    let text = match value {
                        Scalar::Text(text) => text,
                        Scalar::Other(found) => {
                            let message = format!("found {found} under {key:?}; {QUOTED}");
                            return Err(A::Error::custom(message));
                        }
                    };
                    if texts.insert(key.clone(), text).is_some() {
                        return Err(twice(&key));
                    }
                }
                Ok(Texts(Some(texts)))
            }
        }
        deserializer.deserialize_any(TextsVisitor)
    }
}

/// What to do about a value that isn't text.
pub(super) const QUOTED: &str =
    "allowed is text; quote what looks like a number, true, false or null";

fn twice<E: Error>(key: &str) -> E {
    E::custom(format_args!("found the key {key:?} twice; allowed is once"))
}

impl Coding for Base64 {
    fn decode(text: &str) -> Option<Vec<u8>> {
        // Long values are wrapped over lines.
        let packed: String = text.split_ascii_whitespace().collect();
        BASE64_STANDARD.decode(packed).ok()
    }
}

impl Coding for Plain {
    fn decode(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }
}

impl<C> Default for Values<C> {
    fn default() -> Self {
        Self {
            values: BTreeMap::new(),
            coding: PhantomData,
        }
    }
}

impl<'de, C: Coding> Deserialize<'de> for Values<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValuesVisitor<C>(PhantomData<C>);
        impl<'de, C: Coding> Visitor<'de> for ValuesVisitor<C> {
            type Value = Values<C>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of keys and values")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Values::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut values = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    check_secret_key(&key).map_err(|misfit| {
                        A::Error::custom(format_args!(
                            "found the key {}; allowed is {}",
                            misfit.found, misfit.allowed
                        ))
                    })?;
                    let Value(value, _) = map.next_value::<Value<C>>()?;
                    if values.insert(key.clone(), value).is_some() {
                        return Err(twice(&key));
                    }
                }
                Ok(Values {
                    values,
                    coding: PhantomData,
                })
            }
        }
        deserializer.deserialize_any(ValuesVisitor(PhantomData))
    }
}

impl<'de, C: Coding> Deserialize<'de> for Value<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor<C>(PhantomData<C>);
        impl<C: Coding> Visitor<'_> for ValueVisitor<C> {
            type Value = Value<C>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("text; quote what looks like a number, true, false or null")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                C::decode(text)
                    .map(|bytes| Value(Redacted::new(bytes), PhantomData))
                    .ok_or_else(|| {
                        E::custom(
                            "found what isn't base64; allowed is base64 (plain text goes under stringData)",
                        )
                    })
            }
        }
        deserializer.deserialize_any(ValueVisitor(PhantomData))
    }
}
