//! What one call may use now: a Route's backends and accounts, as far as the key's grants, the model,
//! the operation and health allow. The edge between the pure [`Plan`](crate::plan::Plan) and the shared
//! state it is drawn from.

use std::sync::Arc;
use std::time::Instant;

use weighbridge_snapshot::Operation;

use crate::health::{Eligibility, Refusal};
use crate::plan::{Backends, Candidate, Field};
use crate::runtime::{Account, Backend, Key, Provider, Route, UpstreamModel};

/// One call's view of its Route.
#[derive(Debug)]
pub(crate) struct Candidates {
    route: Arc<Route>,
    key: Arc<Key>,
    operation: Operation,
    /// The name the caller asked for, and where in it the Route's `*` begins.
    model: String,
    wildcard_from: usize,
    now: Instant,
    /// One throw per call, so that a ramping account is in all of the call's sets or in none.
    chance: f64,
    /// Take accounts that are still ramping up: nothing else is left.
    takes_ramping: bool,
    /// Embeddings of different models don't compare: those that may serve them. `None`: any model may.
    comparable: Option<Vec<String>>,
}

/// Where a candidate leads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) provider: &'a Arc<Provider>,
    pub(crate) account: &'a Account,
    pub(crate) backend: &'a Backend,
}

/// What a Route's accounts say when none can be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prospects {
    /// When the first that is cooling down recovers.
    pub(crate) recovers_at: Option<Instant>,
    /// Every account there is cools down.
    pub(crate) all_limited: bool,
    /// Some account's credential is refused.
    pub(crate) refused: Option<Refusal>,
    /// Some account could serve this call at some time.
    pub(crate) any: bool,
}

impl Candidates {
    pub(crate) fn new(
        route: Arc<Route>,
        key: Arc<Key>,
        operation: Operation,
        (model, wildcard_from): (&str, usize),
    ) -> Self {
        let mut candidates = Self {
            route,
            key,
            operation,
            model: model.to_owned(),
            wildcard_from,
            now: Instant::now(),
            chance: fastrand::f64(),
            takes_ramping: false,
            comparable: None,
        };
        if operation == Operation::Embeddings {
            candidates.comparable = candidates.first_models();
        }
        candidates
    }

    /// Looks at the accounts as they are at `now`.
    pub(crate) fn look_again(&mut self, now: Instant) {
        self.now = now;
    }

    /// From here on accounts that are still ramping up may serve too; false if they already may.
    pub(crate) fn take_ramping(&mut self) -> bool {
        !std::mem::replace(&mut self.takes_ramping, true)
    }

    /// After a first attempt: what it fixed for those that follow.
    pub(crate) fn pin(&mut self, candidate: Candidate) {
        if self.comparable.is_some() {
            let place = self.place(candidate);
            let model = place.map(|place| self.upstream_model(place.backend).to_owned());
            self.comparable = model.map(|model| vec![model]);
        }
    }

    /// Where a candidate leads.
    pub(crate) fn place(&self, candidate: Candidate) -> Option<Place<'_>> {
        let backend = self.backend(candidate.target, candidate.backend)?;
        let provider = backend.provider.as_ref()?;
        let account = provider.accounts.get(candidate.account)?;
        Some(Place {
            provider,
            account,
            backend,
        })
    }

    /// The name that a backend is asked for.
    pub(crate) fn upstream_model<'a>(&'a self, backend: &'a Backend) -> &'a str {
        match &backend.model {
            UpstreamModel::Caller => &self.model,
            UpstreamModel::Wildcard => self.model.get(self.wildcard_from..).unwrap_or_default(),
            UpstreamModel::Named { name, .. } => name,
        }
    }

    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// What can be hoped for when nothing may be asked.
    pub(crate) fn prospects(&self) -> Prospects {
        let mut prospects = Prospects {
            all_limited: true,
            ..Prospects::default()
        };
        let backends = self
            .route
            .targets
            .iter()
            .flat_map(|target| &target.backends);
        for backend in backends {
            let Some(provider) = backend.provider.as_deref() else {
                continue;
            };
            let mask = self.allowed(backend, provider);
            for account in members(mask).filter_map(|place| provider.accounts.get(place)) {
                prospects.add(self.eligibility(backend, account));
            }
        }
        prospects.all_limited &= prospects.recovers_at.is_some();
        prospects
    }

    fn backend(&self, target: usize, backend: usize) -> Option<&Backend> {
        self.route.targets.get(target)?.backends.get(backend)
    }

    /// The models of the first target that could ever serve this call: while its accounts rest, another
    /// target's model is no substitute.
    fn first_models(&self) -> Option<Vec<String>> {
        let mut targets = self.route.targets.iter().map(|target| {
            let able = target.backends.iter().filter(|one| self.could_serve(one));
            able.map(|backend| self.upstream_model(backend).to_owned())
                .collect::<Vec<_>>()
        });
        targets.find(|models| !models.is_empty())
    }

    /// Whether a backend has a share of such calls, resolvable or not, whatever the health of its accounts.
    fn could_serve(&self, backend: &Backend) -> bool {
        match backend.provider.as_deref() {
            _ if !backend.is_weighted => false,
            None => true,
            Some(provider) => provider.is_unresolvable() || self.allowed(backend, provider) != 0,
        }
    }

    /// The accounts that may ever serve this call, whatever their health.
    fn allowed(&self, backend: &Backend, provider: &Provider) -> u64 {
        if !backend.is_weighted {
            return 0;
        }
        let model = self.upstream_model(backend);
        let comparable = self.comparable.as_ref();
        if comparable.is_some_and(|models| models.iter().all(|one| one != model)) {
            return 0;
        }
        let (operations, serving) = match &backend.model {
            UpstreamModel::Named { operations, .. } => (*operations, u64::MAX),
            UpstreamModel::Caller | UpstreamModel::Wildcard => {
                (provider.operations(model), provider.serving(model))
            }
        };
        if !operations.contains(self.operation) {
            return 0;
        }
        backend.accounts & self.key.grant(provider) & serving
    }

    fn eligibility(&self, backend: &Backend, account: &Account) -> Eligibility {
        let model = self.upstream_model(backend);
        account.health.eligibility(model, self.now, || self.chance)
    }

    /// The accounts that may be asked now.
    fn usable(&self, backend: &Backend, provider: &Provider) -> u64 {
        members(self.allowed(backend, provider))
            .filter(|place| {
                let eligibility = provider
                    .accounts
                    .get(*place)
                    .map(|account| self.eligibility(backend, account));
                match eligibility {
                    Some(Eligibility::Usable | Eligibility::Probe) => true,
                    Some(Eligibility::RampingUp) => self.takes_ramping,
                    Some(Eligibility::CoolingDown(_) | Eligibility::Refused(..)) | None => false,
                }
            })
            .fold(0, |mask, place| mask | 1 << place)
    }
}

impl Prospects {
    fn add(&mut self, eligibility: Eligibility) {
        self.any = true;
        match eligibility {
            Eligibility::CoolingDown(until) => {
                let first = self.recovers_at.map_or(until, |before| before.min(until));
                self.recovers_at = Some(first);
            }
            Eligibility::Refused(why, _) => {
                self.refused = Some(why);
                self.all_limited = false;
            }
            Eligibility::Usable | Eligibility::RampingUp | Eligibility::Probe => {
                self.all_limited = false;
            }
        }
    }
}

impl Field for Candidates {
    fn targets(&self) -> usize {
        self.route.targets.len()
    }

    fn backends(&mut self, target: usize) -> Backends {
        let mut backends = Backends::default();
        let members = self.route.targets.get(target).into_iter();
        for (place, backend) in members.flat_map(|target| &target.backends).enumerate() {
            let bit = 1 << place;
            match backend.provider.as_deref() {
                _ if !backend.is_weighted => {}
                None => backends.unresolvable |= bit,
                Some(provider) if provider.is_unresolvable() => backends.unresolvable |= bit,
                Some(provider) if self.usable(backend, provider) != 0 => backends.eligible |= bit,
                Some(_) => {}
            }
        }
        backends
    }

    fn accounts(&mut self, target: usize, backend: usize) -> u64 {
        let Some(backend) = self.backend(target, backend) else {
            return 0;
        };
        let provider = backend.provider.as_deref();
        provider.map_or(0, |provider| self.usable(backend, provider))
    }

    fn draw_backend(&mut self, target: usize, among: u64, first: bool) -> Option<usize> {
        self.route.targets.get(target)?.choice.draw(among, first)
    }

    fn draw_account(&mut self, at: (usize, usize), among: u64, first: bool) -> Option<usize> {
        let provider = self.backend(at.0, at.1)?.provider.as_deref()?;
        provider.choice.draw(among, first)
    }

    fn claim(&mut self, (target, backend): (usize, usize), account: usize) -> bool {
        let candidate = Candidate {
            target,
            backend,
            account,
        };
        let Some(place) = self.place(candidate) else {
            return false;
        };
        let model = self.upstream_model(place.backend);
        // It may have changed since it was drawn from: other calls look at the same account.
        match self.eligibility(place.backend, place.account) {
            Eligibility::Usable | Eligibility::RampingUp => true,
            Eligibility::Probe => place.account.health.claim_probe(model, self.now),
            Eligibility::CoolingDown(_) | Eligibility::Refused(..) => false,
        }
    }
}

/// The places of a mask's bits.
fn members(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(place)
    })
}

#[cfg(test)]
mod tests;
