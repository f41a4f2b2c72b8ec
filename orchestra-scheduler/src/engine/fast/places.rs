//! A set of positions that can be counted up to any of them, and indexed by rank, in logarithmic time.

const BITS: usize = u64::BITS as usize;

/// A bit for each position, and the counts of the words in a Fenwick tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    words: Vec<u64>,
    /// One-based; entry `i` counts the words of the range of `i & -i` words that ends with word `i`.
    counts: Vec<u32>,
    count: usize,
}

impl Places {
    /// The positions for which `member` holds, among the first `length`.
    pub(super) fn of(length: usize, member: impl Fn(usize) -> bool) -> Self {
        let word = |first: usize| {
            let positions = first..length.min(first + BITS);
            positions.fold(0_u64, |word, position| word | u64::from(member(position)) << (position % BITS))
        };
        Self::of_words((0..length).step_by(BITS).map(word).collect())
    }

    /// The positions whose bits are set, the first in the lowest of the first word.
    pub(super) fn of_words(words: Vec<u64>) -> Self {
        let mut counts = vec![0_u32; words.len() + 1];
        for (index, word) in words.iter().enumerate() {
            let node = index + 1;
            counts[node] += word.count_ones();
            let parent = node + (node & node.wrapping_neg());
            if parent < counts.len() {
                counts[parent] += counts[node];
            }
        }
        let count = words.iter().map(|word| word.count_ones() as usize).sum();
        Self { words, counts, count }
    }

    /// A bit for each position, as they are given to [`Places::of_words`].
    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// How many positions are in the set.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether a position is in the set.
    pub(super) fn contains(&self, position: usize) -> bool {
        self.words.get(position / BITS).is_some_and(|word| word >> (position % BITS) & 1 == 1)
    }

    /// Sees to it that a position is in the set, or not.
    pub(super) fn set(&mut self, position: usize, member: bool) {
        match (self.contains(position), member) {
            (false, true) => self.insert(position),
            (true, false) => self.remove(position),
            _ => {}
        }
    }

    /// Adds a position that is not in the set.
    pub(super) fn insert(&mut self, position: usize) {
        debug_assert_eq!(self.words[position / BITS] >> (position % BITS) & 1, 0);
        self.words[position / BITS] |= 1 << (position % BITS);
        self.count += 1;
        let mut node = position / BITS + 1;
        while node < self.counts.len() {
            self.counts[node] += 1;
            node += node & node.wrapping_neg();
        }
    }

    /// Takes a position out that is in the set.
    pub(super) fn remove(&mut self, position: usize) {
        debug_assert_eq!(self.words[position / BITS] >> (position % BITS) & 1, 1);
        self.words[position / BITS] &= !(1 << (position % BITS));
        self.count -= 1;
        let mut node = position / BITS + 1;
        while node < self.counts.len() {
            self.counts[node] -= 1;
            node += node & node.wrapping_neg();
        }
    }

    /// How many positions of the set lie before `position`.
    pub(super) fn rank(&self, position: usize) -> usize {
        let index = position / BITS;
        let mut rank = match self.words.get(index) {
            Some(word) => (word & ((1 << (position % BITS)) - 1)).count_ones() as usize,
            None => return self.count,
        };
        let mut node = index;
        while node > 0 {
            rank += self.counts[node] as usize;
            node &= node - 1;
        }
        rank
    }

    /// The position that `rank` others of the set lie before; `None` if there are not that many.
    pub(super) fn select(&self, rank: usize) -> Option<usize> {
        if rank >= self.count {
            return None;
        }
        let (mut node, mut left) = (0, rank);
        let mut step = self.words.len().next_power_of_two();
        while step > 0 {
            let next = node + step;
            if next < self.counts.len() && self.counts[next] as usize <= left {
                left -= self.counts[next] as usize;
                node = next;
            }
            step /= 2;
        }
        let mut word = *self.words.get(node)?;
        for _ in 0..left {
            word &= word - 1;
        }
        Some(node * BITS + word.trailing_zeros() as usize)
    }

    /// The positions of the set from `from` to the end.
    pub(super) fn from(&self, from: usize) -> impl Iterator<Item = usize> {
        let first = from / BITS;
        let cut = u64::MAX << (from % BITS);
        self.words.iter().enumerate().skip(first).flat_map(move |(index, word)| {
            let mut left = if index == first { word & cut } else { *word };
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(index * BITS + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_count_and_index_as_a_sorted_list_does(
            mut members in prop::collection::vec(any::<bool>(), 0..400),
            flips in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let mut places = Places::of(members.len(), |position| members[position]);
            for flip in flips {
                if members.is_empty() {
                    break;
                }
                let position = flip.index(members.len());
                members[position] ^= true;
                if members[position] { places.insert(position) } else { places.remove(position) }
            }
            let list: Vec<_> = (0..members.len()).filter(|position| members[*position]).collect();
            prop_assert_eq!(places.count(), list.len());
            for (rank, position) in list.iter().enumerate() {
                prop_assert_eq!(places.select(rank), Some(*position));
            }
            prop_assert_eq!(places.select(list.len()), None);
            for position in 0..=members.len() {
                prop_assert_eq!(places.rank(position), list.partition_point(|other| *other < position));
                let tail: Vec<_> = places.from(position).collect();
                let expected: Vec<_> = list.iter().copied().filter(|other| *other >= position).collect();
                prop_assert_eq!(tail, expected);
            }
        }
    }
}
