//! The directory of secrets: files in the shape of mounted Secrets, and the tokens that are kept there.
//!
//! Remembers what it held: while the path from the command line that it belongs to is gone, all of it
//! stays. Must never write over a file, nor make that path anew once it was there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use weighbridge_compiler::secret_file;
use weighbridge_snapshot::{ObjectName, Redacted};

/// The largest secret that is read, in bytes: as large as a Secret can be.
const SECRET_BYTES: u64 = 1 << 20;

/// A Secret and one of its keys.
pub(crate) type Reference = (ObjectName, String);

/// What files hold.
pub(crate) type Values = BTreeMap<Reference, Redacted<Vec<u8>>>;

/// The directory of secrets.
pub(crate) struct Directory {
    path: PathBuf,
    /// The path from the command line that it is, or is in.
    base: PathBuf,
    /// Whether the base was there at an earlier look.
    was_there: bool,
    /// What was read at the last look.
    last: Values,
}

/// What became of a secret that was to be kept.
pub(super) enum Kept {
    /// It is in a new file.
    New,
    /// There was a file already, which stays as it is.
    Other,
}

impl Directory {
    /// A directory that was given.
    pub(crate) fn given(path: PathBuf) -> Self {
        Self {
            base: path.clone(),
            path,
            was_there: false,
            last: Values::new(),
        }
    }

    /// `secrets` in a folder, else in the current one.
    pub(crate) fn within(folder: Option<&Path>) -> Self {
        let folder = folder.unwrap_or(Path::new(""));
        let here = folder.as_os_str().is_empty();
        Self {
            base: if here { Path::new(".") } else { folder }.to_owned(),
            ..Self::given(folder.join("secrets"))
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path from the command line was there, and isn't any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.was_there && !self.base.is_dir()
    }

    /// Remembers what was read in a look that ends.
    pub(crate) fn remember(&mut self, read: &Values) {
        self.last.clone_from(read);
        self.was_there |= self.base.is_dir();
    }

    /// Where it has a Secret's key.
    pub(super) fn file(&self, (secret, key): &Reference) -> PathBuf {
        self.path.join(secret_file(secret, key))
    }

    /// Reads a Secret's key, as it is in the file; `None` where it has none. What is being written
    /// counts as it was, and so does everything while the directory is gone.
    pub(super) fn read(
        &self,
        reference: &Reference,
        writing: &BTreeSet<PathBuf>,
    ) -> io::Result<Option<Redacted<Vec<u8>>>> {
        let file = self.file(reference);
        let is_written = || {
            file.canonicalize()
                .is_ok_and(|file| writing.contains(&file))
        };
        if self.is_gone() || (!writing.is_empty() && is_written()) {
            return Ok(self.last.get(reference).cloned());
        }
        match read(&file) {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a secret into a new file that only its owner may read.
    pub(super) fn keep(
        &self,
        reference: &Reference,
        secret: &Redacted<Vec<u8>>,
    ) -> io::Result<Kept> {
        let file = self.file(reference);
        let folder = file.parent().unwrap_or(&self.path);
        self.make(folder)?;
        // Readable by the owner alone from the first moment, and whole or absent under its name.
        let mut draft = NamedTempFile::new_in(folder)?;
        draft.write_all(secret.expose())?;
        draft.write_all(b"\n")?;
        draft.as_file().sync_all()?;
        match draft.persist_noclobber(&file) {
            Ok(_) => Ok(Kept::New),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(Kept::Other),
            Err(error) => Err(error.error),
        }
    }

    /// Makes the folders down to this one. The base is made only if it never was there: one that was
    /// moved away would come back empty.
    fn make(&self, folder: &Path) -> io::Result<()> {
        if !self.was_there {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(&self.base)?;
        }
        let mut missing: Vec<&Path> = folder
            .ancestors()
            .take_while(|folder| folder.starts_with(&self.path) && *folder != self.base)
            .collect();
        while let Some(folder) = missing.pop() {
            match DirBuilder::new().mode(0o700).create(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Reads a secret as it is: a line break at its end is left to whoever uses it.
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
    Ok(Redacted::new(bytes))
}

fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}
