//! The total score of every node for one class of pods, kept so that the best is found without looking at all.
//!
//! Upstream takes the root of a heap over the feasible nodes (see `select`). Written out, its rule for ties is: of
//! all nodes with the highest score, the one that comes first when the heap is read root, left subtree, right
//! subtree. Within one level of the heap that is the leftmost, so only the leftmost best node of each level can
//! win; that is a search in a range of ranks for each level, and most of them end at once.

use super::places::Places;

/// What an infeasible node has for a total; totals are never negative.
pub(super) const INFEASIBLE: i32 = -1;

/// Totals are summed up in blocks of this many, and blocks in regions of as many.
const FAN: usize = 64;

/// Fewer changes than this are made one by one.
const FEW: usize = 8;

/// Totals by position, with the maximum of every block and region.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranking {
    totals: Vec<i32>,
    blocks: Vec<i32>,
    regions: Vec<i32>,
    feasible: Places,
}

fn highest(values: &[i32]) -> i32 {
    let mut highest = INFEASIBLE;
    for value in values {
        highest = highest.max(*value);
    }
    highest
}

/// A bit for each of these totals, which are as many as a word has bits: whether it is one.
fn word(totals: &[i32]) -> u64 {
    let mut word = 0;
    for (bit, total) in totals.iter().enumerate() {
        word |= u64::from(*total != INFEASIBLE) << bit;
    }
    word
}

impl Ranking {
    /// The ranking with these totals.
    pub(super) fn new(totals: Vec<i32>) -> Self {
        let blocks: Vec<_> = totals.chunks(FAN).map(highest).collect();
        let regions = blocks.chunks(FAN).map(highest).collect();
        let feasible = Places::of_words(totals.chunks(FAN).map(word).collect());
        Self { totals, blocks, regions, feasible }
    }

    /// The nodes that will do.
    pub(super) fn feasible(&self) -> &Places {
        &self.feasible
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.totals.len()
    }

    /// The total at a position.
    pub(super) fn total(&self, position: usize) -> i32 {
        self.totals[position]
    }

    /// The totals of all positions.
    pub(super) fn totals(&self) -> &[i32] {
        &self.totals
    }

    /// Sets the total at a position.
    pub(super) fn set(&mut self, position: usize, total: i32) {
        let before = std::mem::replace(&mut self.totals[position], total);
        if before == total {
            return;
        }
        match (before, total) {
            (INFEASIBLE, _) => self.feasible.insert(position),
            (_, INFEASIBLE) => self.feasible.remove(position),
            _ => {}
        }
        let (block, region) = (position / FAN, position / (FAN * FAN));
        raise_or_refresh(&mut self.blocks[block], before, total, part(&self.totals, block));
        raise_or_refresh(&mut self.regions[region], before, total, part(&self.blocks, region));
    }

    /// Sets the totals at many positions, none of them named twice.
    pub(super) fn set_all(&mut self, changes: &[(u32, i32)]) {
        if changes.len() < FEW {
            return changes.iter().for_each(|(position, total)| self.set(*position as usize, *total));
        }
        let mut touched = vec![false; self.blocks.len()];
        for (position, total) in changes {
            let position = *position as usize;
            let before = std::mem::replace(&mut self.totals[position], *total);
            match (before, *total) {
                (before, total) if before == total => continue,
                (INFEASIBLE, _) => self.feasible.insert(position),
                (_, INFEASIBLE) => self.feasible.remove(position),
                _ => {}
            }
            touched[position / FAN] = true;
        }
        for (block, touched) in touched.iter().enumerate() {
            if *touched {
                self.blocks[block] = highest(part(&self.totals, block));
            }
        }
        for (region, touched) in touched.chunks(FAN).enumerate() {
            if touched.contains(&true) {
                self.regions[region] = highest(part(&self.blocks, region));
            }
        }
    }

    /// Changes every total at once.
    pub(super) fn rewrite(&mut self, total: impl Fn(usize, i32) -> i32) {
        let mut totals = std::mem::take(&mut self.totals);
        for (position, value) in totals.iter_mut().enumerate() {
            *value = total(position, *value);
        }
        *self = Self::new(totals);
    }

    /// The position that wins when the feasible nodes are listed from `start` on, around the end.
    pub(super) fn winner(&self, start: usize) -> Option<usize> {
        let best = highest(&self.regions);
        first_by_heap(&self.feasible, start, |from, to| self.find(from, to, best))
    }

    /// The first of the best when the nodes are listed from `start` on, around the end.
    pub(super) fn first(&self, start: usize) -> Option<usize> {
        let best = highest(&self.regions);
        if best == INFEASIBLE {
            return None;
        }
        self.find(start, self.len(), best).or_else(|| self.find(0, start, best))
    }

    /// The first position from `from` to before `to` with this total, skipping blocks that cannot have it.
    fn find(&self, from: usize, to: usize, best: i32) -> Option<usize> {
        let mut position = from;
        while position < to {
            if position.is_multiple_of(FAN * FAN) && self.regions[position / (FAN * FAN)] < best {
                position += FAN * FAN;
                continue;
            }
            if position.is_multiple_of(FAN) && self.blocks[position / FAN] < best {
                position += FAN;
                continue;
            }
            let end = (position - position % FAN + FAN).min(to);
            if let Some(found) = self.totals[position..end].iter().position(|total| *total == best) {
                return Some(position + found);
            }
            position = end;
        }
        None
    }
}

/// The position that ends up as the root of the heap over the feasible ones, listed from `start` on, around the end, where
/// `first` finds the first of the best from one position to before another.
pub(super) fn first_by_heap(
    feasible: &Places,
    start: usize,
    first: impl Fn(usize, usize) -> Option<usize>,
) -> Option<usize> {
    let (count, shift) = (feasible.count(), feasible.rank(start));
    let among = |from: usize, to: usize| {
        let from = feasible.select(from)?;
        first(from, feasible.select(to.checked_sub(1)?)? + 1)
    };
    // Ranks are counted from the one at `shift` on.
    let leftmost = |ranks: std::ops::Range<usize>| {
        let (from, to) = (ranks.start + shift, ranks.end + shift);
        if from >= count {
            return among(from - count, to - count);
        }
        among(from, to.min(count)).or_else(|| if to > count { among(0, to - count) } else { None })
    };
    let rank = heap_winner(count, |ranks| Some((feasible.rank(leftmost(ranks)?) + count - shift) % count))?;
    feasible.select((rank + shift) % count)
}

/// The index of the root of the heap over `totals`.
pub(super) fn first_in_heap(totals: &[i64]) -> Option<usize> {
    let best = *totals.iter().max()?;
    heap_winner(totals.len(), |ranks| {
        let first = ranks.start;
        totals.get(ranks)?.iter().position(|total| *total == best).map(|found| first + found)
    })
}

/// The rank that ends up as the root of a heap of `count`, where `leftmost` finds the first of the best in a range.
fn heap_winner(count: usize, leftmost: impl Fn(std::ops::Range<usize>) -> Option<usize>) -> Option<usize> {
    let mut winner: Option<(u32, usize, usize)> = None;
    for level in 0..usize::BITS {
        let (first, width) = ((1_usize << level) - 1, 1_usize << level);
        if first >= count {
            break;
        }
        // What is not left of the winner so far cannot beat it.
        let width = winner.map_or(width, |(at, offset, _)| offset << (level - at));
        if width == 0 {
            break;
        }
        if let Some(rank) = leftmost(first..(first + width).min(count)) {
            winner = Some((level, rank - first, rank));
        }
    }
    winner.map(|(_, _, rank)| rank)
}

fn part(values: &[i32], index: usize) -> &[i32] {
    &values[index * FAN..values.len().min((index + 1) * FAN)]
}

/// Keeps a maximum after one of its values went from `before` to `after`.
fn raise_or_refresh(maximum: &mut i32, before: i32, after: i32, values: &[i32]) {
    if after >= *maximum {
        *maximum = after;
    } else if before == *maximum {
        *maximum = highest(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::select::winner;
    use crate::profile::TieBreak;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    /// What the plain reading of the rule takes.
    fn plain(totals: &[i32], start: usize, rule: TieBreak) -> Option<usize> {
        let listed: Vec<_> = (start..totals.len())
            .chain(0..start)
            .filter(|position| totals[*position] != INFEASIBLE)
            .collect();
        let scores: Vec<_> = listed.iter().map(|position| i64::from(totals[*position])).collect();
        let index = winner(&scores, rule, &mut SmallRng::seed_from_u64(0))?;
        listed.get(index).copied()
    }

    #[test]
    fn all_alike_is_won_by_the_first_and_then_by_its_left_children() {
        let mut ranking = Ranking::new(vec![5; 7]);
        let mut order = Vec::new();
        while let Some(position) = ranking.winner(0) {
            if ranking.total(position) < 5 {
                break;
            }
            order.push(position);
            ranking.set(position, 1);
        }
        assert_eq!(order, [0, 1, 3, 4, 2, 5, 6]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn the_winner_is_the_root_of_the_heap_and_the_first_the_leftmost(
            totals in prop::collection::vec(-1..4_i32, 1..300),
            changes in prop::collection::vec((any::<prop::sample::Index>(), -1..4_i32), 0..40),
            start in any::<prop::sample::Index>(),
        ) {
            let mut totals = totals;
            let mut ranking = Ranking::new(totals.clone());
            let start = start.index(totals.len());
            prop_assert_eq!(ranking.winner(start), plain(&totals, start, TieBreak::Heap));
            prop_assert_eq!(ranking.first(start), plain(&totals, start, TieBreak::First));
            for (position, total) in changes {
                let position = position.index(totals.len());
                totals[position] = total;
                ranking.set(position, total);
                prop_assert_eq!(ranking.winner(start), plain(&totals, start, TieBreak::Heap));
                prop_assert_eq!(ranking.first(start), plain(&totals, start, TieBreak::First));
            }
        }

        #[test]
        fn many_changes_at_once_come_to_the_same_as_one_by_one(
            totals in prop::collection::vec(-1..4_i32, 1..300),
            changes in prop::collection::btree_map(0..300_u32, -1..4_i32, 0..60),
        ) {
            let inside = |(position, _): &(u32, i32)| (*position as usize) < totals.len();
            let changes: Vec<_> = changes.into_iter().filter(inside).collect();
            let mut at_once = Ranking::new(totals.clone());
            at_once.set_all(&changes);
            let mut totals = totals;
            changes.iter().for_each(|(position, total)| totals[*position as usize] = *total);
            let anew = Ranking::new(totals);
            prop_assert_eq!((&at_once.totals, &at_once.blocks, &at_once.regions), (&anew.totals, &anew.blocks, &anew.regions));
            prop_assert_eq!(at_once.feasible.from(0).collect::<Vec<_>>(), anew.feasible.from(0).collect::<Vec<_>>());
            prop_assert_eq!(at_once.winner(0), anew.winner(0));
        }

        #[test]
        fn large_rankings_agree_too(
            length in 4000..9000_usize,
            salt in any::<u64>(),
            spread in 1..2000_u64,
        ) {
            let mix = |value: usize| (value as u64 ^ salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            let totals: Vec<i32> =
                (0..length).map(|position| (mix(position) % (spread + 1)) as i32 - 1).collect();
            let start = mix(length) as usize % length;
            let ranking = Ranking::new(totals.clone());
            prop_assert_eq!(ranking.winner(start), plain(&totals, start, TieBreak::Heap));
            prop_assert_eq!(ranking.first(start), plain(&totals, start, TieBreak::First));
            let scores: Vec<_> = totals.iter().map(|total| i64::from(*total)).collect();
            let random = &mut SmallRng::seed_from_u64(0);
            prop_assert_eq!(first_in_heap(&scores), winner(&scores, TieBreak::Heap, random));
        }
    }
}
