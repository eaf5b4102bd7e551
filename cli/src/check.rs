//! `weighbridge check`: what would become of the resources in files, without serving them.
//!
//! Must never change the folders it looks at, but for the tokens that a snapshot needs.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use weighbridge_compiler::{Compiled, LastGood, ObjectId, Status, Verdict, compile};
use weighbridge_snapshot::{Snapshot, encode};

use crate::load::{Id, Problem};
use crate::output::visible;
use crate::secrets::Minting;
use crate::sentence::{Gravity, Sentence, sentences};
use crate::sources::{Reading, Sources};
use crate::{Ended, output, table};

/// Say what would become of the resources in files and folders, offline
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  weighbridge check examples/teams
  weighbridge check examples/teams -o json
  weighbridge check examples/teams --snapshot snapshot.json
  weighbridge-dataplane --snapshot snapshot.json

Nothing is changed; a virtual key without a token counts as if `serve` had made one. With --snapshot the
tokens are made and kept, as `serve` does; nothing is written when something is refused.

Exit codes: 0 all accepted, 1 something refused, 2 wrong use, or something could not be written.")]
pub(crate) struct Arguments {
    /// Files and folders of YAML
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Directory of secrets: DIR/NAMESPACE/NAME/KEY [default: `secrets` in the first folder]
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// `table`, or `json` with the conditions that an operator would write
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    /// Write the compiled snapshot into this file; it holds credentials (mode 0600)
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
}

/// How verdicts are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Shows the verdicts, and writes the snapshot if asked to.
///
/// # Errors
/// When there is nothing to check, or something can't be written.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Ended> {
    let wanted = arguments.snapshot.as_deref();
    let mut sources = Sources::new(arguments.paths.clone(), arguments.secrets.clone())?
        .without(arguments.snapshot.clone());
    let mut look = |minting| {
        let reading = sources.read(&LastGood::default(), minting);
        let compiled = compile(&reading.world, &LastGood::default());
        let ended = ended(&reading, &compiled);
        (reading, compiled, ended)
    };
    let (mut reading, mut compiled, mut ended) = look(Minting::Forgotten);
    // Making tokens is where more can go wrong.
    if let (Some(_), Ended::Well) = (wanted, ended) {
        (reading, compiled, ended) = look(Minting::Kept);
    }
    sources.must_hold_something(&reading)?;
    let shown = match arguments.output {
        Format::Table => as_table(&reading, &compiled, sources.secrets()),
        Format::Json => serde_json::to_string_pretty(&as_json(&reading, &compiled))?,
    };
    output::say(&shown)?;
    match (wanted, ended) {
        (Some(file), Ended::Well) => write_snapshot(file, &compiled.snapshot)?,
        (Some(file), Ended::Refused) => output::complain(&format!(
            "{} is not written: it would lack what was refused",
            file.display()
        )),
        (None, _) => {}
    }
    Ok(ended)
}

fn ended(reading: &Reading, compiled: &Compiled) -> Ended {
    let refused = compiled.verdicts.values().any(Verdict::is_refused);
    if refused || !reading.problems.is_empty() || !reading.search.faults.is_empty() {
        Ended::Refused
    } else {
        Ended::Well
    }
}

fn as_table(reading: &Reading, compiled: &Compiled, secrets: &Path) -> String {
    let rows: Vec<Vec<String>> = compiled
        .verdicts
        .iter()
        .map(|(id, verdict)| row(reading, id, verdict))
        .collect();
    let mut parts = Vec::new();
    if !rows.is_empty() {
        let header = [
            "KIND",
            "NAMESPACE",
            "NAME",
            "ACCEPTED",
            "REFERENCES",
            "FILE",
        ];
        parts.push(table::render(&header, &rows));
    }
    let sentences = sentences(reading, compiled);
    let mut lines: Vec<String> = sentences.iter().map(Sentence::to_string).collect();
    let to_mint = reading.search.to_mint.iter();
    lines.extend(to_mint.map(|key| {
        let secrets = secrets.display();
        let note = format!("VirtualKey {key} has no token yet; serve makes one under {secrets}");
        format!("note: {}", visible(&note))
    }));
    if !lines.is_empty() {
        parts.push(lines.join("\n"));
    }
    parts.push(summary(&sentences, compiled));
    parts.join("\n\n")
}

fn row(reading: &Reading, id: &ObjectId, verdict: &Verdict) -> Vec<String> {
    let accepted = if verdict.is_refused() {
        "refused"
    } else {
        "yes"
    };
    let references = match verdict.resolved_refs.status {
        Status::True => "resolved",
        Status::False => "missing",
        Status::Unknown => "-",
    };
    let place = reading.place(id);
    vec![
        id.kind.to_string(),
        id.name.namespace.clone(),
        id.name.name.clone(),
        accepted.to_owned(),
        references.to_owned(),
        place.map(ToString::to_string).unwrap_or_default(),
    ]
}

fn summary(sentences: &[Sentence], compiled: &Compiled) -> String {
    let verdicts = compiled.verdicts.values();
    let accepted = verdicts.filter(|verdict| !verdict.is_refused()).count();
    let count = |gravity| {
        let of_it = sentences
            .iter()
            .filter(|sentence| sentence.gravity == gravity);
        of_it.count()
    };
    let (refused, missing) = (count(Gravity::Refused), count(Gravity::Missing));
    format!("{accepted} accepted, {refused} refused, {missing} with missing references")
}

fn as_json(reading: &Reading, compiled: &Compiled) -> Value {
    let items: Vec<Value> = compiled
        .verdicts
        .iter()
        .map(|(id, verdict)| {
            json!({
                "apiVersion": format!("{}/{}", weighbridge_crds::GROUP, weighbridge_crds::VERSION),
                "kind": id.kind,
                "metadata": {"namespace": id.name.namespace, "name": id.name.name},
                "status": status(verdict),
                "warnings": verdict.warnings,
            })
        })
        .collect();
    json!({
        "kind": "List",
        "apiVersion": "v1",
        "items": items,
        "problems": problems(&reading.problems),
        "ignored": problems(&reading.ignored),
        "secretProblems": reading.search.faults,
    })
}

fn status(verdict: &Verdict) -> Value {
    let mut status = json!({"conditions": verdict.conditions()});
    if let Some(status) = status.as_object_mut() {
        if let Some(generation) = verdict.generation {
            status.insert("observedGeneration".to_owned(), generation.into());
        }
        if !verdict.shadowed.is_empty() {
            status.insert("shadowed".to_owned(), verdict.shadowed.clone().into());
        }
    }
    status
}

fn problems(problems: &BTreeSet<Problem>) -> Vec<Value> {
    problems
        .iter()
        .map(|problem| {
            json!({
                "file": problem.place.file.display().to_string(),
                "line": problem.place.line,
                "column": problem.place.column,
                "object": problem.about.as_ref().map(|about| Id::to_string(&about.id)),
                "message": problem.message,
            })
        })
        .collect()
}

/// Replaces the file in one step: a data plane that watches it never sees a part.
fn write_snapshot(file: &Path, snapshot: &Snapshot) -> anyhow::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let write = || -> std::io::Result<()> {
        let mut draft = NamedTempFile::new_in(folder)?;
        draft.write_all(&encode(snapshot))?;
        draft.as_file().sync_all()?;
        draft.persist(file)?;
        Ok(())
    };
    write().with_context(|| format!("the snapshot {} can't be written", file.display()))
}
