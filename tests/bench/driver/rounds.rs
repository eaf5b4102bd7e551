//! Paired rounds: in each, every variant gets one slice, in an order that moves on by one from round to
//! round, so that a slow minute of the machine falls on all of them. Ratios are taken inside a round and
//! must never be taken across rounds.

use crate::progress::Progress;
use crate::report::Line;
use crate::statistics::Spread;
use crate::variant::{Loader, Slice, Variant};
use crate::workload::{Figure, Workload};

/// The index of the direct way among the variants.
pub(crate) const DIRECT: usize = 0;
/// The index of the floor among the variants.
pub(crate) const FLOOR: usize = 1;

/// The slices of one round, by variant.
pub(crate) type Round = Vec<Slice>;

/// Runs one warm-up round and `count` measured ones.
///
/// # Errors
/// When a slice fails.
pub(crate) async fn run(
    loader: &Loader,
    variants: &mut [Variant],
    workload: &Workload,
    count: usize,
    progress: &Progress,
) -> anyhow::Result<Vec<Round>> {
    let mut rounds = Vec::new();
    let upstream = variants.first().map(|direct| direct.address);
    let answer_bytes = match upstream {
        Some(upstream) => loader.answer_bytes(upstream, workload.mode).await?,
        None => 0,
    };
    for number in 0..=count {
        progress.step(&match number {
            0 => "warming up".to_owned(),
            _ => format!("round {number} of {count}"),
        });
        let mut slices = Vec::new();
        for position in rotated(variants.len(), number) {
            if let Some(variant) = variants.get_mut(position) {
                let slice = loader.slice(variant, workload, answer_bytes).await?;
                slices.push((position, slice));
            }
        }
        slices.sort_by_key(|(position, _)| *position);
        if number > 0 {
            rounds.push(slices.into_iter().map(|(_, slice)| slice).collect());
        }
    }
    Ok(rounds)
}

/// The lines of one workload: the value of each variant and the ratio of each proxy to the floor.
pub(crate) fn lines(workload: &Workload, variants: usize, rounds: &[Round]) -> Vec<Line> {
    let line = |figure: &Figure| Line {
        label: format!("{}: {}", workload.name, figure.label(workload.mode)),
        decimals: figure.decimals(),
        values: (0..variants)
            .map(|variant| spread(rounds, |round| value(*figure, round, variant)))
            .collect(),
        ratios: (0..variants)
            .map(|variant| spread(rounds, |round| ratio(*figure, round, variant)))
            .collect(),
    };
    workload.figures.iter().map(line).collect()
}

fn rotated(length: usize, by: usize) -> impl Iterator<Item = usize> {
    (0..length).map(move |position| (position + by) % length)
}

fn spread(rounds: &[Round], of: impl Fn(&Round) -> Option<f64>) -> Option<Spread> {
    let values: Vec<f64> = rounds.iter().filter_map(of).collect();
    Spread::of(&values)
}

fn value(figure: Figure, round: &Round, variant: usize) -> Option<f64> {
    let slice = round.get(variant)?;
    match figure {
        Figure::Cpu => Some(slice.cpu?.as_secs_f64() * 1e6 / f64::from(slice.load.requests)),
        Figure::Throughput => Some(f64::from(slice.load.requests) / slice.load.seconds),
        Figure::AddedMedian => added(round, variant, |slice| slice.load.p50_seconds),
        Figure::AddedP99 => added(round, variant, |slice| slice.load.p99_seconds),
    }
}

/// In µs, over the direct way of the same round.
fn added(round: &Round, variant: usize, latency: impl Fn(&Slice) -> f64) -> Option<f64> {
    if variant == DIRECT {
        return None;
    }
    let direct = latency(round.get(DIRECT)?);
    Some((latency(round.get(variant)?) - direct) * 1e6)
}

fn ratio(figure: Figure, round: &Round, variant: usize) -> Option<f64> {
    if variant <= FLOOR {
        return None;
    }
    let floor = value(figure, round, FLOOR)?;
    // Where the floor adds nothing that can be measured, a ratio over it says nothing.
    (floor > 0.0)
        .then_some(value(figure, round, variant)?)
        .map(|value| value / floor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variant::LoadReport;
    use crate::workload::TIMED;
    use std::time::Duration;

    fn slice(seconds: f64, p50_seconds: f64, cpu_milliseconds: Option<u64>) -> Slice {
        Slice {
            load: LoadReport {
                requests: 1000,
                seconds,
                bytes: 0,
                p50_seconds,
                p99_seconds: p50_seconds * 2.0,
            },
            cpu: cpu_milliseconds.map(Duration::from_millis),
        }
    }

    fn close(spread: Option<Spread>, expected: f64) -> bool {
        spread.is_some_and(|spread| (spread.median - expected).abs() < 1e-9)
    }

    #[test]
    fn every_variant_takes_every_place_in_turn() {
        let orders: Vec<Vec<usize>> = (0..4).map(|round| rotated(3, round).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }

    #[test]
    fn ratios_are_taken_inside_a_round() {
        // The machine was twice as slow in the second round; the ratio is 1.5 in both.
        let rounds = [
            vec![
                slice(0.5, 1e-4, None),
                slice(1.0, 2e-4, Some(10)),
                slice(2.0, 2.5e-4, Some(15)),
            ],
            vec![
                slice(1.0, 2e-4, None),
                slice(2.0, 4e-4, Some(20)),
                slice(4.0, 5e-4, Some(30)),
            ],
        ];
        let [cpu, throughput] = &lines(&TIMED[0], 3, &rounds)[..] else {
            panic!("two figures");
        };
        assert_eq!(cpu.values[DIRECT], None);
        assert!(close(cpu.values[FLOOR], 15.0));
        assert!(close(cpu.ratios[2], 1.5));
        assert_eq!(cpu.ratios[FLOOR], None);
        assert!(close(throughput.values[DIRECT], 1500.0));
        assert!(close(throughput.ratios[2], 0.5));
        let [median, _] = &lines(&TIMED[4], 3, &rounds)[..] else {
            panic!("two figures");
        };
        assert!(close(median.values[FLOOR], 150.0));
        assert!(close(median.ratios[2], 1.5));
    }

    #[test]
    fn no_ratio_over_a_floor_that_adds_nothing() {
        let round = vec![
            slice(1.0, 1e-4, None),
            slice(1.0, 1e-4, Some(1)),
            slice(1.0, 2e-4, Some(1)),
        ];
        assert_eq!(ratio(Figure::AddedMedian, &round, 2), None);
    }
}
