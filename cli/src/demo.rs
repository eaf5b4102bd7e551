//! `weighbridge demo`: the gateway with fake providers, and a view of where the traffic goes.
//!
//! Everything is on loopback and in a folder that is removed at the end. Must never do what `serve`
//! couldn't: the gateway in it is the same.

mod callers;
mod stage;
mod view;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use weighbridge_dataplane::{Gateway, LogFormat, Settings, init_logging};

use crate::live::Live;
use crate::sources::Sources;
use crate::stop::Stop;
use crate::{Ended, output};
use callers::Callers;
use stage::Stage;
use view::View;

/// How often a terminal's view is drawn again.
const TERMINAL_PERIOD: Duration = Duration::from_secs(1);
/// How often a line is printed where there is no terminal.
const LINE_PERIOD: Duration = Duration::from_secs(3);

/// Run the gateway with built-in fake providers: no account, no network
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  weighbridge demo
  weighbridge demo --listen 127.0.0.1:0 --admin 127.0.0.1:0 --requests 100

Prints the address, a key, and what to try; then shows live where the traffic goes. Ctrl-C ends it.")]
pub(crate) struct Arguments {
    /// Where callers connect; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))]
    listen: SocketAddr,
    /// Where /livez, /readyz, /metrics and /config answer
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)))]
    admin: SocketAddr,
    /// Send so many requests itself, one after the other
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    requests: u64,
}

/// Runs the demo until it is told to stop.
///
/// # Errors
/// When an address can't be listened on, or the folder not be made.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let _logging = init_logging(LogFormat::Text, "error,weighbridge=warn")?;
    // One thread beside this one: reading many files here doesn't keep callers waiting there.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(play(arguments))
}

async fn play(arguments: Arguments) -> anyhow::Result<Ended> {
    let mut stop = Stop::new()?;
    let stage = Stage::build().await?;
    let mut live = Live::new(Sources::new(vec![stage.folder().to_owned()], None)?)?;
    let look = live.look()?;
    let token = stage::token(&look.reading.search)?;
    let settings = Settings {
        listen: arguments.listen,
        admin: arguments.admin,
        // Nobody takes a demo's address out of a load balancer first.
        drain_delay_seconds: 0,
        ..Settings::default()
    };
    let gateway = Gateway::start(&settings, &look.compiled.snapshot).await?;
    output::say(&stage.introduction(&gateway, &token))?;
    let callers = Callers::start(gateway.listen_address(), token, arguments.requests);
    show(&mut stop, &mut live, &gateway, callers).await?;
    tokio::select! {
        () = gateway.drain() => {}
        () = stop.requested() => {}
    }
    stage.clear().await?;
    output::say("ended")?;
    Ok(Ended::Well)
}

/// Shows the traffic and applies edits, until told to stop.
async fn show(
    stop: &mut Stop,
    live: &mut Live,
    gateway: &Gateway,
    mut callers: Callers,
) -> anyhow::Result<()> {
    let mut view = View::new();
    let period = if view.is_terminal() {
        TERMINAL_PERIOD
    } else {
        LINE_PERIOD
    };
    let mut tick = tokio::time::interval(period);
    loop {
        tokio::select! {
            () = stop.requested() => return Ok(()),
            () = live.changed() => {
                view.leave();
                gateway.apply(&live.look()?.compiled.snapshot);
            }
            answered = callers.ended() => {
                view.leave();
                output::say(&answered)?;
                view.draw(&gateway.accounts())?;
            }
            _ = tick.tick() => view.draw(&gateway.accounts())?,
        }
    }
}
