//! Resources that are watched: read, compiled and reported again whenever something changes.
//!
//! Holds the last good specs, which is what a broken edit falls back to. Must never touch a gateway.

use std::collections::BTreeSet;

use anyhow::Context as _;
use weighbridge_compiler::{Compiled, LastGood, Verdict, compile};

use crate::secrets::Minting;
use crate::sentence::{Gravity, Sentence, sentences};
use crate::sources::{Reading, Sources};
use crate::watch::Watch;

/// How often reading is repeated because folders appeared meanwhile.
const REPEATS: usize = 5;

/// Watched resources.
pub(crate) struct Live {
    sources: Sources,
    watch: Watch,
    last_good: LastGood,
    told: BTreeSet<Sentence>,
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
            told: BTreeSet::new(),
        })
    }

    /// Reads and compiles what is there now, and reports what is new about it.
    ///
    /// # Errors
    /// When the file system can't be watched.
    pub(crate) fn look(&mut self) -> anyhow::Result<Look> {
        let mut reading = self.sources.read(&self.last_good, Minting::Kept);
        for _ in 0..REPEATS {
            if !self.watch.set(&reading.interest).context(UNWATCHABLE)? {
                break;
            }
            let minted = std::mem::take(&mut reading.search.minted);
            reading = self.sources.read(&self.last_good, Minting::Kept);
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

    fn report(&mut self, reading: &Reading, compiled: &Compiled) {
        let sentences: BTreeSet<Sentence> = sentences(reading, compiled).into_iter().collect();
        for Sentence { gravity, text } in sentences.difference(&self.told) {
            match gravity {
                Gravity::Refused => tracing::error!("refused: {text}"),
                Gravity::Missing | Gravity::Warning | Gravity::Ignored => {
                    tracing::warn!("{gravity}: {text}");
                }
                Gravity::Shadowed => tracing::info!("{gravity}: {text}"),
            }
        }
        for sentence in self.told.difference(&sentences) {
            tracing::info!("no longer so: {sentence}");
        }
        self.told = sentences;
        for minted in &reading.search.minted {
            let (key, file) = (&minted.virtual_key, minted.file.display());
            tracing::info!("made a token for VirtualKey {key}, kept in {file}");
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
