//! Records in the order of their keys, in chunks: found by halving, read in rows, and counted without being looked at.
//!
//! The standard library's tree does not know how many keys lie behind one, so that each page of a list would look at
//! everything behind it to tell how much remains; and it leaves nearly half of its slots empty when keys come in order.

use std::ops::{Bound, Range};

use super::record::Record;

/// Most records of a chunk.
const CHUNK: usize = 256;

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
}

impl Chunk {
    fn of(records: Vec<Record>) -> Self {
        let set = records.iter().filter(|record| record.is_set()).count();
        Self { records, set }
    }

    fn insert(&mut self, at: usize, record: Record) {
        self.set += usize::from(record.is_set());
        self.records.insert(at, record);
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
        // One that grows at its end, as when keys come in order, stays full; any other is halved.
        let middle = if at == CHUNK { CHUNK } else { CHUNK / 2 };
        let mut behind = Chunk::of(chunk.records.split_off(middle));
        chunk.set -= behind.set;
        if at < middle {
            chunk.insert(at, record)
        } else {
            behind.insert(at - middle, record)
        }
        self.chunks.insert(place + 1, behind);
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        let place = self.chunk_of(key);
        let Some(chunk) = self.chunks.get_mut(place) else { return };
        let Ok(at) = chunk.find(key) else { return };
        chunk.set -= usize::from(chunk.records.remove(at).is_set());
        let left = chunk.records.len();
        if left == 0 {
            self.chunks.remove(place);
        } else if self.chunks.get(place + 1).is_some_and(|next| left + next.records.len() <= CHUNK / 4) {
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

    #[test]
    fn keys_that_come_in_order_leave_no_room_unused() {
        let mut sorted = Sorted::default();
        for key in 0..10_000 {
            sorted.replace(record(u64::from(key), key, true));
        }
        assert_eq!(sorted.chunks.len(), 10_000_usize.div_ceil(CHUNK));
    }
}
