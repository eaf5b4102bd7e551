//! Which Secrets the objects refer to, where a standalone gateway finds them, and what they hold.
//!
//! The single definition of the file and variable names. Must never return a reference whose names
//! aren't valid (they become paths), and never say in a message what a Secret holds.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use weighbridge_crds::{
    SecretKeyRef, TOKEN_KEY, VIRTUAL_KEY_LABEL, check_object_name, check_part_name,
    check_secret_key,
};
use weighbridge_snapshot::{Credential, ObjectName, Redacted, TokenDigest};

use crate::{Kind, LastGood, ObjectId, Secret, SecretPlaces, World};

/// The most characters of a credential: what servers commonly take as one header.
const CREDENTIAL: usize = 8192;
/// The characters of a token that somebody brings; fewer could be guessed.
const TOKEN: RangeInclusive<usize> = 16..=512;

/// Every Secret's key that some object refers to, the VirtualKeys' `token` included: by its spec in the
/// world or by its last good one, which may be the one in force as long as the object is there.
/// References whose names aren't valid are left out (their objects are refused).
pub fn secret_refs(world: &World, last_good: &LastGood) -> BTreeSet<(ObjectName, String)> {
    let providers = world
        .providers
        .iter()
        .map(|(name, object)| (name, &object.spec));
    let good_providers = last_good
        .providers
        .iter()
        .filter(|(name, good)| is_there(world, Kind::Provider, name, good.uid.as_deref()))
        .map(|(name, good)| (name, &good.spec));
    let keys = world
        .virtual_keys
        .iter()
        .map(|(name, object)| (name, &object.spec));
    let good_keys = last_good
        .virtual_keys
        .iter()
        .filter(|(name, good)| is_there(world, Kind::VirtualKey, name, good.uid.as_deref()))
        .map(|(name, good)| (name, &good.spec));
    let credentials = providers
        .chain(good_providers)
        .flat_map(|(provider, spec)| {
            spec.accounts.iter().map(|account| {
                let SecretKeyRef { name, key } = &account.secret_ref;
                (ObjectName::new(&provider.namespace, name), key.clone())
            })
        });
    let tokens = keys.chain(good_keys).map(|(key, spec)| {
        let secret = ObjectName::new(&key.namespace, &spec.secret_name);
        (secret, TOKEN_KEY.to_owned())
    });
    credentials
        .chain(tokens)
        .filter(|(secret, key)| is_valid(secret, key))
        .collect()
}

/// The file that holds a Secret's key, relative to the secrets directory: `namespace/name/key`, the
/// shape of mounted Secrets.
pub fn secret_file(secret: &ObjectName, key: &str) -> PathBuf {
    [&secret.namespace, &secret.name, key].iter().collect()
}

/// The environment variable that holds a Secret's key: `WEIGHBRIDGE_SECRET_NAMESPACE__NAME__KEY`, in
/// upper case, what isn't a letter or digit as `_`. Two references can share a variable; whoever reads
/// the environment refuses that.
pub fn secret_variable(secret: &ObjectName, key: &str) -> String {
    let shout = |text: &str| -> String {
        text.chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() {
                    letter.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect()
    };
    format!(
        "WEIGHBRIDGE_SECRET_{}__{}__{}",
        shout(&secret.namespace),
        shout(&secret.name),
        shout(key)
    )
}

/// Whether the object is in the world, readable or not, and the one with this `metadata.uid`.
fn is_there(world: &World, kind: Kind, name: &ObjectName, uid: Option<&str>) -> bool {
    let metadata = match kind {
        Kind::Provider => world.providers.get(name).map(|object| &object.metadata),
        Kind::Route => world.routes.get(name).map(|object| &object.metadata),
        Kind::VirtualKey => world.virtual_keys.get(name).map(|object| &object.metadata),
    };
    let found = metadata.map(|metadata| metadata.uid.as_deref());
    let unreadable = || {
        let object = world.unreadable.get(&ObjectId::new(kind, name.clone()))?;
        Some(object.uid.as_deref())
    };
    found.or_else(unreadable) == Some(uid)
}

fn is_valid(secret: &ObjectName, key: &str) -> bool {
    check_part_name(&secret.namespace).is_ok()
        && check_object_name(&secret.name).is_ok()
        && check_secret_key(key).is_ok()
}

/// The credential of an account of `provider`, or why there is none.
pub(crate) fn credential(
    world: &World,
    provider: &ObjectName,
    reference: &SecretKeyRef,
) -> Result<Credential, String> {
    let name = ObjectName::new(&provider.namespace, &reference.name);
    let key = reference.key.as_str();
    let value = world
        .secrets
        .get(&name)
        .and_then(|secret| visible_text(secret, key))
        .ok_or_else(|| not_there(world, &name, key))?;
    if (1..=CREDENTIAL).contains(&value.len()) {
        Ok(Credential::ApiKey(Redacted::new(value.to_owned())))
    } else {
        Err(format!(
            "key {key:?} of Secret {name} holds what no header can; allowed is 1 to {CREDENTIAL} visible ASCII characters"
        ))
    }
}

/// The digest of the token of the VirtualKey `owner` in the Secret `name`, or why there is none.
pub(crate) fn token(
    world: &World,
    owner: &ObjectName,
    name: &ObjectName,
) -> Result<TokenDigest, String> {
    let secret = world
        .secrets
        .get(name)
        .ok_or_else(|| not_there(world, name, TOKEN_KEY))?;
    if secret.labels.get(VIRTUAL_KEY_LABEL) != Some(&owner.name) {
        return Err(format!(
            "Secret {name} lacks the label {VIRTUAL_KEY_LABEL}: {}, so it is neither read nor written",
            owner.name
        ));
    }
    let text = visible_text(secret, TOKEN_KEY).ok_or_else(|| not_there(world, name, TOKEN_KEY))?;
    if TOKEN.contains(&text.len()) {
        Ok(TokenDigest::of(text.as_bytes()))
    } else {
        Err(format!(
            "key {TOKEN_KEY:?} of Secret {name} holds no usable token; allowed is {} to {} visible ASCII characters",
            TOKEN.start(),
            TOKEN.end()
        ))
    }
}

/// The value of a key without one trailing line break; empty when it isn't visible ASCII.
fn visible_text<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    let value = secret.data.get(key)?.expose().as_slice();
    let unbroken = value.strip_suffix(b"\r\n").or(value.strip_suffix(b"\n"));
    let value = unbroken.unwrap_or(value);
    let visible = value.iter().all(u8::is_ascii_graphic);
    let text = std::str::from_utf8(value).ok().filter(|_| visible);
    Some(text.unwrap_or_default())
}

fn not_there(world: &World, secret: &ObjectName, key: &str) -> String {
    let places = match &world.secret_places {
        SecretPlaces::Cluster => String::new(),
        SecretPlaces::Standalone { directory } => format!(
            "; looked in the files given, for the file {directory}/{}, and for the variable {}",
            secret_file(secret, key).display(),
            secret_variable(secret, key)
        ),
    };
    format!("key {key:?} of Secret {secret} isn't there{places}")
}
