//! The table and its JSON form. Pure; it must print nothing that was not measured: a missing value is
//! a dash, never a zero.

use std::fmt::Write as _;

use serde::Serialize;

use crate::statistics::Spread;

const ABSENT: &str = "–";

/// One row: a figure of one workload for every variant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    /// The workload and the figure with its unit.
    pub(crate) label: String,
    /// Digits after the decimal point of the values.
    #[serde(skip)]
    pub(crate) decimals: usize,
    /// By variant.
    pub(crate) values: Vec<Option<Spread>>,
    /// By variant, over the floor, taken inside each round.
    pub(crate) ratios: Vec<Option<Spread>>,
}

/// Where and how it was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Environment {
    /// The processor's name.
    pub(crate) processor: String,
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Load averages when the bench began: near zero on a quiet machine.
    pub(crate) load_average: String,
    /// Measured rounds per row.
    pub(crate) rounds: usize,
    /// Whether the proxy had a core of its own.
    pub(crate) pinned: bool,
    /// Whether the slices were shortened.
    pub(crate) quick: bool,
    /// Whether the bench was built without optimisation: its figures then mean nothing.
    pub(crate) unoptimised: bool,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    /// Where and how.
    pub(crate) environment: Environment,
    /// The names that `values` and `ratios` follow.
    pub(crate) variants: Vec<&'static str>,
    /// The rows.
    pub(crate) lines: Vec<Line>,
    /// What was left out, and how to get it.
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// The table, as Markdown that is also readable as it stands.
    pub(crate) fn markdown(&self) -> String {
        let rows: Vec<Vec<String>> = self.lines.iter().map(|line| self.cells(line)).collect();
        let mut text = self.heading();
        text.push_str(&table(&self.columns(), &rows));
        for note in &self.notes {
            text.push_str("\n- ");
            text.push_str(note);
        }
        text.push('\n');
        text
    }

    fn heading(&self) -> String {
        let environment = &self.environment;
        let mut text = format!(
            "{}, {} cores, Linux {}, load average {}, {} rounds",
            environment.processor,
            environment.cores,
            environment.kernel,
            environment.load_average,
            environment.rounds,
        );
        let remarks = [
            (environment.pinned, ", proxy pinned to one core"),
            (environment.quick, ", short slices"),
            (environment.unoptimised, ", UNOPTIMISED BUILD: not figures"),
        ];
        for (_, remark) in remarks.iter().filter(|(holds, _)| *holds) {
            text.push_str(remark);
        }
        text + "\n\n"
    }

    fn columns(&self) -> Vec<String> {
        let ratios = self.proxies().map(|(_, name)| format!("{name} ÷ floor"));
        std::iter::once("figure".to_owned())
            .chain(self.variants.iter().map(|name| (*name).to_owned()))
            .chain(ratios)
            .collect()
    }

    fn cells(&self, line: &Line) -> Vec<String> {
        let cell = |values: &[Option<Spread>], variant: usize, show: &dyn Fn(Spread) -> String| {
            let spread = values.get(variant).copied().flatten();
            spread.map_or_else(|| ABSENT.to_owned(), show)
        };
        let mut cells = vec![line.label.clone()];
        for variant in 0..self.variants.len() {
            cells.push(cell(&line.values, variant, &|spread| {
                format!("{:.*}", line.decimals, spread.median)
            }));
        }
        for (variant, _) in self.proxies() {
            cells.push(cell(&line.ratios, variant, &with_quartiles));
        }
        cells
    }

    /// The variants that are compared with the floor.
    fn proxies(&self) -> impl Iterator<Item = (usize, &'static str)> + '_ {
        self.variants
            .iter()
            .copied()
            .enumerate()
            .skip(crate::rounds::FLOOR + 1)
    }
}

fn with_quartiles(spread: Spread) -> String {
    // A count has no spread: its quartiles are the count.
    if spread
        .lower_quartile
        .total_cmp(&spread.upper_quartile)
        .is_eq()
    {
        return format!("{:.2}", spread.median);
    }
    format!(
        "{:.2} ({:.2}–{:.2})",
        spread.median, spread.lower_quartile, spread.upper_quartile
    )
}

/// A Markdown table with padded cells; all columns but the first are aligned to the right.
fn table(columns: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        std::iter::once(columns)
            .chain(rows.iter().map(Vec::as_slice))
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    push_row(&mut text, columns, &widths);
    for (column, width) in widths.iter().enumerate() {
        let rule = "-".repeat(width + 1);
        let (left, right) = if column == 0 { (":", "") } else { ("", ":") };
        text.push('|');
        text.push_str(&[left, &rule, right].concat());
    }
    text.push_str("|\n");
    for row in rows {
        push_row(&mut text, row, &widths);
    }
    text
}

fn push_row(text: &mut String, cells: &[String], widths: &[usize]) {
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let written = if column == 0 {
            write!(text, "| {cell:<width$} ")
        } else {
            write!(text, "| {cell:>width$} ")
        };
        written.expect("writing into a String cannot fail");
    }
    text.push_str("|\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let spread = |lower_quartile, median, upper_quartile| {
            Some(Spread {
                lower_quartile,
                median,
                upper_quartile,
            })
        };
        Report {
            environment: Environment {
                processor: "Some CPU".to_owned(),
                cores: 2,
                kernel: "6.1".to_owned(),
                load_average: "0.01".to_owned(),
                rounds: 9,
                pinned: false,
                quick: true,
                unoptimised: false,
            },
            variants: vec!["direct", "floor", "weighbridge"],
            lines: vec![
                Line {
                    label: "a: CPU".to_owned(),
                    decimals: 1,
                    values: vec![None, spread(19.0, 20.04, 21.0), spread(21.0, 22.06, 23.0)],
                    ratios: vec![None, None, spread(1.05, 1.1, 1.149)],
                },
                Line {
                    label: "a: instructions".to_owned(),
                    decimals: 0,
                    values: vec![None, spread(42000.0, 42000.0, 42000.0), None],
                    ratios: vec![None, None, spread(1.5, 1.5, 1.5)],
                },
            ],
            notes: vec!["a note".to_owned()],
        }
    }

    #[test]
    fn prints_an_aligned_markdown_table() {
        let expected = "Some CPU, 2 cores, Linux 6.1, load average 0.01, 9 rounds, short slices

| figure          | direct | floor | weighbridge | weighbridge ÷ floor |
|:----------------|-------:|------:|------------:|--------------------:|
| a: CPU          |      – |  20.0 |        22.1 |    1.10 (1.05–1.15) |
| a: instructions |      – | 42000 |           – |                1.50 |

- a note
";
        assert_eq!(report().markdown(), expected);
    }

    #[test]
    fn the_json_form_keeps_quartiles_and_absent_values() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["lines"][0]["ratios"][2]["upper_quartile"], 1.149);
        assert!(json["lines"][0]["values"][0].is_null());
        assert_eq!(json["environment"]["rounds"], 9);
    }
}
