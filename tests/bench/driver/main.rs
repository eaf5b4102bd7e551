//! The bench's driver: starts upstream, floor and gateway, sends the same load through each in paired
//! rounds, counts instructions, prints one table. It must never print a figure of a run in which a
//! request failed, and never leave a program running.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use clap::Parser as _;

use progress::Progress;
use report::{Line, Report};
use settings::{Part, Settings};
use stand::Stand;
use workload::Workload;

mod environment;
mod gateway;
mod instructions;
mod process;
mod procfs;
mod progress;
mod report;
mod rounds;
mod settings;
mod stand;
mod statistics;
mod variant;
mod workload;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    if environment::IS_UNOPTIMISED && !settings.unoptimised {
        bail!(
            "this is an unoptimised build, whose figures mean nothing: start it with `make bench` \
             (or give --unoptimised to see that it works)"
        );
    }
    // Interrupted, the processes are ended as their guards drop.
    tokio::select! {
        result = run(&settings) => result,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            bail!("interrupted");
        }
    }
}

async fn run(settings: &Settings) -> anyhow::Result<()> {
    // Read before the bench itself makes the machine busy.
    let environment = environment::read(settings);
    let timed = settings.select(&workload::TIMED);
    let counted = settings.select(&workload::COUNTED);
    if timed.is_empty() && counted.is_empty() {
        let names: Vec<&str> = workload::TIMED.iter().map(|row| row.name).collect();
        bail!("no row has that in its name: {}", names.join("; "));
    }
    let folder = tempfile::tempdir()?;
    let mut progress = Progress::start();
    let stand = Stand::start(settings, folder.path()).await?;
    let mut lines = time(settings, &stand, &timed, &mut progress).await?;
    let mut notes = Vec::new();
    if settings.skips(Part::Instructions) {
        notes.push("instructions were not counted (--skip instructions)".to_owned());
    } else if instructions::is_valgrind_installed() {
        lines.extend(count(&stand, &counted, &mut progress).await?);
    } else {
        notes.push("instructions were not counted: valgrind is not installed".to_owned());
    }
    progress.finish();
    let variants = stand.names();
    publish(
        settings,
        &Report {
            environment,
            variants,
            lines,
            notes,
        },
    )
}

/// The timed rows, all variants running side by side.
async fn time(
    settings: &Settings,
    stand: &Stand,
    rows: &[Workload],
    progress: &mut Progress,
) -> anyhow::Result<Vec<Line>> {
    let mut variants = stand.start_variants().await?;
    let mut lines = Vec::new();
    for row in rows {
        progress.row(row.name);
        let count = settings.rounds();
        let measured = rounds::run(&stand.loader, &mut variants, row, count, progress).await?;
        lines.extend(rounds::lines(row, variants.len(), &measured));
    }
    Ok(lines)
}

/// The counted rows, each proxy alone.
async fn count(
    stand: &Stand,
    rows: &[Workload],
    progress: &mut Progress,
) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for row in rows {
        progress.row(format!("{}, instructions", row.name));
        let answer_bytes = stand.loader.answer_bytes(stand.address, row.mode).await?;
        let mut counts = vec![None];
        for proxy in stand.proxies()? {
            progress.step(proxy.name);
            let count = instructions::per_request(&stand.loader, &proxy, row, answer_bytes).await?;
            counts.push(Some(count));
        }
        lines.push(instructions::line(row, &counts));
    }
    Ok(lines)
}

/// Prints the table, and writes the JSON form where that was asked for.
fn publish(settings: &Settings, report: &Report) -> anyhow::Result<()> {
    if let Some(path) = &settings.json {
        let text = serde_json::to_string_pretty(report)?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    std::io::stdout()
        .write_all(report.markdown().as_bytes())
        .context("cannot print the table")
}
