//! Sorts nodes into buckets whose members the spread constraints and the neighbours of a class cannot tell apart.
//!
//! One more pod in a zone changes the standing of all nodes of that zone at once; and there are few zones, and few
//! different numbers of pods that one node has of a group. So the standing is worked out for each bucket.

use std::collections::HashMap;

/// The bucket of a node that was not looked at yet.
const NONE: u32 = u32::MAX;

/// What one constraint sees of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    pub(super) domain: u32,
    pub(super) labelled: bool,
    /// How many pods of the group it has, if that matters.
    pub(super) here: i64,
}

/// What one label that terms name sees of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// It does not have the label.
    Nowhere,
    /// It is one of many in this domain.
    Domain(u32),
    /// It is one of few in a domain like this.
    Like(Nearby),
}

/// Who is in a domain, as far as it matters to a newcomer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Nearby {
    /// Somebody the newcomer wants near.
    pub(super) friends: bool,
    /// Somebody it wants away.
    pub(super) foes: bool,
    /// Somebody who wants it away.
    pub(super) averse: bool,
    /// What preferences sum up to.
    pub(super) points: i64,
}

/// What all constraints and terms see of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Marks {
    /// Whether the soft constraints give it nothing.
    pub(super) ignored: bool,
    pub(super) hard: Vec<Mark>,
    pub(super) soft: Vec<Mark>,
    /// One for each label that terms name.
    pub(super) near: Vec<Place>,
}

/// Nodes alike.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) marks: Marks,
    members: usize,
    /// How many of them would do but for the constraints.
    pub(super) open: usize,
}

/// The buckets of all nodes.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// The bucket of each node, by position.
    of: Vec<u32>,
    open: Vec<bool>,
    numbers: HashMap<Marks, u32>,
    buckets: Vec<Bucket>,
    /// Buckets without members.
    free: Vec<u32>,
}

impl Buckets {
    /// Room for this many nodes, none of them looked at or open.
    pub(super) fn sized(nodes: usize) -> Self {
        Self { of: vec![NONE; nodes], open: vec![false; nodes], ..Self::default() }
    }

    /// How many buckets have members.
    pub(super) fn count(&self) -> usize {
        self.buckets.len() - self.free.len()
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.of.len()
    }

    /// The buckets, also those without members.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Bucket> + Clone {
        self.buckets.iter()
    }

    /// The bucket of each node, by position.
    pub(super) fn of_nodes(&self) -> &[u32] {
        &self.of
    }

    /// Puts the node at a position where it belongs.
    pub(super) fn put(&mut self, position: usize, marks: Marks) {
        let Some(before) = self.of.get(position).copied() else { return };
        if self.buckets.get(before as usize).is_some_and(|bucket| bucket.marks == marks) {
            return;
        }
        let open = usize::from(self.open[position]);
        if let Some(bucket) = self.buckets.get_mut(before as usize) {
            bucket.members -= 1;
            bucket.open -= open;
            if bucket.members == 0 {
                self.numbers.remove(&bucket.marks);
                self.free.push(before);
            }
        }
        let number = match self.numbers.get(&marks) {
            Some(number) => *number,
            None => self.begin(marks),
        };
        self.of[position] = number;
        let bucket = &mut self.buckets[number as usize];
        bucket.members += 1;
        bucket.open += open;
    }

    fn begin(&mut self, marks: Marks) -> u32 {
        let bucket = Bucket { marks: marks.clone(), members: 0, open: 0 };
        let number = match self.free.pop() {
            Some(number) => {
                self.buckets[number as usize] = bucket;
                number
            }
            None => {
                self.buckets.push(bucket);
                self.buckets.len() as u32 - 1
            }
        };
        self.numbers.insert(marks, number);
        number
    }

    /// Takes note whether the node at a position would do but for the constraints.
    pub(super) fn set_open(&mut self, position: usize, open: bool) {
        let Some(known) = self.open.get_mut(position) else { return };
        if std::mem::replace(known, open) == open {
            return;
        }
        if let Some(bucket) = self.buckets.get_mut(self.of[position] as usize) {
            bucket.open = if open { bucket.open + 1 } else { bucket.open - 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn marks(kind: u8) -> Marks {
        Marks {
            ignored: kind == 0,
            soft: vec![Mark { domain: kind.into(), labelled: true, here: 0 }],
            ..Marks::default()
        }
    }

    proptest! {
        #[test]
        fn buckets_count_their_open_members_and_empty_ones_are_used_again(
            moves in prop::collection::vec((0..9_usize, 0..5_u8, any::<bool>()), 0..80),
        ) {
            let mut buckets = Buckets::sized(9);
            let mut known = [(None, false); 9];
            for (position, kind, open) in moves {
                buckets.put(position, marks(kind));
                known[position].0 = Some(kind);
                buckets.set_open(position, open);
                known[position].1 = open;
                for kind in 0..5 {
                    let members = known.iter().filter(|node| node.0 == Some(kind));
                    let open = members.clone().filter(|node| node.1).count();
                    let bucket = buckets.numbers.get(&marks(kind)).map(|number| &buckets.buckets[*number as usize]);
                    prop_assert_eq!(bucket.map_or((0, 0), |one| (one.members, one.open)), (members.count(), open));
                }
                let kinds: std::collections::BTreeSet<_> = known.iter().filter_map(|node| node.0).collect();
                prop_assert_eq!(buckets.count(), kinds.len());
                prop_assert!(buckets.buckets.len() <= 5);
            }
        }
    }
}
