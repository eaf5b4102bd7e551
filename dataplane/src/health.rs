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
/// Models remembered as refused on one account. A wildcard Route lets callers invent names: beyond this
/// the one whose probe is next is forgotten, and is then asked for and refused once more.
const MAX_REFUSED_MODELS: usize = 64;
/// How long after its probe fell due a refused model that nobody asks for is remembered.
const FORGET_AFTER: Duration = Duration::from_hours(1);

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
    since: Instant,
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
        self.look(Some(model), now, chance)
    }

    /// `None`: as regards no model in particular.
    fn look(&self, model: Option<&str>, now: Instant, chance: impl FnOnce() -> f64) -> Eligibility {
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
        trouble.refused = Some(Refused::new(why, now));
        self.settle(&trouble);
    }

    /// 403: this model is out on this account, likewise. Never the account: whoever may name models at
    /// will could then take it from everybody.
    pub(crate) fn on_model_refused(&self, model: &str, now: Instant) {
        let mut trouble = self.lock();
        trouble.forget_models(now);
        let models = &mut trouble.refused_models;
        if models.len() >= MAX_REFUSED_MODELS && !models.contains_key(model) {
            let next = models.iter().min_by_key(|(_, refused)| refused.next_probe);
            if let Some(next) = next.map(|(name, _)| name.clone()) {
                models.remove(&next);
            }
        }
        models.insert(model.to_owned(), Refused::new(Refusal::Auth, now));
        self.settle(&trouble);
    }

    /// The provider took a request that was sent at `asked_at`: what was refused before that works again.
    /// An answer to a request that was under way already, when a refusal or a cool-down began, says
    /// nothing about it.
    pub(crate) fn on_accepted(&self, model: &str, asked_at: Instant) {
        if !self.troubled.load(Ordering::Acquire) {
            return;
        }
        let mut trouble = self.lock();
        trouble.refused.take_if(|refused| refused.since <= asked_at);
        trouble
            .refused_models
            .retain(|name, refused| name != model || refused.since > asked_at);
        trouble.forget_models(asked_at);
        if let Some(limited) = &mut trouble.limited
            && limited.until <= asked_at
        {
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
        self.look(None, now, || 0.0)
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
    fn refusal(&self, model: Option<&str>) -> Option<Refused> {
        self.refused
            .or_else(|| self.refused_models.get(model?).copied())
    }

    /// Forgets the models that nobody has asked for since their probe fell due.
    fn forget_models(&mut self, now: Instant) {
        self.refused_models
            .retain(|_, refused| now < refused.next_probe + FORGET_AFTER);
    }
}

impl Refused {
    fn new(why: Refusal, now: Instant) -> Self {
        Self {
            why,
            since: now,
            next_probe: now + PROBE_EVERY,
        }
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
        health.on_accepted("m", now);
        now += 20 * SECOND;
        assert_eq!(health.on_limited(now, None), Some(now + 5 * SECOND));
    }

    #[test]
    fn an_answer_to_a_request_under_way_is_no_success_after_the_cool_down() {
        let (health, start) = (Health::default(), Instant::now());
        let until = health.on_limited(start + SECOND, None).unwrap();
        // Sent before the 429, and within the cool-down by a worker that hadn't heard of it.
        health.on_accepted("m", start);
        health.on_accepted("m", start + 2 * SECOND);
        assert_eq!(health.on_limited(until, None), Some(until + 10 * SECOND));
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
        health.on_accepted("m", probe_at);
        assert_eq!(eligibility(&health, probe_at), Eligibility::Usable);
    }

    #[test]
    fn an_answer_to_a_request_from_before_the_refusal_ends_none() {
        let (health, start) = (Health::default(), Instant::now());
        health.on_refused(start + SECOND, Refusal::Auth);
        health.on_model_refused("m", start + SECOND);
        health.on_accepted("m", start);
        for model in ["m", "other"] {
            let found = health.eligibility(model, start + SECOND, NEVER);
            assert!(matches!(found, Eligibility::Refused(..)), "{found:?}");
        }
        // A probe that is refused in its turn begins the refusal anew.
        let probe_at = start + 301 * SECOND;
        assert!(health.claim_probe("m", probe_at));
        health.on_refused(probe_at + 2 * SECOND, Refusal::Auth);
        health.on_accepted("m", probe_at + SECOND);
        let found = eligibility(&health, probe_at + 300 * SECOND);
        assert!(matches!(found, Eligibility::Refused(..)), "{found:?}");
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
        health.on_accepted("m", start + 300 * SECOND);
        assert_eq!(eligibility(&health, start), Eligibility::Usable);
    }

    #[test]
    fn very_many_forbidden_models_leave_the_account_in_and_the_latest_out() {
        let (health, start) = (Health::default(), Instant::now());
        let many: Vec<(String, Instant)> = (0..200_u32)
            .map(|place| (format!("invented-{place}"), start + SECOND * (place / 2)))
            .collect();
        for (model, at) in &many {
            health.on_model_refused(model, *at);
            // Once more, as by a probe: it takes no second place.
            health.on_model_refused(model, *at);
        }
        let now = start + 100 * SECOND;
        assert_eq!(health.state(now), Eligibility::Usable);
        assert_eq!(eligibility(&health, now), Eligibility::Usable);
        let refused: Vec<bool> = many
            .iter()
            .map(|(model, _)| health.eligibility(model, now, NEVER) != Eligibility::Usable)
            .collect();
        let (forgotten, kept) = refused.split_at(200 - MAX_REFUSED_MODELS);
        assert!(forgotten.iter().all(|refused| !refused));
        assert!(kept.iter().all(|refused| *refused));
    }

    #[test]
    fn a_forbidden_model_without_a_name_says_nothing_about_the_account() {
        let (health, start) = (Health::default(), Instant::now());
        health.on_model_refused("", start);
        assert_eq!(health.state(start), Eligibility::Usable);
    }

    #[test]
    fn a_forbidden_model_that_nobody_asks_for_is_forgotten_an_hour_after_its_probe() {
        let (health, start) = (Health::default(), Instant::now());
        health.on_model_refused("m", start);
        let asked_for = |minutes: u32| {
            let now = start + 60 * SECOND * minutes;
            health.on_accepted("other", now);
            eligibility(&health, now)
        };
        assert_eq!(asked_for(64), Eligibility::Probe);
        assert_eq!(asked_for(65), Eligibility::Usable);
    }
}
