//! Exact weighted shares: which of at most 64 members takes the next request.
//!
//! Owns the sequences of one choice point, one per set of eligible members. Of every prefix of a
//! set's draws, each member has its share within one. Must never look at a clock or a random number,
//! and must never change a weight: ramping up is the caller's matter, by eligibility.
//!
//! The rule is Tijdeman's (*The chairman assignment problem*, 1980). With n members of weights w and
//! sum W, at draw k a member that has x draws so far may be drawn when k·w/W − x ≥ 1/(2n−2); among
//! those the one with the smallest (x + 1 − 1/(2n−2))·W/w is. Smooth weighted round robin, the usual
//! choice, strays beyond one request. Both sides are kept as integers, multiplied by m = 2n−2 (and by
//! W), so that nothing is ever rounded.

/// The most members one choice point can have: the bits of a mask.
const MAX_MEMBERS: usize = u64::BITS as usize;

/// The largest weight; a larger one counts as this. It keeps every product small: a deadline times a
/// weight is at most 126 · 10^6 · 10^6, far below 2^63.
const MAX_WEIGHT: u32 = 1_000_000;

/// How many sets keep their place. Sets change with cool-downs and virtual keys; a set that returns
/// after sixteen others starts anew, which costs it one request's precision.
const MAX_SETS: usize = 16;

/// The sequences of one choice point.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    weights: Box<[u32]>,
    /// The members that can be drawn at all: those with a weight.
    weighted: u64,
    sequences: Vec<Sequence>,
    /// Counts draws, to tell which set was used last.
    draws: u64,
}

/// The position of one eligible set.
#[derive(Clone, Debug)]
struct Sequence {
    set: u64,
    used: u64,
    /// m = 2n−2 (2 for a single member).
    scale: i64,
    /// W.
    sum: i64,
    /// Draws until every member has exactly its weight.
    left: i64,
    members: Box<[Member]>,
}

/// A member's standing in a sequence.
#[derive(Clone, Debug)]
struct Member {
    index: usize,
    weight: i64,
    /// m·(k·w − x·W): how far it is behind, times m·W.
    behind: i64,
    /// m·(x + 1) − 1; divided by its weight it orders the members by deadline.
    deadline: i64,
}

impl Share {
    /// A choice point whose members have these weights. Members after the 64th are never drawn.
    pub(crate) fn new(weights: &[u32]) -> Self {
        let weighted = weights
            .iter()
            .take(MAX_MEMBERS)
            .enumerate()
            .filter(|(_, weight)| **weight > 0)
            .fold(0, |mask, (index, _)| mask | 1 << index);
        Self {
            weights: weights.into(),
            weighted,
            sequences: Vec::new(),
            draws: 0,
        }
    }

    /// Draws the index of one of the members whose bit is set in `eligible`; bits of members that
    /// have no weight, or don't exist, mean nothing. `None`: nobody can be drawn.
    pub(crate) fn draw(&mut self, eligible: u64) -> Option<usize> {
        let set = eligible & self.weighted;
        self.draws += 1;
        let draws = self.draws;
        let sequence = self.sequence(set)?;
        sequence.used = draws;
        sequence.draw()
    }

    fn sequence(&mut self, set: u64) -> Option<&mut Sequence> {
        if let Some(at) = self.sequences.iter().position(|known| known.set == set) {
            return self.sequences.get_mut(at);
        }
        if set == 0 {
            return None;
        }
        let fresh = Sequence::new(set, &self.weights);
        if self.sequences.len() < MAX_SETS {
            self.sequences.push(fresh);
            return self.sequences.last_mut();
        }
        let oldest = self.sequences.iter_mut().min_by_key(|known| known.used)?;
        *oldest = fresh;
        Some(oldest)
    }
}

impl Sequence {
    fn new(set: u64, weights: &[u32]) -> Self {
        let chosen = weights
            .iter()
            .take(MAX_MEMBERS)
            .enumerate()
            .filter(|(index, _)| set & 1 << index != 0)
            .map(|(index, weight)| (index, i64::from((*weight).min(MAX_WEIGHT))));
        let divisor = chosen
            .clone()
            .fold(0, |divisor, (_, weight)| greatest_divisor(divisor, weight))
            .max(1);
        let mut members: Box<[Member]> = chosen
            .map(|(index, weight)| Member {
                index,
                weight: weight / divisor,
                behind: 0,
                deadline: 0,
            })
            .collect();
        let count = i64::try_from(members.len()).unwrap_or(1);
        let scale = (2 * count - 2).max(2);
        let sum = members.iter().map(|member| member.weight).sum();
        restart(&mut members, scale);
        Self {
            set,
            used: 0,
            scale,
            sum,
            left: sum,
            members,
        }
    }

    fn draw(&mut self) -> Option<usize> {
        let (scale, sum) = (self.scale, self.sum);
        let mut drawn: Option<&mut Member> = None;
        for member in &mut self.members {
            member.behind += scale * member.weight;
            // Tijdeman proves that somebody always is far enough behind.
            if member.behind < sum {
                continue;
            }
            if drawn.as_ref().is_none_or(|best| member.is_before(best)) {
                drawn = Some(member);
            }
        }
        let member = drawn?;
        member.behind -= scale * sum;
        member.deadline += scale;
        let index = member.index;
        self.left -= 1;
        if self.left == 0 {
            // Everyone has exactly its weight: starting over keeps the numbers small for ever.
            restart(&mut self.members, scale);
            self.left = sum;
        }
        Some(index)
    }
}

impl Member {
    /// Whether its deadline comes first; among equals the one declared first stays.
    fn is_before(&self, other: &Self) -> bool {
        self.deadline * other.weight < other.deadline * self.weight
    }
}

fn restart(members: &mut [Member], scale: i64) {
    for member in members {
        member.behind = 0;
        member.deadline = scale - 1;
    }
}

fn greatest_divisor(left: i64, right: i64) -> i64 {
    if right == 0 {
        left
    } else {
        greatest_divisor(right, left % right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Counts draws per member and says how far from its share the worst one ever was, as a fraction
    /// of one request times the sum of weights.
    struct Ledger {
        weights: Vec<i128>,
        drawn: Vec<i128>,
        total: i128,
    }

    impl Ledger {
        fn new(weights: &[u32], set: u64) -> Self {
            let weights: Vec<i128> = weights
                .iter()
                .enumerate()
                .map(|(index, weight)| {
                    if set & 1 << index == 0 {
                        0
                    } else {
                        i128::from(*weight)
                    }
                })
                .collect();
            let drawn = vec![0; weights.len()];
            Self {
                weights,
                drawn,
                total: 0,
            }
        }

        /// Adds a draw; whether every member is strictly within one of its share.
        fn add(&mut self, index: usize) -> bool {
            self.drawn[index] += 1;
            self.total += 1;
            let sum: i128 = self.weights.iter().sum();
            self.weights
                .iter()
                .zip(&self.drawn)
                .all(|(weight, drawn)| (self.total * weight - drawn * sum).abs() < sum)
        }
    }

    fn holds_for(weights: &[u32], draws: usize) {
        let mut share = Share::new(weights);
        let mut ledger = Ledger::new(weights, u64::MAX);
        for draw in 0..draws {
            let index = share.draw(u64::MAX).unwrap();
            assert!(ledger.add(index), "{weights:?} strayed at draw {draw}");
        }
    }

    #[test]
    fn seventy_to_thirty_is_exact_in_every_ten_draws() {
        let mut share = Share::new(&[70, 30]);
        for _ in 0..100 {
            let first = (0..10).filter(|_| share.draw(3) == Some(0)).count();
            assert_eq!(first, 7);
        }
    }

    #[test]
    fn weights_on_which_smooth_round_robin_strays_stay_within_one() {
        holds_for(&[2, 61, 324, 372, 2], 3 * 761);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..50 {
            let weights: Vec<u32> = (0..10).map(|_| random.u32(1..1000)).collect();
            holds_for(&weights, 10_000);
        }
    }

    #[test]
    fn the_largest_choice_point_stays_within_one_at_its_end() {
        let weights: Vec<u32> = (0..64).map(|index| MAX_WEIGHT - index).collect();
        holds_for(&weights, 20_000);
        let mut uneven = vec![1; 64];
        uneven[63] = MAX_WEIGHT;
        holds_for(&uneven, 20_000);
    }

    #[test]
    fn a_period_gives_each_exactly_its_weight_and_then_repeats() {
        let mut share = Share::new(&[4, 6, 10]);
        let period: Vec<_> = (0..10).map(|_| share.draw(7).unwrap()).collect();
        let counts =
            [0, 1, 2].map(|member| period.iter().filter(|drawn| **drawn == member).count());
        assert_eq!(counts, [2, 3, 5]);
        let next: Vec<_> = (0..10).map(|_| share.draw(7).unwrap()).collect();
        assert_eq!(next, period);
    }

    #[test]
    fn nobody_without_weight_eligibility_or_existence_is_drawn() {
        let mut share = Share::new(&[0, 5, 5]);
        assert_eq!(share.draw(0), None);
        assert_eq!(share.draw(0b1), None);
        assert_eq!(share.draw(1 << 40), None);
        assert_eq!(share.draw(0b011), Some(1));
        assert_eq!(share.draw(1 << 40 | 0b100), Some(2));
        assert_eq!(Share::new(&[]).draw(u64::MAX), None);
        assert_eq!(Share::new(&[9]).draw(u64::MAX), Some(0));
    }

    #[test]
    fn sixteen_sets_keep_their_place_and_the_one_unused_longest_loses_it() {
        let mut share = Share::new(&[1; 6]);
        let pairs: Vec<u64> = (0..6)
            .flat_map(|high| (0..high).map(move |low| 1 << high | 1 << low))
            .collect();
        assert_eq!(pairs.len(), 15);
        let first: Vec<_> = pairs.iter().map(|set| share.draw(*set)).collect();
        share.draw(0b111);
        // All sixteen are known: each goes on with its other member.
        for (set, first) in pairs.iter().zip(&first) {
            assert_ne!(share.draw(*set), *first);
        }
        // A seventeenth displaces 0b111, now the oldest, and nobody else.
        share.draw(0b11_1000);
        for (set, first) in pairs.iter().zip(&first) {
            assert_eq!(share.draw(*set), *first);
        }
        assert!(share.sequences.iter().all(|known| known.set != 0b111));
        assert_eq!(share.sequences.len(), MAX_SETS);
    }

    proptest! {
        #[test]
        fn every_prefix_is_within_one_of_its_share(
            weights in prop::collection::vec(prop_oneof![0_u32..10, 0_u32..=1_000_000], 1..=64),
            draws in 1_usize..2_000,
        ) {
            let mut share = Share::new(&weights);
            let mut ledger = Ledger::new(&weights, u64::MAX);
            for _ in 0..draws {
                match share.draw(u64::MAX) {
                    Some(index) => prop_assert!(ledger.add(index)),
                    None => prop_assert!(weights.iter().all(|weight| *weight == 0)),
                }
            }
        }

        #[test]
        fn sets_drawn_in_turns_do_not_disturb_each_other(
            weights in prop::collection::vec(1_u32..1_000, 2..=12),
            masks in prop::collection::vec(any::<u64>(), 1..=MAX_SETS),
            turns in prop::collection::vec(0_usize..MAX_SETS, 1..1_000),
        ) {
            let all = (1_u64 << weights.len()) - 1;
            let mut share = Share::new(&weights);
            let mut ledgers = std::collections::BTreeMap::new();
            for turn in turns {
                let set = masks[turn % masks.len()] & all;
                let ledger = ledgers.entry(set).or_insert_with(|| Ledger::new(&weights, set));
                let drawn = share.draw(set);
                prop_assert_eq!(drawn.is_none(), set == 0);
                if let Some(index) = drawn {
                    prop_assert!(set & 1 << index != 0);
                    prop_assert!(ledger.add(index));
                }
            }
        }
    }
}
