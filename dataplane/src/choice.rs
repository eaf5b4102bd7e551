//! A choice point: members that share traffic by weight, over all workers. Outlives the Runtime while
//! its members and weights stay. Must never be drawn from before a call is admitted.

use std::sync::{Mutex, PoisonError};

use crate::share::Share;

/// Members in a fixed order, with the sequences drawn from.
#[derive(Debug)]
pub(crate) struct Choice {
    members: Vec<(String, u32)>,
    /// First attempts: the sequence whose every prefix keeps the weights.
    first: Mutex<Share>,
    /// All others, so that a failure elsewhere doesn't bend the split.
    later: Mutex<Share>,
}

impl Choice {
    /// A choice point with fresh sequences.
    pub(crate) fn new(members: Vec<(String, u32)>) -> Self {
        let weights: Vec<u32> = members.iter().map(|(_, weight)| *weight).collect();
        Self {
            first: Mutex::new(Share::new(&weights)),
            later: Mutex::new(Share::new(&weights)),
            members,
        }
    }

    /// Whether it has these members with these weights, so that its sequences may go on.
    pub(crate) fn is_of(&self, members: &[(String, u32)]) -> bool {
        self.members == members
    }

    /// The weight of a member.
    pub(crate) fn weight(&self, member: usize) -> u32 {
        self.members.get(member).map_or(0, |(_, weight)| *weight)
    }

    /// Draws one of `among` (a bit per member).
    pub(crate) fn draw(&self, among: u64, is_first: bool) -> Option<usize> {
        if among.is_power_of_two() {
            return Some(among.trailing_zeros() as usize);
        }
        let sequence = if is_first { &self.first } else { &self.later };
        sequence
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .draw(among)
    }
}
