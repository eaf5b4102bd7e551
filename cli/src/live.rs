//! Resources that are watched: read, compiled and reported again whenever something changes.
//!
//! Holds the last good specs, which is what a broken edit falls back to. Must never touch a gateway.

use std::collections::BTreeMap;

use anyhow::Context as _;
use weighbridge_compiler::{Compiled, LastGood, Verdict, compile};

use crate::load::{Id, Place};
use crate::output::visible;
use crate::secrets::Minting;
use crate::sentence::{Gravity, Same, Sentence, sentences};
use crate::sources::{Reading, Sources};
use crate::watch::Watch;

/// How often reading is repeated because folders appeared, or files began to change, meanwhile.
const REPEATS: usize = 5;

/// Watched resources.
pub(crate) struct Live {
    sources: Sources,
    watch: Watch,
    last_good: LastGood,
    told: BTreeMap<Same, Sentence>,
    /// What was there at the last look.
    objects: BTreeMap<Id, Place>,
}

/// What the resources are now.
pub(crate) struct Look {
    pub(crate) reading: Reading,
    pub(crate) compiled: Compiled,
}

impl Live {
    /// Nothing is read yet.
    ///
    /// # Errors
    /// When the file system can't be watched.
    pub(crate) fn new(sources: Sources) -> anyhow::Result<Self> {
        Ok(Self {
            sources,
            watch: Watch::new().context(UNWATCHABLE)?,
            last_good: LastGood::default(),
            told: BTreeMap::new(),
            objects: BTreeMap::new(),
        })
    }

    /// Reads and compiles what is there now, and reports what is new about it.
    ///
    /// # Errors
    /// When the file system can't be watched.
    pub(crate) fn look(&mut self) -> anyhow::Result<Look> {
        self.watch.begin();
        let mut reading = self.read();
        for _ in 0..REPEATS {
            let new = self.watch.set(&reading.interest).context(UNWATCHABLE)?;
            // What began to be written while it was read may have been read in part.
            if !self.watch.catch_up() && !new {
                break;
            }
            let minted = std::mem::take(&mut reading.search.minted);
            reading = self.read();
            reading.search.minted.extend(minted);
        }
        let compiled = compile(&reading.world, &self.last_good);
        self.last_good = compiled.last_good.clone();
        self.report(&reading, &compiled);
        Ok(Look { reading, compiled })
    }

    /// Refuses to start with nothing.
    ///
    /// # Errors
    /// When the paths hold nothing at all.
    pub(crate) fn must_hold_something(&self, look: &Look) -> anyhow::Result<()> {
        self.sources.must_hold_something(&look.reading)
    }

    /// Waits until there is something new to look at.
    pub(crate) async fn changed(&mut self) {
        self.watch.changed().await;
    }

    fn read(&mut self) -> Reading {
        let writing = self.watch.writing();
        self.sources
            .read_beside(&writing, &self.last_good, Minting::Kept)
    }

    fn report(&mut self, reading: &Reading, compiled: &Compiled) {
        let sentences = sentences(reading, compiled);
        let sentences: BTreeMap<Same, Sentence> = sentences
            .into_iter()
            .map(|sentence| (sentence.same(), sentence))
            .collect();
        for (same, sentence) in &sentences {
            if self.told.contains_key(same) {
                continue;
            }
            match sentence.gravity {
                Gravity::Refused => tracing::error!("{sentence}"),
                Gravity::Missing | Gravity::Warning | Gravity::Ignored => {
                    tracing::warn!("{sentence}");
                }
                Gravity::Shadowed => tracing::info!("{sentence}"),
            }
        }
        for (same, sentence) in &self.told {
            if !sentences.contains_key(same) {
                tracing::info!("no longer so: {sentence}");
            }
        }
        self.told = sentences;
        for (id, place) in &self.objects {
            if !reading.objects.contains_key(id) {
                let gone = visible(&format!("{id}, which was in {place}"));
                tracing::info!("deleted: {gone}");
            }
        }
        self.objects.clone_from(&reading.objects);
        for minted in &reading.search.minted {
            let (key, file) = (&minted.virtual_key, minted.file.display());
            let made = visible(&format!("VirtualKey {key}, kept in {file}"));
            tracing::info!("made a token for {made}");
        }
    }
}

impl Look {
    /// Whether anything was accepted.
    pub(crate) fn is_servable(&self) -> bool {
        let mut verdicts = self.compiled.verdicts.values();
        verdicts.any(|verdict: &Verdict| !verdict.is_refused())
    }
}

const UNWATCHABLE: &str =
    "the file system can't be watched (on Linux, is fs.inotify.max_user_watches reached?)";
