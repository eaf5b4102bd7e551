//! Repeating the same backend: how long to wait, and whether all calls together have repeated too
//! often. Must never be asked when another candidate is left: moving on is free.

use std::time::Duration;

use tower::retry::budget::{Budget, TpsBudget};
use weighbridge_snapshot::{Backoff, RetryBudget};

/// Repeats that a Provider may get per second however little traffic it has: without them a percentage
/// of few calls would be none.
const LEAST_PER_SECOND: u32 = 1;

/// The wait before repeat number `repeat` (from 0): full jitter, that is a `chance` (0 up to 1) of the
/// exponential bound, so that callers who failed together don't return together.
pub(crate) fn delay(backoff: Backoff, repeat: u32, chance: f64) -> Duration {
    let doubled = 2_u32.checked_pow(repeat).unwrap_or(u32::MAX);
    let bound = backoff.initial.saturating_mul(doubled).min(backoff.max);
    bound.mul_f64(chance.clamp(0.0, 1.0))
}

/// The repeats that all calls to a Provider share.
#[derive(Debug)]
pub(crate) struct RepeatBudget {
    settings: RetryBudget,
    budget: Option<TpsBudget>,
}

impl RepeatBudget {
    /// A budget; with 0 percent nothing is ever repeated.
    pub(crate) fn new(settings: RetryBudget) -> Self {
        // The library asserts these bounds; the schema has the same.
        let interval = settings
            .interval
            .clamp(Duration::from_secs(1), Duration::from_mins(1));
        let ratio = settings.percent.min(100);
        let budget = (ratio > 0).then(|| {
            let ratio = f32::from(u8::try_from(ratio).unwrap_or(100)) / 100.0;
            TpsBudget::new(interval, LEAST_PER_SECOND, ratio)
        });
        Self { settings, budget }
    }

    /// What it was made from.
    pub(crate) fn settings(&self) -> RetryBudget {
        self.settings
    }

    /// Counts a first attempt.
    pub(crate) fn deposit(&self) {
        if let Some(budget) = &self.budget {
            budget.deposit();
        }
    }

    /// Takes one repeat; false when there is none left.
    pub(crate) fn withdraw(&self) -> bool {
        self.budget.as_ref().is_some_and(Budget::withdraw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_are_jittered() {
        let backoff = Backoff {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(5),
        };
        let bounds: Vec<u128> = [0, 1, 2, 5, 6, 40]
            .map(|repeat| delay(backoff, repeat, 1.0).as_millis())
            .to_vec();
        assert_eq!(bounds, [100, 200, 400, 3200, 5000, 5000]);
        assert_eq!(delay(backoff, 1, 0.25), Duration::from_millis(50));
        assert_eq!(delay(backoff, 1, 0.0), Duration::ZERO);
    }

    fn budget(percent: u32) -> RepeatBudget {
        RepeatBudget::new(RetryBudget {
            percent,
            interval: Duration::from_secs(10),
        })
    }

    #[test]
    fn repeats_are_a_share_of_first_attempts_beside_a_small_reserve() {
        let budget = budget(20);
        (0..100).for_each(|_| budget.deposit());
        let granted = (0..100).filter(|_| budget.withdraw()).count();
        // 20 for a hundred first attempts, and one per second of the interval.
        assert_eq!(granted, 30);
    }

    #[test]
    fn zero_percent_repeats_nothing() {
        let budget = budget(0);
        budget.deposit();
        assert!(!budget.withdraw());
    }
}
