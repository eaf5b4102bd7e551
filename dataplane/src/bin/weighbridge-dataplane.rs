//! The data plane on its own: serves a compiled snapshot and follows its file. Must never compile
//! anything, and must never stop serving because the file has gone bad.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use weighbridge_dataplane::{Gateway, LogFormat, Settings, init_logging};
use weighbridge_snapshot::{Snapshot, decode};

/// How often the file is looked at: a stat costs a microsecond, works on every kind of volume, and what
/// replaces the file is a person or a script.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Serves a snapshot that `weighbridge check --snapshot FILE` wrote, and re-reads it when it is replaced
#[derive(Debug, Parser)]
#[command(
    name = "weighbridge-dataplane",
    version,
    after_help = "Example:\n  weighbridge check --snapshot gateway.snapshot resources/\n  weighbridge-dataplane --snapshot gateway.snapshot --listen 0.0.0.0:8080"
)]
struct Arguments {
    /// The compiled snapshot; it holds credentials, keep it as a secret
    #[arg(long, value_name = "FILE")]
    snapshot: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// Shape of the log on standard error
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// What to log: levels and target=level pairs
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let _logging = match init_logging(arguments.log_format, &arguments.log) {
        Ok(logging) => logging,
        Err(error) => {
            // Nothing else can tell it: there is no log yet.
            let text = format!("{:#}\n", anyhow::Error::from(error));
            drop(std::io::Write::write_all(
                &mut std::io::stderr(),
                text.as_bytes(),
            ));
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no event queue");
    match runtime.and_then(|runtime| runtime.block_on(serve(&arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(2)
        }
    }
}

async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut version = Version::of(&arguments.snapshot);
    let snapshot = read(&arguments.snapshot)?;
    let gateway = Gateway::start(&arguments.settings, &snapshot).await?;
    tracing::info!(
        "listening on http://{}, admin on http://{}",
        gateway.listen_address(),
        gateway.admin_address()
    );
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = look.tick() => {
                let found = Version::of(&arguments.snapshot);
                if found != version {
                    version = found;
                    follow(&gateway, &arguments.snapshot);
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tokio::select! {
        () = gateway.drain() => {}
        _ = terminate.recv() => tracing::warn!("told a second time: ending running requests"),
        _ = interrupt.recv() => tracing::warn!("told a second time: ending running requests"),
    }
    Ok(())
}

fn follow(gateway: &Gateway, path: &Path) {
    match read(path) {
        Ok(snapshot) => gateway.apply(&snapshot),
        Err(error) => tracing::error!("{error:#}; the configuration in force stays"),
    }
}

fn read(path: &Path) -> anyhow::Result<Snapshot> {
    let bytes = std::fs::read(path).with_context(|| {
        format!(
            "the snapshot {} can't be read; write one with `weighbridge check --snapshot FILE PATH`",
            path.display()
        )
    })?;
    decode(&bytes).with_context(|| path.display().to_string())
}

/// What tells a replaced file from the one before.
#[derive(Debug, PartialEq, Eq)]
struct Version(Option<(SystemTime, u64, u64)>);

impl Version {
    fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = std::fs::metadata(path).ok();
        Self(metadata.and_then(|file| Some((file.modified().ok()?, file.len(), file.ino()))))
    }
}
