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
/// How long a file that is being written counts as it was. Only Linux tells that its writer is done;
/// elsewhere there is nothing to wait for but the end of the writes.
const WRITING: Duration = if cfg!(target_os = "linux") {
    Duration::from_secs(10)
} else {
    Duration::from_millis(250)
};

/// A watch over folders.
pub(crate) struct Watch {
    watcher: RecommendedWatcher,
    events: mpsc::UnboundedReceiver<Event>,
    /// The folders that are watched, with the device and inode they had.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    folders: BTreeSet<PathBuf>,
    paths: BTreeSet<PathBuf>,
    /// Files that are being written, and since when: reading them now would show a part.
    writing: BTreeMap<PathBuf, Instant>,
    /// Whether something has changed that may be read.
    is_changed: bool,
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
            writing: BTreeMap::new(),
            is_changed: false,
        })
    }

    /// Watches what is of interest, and nothing else. Says whether a folder was not watched before:
    /// what happened in it until now went unnoticed.
    pub(crate) fn set(&mut self, interest: &Interest) -> notify::Result<bool> {
        let folders = interest.folders.iter();
        self.folders = folders
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        let paths = interest.paths.iter();
        self.paths = paths.filter_map(|path| placed(path)).collect();
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

    /// The files that are being written, named without links.
    pub(crate) fn writing(&self) -> BTreeSet<PathBuf> {
        self.writing.keys().cloned().collect()
    }

    /// Begins a look: it will see whatever has changed until now.
    pub(crate) fn begin(&mut self) {
        self.catch_up();
        let now = Instant::now();
        self.writing.retain(|_, begin| now < *begin + WRITING);
        self.is_changed = false;
    }

    /// Takes in what has happened. Says whether a file has begun to be written.
    pub(crate) fn catch_up(&mut self) -> bool {
        let before = self.writing();
        while let Ok(event) = self.events.try_recv() {
            self.note(&event);
        }
        self.writing.keys().any(|path| !before.contains(path))
    }

    /// Waits until something of interest has changed and may be read, and a little longer for what
    /// belongs to it. Nothing is lost when it is waited for in part.
    pub(crate) async fn changed(&mut self) {
        while !self.is_changed {
            match self.longest_written() {
                None => match self.events.recv().await {
                    Some(event) => self.note(&event),
                    None => return,
                },
                Some((path, begin)) => {
                    match timeout_at(begin + WRITING, self.events.recv()).await {
                        Ok(Some(event)) => self.note(&event),
                        Ok(None) => return,
                        // Whoever writes it takes too long: what is there counts.
                        Err(_) => {
                            self.writing.remove(&path);
                            self.is_changed = true;
                        }
                    }
                }
            }
        }
        self.gather().await;
    }

    fn longest_written(&self) -> Option<(PathBuf, Instant)> {
        let oldest = self.writing.iter().min_by_key(|(_, begin)| **begin)?;
        Some((oldest.0.clone(), *oldest.1))
    }

    /// Takes in the events that belong to the first one, however fast they come.
    async fn gather(&mut self) {
        let deadline = Instant::now() + GATHER;
        loop {
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) if Instant::now() < deadline => self.note(&event),
                Ok(Some(event)) => return self.note(&event),
                _ => return,
            }
        }
    }

    /// Keeps account of an event: a change, or the beginning or end of one.
    fn note(&mut self, event: &Event) {
        if !self.concerns_us(event) {
            return;
        }
        let now = Instant::now();
        for path in &event.paths {
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_)) => {
                    self.writing.entry(path.clone()).or_insert(now);
                }
                EventKind::Modify(ModifyKind::Metadata(_)) => {}
                _ => drop(self.writing.remove(path)),
            }
        }
        self.is_changed |= !matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
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

/// Editors' and our own drafts. Names with two dots are a mount's (`..data`), and matter.
fn is_private(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") && !name.starts_with(b"..")
}

/// A path as events name it: without links on the way, whatever is there.
fn placed(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = parent.canonicalize();
            Some(parent.map_or_else(|_| path.clone(), |parent| parent.join(name)))
        }
        _ => path.canonicalize().ok(),
    }
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    let metadata = folder.metadata().ok().filter(std::fs::Metadata::is_dir)?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests;
