//! The file form of a snapshot: one JSON document, its objects each under its name.
//!
//! The one place where credentials are written out; whoever stores the bytes keeps them as a secret
//! (mode 0600). Must never fail on a snapshot, and never accept bytes whose revision doesn't agree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Credential, CredentialName, ObjectName, Provider, Redacted, Revision, Route, Snapshot,
    VirtualKey,
};

/// The form's name; a breaking change gets a new one.
pub const FORMAT: &str = "weighbridge.dev/snapshot/v1";

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or not of this shape.
    #[error("the snapshot can't be read")]
    Shape(#[source] serde_json::Error),
    /// Another form.
    #[error("found snapshot format {0:?}; this version reads {FORMAT:?}")]
    Format(String),
    /// The content isn't what the revision was computed from.
    #[error(
        "the snapshot says revision {stated}, its content has {found}: it was cut or edited; write it again with `weighbridge check --snapshot`"
    )]
    Revision {
        /// What the file says.
        stated: Revision,
        /// What its content gives.
        found: Revision,
    },
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    revision: Revision,
    providers: BTreeMap<ObjectName, Provider>,
    routes: BTreeMap<ObjectName, Route>,
    virtual_keys: BTreeMap<ObjectName, VirtualKey>,
    credentials: Vec<WireCredential>,
}

#[derive(Clone, Serialize, Deserialize)]
struct WireCredential {
    #[serde(flatten)]
    name: CredentialName,
    api_key: String,
}

impl Snapshot {
    /// The content hash of this snapshot.
    pub fn revision(&self) -> Revision {
        revision_of(self, &wire_credentials(self))
    }
}

/// Encodes a snapshot, credentials included.
pub fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let credentials = wire_credentials(snapshot);
    let document = Document {
        format: FORMAT.to_owned(),
        revision: revision_of(snapshot, &credentials),
        providers: snapshot.providers.clone(),
        routes: snapshot.routes.clone(),
        virtual_keys: snapshot.virtual_keys.clone(),
        credentials,
    };
    to_json(&document)
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// When the bytes are not JSON of this shape, are of another format, or their content doesn't give
/// the revision they state.
pub fn decode(bytes: &[u8]) -> Result<Snapshot, DecodeError> {
    #[derive(Deserialize)]
    struct Head {
        format: String,
    }
    let head: Head = serde_json::from_slice(bytes).map_err(DecodeError::Shape)?;
    if head.format != FORMAT {
        return Err(DecodeError::Format(head.format));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(DecodeError::Shape)?;
    let snapshot = Snapshot {
        providers: document.providers,
        routes: document.routes,
        virtual_keys: document.virtual_keys,
        credentials: document
            .credentials
            .iter()
            .map(|wire| {
                let key = Redacted::new(wire.api_key.clone());
                (wire.name.clone(), Credential::ApiKey(key))
            })
            .collect(),
    };
    let found = revision_of(&snapshot, &document.credentials);
    if found != document.revision {
        return Err(DecodeError::Revision {
            stated: document.revision,
            found,
        });
    }
    Ok(snapshot)
}

fn revision_of(snapshot: &Snapshot, credentials: &[WireCredential]) -> Revision {
    let mut revision = Revision::default();
    for (name, provider) in &snapshot.providers {
        revision.add("Provider", &name.to_string(), &to_json(provider));
    }
    for (name, route) in &snapshot.routes {
        revision.add("Route", &name.to_string(), &to_json(route));
    }
    for (name, key) in &snapshot.virtual_keys {
        revision.add("VirtualKey", &name.to_string(), &to_json(key));
    }
    for credential in credentials {
        revision.add("Credential", "", &to_json(credential));
    }
    revision
}

fn wire_credentials(snapshot: &Snapshot) -> Vec<WireCredential> {
    snapshot
        .credentials
        .iter()
        .map(|(name, Credential::ApiKey(key))| WireCredential {
            name: name.clone(),
            api_key: key.expose().clone(),
        })
        .collect()
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data with string keys always serialises")
}

#[cfg(test)]
mod tests;
