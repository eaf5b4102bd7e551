//! The order of a plan, over tables and over random fields.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Fixed masks; the lowest index is drawn.
#[derive(Clone, Debug)]
struct Table {
    /// By target, then backend: the accounts that may be asked; `None` is unresolvable.
    targets: Vec<Vec<Option<u64>>>,
    /// `(target, backend, first)` of each draw, in order.
    draws: Vec<(usize, usize, bool)>,
    /// Probes that other calls have.
    taken: Vec<(usize, usize, usize)>,
}

impl Table {
    fn new(targets: &[&[Option<u64>]]) -> Self {
        Self {
            targets: targets.iter().map(|target| target.to_vec()).collect(),
            draws: Vec::new(),
            taken: Vec::new(),
        }
    }
}

fn lowest(mask: u64) -> Option<usize> {
    (mask != 0).then(|| mask.trailing_zeros() as usize)
}

impl Field for Table {
    fn targets(&self) -> usize {
        self.targets.len()
    }

    fn backends(&mut self, target: usize) -> Backends {
        let mut backends = Backends::default();
        for (index, accounts) in self.targets[target].iter().enumerate() {
            match accounts {
                None => backends.unresolvable |= 1 << index,
                Some(0) => {}
                Some(_) => backends.eligible |= 1 << index,
            }
        }
        backends
    }

    fn accounts(&mut self, target: usize, backend: usize) -> u64 {
        self.targets[target][backend].unwrap_or(0)
    }

    fn draw_backend(&mut self, target: usize, among: u64, first: bool) -> Option<usize> {
        let drawn = lowest(among)?;
        self.draws.push((target, drawn, first));
        Some(drawn)
    }

    fn draw_account(&mut self, _: (usize, usize), among: u64, _: bool) -> Option<usize> {
        lowest(among)
    }

    fn claim(&mut self, at: (usize, usize), account: usize) -> bool {
        !self.taken.contains(&(at.0, at.1, account))
    }
}

fn walk(table: &mut Table, reach: Reach) -> Vec<(usize, usize, usize)> {
    let mut plan = Plan::default();
    let mut seen = Vec::new();
    let mut next = plan.first(table);
    while let Some(candidate) = next {
        seen.push((candidate.target, candidate.backend, candidate.account));
        next = plan.next(table, reach);
    }
    seen
}

#[test]
fn after_429_come_the_backends_accounts_then_siblings_then_targets() {
    let mut table = Table::new(&[&[Some(0b11), Some(0b1)], &[Some(0b1)]]);
    assert_eq!(
        walk(&mut table, Reach::Accounts),
        [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    );
}

#[test]
fn after_other_failures_the_backends_other_accounts_are_left_alone() {
    let mut table = Table::new(&[&[Some(0b11), Some(0b1)], &[Some(0b1)]]);
    assert_eq!(
        walk(&mut table, Reach::Backends),
        [(0, 0, 0), (0, 1, 0), (1, 0, 0)]
    );
}

#[test]
fn a_reason_that_failover_does_not_name_ends_the_walk_or_keeps_it_on_the_accounts() {
    let table = Table::new(&[&[Some(0b11), Some(0b1)], &[Some(0b1)]]);
    assert_eq!(walk(&mut table.clone(), Reach::Nowhere), [(0, 0, 0)]);
    assert_eq!(
        walk(&mut table.clone(), Reach::AccountsOnly),
        [(0, 0, 0), (0, 0, 1)]
    );
}

#[test]
fn a_drawn_unresolvable_backend_goes_straight_to_the_next_target() {
    let mut table = Table::new(&[&[None, Some(0b1)], &[Some(0b1)]]);
    assert_eq!(walk(&mut table, Reach::Backends), [(1, 0, 0)]);
    assert_eq!(table.draws, [(0, 0, true), (1, 0, false)]);
}

#[test]
fn failing_over_never_draws_an_unresolvable_sibling() {
    let mut table = Table::new(&[&[Some(0b1), None, Some(0b1)]]);
    assert_eq!(walk(&mut table, Reach::Backends), [(0, 0, 0), (0, 2, 0)]);
}

#[test]
fn only_the_first_attempt_draws_from_the_exact_sequence() {
    let mut table = Table::new(&[&[Some(0)], &[Some(0b1), Some(0b1)], &[Some(0b1)]]);
    walk(&mut table, Reach::Backends);
    let exact: Vec<bool> = table.draws.iter().map(|(_, _, first)| *first).collect();
    assert_eq!(exact, [true, false, false]);
}

#[test]
fn repeating_asks_the_last_backend_again() {
    let mut table = Table::new(&[&[Some(0b1)]]);
    let mut plan = Plan::default();
    let first = plan.first(&mut table);
    assert!(first.is_some());
    assert_eq!(plan.next(&mut table, Reach::Backends), None);
    assert_eq!(plan.repeat(&mut table), first);
    assert_eq!(Plan::default().repeat(&mut table), None);
}

#[test]
fn a_restart_walks_all_again_without_a_second_exact_draw() {
    let mut table = Table::new(&[&[Some(0b1)]]);
    let mut plan = Plan::default();
    assert!(plan.first(&mut table).is_some());
    plan.restart();
    assert!(plan.first(&mut table).is_some());
    assert_eq!(table.draws, [(0, 0, true), (0, 0, false)]);
}

#[test]
fn a_probe_that_another_call_has_is_passed_over() {
    let mut table = Table::new(&[&[Some(0b11)], &[Some(0b1)]]);
    table.taken = vec![(0, 0, 0)];
    assert_eq!(walk(&mut table, Reach::Accounts), [(0, 0, 1), (1, 0, 0)]);
    table.taken.push((0, 0, 1));
    assert_eq!(walk(&mut table, Reach::Accounts), [(1, 0, 0)]);
}

fn any_table() -> impl Strategy<Value = Table> {
    let backend = prop_oneof![1 => Just(None), 5 => (0_u64..16).prop_map(Some)];
    prop::collection::vec(prop::collection::vec(backend, 1..5), 1..5).prop_map(|targets| Table {
        targets,
        draws: Vec::new(),
        taken: Vec::new(),
    })
}

fn any_reach() -> impl Strategy<Value = Reach> {
    prop::sample::select(vec![
        Reach::Accounts,
        Reach::AccountsOnly,
        Reach::Backends,
        Reach::Nowhere,
    ])
}

proptest! {
    #[test]
    fn never_repeats_a_candidate_and_always_ends(
        mut table in any_table(),
        reaches in prop::collection::vec(any_reach(), 0..80),
    ) {
        let mut plan = Plan::default();
        let mut seen = BTreeSet::new();
        let mut next = plan.first(&mut table);
        for reach in reaches {
            let Some(candidate) = next else { break };
            let place = (candidate.target, candidate.backend, candidate.account);
            prop_assert!(seen.insert(place), "{place:?} twice");
            prop_assert!(table.accounts(place.0, place.1) & (1 << place.2) != 0);
            next = plan.next(&mut table, reach);
        }
        prop_assert!(table.draws.iter().skip(1).all(|(_, _, first)| !first));
    }

    #[test]
    fn with_every_account_failing_each_target_after_the_first_answer_is_visited_in_order(
        mut table in any_table(),
    ) {
        let walked = walk(&mut table, Reach::Accounts);
        prop_assert!(walked.is_sorted_by_key(|(target, _, _)| *target));
    }
}
