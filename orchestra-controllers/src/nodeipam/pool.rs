//! Which pieces are whose.

use std::collections::BTreeMap;

use super::ranges::{Block, NodeRanges};

/// The pieces of one range that nodes have.
#[derive(Debug)]
struct Cut {
    block: Block,
    /// How many nodes have a piece: ranges that were given by hand may touch several, or one that another node has.
    held: BTreeMap<u32, u32>,
    /// Where to look next: a piece that was given back rests as long as there are others.
    next: u32,
}

/// The pieces of all ranges.
#[derive(Debug)]
pub(super) struct Pool(Vec<Cut>);

impl Pool {
    pub(super) fn new(ranges: &NodeRanges) -> Self {
        let cut = |block: &Block| Cut { block: *block, held: BTreeMap::new(), next: 0 };
        Self(ranges.0.iter().map(cut).collect())
    }

    /// A node has these ranges.
    pub(super) fn occupy<'a>(&mut self, ranges: impl Iterator<Item = &'a String>) {
        for range in ranges {
            for cut in &mut self.0 {
                for index in cut.block.touched(range).into_iter().flatten() {
                    *cut.held.entry(index).or_default() += 1;
                }
            }
        }
    }

    /// It has them no more.
    pub(super) fn release<'a>(&mut self, ranges: impl Iterator<Item = &'a String>) {
        for range in ranges {
            for cut in &mut self.0 {
                for index in cut.block.touched(range).into_iter().flatten() {
                    let left = cut.held.get(&index).map_or(0, |count| count.saturating_sub(1));
                    if left == 0 {
                        cut.held.remove(&index);
                    } else {
                        cut.held.insert(index, left);
                    }
                }
            }
        }
    }

    /// A piece of each range that nobody has, which from now on somebody has; nothing when one of the ranges is used up.
    pub(super) fn take(&mut self) -> Option<Vec<String>> {
        let found: Option<Vec<u32>> = self.0.iter().map(Cut::free).collect();
        let taken = self.0.iter_mut().zip(found?).map(|(cut, index)| {
            cut.next = index + 1;
            *cut.held.entry(index).or_default() += 1;
            cut.block.piece(index)
        });
        Some(taken.collect())
    }
}

impl Cut {
    fn free(&self) -> Option<u32> {
        let all = self.block.pieces();
        let next = self.next.min(all);
        (next..all).chain(0..next).find(|index| !self.held.contains_key(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ranges: &[&str]) -> Vec<String> {
        ranges.iter().map(|range| (*range).to_owned()).collect()
    }

    #[test]
    fn a_piece_has_one_owner_and_rests_when_it_is_given_back() {
        let ranges = NodeRanges::cut("10.0.0.0/22", [24, 64]).unwrap();
        let mut pool = Pool::new(&ranges);
        pool.occupy(texts(&["10.0.1.0/24"]).iter());
        assert_eq!(pool.take(), Some(texts(&["10.0.0.0/24"])));
        assert_eq!(pool.take(), Some(texts(&["10.0.2.0/24"])));
        pool.release(texts(&["10.0.0.0/24"]).iter());
        assert_eq!(pool.take(), Some(texts(&["10.0.3.0/24"])));
        assert_eq!(pool.take(), Some(texts(&["10.0.0.0/24"])));
        assert_eq!(pool.take(), None);
        // Two say they have it: it is free when both are gone.
        pool.occupy(texts(&["10.0.1.0/24"]).iter());
        pool.release(texts(&["10.0.1.0/24"]).iter());
        assert_eq!(pool.take(), None);
        pool.release(texts(&["10.0.1.0/24", "elsewhere"]).iter());
        assert_eq!(pool.take(), Some(texts(&["10.0.1.0/24"])));
    }

    #[test]
    fn a_node_gets_a_piece_of_each_family_or_none() {
        let ranges = NodeRanges::cut("10.0.0.0/23,fd00::/64", [24, 64]).unwrap();
        let mut pool = Pool::new(&ranges);
        assert_eq!(pool.take(), Some(texts(&["10.0.0.0/24", "fd00::/64"])));
        assert_eq!(pool.take(), None);
        pool.release(texts(&["fd00::/64"]).iter());
        assert_eq!(pool.take(), Some(texts(&["10.0.1.0/24", "fd00::/64"])));
    }
}
