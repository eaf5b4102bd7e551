//! `weighbridge serve`: the gateway, from files and folders of YAML.
//!
//! Must never stop serving because of what a file says.

use std::path::PathBuf;

use weighbridge_dataplane::{Gateway, LogFormat, Settings, init_logging};

use crate::live::{Live, Look};
use crate::output::visible;
use crate::sources::Sources;
use crate::stop::{Stop, reload_signal};
use crate::{Ended, output};

/// Run the gateway from files and folders of YAML
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  weighbridge serve examples/quickstart
  weighbridge serve resources --secrets /run/secrets --listen 0.0.0.0:8080 --log-format json

Edits apply at once; what is refused is reported and its last good form stays. SIGHUP reads everything
again, for file systems that don't tell of changes. SIGTERM and Ctrl-C let running requests end; a second
one ends them.

Secrets are looked for in the files, in the directory of secrets, and in the environment as
WEIGHBRIDGE_SECRET_NAMESPACE__NAME__KEY. A virtual key without a token gets one, kept in
DIR/NAMESPACE/SECRETNAME/token.

Exit codes: 0 ended as told, 1 every resource was refused at start, 2 wrong use, or it could not start.")]
pub(crate) struct Arguments {
    /// Files and folders of YAML
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Directory of secrets: DIR/NAMESPACE/NAME/KEY [default: `secrets` in the first folder]
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// The shape of log lines, which go to standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// What is logged: a level, or target=level pairs
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
    #[command(flatten)]
    settings: Settings,
}

/// Serves until it is told to stop.
///
/// # Errors
/// When the paths hold nothing, or the gateway can't start.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let logging = init_logging(arguments.log_format, &arguments.log)?;
    // One thread beside this one: reading many files here doesn't keep callers waiting there.
    let ended = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(serve(arguments))?;
    // What has been logged comes first: the refusals, one by one.
    drop(logging);
    if ended == Ended::Refused {
        output::complain(
            "error: nothing can be served, because every resource was refused; `weighbridge check` shows them in a table",
        );
    }
    Ok(ended)
}

async fn serve(arguments: Arguments) -> anyhow::Result<Ended> {
    let mut stop = Stop::new()?;
    let mut live = Live::new(Sources::new(arguments.paths, arguments.secrets)?)?;
    let look = live.look()?;
    live.must_hold_something(&look)?;
    if !look.is_servable() {
        return Ok(Ended::Refused);
    }
    let gateway = Gateway::start(&arguments.settings, &look.compiled.snapshot).await?;
    announce(&gateway, &look)?;
    keep_up(&mut live, &gateway, &mut stop).await?;
    tokio::select! {
        () = gateway.drain() => {}
        () = stop.requested() => tracing::warn!("told a second time: ending running requests"),
    }
    Ok(Ended::Well)
}

/// Says where the gateway is and where the tokens are; never a token.
fn announce(gateway: &Gateway, look: &Look) -> anyhow::Result<()> {
    for (key, file) in &look.reading.search.token_files {
        let line = format!("token of VirtualKey {key} in {}", file.display());
        output::say(&visible(&line))?;
    }
    output::say(&format!("admin on http://{}", gateway.admin_address()))?;
    output::say(&format!("listening on http://{}", gateway.listen_address()))
}

/// Applies every change until told to stop.
async fn keep_up(live: &mut Live, gateway: &Gateway, stop: &mut Stop) -> anyhow::Result<()> {
    let mut reload = reload_signal()?;
    loop {
        tokio::select! {
            () = stop.requested() => return Ok(()),
            () = live.changed() => {}
            _ = reload.recv() => {}
        }
        match live.look() {
            Ok(look) => gateway.apply(&look.compiled.snapshot),
            Err(error) => {
                let cause = visible(&format!("{error:#}"));
                tracing::error!("{cause}; what is in force stays");
            }
        }
    }
}
