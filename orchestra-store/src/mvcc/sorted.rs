//! Records in the order of their keys, in chunks: found by halving, read in rows, and counted without being looked at.
//!
//! The standard library's tree does not know how many keys lie behind one, so that each page of a list would look at
//! everything behind it to tell how much remains; and it leaves nearly half of its slots empty when keys come in order.

use std::ops::{Bound, Range};

use super::record::Record;

/// Most records of a chunk.
const CHUNK: usize = 256;
/// A chunk of no more shares one with its neighbour where it can.
const FEW: usize = CHUNK / 4;
/// Room made at a time. Doubling it would leave a quarter of all room unused.
const ROOM: usize = 32;

/// One record for each key.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// None of them is empty.
    chunks: Vec<Chunk>,
}

#[derive(Debug)]
struct Chunk {
    records: Vec<Record>,
    /// How many of them hold a value.
    set: usize,
    /// Behind what was inserted last: where keys that come in order go on.
    next: usize,
}

impl Chunk {
    fn of(records: Vec<Record>) -> Self {
        let set = records.iter().filter(|record| record.is_set()).count();
        Self { records, set, next: 0 }
    }

    fn insert(&mut self, at: usize, record: Record) {
        if self.records.len() == self.records.capacity() {
            self.records.reserve_exact(ROOM.min(CHUNK.saturating_sub(self.records.len())).max(1));
        }
        self.set += usize::from(record.is_set());
        self.records.insert(at, record);
        self.next = at + 1;
    }

    /// Gives away the records from `at` on.
    fn split_off(&mut self, at: usize) -> Self {
        let behind = Self::of(self.records.split_off(at));
        self.set -= behind.set;
        self.records.shrink_to(at + 1);
        self.next = 0;
        behind
    }

    fn has_room_for(&self, other: &Self) -> bool {
        self.records.len() + other.records.len() <= CHUNK
    }

    fn prepend(&mut self, before: Self) {
        self.set += before.set;
        self.next += before.records.len();
        self.records.reserve_exact(before.records.len());
        self.records.splice(0..0, before.records);
    }

    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.records.binary_search_by(|record| record.key().cmp(key))
    }
}

/// A place between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    chunk: usize,
    record: usize,
}

impl Sorted {
    pub(super) fn get(&self, key: &[u8]) -> Option<&Record> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        chunk.records.get(chunk.find(key).ok()?)
    }

    /// The chunk in which `key` is or would be: the last one that does not begin behind it.
    fn chunk_of(&self, key: &[u8]) -> usize {
        let begins_before = |chunk: &Chunk| chunk.records.first().is_some_and(|first| first.key() <= key);
        self.chunks.partition_point(begins_before).saturating_sub(1)
    }

    /// Puts `record` in the place of the one with its key, which is given back, or between its neighbours.
    pub(super) fn replace(&mut self, record: Record) -> Option<Record> {
        let place = self.chunk_of(record.key());
        let Some(chunk) = self.chunks.get_mut(place) else {
            self.chunks.push(Chunk::of(vec![record]));
            return None;
        };
        match chunk.find(record.key()) {
            Ok(at) => {
                chunk.set += usize::from(record.is_set());
                let before = std::mem::replace(&mut chunk.records[at], record);
                chunk.set -= usize::from(before.is_set());
                return Some(before);
            }
            Err(at) => self.insert(place, at, record),
        }
        None
    }

    fn insert(&mut self, place: usize, at: usize, record: Record) {
        let Some(chunk) = self.chunks.get_mut(place) else { return };
        if chunk.records.len() < CHUNK {
            return chunk.insert(at, record);
        }
        // Where keys come in order, in one place or in several, the chunk before them stays full; any other is halved.
        let is_run = at == chunk.next && at >= FEW;
        let has_room = self.chunks.get(place + 1).is_some_and(|next| next.records.len() < CHUNK);
        if at == CHUNK && !is_run && has_room {
            return self.chunks[place + 1].insert(0, record);
        }
        let chunk = &mut self.chunks[place];
        let middle = if is_run || at == CHUNK { at } else { CHUNK / 2 };
        let mut behind = chunk.split_off(middle);
        if at < CHUNK && at <= middle {
            chunk.insert(at, record)
        } else {
            behind.insert(at - middle, record)
        }
        match self.chunks.get_mut(place + 1) {
            // Whatever order keys come in, there are no rows of chunks with a few records.
            Some(next) if at < CHUNK && behind.records.len() <= FEW && next.has_room_for(&behind) => {
                next.prepend(behind);
            }
            _ => self.chunks.insert(place + 1, behind),
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        let place = self.chunk_of(key);
        let Some(chunk) = self.chunks.get_mut(place) else { return };
        let Ok(at) = chunk.find(key) else { return };
        chunk.set -= usize::from(chunk.records.remove(at).is_set());
        chunk.next = 0;
        let left = chunk.records.len();
        if left == 0 {
            self.chunks.remove(place);
        } else if self.chunks.get(place + 1).is_some_and(|next| left + next.records.len() <= FEW) {
            let next = self.chunks.remove(place + 1);
            self.chunks[place].set += next.set;
            self.chunks[place].records.extend(next.records);
        }
    }

    /// The records between two keys.
    pub(super) fn between(&self, start: Bound<&[u8]>, end: Bound<&[u8]>) -> Between<'_> {
        let start = match start {
            Bound::Unbounded => Place { chunk: 0, record: 0 },
            Bound::Included(key) => self.place(key, false),
            Bound::Excluded(key) => self.place(key, true),
        };
        let end = match end {
            Bound::Unbounded => Place { chunk: self.chunks.len(), record: 0 },
            Bound::Included(key) => self.place(key, true),
            Bound::Excluded(key) => self.place(key, false),
        };
        Between { chunks: &self.chunks, start, end }
    }

    /// The place before `key`, or behind it.
    fn place(&self, key: &[u8], behind: bool) -> Place {
        let chunk = self.chunk_of(key);
        let record = self.chunks.get(chunk).map_or(0, |chunk| match chunk.find(key) {
            Ok(at) => at + usize::from(behind),
            Err(at) => at,
        });
        Place { chunk, record }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.records.len()).sum()
    }
}

/// A run of records.
#[derive(Clone, Debug)]
pub(super) struct Between<'a> {
    chunks: &'a [Chunk],
    start: Place,
    end: Place,
}

impl<'a> Between<'a> {
    /// How many of them hold a value.
    pub(super) fn set(&self) -> usize {
        let whole = |place: usize, rows: &Range<usize>| {
            self.chunks.get(place).is_some_and(|chunk| *rows == (0..chunk.records.len()))
        };
        let count = |(place, rows): (usize, Range<usize>)| match self.chunks.get(place) {
            Some(chunk) if whole(place, &rows) => chunk.set,
            Some(chunk) => {
                chunk.records.get(rows).unwrap_or_default().iter().filter(|record| record.is_set()).count()
            }
            None => 0,
        };
        self.rows().map(count).sum()
    }

    /// Each chunk's part of it.
    fn rows(&self) -> impl Iterator<Item = (usize, Range<usize>)> + use<'a> {
        let (chunks, start, end) = (self.chunks, self.start, self.end);
        (start.chunk..chunks.len().min(end.chunk + 1)).map(move |place| {
            let first = if place == start.chunk { start.record } else { 0 };
            let last = if place == end.chunk { end.record } else { chunks[place].records.len() };
            (place, first..last)
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'a Record> + use<'a> {
        let chunks = self.chunks;
        // A range that ends before it begins is empty.
        self.rows().flat_map(move |(place, rows)| chunks[place].records.get(rows).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::mvcc::Change;
    use crate::revision::Revision;

    fn record(revision: u64, key: u16, is_set: bool) -> Record {
        let key = crate::Key::new(key.to_be_bytes().to_vec());
        let value = is_set.then(bytes::Bytes::new);
        let (create_revision, version) = (Revision(revision), 1);
        Record::new(Revision(revision), &Change { key, create_revision, version, value, lease: None })
    }

    proptest! {
        #[test]
        fn it_is_a_map_that_counts(
            steps in prop::collection::vec((0..4_u8, 0..2_000_u16), 0..3_000),
            ranges in prop::collection::vec((0..2_000_u16, 0..2_000_u16), 20),
        ) {
            let (mut sorted, mut model) = (Sorted::default(), BTreeMap::new());
            for (revision, &(what, key)) in steps.iter().enumerate() {
                let revision = revision as u64;
                if what == 0 {
                    sorted.remove(&key.to_be_bytes());
                    model.remove(&key);
                } else {
                    let before = sorted.replace(record(revision, key, what > 1));
                    let expected = model.insert(key, (revision, what > 1));
                    prop_assert_eq!(before.map(|before| before.revision().0), expected.map(|(revision, _)| revision));
                }
            }
            for (start, end) in ranges {
                let (low, high) = (start.to_be_bytes(), end.to_be_bytes());
                prop_assert_eq!(sorted.get(&low).map(|r| r.revision().0), model.get(&start).map(|(r, _)| *r));
                let between = sorted.between(Bound::Included(&low), Bound::Excluded(&high));
                let expected: Vec<_> = if start < end { model.range(start..end).collect() } else { Vec::new() };
                let found: Vec<u64> = between.iter().map(|record| record.revision().0).collect();
                prop_assert_eq!(found, expected.iter().map(|(_, (revision, _))| *revision).collect::<Vec<_>>());
                prop_assert_eq!(between.set(), expected.iter().filter(|(_, (_, set))| *set).count());
                let behind = sorted.between(Bound::Excluded(&low), Bound::Unbounded);
                prop_assert_eq!(behind.iter().count(), model.keys().filter(|&&key| key > start).count());
            }
            prop_assert_eq!(sorted.len(), model.len());
        }
    }

    /// Slots for each record.
    fn slots(sorted: &Sorted) -> f64 {
        let room: usize = sorted.chunks.iter().map(|chunk| chunk.records.capacity()).sum();
        room as f64 / sorted.len() as f64
    }

    #[test]
    fn keys_that_come_in_order_leave_no_room_unused() {
        let mut sorted = Sorted::default();
        for key in 0..10_000 {
            sorted.replace(record(u64::from(key), key, true));
        }
        assert_eq!(sorted.chunks.len(), 10_000_usize.div_ceil(CHUNK));
        assert!(slots(&sorted) < 1.02, "{}", slots(&sorted));
    }

    #[test]
    fn keys_that_come_in_order_in_several_places_leave_hardly_any_room_unused() {
        let mut sorted = Sorted::default();
        for n in 0..4_000 {
            for place in 0..16 {
                sorted.replace(record(1, place * 4_000 + n, true));
            }
        }
        assert_eq!(sorted.len(), 64_000);
        assert!(sorted.chunks.len() < 64_000 / CHUNK * 5 / 4, "{} chunks", sorted.chunks.len());
        assert!(slots(&sorted) < 1.05, "{}", slots(&sorted));
    }

    #[test]
    fn keys_that_come_in_no_order_leave_little_room_unused() {
        let mut sorted = Sorted::default();
        for n in 0..60_000_u32 {
            sorted.replace(record(1, (n * 40_503 % 65_536) as u16, true));
        }
        assert!(slots(&sorted) < 1.15, "{}", slots(&sorted));
    }

    #[test]
    fn no_order_of_keys_makes_rows_of_small_chunks() {
        let filled = || {
            let mut sorted = Sorted::default();
            for key in 0..2_560 {
                sorted.replace(record(1, if key < 1_280 { key } else { key + 20_000 }, true));
            }
            sorted
        };
        // Each before the one before it; by twos, each two before those before them; each behind the first of all.
        let orders: [fn(u16) -> u16; 3] = [
            |n| 19_999 - n,
            |n| 19_998 - n / 2 * 2 + n % 2,
            |n| if n % 2 == 0 { 1_280 + n / 2 } else { 19_999 - n },
        ];
        for order in orders {
            let mut sorted = filled();
            for n in 0..10_000 {
                sorted.replace(record(1, order(n), true));
            }
            assert_eq!(sorted.len(), 12_560);
            assert!(sorted.chunks.len() < 12_560 / FEW, "{} chunks", sorted.chunks.len());
        }
    }
}
