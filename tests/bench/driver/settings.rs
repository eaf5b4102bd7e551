//! The bench's command line; every knob is here and nowhere else.

use std::path::PathBuf;

use clap::Parser;

use crate::workload::Workload;

/// Rounds that bring the quartiles of the ratios within a few hundredths in under five minutes.
const ROUNDS: usize = 9;
const QUICK_ROUNDS: usize = 3;
/// A quick slice has so many times fewer requests.
const QUICK_DIVISOR: u32 = 8;

const EXAMPLES: &str = "\
Examples:
  make bench                                  build everything optimised, then measure everything
  make bench ARGS='--quick'                   a first impression in half a minute
  make bench ARGS='--only SSE --rounds 17'    the stream rows alone, with narrower quartiles
  make bench ARGS='--json bench.json'         keep the figures for comparing

Ratios are taken inside a round, where all variants saw the same minute of the machine: compare those.
Times of different runs or machines say little; instruction counts repeat within a percent.";

/// Compares the gateway's cost with the floor's: what a bare reverse proxy on the same HTTP library,
/// the pinned `bench-floor`, needs for the same bytes.
#[derive(Debug, Parser)]
#[command(name = "bench", after_help = EXAMPLES)]
pub(crate) struct Settings {
    /// Measured rounds per row, after one to warm up [default: 9, with --quick 3]
    #[arg(long, value_parser = positive)]
    rounds: Option<usize>,
    /// Short slices and few rounds: shows that it works, not what it costs
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only the rows whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Give the proxy a core of its own (taskset)
    #[arg(long)]
    pub(crate) pin: bool,
    /// Leave out a part; may be given twice
    #[arg(long, value_enum, value_name = "PART")]
    skip: Vec<Part>,
    /// Write the report as JSON, quartiles included, to this file too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Run although this is an unoptimised build; the table says so
    #[arg(long)]
    pub(crate) unoptimised: bool,
}

/// What can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// The gateway: the direct way and the floor alone are measured
    Gateway,
    /// The instruction counts, which need valgrind
    Instructions,
}

impl Settings {
    /// Whether a part is to be left out.
    pub(crate) fn skips(&self, part: Part) -> bool {
        self.skip.contains(&part)
    }

    /// Measured rounds per row.
    pub(crate) fn rounds(&self) -> usize {
        let default = if self.quick { QUICK_ROUNDS } else { ROUNDS };
        self.rounds.unwrap_or(default)
    }

    /// Those of `rows` that are asked for, at the length asked for.
    pub(crate) fn select(&self, rows: &[Workload]) -> Vec<Workload> {
        let is_wanted = |row: &Workload| {
            self.only
                .as_ref()
                .is_none_or(|part| row.name.contains(part))
        };
        let divisor = if self.quick { QUICK_DIVISOR } else { 1 };
        let shortened = |row: &Workload| Workload {
            requests: (row.requests / divisor).max(row.connections),
            ..*row
        };
        rows.iter()
            .filter(|row| is_wanted(row))
            .map(shortened)
            .collect()
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("allowed is a whole number from 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::TIMED;

    fn settings(arguments: &[&str]) -> Settings {
        Settings::parse_from([&["bench"], arguments].concat())
    }

    #[test]
    fn quick_means_fewer_rounds_and_shorter_slices_of_the_same_rows() {
        let (full, quick) = (settings(&[]), settings(&["--quick"]));
        assert!(quick.rounds() < full.rounds());
        for (short, long) in quick.select(&TIMED).iter().zip(full.select(&TIMED)) {
            assert_eq!(short.name, long.name);
            assert!(short.requests < long.requests);
            assert!(short.requests >= short.connections);
        }
        assert_eq!(settings(&["--quick", "--rounds", "5"]).rounds(), 5);
    }

    #[test]
    fn only_keeps_the_rows_that_contain_the_text() {
        let rows = settings(&["--only", "SSE"]).select(&TIMED);
        let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
        assert_eq!(
            names,
            [
                "100-chunk SSE, back to back",
                "100-chunk SSE, paced at 1 ms"
            ]
        );
        assert!(
            settings(&["--only", "no such row"])
                .select(&TIMED)
                .is_empty()
        );
    }

    #[test]
    fn no_rounds_at_all_are_refused() {
        assert!(Settings::try_parse_from(["bench", "--rounds", "0"]).is_err());
    }
}
