//! Where the bench runs, as the table's heading says it. What the system doesn't tell is "unknown";
//! nothing is guessed.

use crate::report::Environment;
use crate::settings::Settings;

const UNKNOWN: &str = "unknown";

/// Reads it from `/proc`.
pub(crate) fn read(settings: &Settings) -> Environment {
    Environment {
        processor: file("/proc/cpuinfo")
            .and_then(|text| processor(&text))
            .unwrap_or_else(|| UNKNOWN.to_owned()),
        cores: cores(),
        kernel: first_words("/proc/sys/kernel/osrelease", 1),
        load_average: first_words("/proc/loadavg", 3),
        rounds: settings.rounds(),
        pinned: settings.pin,
        quick: settings.quick,
        unoptimised: IS_UNOPTIMISED,
    }
}

/// Whether this program, and so its neighbours from the same build, were built without optimisation.
pub(crate) const IS_UNOPTIMISED: bool = cfg!(debug_assertions);

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn file(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn first_words(path: &str, count: usize) -> String {
    file(path).map_or_else(
        || UNKNOWN.to_owned(),
        |text| {
            let words: Vec<&str> = text.split_ascii_whitespace().take(count).collect();
            words.join(" ")
        },
    )
}

fn processor(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_processor_among_the_other_lines() {
        let text =
            "processor\t: 0\nmodel\t\t: 106\nmodel name\t: Some CPU @ 2.6GHz\nstepping\t: 6\n";
        assert_eq!(processor(text).as_deref(), Some("Some CPU @ 2.6GHz"));
        assert_eq!(processor("processor\t: 0\n"), None);
    }
}
