//! `weighbridge mock`: a scripted fake provider on a port of its own.
//!
//! Must never know what a provider says; the mock package does.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use weighbridge_mock::{Config, Mock, Pace, Script};

use crate::{Ended, output, stop};

/// Run a fake provider that answers like OpenAI and fails as it is told
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  weighbridge mock --listen 127.0.0.1:9001 --key sk-one --key sk-two --script faults.yaml

faults.yaml, for example:
  rules:
  - when: {account: two}          # the end of the key that was presented
    times: 3                      # left out: for ever
    fault: {status: 429, retry-after: 2}

A running mock is told by HTTP:
  curl -X PUT http://127.0.0.1:9001/_mock/faults --data 'rules: [{fault: {status: 503}}]'
  curl -X DELETE http://127.0.0.1:9001/_mock/faults
  curl http://127.0.0.1:9001/_mock/counters
  curl http://127.0.0.1:9001/_mock/log
A single request: its header `x-mock-fault: status=429,retry-after=2`.")]
pub(crate) struct Arguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)))]
    listen: SocketAddr,
    /// File of faults, in YAML
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// A key that is let in; may be given several times. Without, any is
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// Models that are served, separated by commas. Without, any is
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    models: Vec<String>,
    /// What the provider calls itself in its answers
    #[arg(long, value_name = "NAME", default_value = "mock")]
    name: String,
    /// What ids and texts are drawn from
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Wait before an answer, or before a stream's first event, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    first_ms: u64,
    /// Wait before each further event of a stream, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    between_ms: u64,
}

/// Runs the provider until it is told to stop.
///
/// # Errors
/// When the script can't be read or the address not be listened on.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let config = Config {
        script: script(arguments.script.as_deref())?,
        listen: arguments.listen,
        name: arguments.name,
        keys: arguments.keys,
        models: arguments.models,
        seed: arguments.seed,
        pace: Pace {
            first: Duration::from_millis(arguments.first_ms),
            between: Duration::from_millis(arguments.between_ms),
        },
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<Ended> {
    let mut stop = stop::Stop::new()?;
    let mock = Mock::start(config)
        .await
        .context("choose another address with --listen, or port 0 for any free one")?;
    output::say(&format!("listening on {}", mock.url()))?;
    stop.requested().await;
    mock.stop().await;
    Ok(Ended::Well)
}

fn script(file: Option<&std::path::Path>) -> anyhow::Result<Script> {
    let Some(file) = file else {
        return Ok(Script::default());
    };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("the script {} can't be read", file.display()))?;
    text.parse().with_context(|| file.display().to_string())
}
