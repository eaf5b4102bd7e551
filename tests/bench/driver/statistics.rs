//! Median and quartiles over rounds. Pure; it must never drop a value silently.

use serde::Serialize;

/// A median with the quartiles around it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// A quarter of the values lie below.
    pub(crate) lower_quartile: f64,
    /// Half of the values lie below.
    pub(crate) median: f64,
    /// Three quarters of the values lie below.
    pub(crate) upper_quartile: f64,
}

impl Spread {
    /// Of at least one value; quantiles interpolate linearly between ranks (Hyndman and Fan's type 7,
    /// the default of R and of `numpy.quantile`).
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            lower_quartile: quarter(&sorted, 1)?,
            median: quarter(&sorted, 2)?,
            upper_quartile: quarter(&sorted, 3)?,
        })
    }
}

/// The quantile `quarters`/4 of sorted values.
fn quarter(sorted: &[f64], quarters: usize) -> Option<f64> {
    let position_times_four = sorted.len().checked_sub(1)? * quarters;
    let below = *sorted.get(position_times_four / 4)?;
    let above = sorted
        .get(position_times_four.div_ceil(4))
        .copied()
        .unwrap_or(below);
    let fraction = match position_times_four % 4 {
        0 => 0.0,
        1 => 0.25,
        2 => 0.5,
        _ => 0.75,
    };
    Some(below + (above - below) * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_quartiles_that_numpy_gives() {
        let cases: [(&[f64], [f64; 3]); 5] = [
            (&[7.0], [7.0, 7.0, 7.0]),
            (&[2.0, 1.0], [1.25, 1.5, 1.75]),
            (&[3.0, 1.0, 2.0], [1.5, 2.0, 2.5]),
            (&[4.0, 1.0, 3.0, 2.0], [1.75, 2.5, 3.25]),
            (
                &[9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0],
                [3.0, 5.0, 7.0],
            ),
        ];
        for (values, [lower_quartile, median, upper_quartile]) in cases {
            let expected = Spread {
                lower_quartile,
                median,
                upper_quartile,
            };
            assert_eq!(Spread::of(values), Some(expected), "{values:?}");
        }
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(Spread::of(&[]), None);
    }
}
