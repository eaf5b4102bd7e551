//! Where a standalone gateway finds what Secrets hold: the manifests, then a directory in the shape of
//! mounted Secrets, then the environment; and where it keeps the tokens that it makes.
//!
//! The one place that reads the environment. Must never write over a file, nor touch the Secret of a
//! VirtualKey that lacks the key's label.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use weighbridge_compiler::{
    LastGood, World, secret_file, secret_refs, secret_variable, token_owners,
};
use weighbridge_crds::{TOKEN_KEY, VIRTUAL_KEY_LABEL};
use weighbridge_snapshot::{ObjectName, Redacted};

use crate::token;

/// The largest secret that is read, in bytes: as large as a Secret can be.
const SECRET_BYTES: u64 = 1 << 20;

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
}

/// Looks for everything the world's objects refer to.
pub(crate) struct Seeker<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) environment: &'a dyn Fn(&str) -> Option<OsString>,
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
        let variables = self.variables(&references, &mut search);
        self.watch_folders(&references, &mut search);
        for (secret, key) in &references {
            let owner = owners.get(secret);
            if is_settled(world, secret, key, owner) {
                continue;
            }
            let variable = variables.get(&(secret, key.as_str()));
            let value = self
                .read_file(secret, key, owner, &mut search)
                .or_else(|| variable.cloned())
                .or_else(|| self.mint(secret, key, owner?, &mut search));
            if let Some(value) = value {
                let entry = world.secrets.entry(secret.clone()).or_default();
                entry.data.insert(key.clone(), value);
                if let Some(owner) = owner {
                    let label = VIRTUAL_KEY_LABEL.to_owned();
                    entry.labels.insert(label, owner.name.clone());
                }
            }
        }
        search
    }

    /// The values in the environment. A variable that could mean two things is refused.
    fn variables<'r>(
        &self,
        references: &'r BTreeSet<(ObjectName, String)>,
        search: &mut Search,
    ) -> BTreeMap<(&'r ObjectName, &'r str), Redacted<Vec<u8>>> {
        let mut meanings: BTreeMap<String, Vec<(&ObjectName, &str)>> = BTreeMap::new();
        for (secret, key) in references {
            let variable = secret_variable(secret, key);
            meanings.entry(variable).or_default().push((secret, key));
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

    fn watch_folders(&self, references: &BTreeSet<(ObjectName, String)>, search: &mut Search) {
        for (secret, _) in references {
            let namespace = self.directory.join(&secret.namespace);
            let folders = [namespace.join(&secret.name), namespace];
            search
                .folders
                .extend(folders.into_iter().filter(|folder| folder.is_dir()));
        }
        if self.directory.is_dir() {
            search.folders.insert(self.directory.to_owned());
        }
    }

    fn read_file(
        &self,
        secret: &ObjectName,
        key: &str,
        owner: Option<&ObjectName>,
        search: &mut Search,
    ) -> Option<Redacted<Vec<u8>>> {
        let file = self.directory.join(secret_file(secret, key));
        match read(&file) {
            Ok(value) => {
                if let Some(owner) = owner {
                    search.token_files.insert(owner.clone(), file);
                }
                Some(value)
            }
            Err(error) if is_absent(&error) => None,
            Err(error) => {
                let fault = format!("{}: the secret can't be read: {error}", file.display());
                search.faults.insert(fault);
                None
            }
        }
    }

    fn mint(
        &self,
        secret: &ObjectName,
        key: &str,
        owner: &ObjectName,
        search: &mut Search,
    ) -> Option<Redacted<Vec<u8>>> {
        if key != TOKEN_KEY {
            return None;
        }
        let file = self.directory.join(secret_file(secret, key));
        let token = match token::mint() {
            Ok(token) => Redacted::new(token.expose().clone().into_bytes()),
            Err(error) => {
                search
                    .faults
                    .insert(format!("no token can be made: {error}"));
                return None;
            }
        };
        if self.minting == Minting::Forgotten {
            search.to_mint.insert(owner.clone());
            return Some(token);
        }
        match keep(&file, &token) {
            Ok(Kept::New) => {
                let minted = Minted {
                    virtual_key: owner.clone(),
                    file: file.clone(),
                };
                search.minted.push(minted);
                search.token_files.insert(owner.clone(), file);
                Some(token)
            }
            // Another process was first: its token counts.
            Ok(Kept::Other) => self.read_file(secret, key, Some(owner), search),
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

/// Whether the manifests have the last word: they hold the value, or a VirtualKey's Secret without
/// the label that would make it ours.
fn is_settled(world: &World, secret: &ObjectName, key: &str, owner: Option<&ObjectName>) -> bool {
    let Some(manifest) = world.secrets.get(secret) else {
        return false;
    };
    let label = manifest.labels.get(VIRTUAL_KEY_LABEL);
    let foreign = owner.is_some_and(|owner| label != Some(&owner.name));
    foreign || manifest.data.contains_key(key)
}

fn clash(variable: &str, meanings: &[(&ObjectName, &str)]) -> String {
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

/// Reads a secret, without the line break that editors and `echo` leave behind it.
fn read(file: &Path) -> io::Result<Redacted<Vec<u8>>> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if metadata.len() > SECRET_BYTES {
        let message = format!("it has more than {SECRET_BYTES} bytes");
        return Err(io::Error::other(message));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(file)?
        .take(SECRET_BYTES)
        .read_to_end(&mut bytes)?;
    let unbroken = bytes
        .strip_suffix(b"\r\n")
        .or(bytes.strip_suffix(b"\n"))
        .map_or(bytes.len(), <[u8]>::len);
    bytes.truncate(unbroken);
    Ok(Redacted::new(bytes))
}

fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// What became of a secret that was to be kept.
enum Kept {
    /// It is in a new file.
    New,
    /// There was a file already, which stays as it is.
    Other,
}

/// Writes a secret into a new file that only its owner may read.
fn keep(file: &Path, secret: &Redacted<Vec<u8>>) -> io::Result<Kept> {
    let folder = file.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    // Readable by the owner alone from the first moment, and whole or absent under its name.
    let mut draft = NamedTempFile::new_in(folder)?;
    draft.write_all(secret.expose())?;
    draft.write_all(b"\n")?;
    draft.as_file().sync_all()?;
    match draft.persist_noclobber(file) {
        Ok(_) => Ok(Kept::New),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(Kept::Other),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests;
