//! The versions of all keys: the latest of each in one row, older ones apart, of which a quiet store has none.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use super::record::Record;
use super::sorted::Sorted;
use crate::key::Key;
use crate::revision::Revision;

/// Versions by key.
#[derive(Debug, Default)]
pub(super) struct Versions {
    latest: Sorted,
    /// What is no longer the latest, oldest first. No list is empty, and each key has a latest version too.
    older: BTreeMap<Key, VecDeque<Record>>,
    /// How many keys hold a value.
    live: u64,
    /// Cost of the versions that are not the latest value of a key.
    past_bytes: usize,
}

impl Versions {
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    pub(super) fn past_bytes(&self) -> usize {
        self.past_bytes
    }

    /// The newest version of `key`.
    pub(super) fn latest(&self, key: &[u8]) -> Option<&Record> {
        self.latest.get(key)
    }

    /// The version of `key` that a read at `at` sees.
    pub(super) fn at(&self, key: &[u8], at: Revision) -> Option<&Record> {
        self.seen(self.latest.get(key)?, at)
    }

    /// The version written just before `record`.
    pub(super) fn before(&self, record: &Record) -> Option<&Record> {
        self.older_through(record.key(), Revision(record.revision().0.checked_sub(1)?))
    }

    /// What reads at `at` see between two keys, removals left out.
    pub(super) fn range(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        at: Revision,
    ) -> impl Iterator<Item = &Record> {
        let latest = self.latest.between(start, end).iter();
        latest.filter_map(move |latest| self.seen(latest, at)).filter(|record| record.is_set())
    }

    /// How many keys between two hold a value now.
    pub(super) fn count(&self, start: Bound<&[u8]>, end: Bound<&[u8]>) -> usize {
        self.latest.between(start, end).set()
    }

    fn seen<'a>(&'a self, latest: &'a Record, at: Revision) -> Option<&'a Record> {
        if latest.revision() <= at { Some(latest) } else { self.older_through(latest.key(), at) }
    }

    fn older_through(&self, key: &[u8], at: Revision) -> Option<&Record> {
        let older = self.older.get(key)?;
        older.get(older.partition_point(|record| record.revision() <= at).checked_sub(1)?)
    }

    /// Adds a key that has no past; false when the key is there already.
    pub(super) fn load(&mut self, record: Record) -> bool {
        let is_new = self.latest.replace(record).is_none();
        self.live += u64::from(is_new);
        is_new
    }

    /// Adds a newer version of its key, and gives back the value that it replaces.
    pub(super) fn push(&mut self, record: Record) -> Option<Record> {
        let (is_set, cost) = (record.is_set(), record.cost());
        let before = self.latest.replace(record);
        if let Some(before) = &before {
            match self.older.get_mut(before.key()) {
                Some(older) => older.push_back(before.clone()),
                None => drop(self.older.insert(before.copy_key(), VecDeque::from([before.clone()]))),
            }
        }
        let previous = before.filter(Record::is_set);
        self.past_bytes += previous.as_ref().map_or(0, Record::cost) + if is_set { 0 } else { cost };
        match (&previous, is_set) {
            (None, true) => self.live += 1,
            (Some(_), false) => self.live -= 1,
            _ => {}
        }
        previous
    }

    /// Moves what `record` and everything after it have replaced to `freed`: all before it, and itself if it is a removal.
    pub(super) fn prune(&mut self, record: &Record, freed: &mut Vec<Record>) {
        let (key, at) = (record.key(), record.revision());
        let is_needed = |older: &Record| older.revision() > at || older.revision() == at && older.is_set();
        if let Some(older) = self.older.get_mut(key) {
            while let Some(old) = older.pop_front_if(|older| !is_needed(older)) {
                self.past_bytes = self.past_bytes.saturating_sub(old.cost());
                freed.push(old);
            }
            if older.is_empty() {
                self.older.remove(key);
            } else if older.capacity() > 64 && older.capacity() > 8 * older.len() {
                older.shrink_to(2 * older.len());
            }
        }
        let is_last = |latest: &Record| latest.revision() == at && !latest.is_set();
        if !record.is_set() && self.latest(key).is_some_and(is_last) {
            self.latest.remove(key);
            self.past_bytes = self.past_bytes.saturating_sub(record.cost());
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.latest.len() + self.older.values().map(VecDeque::len).sum::<usize>()
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.latest.len()
    }

    /// What [`Versions::past_bytes`] must be, counted anew.
    #[cfg(test)]
    pub(super) fn count_past_bytes(&self) -> usize {
        let latest = self.latest.between(Bound::Unbounded, Bound::Unbounded).iter();
        let removals = latest.filter(|latest| !latest.is_set());
        self.older.values().flatten().chain(removals).map(Record::cost).sum()
    }
}
