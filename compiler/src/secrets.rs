//! Which Secrets the objects refer to, and where a standalone gateway finds them.
//!
//! The single definition of the file and variable names. Must never return a reference whose names
//! aren't valid: they become paths.

use std::collections::BTreeSet;
use std::path::PathBuf;

use weighbridge_crds::{
    SecretKeyRef, TOKEN_KEY, check_object_name, check_part_name, check_secret_key,
};
use weighbridge_snapshot::ObjectName;

use crate::World;

/// Every Secret's key that some object refers to, the VirtualKeys' `token` included. References whose
/// names aren't valid are left out (their objects are refused).
pub fn secret_refs(world: &World) -> BTreeSet<(ObjectName, String)> {
    let credentials = world.providers.iter().flat_map(|(provider, object)| {
        object.spec.accounts.iter().map(|account| {
            let SecretKeyRef { name, key } = &account.secret_ref;
            (ObjectName::new(&provider.namespace, name), key.clone())
        })
    });
    let tokens = world.virtual_keys.iter().map(|(key, object)| {
        let secret = ObjectName::new(&key.namespace, &object.spec.secret_name);
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
            .map(|letter| match letter.is_ascii_alphanumeric() {
                true => letter.to_ascii_uppercase(),
                false => '_',
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

fn is_valid(secret: &ObjectName, key: &str) -> bool {
    check_part_name(&secret.namespace).is_ok()
        && check_object_name(&secret.name).is_ok()
        && check_secret_key(key).is_ok()
}
