//! Where a standalone gateway finds what Secrets hold: the manifests, then a directory in the shape of
//! mounted Secrets, then the environment; and where it keeps the tokens that it makes.
//!
//! The one place that reads the environment. Must never touch the Secret of a VirtualKey that lacks the
//! key's label, nor make a token for a VirtualKey that can't be read now: it may be gone.

mod directory;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use weighbridge_compiler::{LastGood, World, secret_refs, secret_variable, token_owners};
use weighbridge_crds::{TOKEN_KEY, VIRTUAL_KEY_LABEL};
use weighbridge_snapshot::{ObjectName, Redacted};

use crate::links::way;
use crate::token;
pub(crate) use directory::Directory;
use directory::{Kept, Reference, Values};

/// What becomes of a virtual key without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Minting {
    /// One is made and kept in the directory.
    Kept,
    /// One is made and forgotten: for verdicts alone.
    Forgotten,
}

/// A token that was made and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Minted {
    /// Whose it is.
    pub(crate) virtual_key: ObjectName,
    /// The file that holds it.
    pub(crate) file: PathBuf,
}

/// What came of looking for secrets, besides what went into the world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    /// What files gave.
    pub(crate) read: Values,
    /// Tokens that were made now.
    pub(crate) minted: Vec<Minted>,
    /// The file of each virtual key's token, where a file has it.
    pub(crate) token_files: BTreeMap<ObjectName, PathBuf>,
    /// Keys whose token would be made by `serve`.
    pub(crate) to_mint: BTreeSet<ObjectName>,
    /// What stood in the way, as sentences.
    pub(crate) faults: BTreeSet<String>,
    /// The folders that were looked into.
    pub(crate) folders: BTreeSet<PathBuf>,
    /// The links among the files that were read.
    pub(crate) links: BTreeSet<PathBuf>,
}

/// Looks for everything the world's objects refer to.
pub(crate) struct Seeker<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) environment: &'a dyn Fn(&str) -> Option<OsString>,
    /// Files that are being written, named without links.
    pub(crate) writing: &'a BTreeSet<PathBuf>,
    pub(crate) minting: Minting,
}

/// A variable of this process's environment; an empty one counts as none.
pub(crate) fn environment(name: &str) -> Option<OsString> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the module that reads secrets from the environment"
    )]
    let value = std::env::var_os(name);
    value.filter(|value| !value.is_empty())
}

impl Seeker<'_> {
    /// Adds to `world` what its manifests don't hold.
    pub(crate) fn fill(&self, world: &mut World, last_good: &LastGood) -> Search {
        let mut search = Search::default();
        let owners = token_owners(world, last_good);
        let references = secret_refs(world, last_good);
        self.watch_folders(&references, &mut search);
        let mut open = Vec::new();
        for reference in &references {
            let owner = owners.get(&reference.0);
            if is_settled(world, reference, owner) {
                continue;
            }
            match self.read_file(reference, owner, &mut search) {
                Some(value) => put(world, reference, owner, value),
                None => open.push((reference, owner)),
            }
        }
        let variables = self.variables(&open, &mut search);
        for (reference, owner) in open {
            let variable = variables.get(reference);
            let owner_now = owner.filter(|owner| holds_token(world, owner, reference));
            let value = variable
                .cloned()
                .or_else(|| self.mint(reference, owner_now?, &mut search));
            if let Some(value) = value {
                put(world, reference, owner, value);
            }
        }
        if self.directory.is_gone() {
            let directory = self.directory.path().display();
            let fault = format!(
                "{directory}: the directory of secrets is gone; what it held stays in force"
            );
            search.faults.insert(fault);
        }
        search
    }

    /// The values in the environment of what neither manifests nor files hold. A variable that could
    /// mean two things is refused.
    fn variables<'r>(
        &self,
        open: &[(&'r Reference, Option<&ObjectName>)],
        search: &mut Search,
    ) -> BTreeMap<&'r Reference, Redacted<Vec<u8>>> {
        let mut meanings: BTreeMap<String, Vec<&Reference>> = BTreeMap::new();
        for (reference, _) in open {
            let variable = secret_variable(&reference.0, &reference.1);
            meanings.entry(variable).or_default().push(reference);
        }
        let mut values = BTreeMap::new();
        for (variable, meanings) in meanings {
            let Some(value) = (self.environment)(&variable) else {
                continue;
            };
            match meanings.as_slice() {
                [meaning] => {
                    values.insert(*meaning, Redacted::new(value.into_vec()));
                }
                meanings => {
                    search.faults.insert(clash(&variable, meanings));
                }
            }
        }
        values
    }

    fn watch_folders(&self, references: &BTreeSet<Reference>, search: &mut Search) {
        let directory = self.directory.path();
        for (secret, _) in references {
            let namespace = directory.join(&secret.namespace);
            let folders = [namespace.join(&secret.name), namespace];
            search
                .folders
                .extend(folders.into_iter().filter(|folder| folder.is_dir()));
        }
        if directory.is_dir() {
            search.folders.insert(directory.to_owned());
        }
    }

    fn read_file(
        &self,
        reference: &Reference,
        owner: Option<&ObjectName>,
        search: &mut Search,
    ) -> Option<Redacted<Vec<u8>>> {
        let file = self.directory.file(reference);
        if way(&file).len() > 1 {
            search.links.insert(file.clone());
        }
        match self.directory.read(reference, self.writing) {
            Ok(value) => {
                let value = value?;
                search.read.insert(reference.clone(), value.clone());
                if let Some(owner) = owner {
                    search.token_files.insert(owner.clone(), file);
                }
                Some(value)
            }
            Err(error) => {
                let fault = format!("{}: the secret can't be read: {error}", file.display());
                search.faults.insert(fault);
                None
            }
        }
    }

    fn mint(
        &self,
        reference: &Reference,
        owner: &ObjectName,
        search: &mut Search,
    ) -> Option<Redacted<Vec<u8>>> {
        let file = self.directory.file(reference);
        if self.directory.is_gone() {
            let fault = format!(
                "{}: no token is made for VirtualKey {owner} while the directory of secrets is gone",
                file.display()
            );
            search.faults.insert(fault);
            return None;
        }
        let token = match token::mint() {
            Ok(token) => Redacted::new(token.expose().clone().into_bytes()),
            Err(error) => {
                let fault = format!("no token can be made: {error}");
                search.faults.insert(fault);
                return None;
            }
        };
        if self.minting == Minting::Forgotten {
            search.to_mint.insert(owner.clone());
            return Some(token);
        }
        match self.directory.keep(reference, &token) {
            Ok(Kept::New) => {
                search.minted.push(Minted {
                    virtual_key: owner.clone(),
                    file: file.clone(),
                });
                search.read.insert(reference.clone(), token.clone());
                search.token_files.insert(owner.clone(), file);
                Some(token)
            }
            // Another process was first: its token counts.
            Ok(Kept::Other) => self.read_file(reference, Some(owner), search),
            Err(error) => {
                let fault = format!(
                    "{}: the token made for VirtualKey {owner} can't be kept: {error}; name a writable folder with --secrets DIR, or bring a token",
                    file.display()
                );
                search.faults.insert(fault);
                None
            }
        }
    }
}

/// Puts a value where a compile looks for it.
fn put(
    world: &mut World,
    (secret, key): &Reference,
    owner: Option<&ObjectName>,
    value: Redacted<Vec<u8>>,
) {
    let entry = world.secrets.entry(secret.clone()).or_default();
    entry.data.insert(key.clone(), value);
    if let Some(owner) = owner {
        let label = VIRTUAL_KEY_LABEL.to_owned();
        entry.labels.insert(label, owner.name.clone());
    }
}

/// Whether a VirtualKey, as it can be read now, has its token there.
fn holds_token(world: &World, owner: &ObjectName, (secret, key): &Reference) -> bool {
    let object = world.virtual_keys.get(owner);
    object.is_some_and(|object| object.spec.secret_name == secret.name) && key == TOKEN_KEY
}

/// Whether the manifests have the last word: they hold the value, or a VirtualKey's Secret without
/// the label that would make it ours.
fn is_settled(world: &World, (secret, key): &Reference, owner: Option<&ObjectName>) -> bool {
    let Some(manifest) = world.secrets.get(secret) else {
        return false;
    };
    let label = manifest.labels.get(VIRTUAL_KEY_LABEL);
    let foreign = owner.is_some_and(|owner| label != Some(&owner.name));
    foreign || manifest.data.contains_key(key)
}

fn clash(variable: &str, meanings: &[&Reference]) -> String {
    let named: Vec<String> = meanings
        .iter()
        .map(|(secret, key)| format!("key {key:?} of Secret {secret}"))
        .collect();
    format!(
        "variable {variable}: found {} meanings ({}); allowed is one, so it is not used; put these secrets into files",
        named.len(),
        named.join(", ")
    )
}

#[cfg(test)]
mod tests;
