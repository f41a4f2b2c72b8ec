//! The best node of each bucket among 64 nodes each, so that a decision about pods to whom others matter looks at some
//! hundred sums and not at all nodes.
//!
//! One more pod in a zone changes what every node there is worth, but by the same: which of the nodes of a bucket is the best
//! stays. So that is what is kept, and looked at again only where a node changed its total or its bucket.

use super::around::Standings;
use super::places::Places;
use super::ranking::{INFEASIBLE, Ranking, first_by_heap};
use crate::profile::TieBreak;

/// Nodes in a block: as many as a word has bits.
const BLOCK: usize = u64::BITS as usize;

/// The feasible nodes of one bucket in one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Best {
    bucket: u32,
    /// The highest of their totals.
    total: i32,
    /// Which of the block they are.
    members: u64,
}

/// All blocks.
#[derive(Debug, Default)]
pub(super) struct Shortlist {
    blocks: Vec<Vec<Best>>,
    /// Blocks that have to be looked at again, some perhaps more than once.
    stale: Vec<usize>,
}

impl Shortlist {
    /// Of so many nodes, none of them looked at.
    pub(super) fn sized(nodes: usize) -> Self {
        let blocks = vec![Vec::new(); nodes.div_ceil(BLOCK)];
        Self { stale: (0..blocks.len()).collect(), blocks }
    }

    /// The node at a position may have another total, or be in another bucket.
    pub(super) fn touch(&mut self, position: usize) {
        let block = position / BLOCK;
        if self.stale.last() != Some(&block) {
            self.stale.push(block);
        }
    }

    /// All nodes may have other totals.
    pub(super) fn touch_all(&mut self) {
        self.stale = (0..self.blocks.len()).collect();
    }

    /// Looks again where something changed; both lists are by position.
    pub(super) fn refresh(&mut self, totals: &[i32], buckets: &[u32]) {
        self.stale.sort_unstable();
        self.stale.dedup();
        let mut all = totals.chunks(BLOCK).zip(buckets.chunks(BLOCK));
        let mut passed = 0;
        for block in self.stale.drain(..) {
            let Some((totals, buckets)) = all.nth(block - passed) else { break };
            passed = block + 1;
            let Some(bests) = self.blocks.get_mut(block) else { break };
            bests.clear();
            for (at, (total, bucket)) in totals.iter().zip(buckets).enumerate() {
                if *total == INFEASIBLE {
                    continue;
                }
                match bests.iter_mut().find(|best| best.bucket == *bucket) {
                    Some(best) => {
                        best.total = best.total.max(*total);
                        best.members |= 1 << at;
                    }
                    None => bests.push(Best { bucket: *bucket, total: *total, members: 1 << at }),
                }
            }
        }
    }

    /// The position that wins with what buckets have beside the totals, when the nodes let in are listed from `start` on,
    /// around the end. The rule is one without chance.
    pub(super) fn winner(
        &self,
        ranking: &Ranking,
        standings: &Standings<'_>,
        start: usize,
        rule: TieBreak,
    ) -> Option<usize> {
        let bonus = |best: &Best| standings.bonuses.get(best.bucket as usize).copied().flatten();
        let sum = |best: &Best| bonus(best).map_or(INFEASIBLE, |bonus| best.total + bonus);
        let highest = |bests: &Vec<Best>| bests.iter().map(sum).max().unwrap_or(INFEASIBLE);
        let tops: Vec<i32> = self.blocks.iter().map(highest).collect();
        let best = tops.iter().copied().max().filter(|best| *best != INFEASIBLE)?;
        let first = |from: usize, to: usize| {
            (from / BLOCK..to.div_ceil(BLOCK)).filter(|block| tops.get(*block) == Some(&best)).find_map(
                |block| {
                    let within = bits(from, to, block * BLOCK);
                    let alike = self.blocks.get(block)?.iter().filter(|one| sum(one) == best);
                    alike.filter_map(|one| first_with(ranking, one, block * BLOCK, within)).min()
                },
            )
        };
        if rule == TieBreak::First {
            return first(start, ranking.len()).or_else(|| first(0, start));
        }
        if standings.admitted == ranking.feasible().count() {
            return first_by_heap(ranking.feasible(), start, first);
        }
        let is_in = |best: &&Best| bonus(best).is_some();
        let word = |bests: &Vec<Best>| bests.iter().filter(is_in).fold(0, |word, best| word | best.members);
        first_by_heap(&Places::of_words(self.blocks.iter().map(word).collect()), start, first)
    }
}

/// The bits of the positions from `from` to before `to` in the block that begins at `begin`.
fn bits(from: usize, to: usize, begin: usize) -> u64 {
    let above = u64::MAX << from.saturating_sub(begin).min(BLOCK - 1);
    match to.saturating_sub(begin) {
        0 => 0,
        left @ 1..BLOCK => above & !(u64::MAX << left),
        _ => above,
    }
}

/// The first of the best nodes of a bucket in the block that begins at `begin`, of those `within`.
fn first_with(ranking: &Ranking, best: &Best, begin: usize, within: u64) -> Option<usize> {
    let mut left = best.members & within;
    while left != 0 {
        let position = begin + left.trailing_zeros() as usize;
        if ranking.total(position) == best.total {
            return Some(position);
        }
        left &= left - 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One node: its total, its bucket.
    type Node = (i32, u32);

    fn lists(nodes: &[Node]) -> (Vec<i32>, Vec<u32>) {
        nodes.iter().copied().unzip()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn the_winner_is_that_of_all_sums(
            mut nodes in prop::collection::vec((-1..4_i32, 0..4_u32), 1..400),
            changes in prop::collection::vec((any::<prop::sample::Index>(), (-1..4_i32, 0..4_u32)), 0..40),
            bonuses in prop::collection::vec(prop::option::weighted(0.7, 0..3_i32), 4..=4),
            start in any::<prop::sample::Index>(),
        ) {
            let mut shortlist = Shortlist::sized(nodes.len());
            let (totals, of) = lists(&nodes);
            shortlist.refresh(&totals, &of);
            for (position, changed) in changes {
                let position = position.index(nodes.len());
                nodes[position] = changed;
                shortlist.touch(position);
            }
            let ((totals, of), start) = (lists(&nodes), start.index(nodes.len()));
            shortlist.refresh(&totals, &of);
            let sum = |(total, bucket): &Node| match (*total, bonuses[*bucket as usize]) {
                (INFEASIBLE, _) | (_, None) => INFEASIBLE,
                (total, Some(bonus)) => total + bonus,
            };
            let plain = Ranking::new(nodes.iter().map(sum).collect());
            let admitted = plain.feasible().count();
            let standings = Standings { of: &of, bonuses: bonuses.clone(), admitted };
            let ranking = Ranking::new(totals);
            let winner = |rule| shortlist.winner(&ranking, &standings, start, rule);
            prop_assert_eq!(winner(TieBreak::Heap), plain.winner(start));
            prop_assert_eq!(winner(TieBreak::First), plain.first(start));
        }
    }
}
