//! Whether an account may be asked: cool-down after 429, ramp-up after it, out after a refused
//! credential. Pure state with the clock and chance passed in; it outlives the Runtime, keyed by account
//! and credential. Must never be reset by an edit that leaves the credential alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cooldown::limited_for;

/// The time over which a recovered account's share grows back to the whole.
const RAMP_UP: Duration = Duration::from_secs(10);
/// How often one request may try whether a refused credential works again.
const PROBE_EVERY: Duration = Duration::from_mins(5);
/// Models remembered as refused on one account; beyond it the whole account is out.
const MAX_REFUSED_MODELS: usize = 64;

/// Why a provider refuses a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 401, 403: the credential is wrong or lacks a permission.
    Auth,
    /// 402 or a 429 that names the quota: no money.
    Billing,
}

/// Whether an account may serve a request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eligibility {
    /// It may.
    Usable,
    /// Still ramping up and not in this draw's share; it may where nothing else can.
    RampingUp,
    /// Refused, but one request may try ([`Health::claim_probe`] decides which).
    Probe,
    /// Rate-limited until then.
    CoolingDown(Instant),
    /// Refused, with the next probe at that time.
    Refused(Refusal, Instant),
}

/// An account's health.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// False while there is nothing to look up: the hot path then takes no lock.
    troubled: AtomicBool,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    limited: Option<Limited>,
    refused: Option<Refused>,
    /// By upstream model.
    refused_models: BTreeMap<String, Refused>,
}

#[derive(Clone, Copy, Debug)]
struct Limited {
    until: Instant,
    /// Cool-downs without a success in between.
    in_a_row: u32,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    why: Refusal,
    next_probe: Instant,
}

impl Health {
    /// Whether a request for `model` may be sent; `chance` (0 up to 1) decides a ramp-up's draw.
    pub(crate) fn eligibility(
        &self,
        model: &str,
        now: Instant,
        chance: impl FnOnce() -> f64,
    ) -> Eligibility {
        if !self.troubled.load(Ordering::Acquire) {
            return Eligibility::Usable;
        }
        let mut trouble = self.lock();
        if let Some(refused) = trouble.refusal(model) {
            return if now < refused.next_probe {
                Eligibility::Refused(refused.why, refused.next_probe)
            } else {
                Eligibility::Probe
            };
        }
        let Some(limited) = trouble.limited else {
            return Eligibility::Usable;
        };
        if now < limited.until {
            return Eligibility::CoolingDown(limited.until);
        }
        let recovered_for = now - limited.until;
        if recovered_for >= RAMP_UP {
            if limited.in_a_row == 0 {
                trouble.limited = None;
                self.settle(&trouble);
            }
            return Eligibility::Usable;
        }
        if chance() < recovered_for.as_secs_f64() / RAMP_UP.as_secs_f64() {
            Eligibility::Usable
        } else {
            Eligibility::RampingUp
        }
    }

    /// A 429: nobody asks this account before the stated time, else 5 s doubling to 60 s. Answers to
    /// requests that were under way when it began count as the same cool-down. Returns the end of one
    /// that has just begun.
    pub(crate) fn on_limited(&self, now: Instant, stated: Option<Duration>) -> Option<Instant> {
        let mut trouble = self.lock();
        let (running_until, in_a_row) = match trouble.limited {
            Some(limited) if now < limited.until => (Some(limited.until), limited.in_a_row),
            Some(limited) => (None, limited.in_a_row.saturating_add(1)),
            None => (None, 1),
        };
        let until = match (running_until, stated) {
            (Some(until), None) => until,
            (Some(until), Some(stated)) => until.max(now + stated),
            (None, stated) => now + limited_for(stated, in_a_row.saturating_sub(1)),
        };
        trouble.limited = Some(Limited { until, in_a_row });
        self.settle(&trouble);
        running_until.is_none().then_some(until)
    }

    /// 401, 402, quota: the account is out until its credential changes or a probe succeeds.
    pub(crate) fn on_refused(&self, now: Instant, why: Refusal) {
        let mut trouble = self.lock();
        let next_probe = now + PROBE_EVERY;
        trouble.refused = Some(Refused { why, next_probe });
        self.settle(&trouble);
    }

    /// 403: this model is out on this account, likewise.
    pub(crate) fn on_model_refused(&self, model: &str, now: Instant) {
        let mut trouble = self.lock();
        let refused = Refused {
            why: Refusal::Auth,
            next_probe: now + PROBE_EVERY,
        };
        if trouble.refused_models.len() < MAX_REFUSED_MODELS {
            trouble.refused_models.insert(model.to_owned(), refused);
        } else {
            trouble.refused = Some(refused);
        }
        self.settle(&trouble);
    }

    /// The provider took the request: what was refused works again.
    pub(crate) fn on_accepted(&self, model: &str) {
        if !self.troubled.load(Ordering::Acquire) {
            return;
        }
        let mut trouble = self.lock();
        trouble.refused = None;
        trouble.refused_models.remove(model);
        if let Some(limited) = &mut trouble.limited {
            limited.in_a_row = 0;
        }
        self.settle(&trouble);
    }

    /// Takes the one probe that is due; false when another request has it.
    pub(crate) fn claim_probe(&self, model: &str, now: Instant) -> bool {
        let mut trouble = self.lock();
        let Trouble {
            refused,
            refused_models,
            ..
        } = &mut *trouble;
        let due: Vec<&mut Refused> = refused
            .iter_mut()
            .chain(refused_models.get_mut(model))
            .collect();
        let is_due = due.iter().all(|refused| refused.next_probe <= now);
        if is_due {
            for refused in due {
                refused.next_probe = now + PROBE_EVERY;
            }
        }
        is_due
    }

    /// A fixed view for metrics and dumps: the state as regards every model.
    pub(crate) fn state(&self, now: Instant) -> Eligibility {
        self.eligibility("", now, || 0.0)
    }

    fn lock(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, trouble: &Trouble) {
        let troubled = trouble.limited.is_some()
            || trouble.refused.is_some()
            || !trouble.refused_models.is_empty();
        self.troubled.store(troubled, Ordering::Release);
    }
}

impl Trouble {
    fn refusal(&self, model: &str) -> Option<Refused> {
        self.refused
            .or_else(|| self.refused_models.get(model).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: fn() -> f64 = || 1.0;
    const SECOND: Duration = Duration::from_secs(1);

    fn eligibility(health: &Health, now: Instant) -> Eligibility {
        health.eligibility("m", now, NEVER)
    }

    #[test]
    fn a_limited_account_cools_down_for_the_stated_time_then_ramps_up_over_ten_seconds() {
        let (health, start) = (Health::default(), Instant::now());
        let until = health.on_limited(start, Some(7 * SECOND)).unwrap();
        assert_eq!(until, start + 7 * SECOND);
        assert_eq!(
            eligibility(&health, start + 6 * SECOND),
            Eligibility::CoolingDown(until)
        );
        let at = |seconds: u32, chance: f64| {
            health.eligibility("m", until + SECOND * seconds, || chance)
        };
        assert_eq!(at(0, 0.0), Eligibility::RampingUp);
        assert_eq!(at(3, 0.29), Eligibility::Usable);
        assert_eq!(at(3, 0.31), Eligibility::RampingUp);
        assert_eq!(at(9, 0.95), Eligibility::RampingUp);
        assert_eq!(at(10, 1.0), Eligibility::Usable);
    }

    #[test]
    fn without_a_stated_time_cool_downs_double_until_a_success() {
        let (health, mut now) = (Health::default(), Instant::now());
        let mut lengths = Vec::new();
        for _ in 0..6 {
            let until = health.on_limited(now, None).unwrap();
            lengths.push((until - now).as_secs());
            now = until + SECOND;
        }
        assert_eq!(lengths, [5, 10, 20, 40, 60, 60]);
        health.on_accepted("m");
        now += 20 * SECOND;
        assert_eq!(health.on_limited(now, None), Some(now + 5 * SECOND));
    }

    #[test]
    fn answers_to_requests_under_way_do_not_double_the_cool_down() {
        let (health, start) = (Health::default(), Instant::now());
        let until = health.on_limited(start, None).unwrap();
        assert_eq!(health.on_limited(start + SECOND, None), None);
        let cooling_until = || match eligibility(&health, start + SECOND) {
            Eligibility::CoolingDown(until) => until,
            other => panic!("{other:?}"),
        };
        assert_eq!(cooling_until(), until);
        assert_eq!(health.on_limited(start + SECOND, Some(9 * SECOND)), None);
        assert_eq!(cooling_until(), start + 10 * SECOND);
    }

    #[test]
    fn a_refused_account_is_out_but_for_one_probe_per_five_minutes() {
        let (health, start) = (Health::default(), Instant::now());
        health.on_refused(start, Refusal::Billing);
        let probe_at = start + 300 * SECOND;
        assert_eq!(
            eligibility(&health, start + 299 * SECOND),
            Eligibility::Refused(Refusal::Billing, probe_at)
        );
        assert_eq!(eligibility(&health, probe_at), Eligibility::Probe);
        assert!(health.claim_probe("m", probe_at));
        assert!(!health.claim_probe("m", probe_at));
        assert!(matches!(
            eligibility(&health, probe_at),
            Eligibility::Refused(..)
        ));
        health.on_accepted("m");
        assert_eq!(eligibility(&health, probe_at), Eligibility::Usable);
    }

    #[test]
    fn a_forbidden_model_leaves_the_account_to_other_models() {
        let (health, start) = (Health::default(), Instant::now());
        health.on_model_refused("m", start);
        assert!(matches!(
            eligibility(&health, start),
            Eligibility::Refused(Refusal::Auth, _)
        ));
        assert_eq!(
            health.eligibility("other", start, NEVER),
            Eligibility::Usable
        );
        assert!(health.claim_probe("m", start + 300 * SECOND));
        health.on_accepted("m");
        assert_eq!(eligibility(&health, start), Eligibility::Usable);
    }

    #[test]
    fn very_many_forbidden_models_take_the_account_out() {
        let (health, start) = (Health::default(), Instant::now());
        for model in 0..=MAX_REFUSED_MODELS {
            health.on_model_refused(&model.to_string(), start);
        }
        assert!(matches!(
            eligibility(&health, start),
            Eligibility::Refused(..)
        ));
    }
}
