//! The `weighbridge` command: composes the other packages into a gateway that runs from files.
//!
//! Owns the command line and the exit codes, and nothing of what is behind them. Must never decide
//! what a resource means, or touch a request.

mod check;
mod crds;
mod demo;
mod links;
mod live;
mod load;
mod mock;
mod output;
mod secrets;
mod sentence;
mod serve;
mod sources;
mod stop;
mod table;
mod token;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A gateway for model traffic, described by Kubernetes resources.
#[derive(Parser)]
#[command(
    name = "weighbridge",
    version,
    about,
    after_help = "\
Start here:
  weighbridge demo                  everything at once, with fake providers
  weighbridge check examples/teams  what would become of a folder's resources
  weighbridge serve my-folder       the gateway, from your own resources

Exit codes: 0 done, 1 a resource was refused, 2 wrong use, or something could not be read or written."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Demo(demo::Arguments),
    Check(check::Arguments),
    Mock(mock::Arguments),
    Crds(crds::Arguments),
}

/// How a command ended that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// With nothing to complain of.
    Well,
    /// With something refused.
    Refused,
}

fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Mock(arguments) => mock::run(arguments),
        Command::Crds(arguments) => crds::run(&arguments),
    };
    match ended {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::Refused) => ExitCode::from(1),
        // Whoever reads our output has seen enough, as `head` does.
        Err(error) if output::is_reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().unwrap().to_string();
            let example = format!("weighbridge {}", command.get_name());
            assert!(help.contains(&example), "{}", command.get_name());
        }
    }
}
