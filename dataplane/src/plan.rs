//! In which order a call's candidates are asked. Pure: what is eligible and who is drawn comes in
//! through [`Field`]; the plan decides and remembers. Must never name a backend twice but by
//! [`Plan::repeat`], and must never look at a clock.
//!
//! The order: the drawn backend; after 429, 401, 402, 403 its next accounts; then its siblings by
//! weight; then the next targets. A drawn backend that is unresolvable goes straight to the next target,
//! so that its share is nobody's gain.

/// What one call may use, by target, backend and account; masks have one bit per index.
pub(crate) trait Field {
    /// How many targets there are.
    fn targets(&self) -> usize;
    /// The backends of a target that have an account for this call now, and those that can't be
    /// resolved.
    fn backends(&mut self, target: usize) -> Backends;
    /// The accounts of a backend that may be asked now.
    fn accounts(&mut self, target: usize, backend: usize) -> u64;
    /// Draws one of `among` by weight; `first`: from the sequence that makes the split exact.
    fn draw_backend(&mut self, target: usize, among: u64, first: bool) -> Option<usize>;
    /// Draws one of `among` by weight, likewise.
    fn draw_account(&mut self, at: (usize, usize), among: u64, first: bool) -> Option<usize>;
    /// Takes the drawn account; false when it was there for one probe and another call has it.
    fn claim(&mut self, at: (usize, usize), account: usize) -> bool;
}

/// A target's backends as masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backends {
    /// With an account that may be asked now.
    pub(crate) eligible: u64,
    /// Without a Provider or without any resolved account: drawn like the others, then passed over.
    pub(crate) unresolvable: u64,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Index in the Route.
    pub(crate) target: usize,
    /// Index in the target.
    pub(crate) backend: usize,
    /// Index in the Provider.
    pub(crate) account: usize,
}

/// How far the failure of a candidate lets a call move on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To the backend's next accounts, then on.
    Accounts,
    /// To the backend's next accounts only: `failover.reasons` doesn't name the reason.
    AccountsOnly,
    /// To other backends.
    Backends,
    /// Nowhere: `failover.reasons` doesn't name the reason.
    Nowhere,
}

/// The walk of one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    target: usize,
    /// Backends of the current target that have been drawn.
    tried_backends: u64,
    /// Accounts of the current backend that have been asked.
    tried_accounts: u64,
    current: Option<Candidate>,
    /// Whether the exact sequences have been drawn from: once per call.
    drawn: bool,
}

impl Plan {
    /// The first candidate; `None`: nothing may be asked now.
    pub(crate) fn first(&mut self, field: &mut impl Field) -> Option<Candidate> {
        self.next_target(field)
    }

    /// The candidate after `current` failed with `reach`; `None`: only repeating is left.
    pub(crate) fn next(&mut self, field: &mut impl Field, reach: Reach) -> Option<Candidate> {
        let (accounts, onwards) = match reach {
            Reach::Accounts => (true, true),
            Reach::AccountsOnly => (true, false),
            Reach::Backends => (false, true),
            Reach::Nowhere => (false, false),
        };
        if accounts && let Some(candidate) = self.next_account(field) {
            return Some(candidate);
        }
        if !onwards {
            return None;
        }
        self.next_sibling(field).or_else(|| {
            self.target += 1;
            self.next_target(field)
        })
    }

    /// The current backend once more, on any account that may be asked now.
    pub(crate) fn repeat(&mut self, field: &mut impl Field) -> Option<Candidate> {
        let current = self.current?;
        self.tried_accounts = 0;
        self.enter(field, (current.target, current.backend))
    }

    /// The candidate asked last.
    pub(crate) fn current(&self) -> Option<Candidate> {
        self.current
    }

    /// Begins the walk anew, after a wait; the exact sequences are drawn from only if they weren't.
    pub(crate) fn restart(&mut self) {
        *self = Self {
            drawn: self.drawn,
            ..Self::default()
        };
    }

    fn next_account(&mut self, field: &mut impl Field) -> Option<Candidate> {
        let current = self.current?;
        self.enter(field, (current.target, current.backend))
    }

    fn next_sibling(&mut self, field: &mut impl Field) -> Option<Candidate> {
        loop {
            let among = field.backends(self.target).eligible & !self.tried_backends;
            if among == 0 {
                return None;
            }
            let backend = field.draw_backend(self.target, among, false)?;
            self.tried_backends |= 1 << backend;
            self.tried_accounts = 0;
            if let Some(candidate) = self.enter(field, (self.target, backend)) {
                return Some(candidate);
            }
        }
    }

    fn next_target(&mut self, field: &mut impl Field) -> Option<Candidate> {
        while self.target < field.targets() {
            self.tried_backends = 0;
            if let Some(candidate) = self.draw_in_target(field) {
                return Some(candidate);
            }
            self.target += 1;
        }
        None
    }

    fn draw_in_target(&mut self, field: &mut impl Field) -> Option<Candidate> {
        let backends = field.backends(self.target);
        let among = backends.eligible | backends.unresolvable;
        if among == 0 {
            return None;
        }
        let backend = field.draw_backend(self.target, among, !self.drawn)?;
        let is_unresolvable = backends.unresolvable & (1 << backend) != 0;
        self.tried_backends |= 1 << backend;
        self.tried_accounts = 0;
        if is_unresolvable {
            // Its share was drawn: what follows is failover, not a first attempt.
            self.drawn = true;
            return None;
        }
        self.enter(field, (self.target, backend))
            .or_else(|| self.next_sibling(field))
    }

    /// Draws an account of the backend; draws on when another call has just taken its probe.
    fn enter(&mut self, field: &mut impl Field, at: (usize, usize)) -> Option<Candidate> {
        loop {
            let among = field.accounts(at.0, at.1) & !self.tried_accounts;
            if among == 0 {
                return None;
            }
            let account = field.draw_account(at, among, !self.drawn)?;
            self.tried_accounts |= 1 << account;
            if field.claim(at, account) {
                self.drawn = true;
                let candidate = Candidate {
                    target: at.0,
                    backend: at.1,
                    account,
                };
                self.current = Some(candidate);
                return Some(candidate);
            }
        }
    }
}

#[cfg(test)]
mod tests;
