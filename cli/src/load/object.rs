//! One object, out of its envelope.
//!
//! Must never judge what a spec says.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::{Deserialize, DeserializeSeed, Deserializer};
use weighbridge_compiler::ObjectId;
use weighbridge_crds::{Provider, Route, VirtualKey};

use super::manifest::{Envelope, NamespaceManifest, SecretManifest};
use super::{About, Id, Object};

/// What is to be read, once the head is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Provider,
    Route,
    VirtualKey,
    Secret,
    Namespace,
}

impl Shape {
    /// Reads the object that `about` names.
    pub(super) fn read<'de, D: Deserializer<'de>>(
        self,
        about: &About,
        deserializer: D,
    ) -> Result<Object, D::Error> {
        match self {
            Self::Provider => {
                let (metadata, spec) = open(about, deserializer)?;
                Ok(Object::Provider(Box::new(Provider { metadata, spec })))
            }
            Self::Route => {
                let (metadata, spec) = open(about, deserializer)?;
                Ok(Object::Route(Box::new(Route { metadata, spec })))
            }
            Self::VirtualKey => {
                let (metadata, spec) = open(about, deserializer)?;
                Ok(Object::VirtualKey(Box::new(VirtualKey { metadata, spec })))
            }
            Self::Secret => SecretManifest::deserialize(deserializer)
                .map(|manifest| Object::Secret(manifest.into())),
            Self::Namespace => NamespaceManifest::deserialize(deserializer)
                .map(|manifest| Object::Namespace(manifest.metadata.labels.into())),
        }
    }
}

/// An object that is to be read, once its head is known.
pub(super) struct ObjectSeed<'a>(pub(super) Shape, pub(super) &'a About);

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_> {
    type Value = Object;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Object, D::Error> {
        self.0.read(self.1, deserializer)
    }
}

/// Takes an object out of its envelope.
fn open<'de, S: Deserialize<'de>, D: Deserializer<'de>>(
    about: &About,
    deserializer: D,
) -> Result<(ObjectMeta, S), D::Error> {
    let envelope = Envelope::<S>::deserialize(deserializer)?;
    let (namespace, name) = match &about.id {
        Id::Judged(ObjectId { name, .. }) | Id::Secret(name) => {
            (Some(name.namespace.clone()), name.name.clone())
        }
        Id::Namespace(name) => (None, name.clone()),
    };
    let metadata = ObjectMeta {
        namespace,
        name: Some(name),
        uid: about.uid.clone(),
        generation: about.generation,
        labels: envelope.metadata.labels.0,
        annotations: envelope.metadata.annotations.0,
        ..ObjectMeta::default()
    };
    Ok((metadata, envelope.spec))
}
