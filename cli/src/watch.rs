//! Noticing that files change: editors that replace them, mounts that swap a link, folders that come
//! and go.
//!
//! Watches folders, never files: a file that is replaced takes its own watch with it. Must never read
//! what it watches, and never report what only was read.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::sources::Interest;

/// How long changes are gathered after the first: one `git checkout` or `kubectl cp` makes many.
const GATHER: Duration = Duration::from_millis(5);
/// How long a file that is being written is waited for.
const WRITING: Duration = Duration::from_millis(250);

/// A watch over folders.
pub(crate) struct Watch {
    watcher: RecommendedWatcher,
    events: mpsc::UnboundedReceiver<Event>,
    /// The folders that are watched, with the device and inode they had.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    folders: BTreeSet<PathBuf>,
    paths: BTreeSet<PathBuf>,
}

impl Watch {
    /// A watch over nothing.
    ///
    /// # Errors
    /// When the system has no more watches to give.
    pub(crate) fn new() -> notify::Result<Self> {
        let (sender, events) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error means that something may have been missed.
            let event = event.unwrap_or_else(|_| Event::new(EventKind::Any));
            // Nobody listens any more while the command ends.
            drop(sender.send(event));
        })?;
        Ok(Self {
            watcher,
            events,
            watched: BTreeMap::new(),
            folders: BTreeSet::new(),
            paths: BTreeSet::new(),
        })
    }

    /// Watches what is of interest, and nothing else. Says whether a folder was not watched before:
    /// what happened in it until now went unnoticed.
    pub(crate) fn set(&mut self, interest: &Interest) -> notify::Result<bool> {
        self.folders = absolute(&interest.folders);
        self.paths = absolute(&interest.paths);
        let parents = self.paths.iter().filter_map(|path| path.parent());
        let wanted: BTreeMap<PathBuf, (u64, u64)> = parents
            .chain(self.folders.iter().map(PathBuf::as_path))
            .filter_map(|folder| Some((folder.to_owned(), identity(folder)?)))
            .collect();
        let stale = self.watched.iter();
        let stale: Vec<PathBuf> = stale
            .filter(|(folder, identity)| wanted.get(*folder) != Some(identity))
            .map(|(folder, _)| folder.clone())
            .collect();
        for folder in stale {
            self.watched.remove(&folder);
            // The watch of a folder that is gone has gone with it.
            drop(self.watcher.unwatch(&folder));
        }
        let mut new = false;
        for (folder, identity) in wanted {
            if !self.watched.contains_key(&folder) {
                self.watcher.watch(&folder, RecursiveMode::NonRecursive)?;
                self.watched.insert(folder, identity);
                new = true;
            }
        }
        Ok(new)
    }

    /// Waits until something of interest has changed, and a little longer for what belongs to it.
    pub(crate) async fn changed(&mut self) {
        let mut writing = BTreeSet::new();
        while let Some(event) = self.events.recv().await {
            if self.concerns_us(&event) {
                note(&event, &mut writing);
                return self.gather(writing).await;
            }
        }
    }

    /// Takes in the events that belong to the first one, however fast they come.
    async fn gather(&mut self, mut writing: BTreeSet<PathBuf>) {
        let begin = Instant::now();
        loop {
            let wait = if writing.is_empty() { GATHER } else { WRITING };
            let deadline = begin + wait;
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) if Instant::now() < deadline => {
                    if self.concerns_us(&event) {
                        note(&event, &mut writing);
                    }
                }
                _ => return,
            }
        }
    }

    fn concerns_us(&self, event: &Event) -> bool {
        let changes = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => false,
            _ => true,
        };
        let missed = event.paths.is_empty() || event.need_rescan();
        changes && (missed || event.paths.iter().any(|path| self.matters(path)))
    }

    fn matters(&self, path: &Path) -> bool {
        let is_entry = path
            .parent()
            .is_some_and(|parent| self.folders.contains(parent));
        let given = self.paths.contains(path) || self.folders.contains(path);
        given || (is_entry && !is_private(path))
    }
}

/// Keeps account of files that are being written: reading them now would show a part.
fn note(event: &Event, writing: &mut BTreeSet<PathBuf>) {
    for path in &event.paths {
        match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) => writing.insert(path.clone()),
            _ => writing.remove(path),
        };
    }
}

/// Editors' and our own drafts. Names with two dots are a mount's (`..data`), and matter.
fn is_private(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") && !name.starts_with(b"..")
}

fn absolute(paths: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let paths = paths.iter();
    paths
        .filter_map(|path| std::path::absolute(path).ok())
        .collect()
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    let metadata = folder.metadata().ok().filter(std::fs::Metadata::is_dir)?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests;
