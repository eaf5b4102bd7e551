//! The cells that metrics are counted in: one set per worker, so that counting shares no cache line and
//! takes no lock; summed when somebody looks. Each cell must have one writer, its worker.

use std::sync::atomic::{AtomicU64, Ordering};

/// One `T` per worker, each on cache lines of its own.
#[derive(Debug)]
pub(crate) struct PerWorker<T>(Box<[Padded<T>]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T: Default> PerWorker<T> {
    /// Zeroed cells for `workers` workers (at least one).
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| Padded::default()).collect())
    }
}

impl<T> PerWorker<T> {
    /// The cells of a worker.
    pub(crate) fn of(&self, worker: usize) -> &T {
        let padded = self.0.get(worker).or(self.0.first());
        &padded.expect("there is at least one worker").0
    }

    /// The cells of all workers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter().map(|padded| &padded.0)
    }

    /// The sum of a counter over all workers.
    pub(crate) fn sum(&self, counter: impl Fn(&T) -> &Counter) -> u64 {
        self.iter().map(|cells| counter(cells).get()).sum()
    }
}

/// A number that only grows, with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it; a plain load and store, as nobody else writes.
    pub(crate) fn add(&self, amount: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(amount);
        self.0.store(sum, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of a histogram's buckets, in units of `1 / scale`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    /// Ascending; values beyond the last fall into an open bucket.
    pub(crate) bounds: [u64; 14],
    /// How many units make one of what is reported.
    pub(crate) scale: u32,
}

/// Seconds, counted in microseconds: the bounds that OpenTelemetry's GenAI conventions give for
/// `gen_ai.server.request.duration`.
pub(crate) const SECONDS: Buckets = Buckets {
    bounds: [
        10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000, 2_560_000, 5_120_000,
        10_240_000, 20_480_000, 40_960_000, 81_920_000,
    ],
    scale: 1_000_000,
};

/// Tokens: the bounds that OpenTelemetry's GenAI conventions give for `gen_ai.client.token.usage`.
pub(crate) const TOKENS: Buckets = Buckets {
    bounds: [
        1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216,
        67_108_864,
    ],
    scale: 1,
};

/// A distribution.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [Counter; 15],
    sum: Counter,
}

impl Histogram {
    /// Counts one value, in units of `buckets`.
    pub(crate) fn observe(&self, buckets: &Buckets, value: u64) {
        let place = buckets.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.add(1);
        }
        self.sum.add(value);
    }
}

/// What a scrape reports of one distribution over all workers.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Distribution {
    pub(crate) sum: f64,
    pub(crate) count: u64,
    /// Upper bound and the number of values in that bucket alone.
    pub(crate) buckets: Vec<(f64, u64)>,
}

/// Sums a histogram over workers.
pub(crate) fn distribution<'a>(
    buckets: &Buckets,
    histograms: &(impl Iterator<Item = &'a Histogram> + Clone),
) -> Distribution {
    let scale = f64::from(buckets.scale);
    let total = |place: usize| -> u64 {
        histograms
            .clone()
            .filter_map(|histogram| histogram.counts.get(place))
            .map(Counter::get)
            .sum()
    };
    let bounds = buckets.bounds.iter().map(|bound| as_f64(*bound) / scale);
    let counts: Vec<(f64, u64)> = bounds
        .chain([f64::INFINITY])
        .enumerate()
        .map(|(place, bound)| (bound, total(place)))
        .collect();
    Distribution {
        sum: as_f64(
            histograms
                .clone()
                .map(|histogram| histogram.sum.get())
                .sum(),
        ) / scale,
        count: counts.iter().map(|(_, count)| count).sum(),
        buckets: counts,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "metrics are floats; 2^53 is far enough"
)]
fn as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_over_workers() {
        let cells: PerWorker<Counter> = PerWorker::new(3);
        cells.of(0).add(2);
        cells.of(2).add(5);
        assert_eq!(cells.sum(|counter| counter), 7);
    }

    #[test]
    fn a_value_on_a_bound_belongs_to_that_bucket() {
        let (one, other) = (Histogram::default(), Histogram::default());
        one.observe(&TOKENS, 1);
        one.observe(&TOKENS, 2);
        other.observe(&TOKENS, 4);
        other.observe(&TOKENS, u64::from(u32::MAX));
        let sum = distribution(&TOKENS, &[&one, &other].into_iter());
        assert_eq!(sum.count, 4);
        assert_eq!(sum.buckets[..3], [(1.0, 1), (4.0, 2), (16.0, 0)]);
        assert_eq!(sum.buckets.last(), Some(&(f64::INFINITY, 1)));
        assert!((sum.sum - (7.0 + f64::from(u32::MAX))).abs() < 1e-6);
    }

    #[test]
    fn seconds_are_reported_in_seconds() {
        let histogram = Histogram::default();
        histogram.observe(&SECONDS, 15_000);
        let sum = distribution(&SECONDS, &std::iter::once(&histogram));
        assert!((sum.sum - 0.015).abs() < 1e-9);
        assert_eq!(sum.buckets[1], (0.02, 1));
    }
}
