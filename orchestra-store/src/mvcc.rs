//! The multi-version core that the backends share: a pure value, without locks, clock or I/O.
//!
//! Every key has its versions; every change has its place in one log, from which watches are replayed and by which
//! compaction finds what to drop without looking at any other key. It refuses to decide when anything is
//! durable or visible: that is its owner's business.

mod copy;
mod history;
mod leases;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque, btree_map};
use std::ops::Bound;

pub(crate) use history::Version;
use history::{History, Pruned};
pub(crate) use leases::{Attached, LeasesCopy};
use leases::{Leases, plan_grant, plan_revoke};
pub(crate) use plan::{Change, Latest, Plan, Revoked, Staged, Write, plan};

use crate::key::{Key, KeyRange};
use crate::lease::LeaseId;
use crate::limits::Retention;
use crate::revision::Revision;
use crate::store::{Entry, Error, Page, ReadAt, Result};
use crate::watch::{Event, WatchMessage};

/// One change in the log; a revision that changed several keys has several, in its order.
#[derive(Clone, Debug)]
struct Logged {
    revision: Revision,
    key: Key,
}

/// Keys with their versions in the window, and the log of the window's changes.
#[derive(Debug)]
pub(crate) struct Mvcc {
    revision: Revision,
    /// Nothing at or below it may be read.
    compacted: Revision,
    keys: BTreeMap<Key, History>,
    live: u64,
    /// Changes above `compacted`, and for a moment some below it that `trim` has not reached.
    log: VecDeque<Logged>,
    /// Cost of the versions that are not the latest value of a key.
    past_bytes: usize,
    /// While anyone needs the past as it is, nothing is freed.
    pins: usize,
    /// The revisions of snapshots being taken: the past is kept for them, up to a bound.
    holds: Vec<Revision>,
    /// Everything needed to read at or above this revision is there.
    intact_from: Revision,
    leases: Leases,
}

impl Default for Mvcc {
    fn default() -> Self {
        Self::at(Revision::NONE)
    }
}

impl Mvcc {
    /// A state without keys whose window begins above `compacted`.
    pub(crate) fn at(compacted: Revision) -> Self {
        Self {
            revision: compacted.max(Revision(1)),
            compacted,
            keys: BTreeMap::new(),
            live: 0,
            log: VecDeque::new(),
            past_bytes: 0,
            pins: 0,
            holds: Vec::new(),
            intact_from: compacted,
            leases: Leases::default(),
        }
    }

    /// A state without keys that goes on from `revision`: nothing before it can be read or watched.
    pub(crate) fn restored(revision: Revision) -> Self {
        let mut state = Self::at(Revision(revision.0.saturating_sub(1)));
        state.move_on(revision);
        state
    }

    /// Moves on to `revision` without a change.
    pub(crate) fn move_on(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// Puts a key back that was alive at the lower end of the window.
    pub(crate) fn load(&mut self, entry: Entry) {
        let Entry { key, value, create_revision, mod_revision, version } = entry;
        let version = Version { mod_revision, create_revision, version, value: Some(value) };
        if self.keys.insert(key, History::One(version)).is_none() {
            self.live += 1;
        }
    }

    pub(crate) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    /// The revision that a read at `at` sees, if it is in the window.
    pub(crate) fn resolve(&self, at: ReadAt) -> Result<Revision> {
        match at {
            ReadAt::Latest => Ok(self.revision),
            ReadAt::Exactly(revision) if revision > self.revision => {
                Err(Error::FutureRevision(self.revision))
            }
            ReadAt::Exactly(revision) if revision <= self.compacted => Err(Error::Compacted(self.compacted)),
            ReadAt::Exactly(revision) => Ok(revision),
        }
    }

    pub(crate) fn get(&self, key: &Key, at: Revision) -> Option<Entry> {
        let (key, history) = self.keys.get_key_value(key)?;
        history.at(at)?.entry(key)
    }

    pub(crate) fn range(&self, range: &KeyRange, at: Revision, limit: Option<usize>) -> Page {
        let mut page = Page::default();
        let limit = limit.unwrap_or(usize::MAX);
        for (key, history) in self.histories(range) {
            let Some(version) = history.at(at).filter(|version| version.value.is_some()) else { continue };
            if page.entries.len() < limit {
                page.entries.extend(version.entry(key));
            } else {
                page.remaining += 1;
            }
        }
        page
    }

    fn histories(&self, range: &KeyRange) -> btree_map::Range<'_, Key, History> {
        let start = Bound::Included(&range.start);
        match &range.end {
            // A map refuses a range whose end lies before its start; for us it is empty.
            Some(end) if *end <= range.start => self.keys.range((start, Bound::Excluded(&range.start))),
            Some(end) => self.keys.range((start, Bound::Excluded(end))),
            None => self.keys.range((start, Bound::Unbounded)),
        }
    }

    /// Makes the changes of `write`, whose revision must be the next one, and returns them as events.
    pub(crate) fn apply(&mut self, write: Write) -> Vec<Event> {
        debug_assert_eq!(write.revision, self.revision.next(), "revisions are taken one by one");
        let revision = write.revision;
        self.revision = revision;
        write.changes.into_iter().filter_map(|change| self.apply_change(revision, change)).collect()
    }

    fn apply_change(&mut self, revision: Revision, change: Change) -> Option<Event> {
        let Change { key, create_revision, version, value, lease } = change;
        self.leases.written(&key, lease);
        let next = Version { mod_revision: revision, create_revision, version, value };
        let is_put = next.value.is_some();
        if !is_put {
            self.past_bytes += next.cost();
        }
        let (key, previous, entry) = match self.keys.entry(key) {
            btree_map::Entry::Vacant(slot) => {
                let key = slot.key().clone();
                let entry = next.entry(&key);
                slot.insert(History::One(next));
                (key, None, entry)
            }
            btree_map::Entry::Occupied(mut slot) => {
                let key = slot.key().clone();
                let entry = next.entry(&key);
                let old = slot.get().latest().filter(|old| old.value.is_some());
                self.past_bytes += old.map_or(0, Version::cost);
                let previous = old.and_then(|old| old.entry(&key));
                slot.get_mut().push(next);
                (key, previous, entry)
            }
        };
        match (previous.is_some(), is_put) {
            (false, true) => self.live += 1,
            (true, false) => self.live -= 1,
            _ => {}
        }
        self.log.push_back(Logged { revision, key: key.clone() });
        event(key, revision, previous, entry)
    }

    /// Moves the lower end of the window up to `to`. What lies below is out of sight at once and freed by [`Mvcc::trim`].
    pub(crate) fn compact(&mut self, to: Revision) -> Result<()> {
        if to > self.revision {
            return Err(Error::FutureRevision(self.revision));
        }
        self.compacted = self.compacted.max(to);
        Ok(())
    }

    /// Frees at most `changes` changes below the window; false when nothing is left to free.
    pub(crate) fn trim(&mut self, changes: usize) -> bool {
        if self.is_kept() {
            return false;
        }
        self.intact_from = self.compacted;
        for _ in 0..changes {
            let Some(oldest) = self.log.front().filter(|oldest| oldest.revision <= self.compacted) else {
                return false;
            };
            if let btree_map::Entry::Occupied(mut slot) = self.keys.entry(oldest.key.clone()) {
                let freed = match slot.get_mut().prune(self.compacted) {
                    Pruned::Some(cost) => cost,
                    Pruned::All(cost) => {
                        slot.remove();
                        cost
                    }
                };
                self.past_bytes = self.past_bytes.saturating_sub(freed);
            }
            self.log.pop_front();
        }
        if self.log.capacity() > 1024 && self.log.capacity() > 8 * self.log.len() {
            self.log.shrink_to(2 * self.log.len());
        }
        self.has_garbage()
    }

    /// Up to where the window should be cut so that the past stays within `keep`, if it is beyond.
    ///
    /// Cuts an eighth at a time, so that a store that is always at its bound compacts seldom; and not before the
    /// last cut has been freed, for until then nobody knows whether it was enough.
    pub(crate) fn overdue(&self, keep: Retention) -> Option<Revision> {
        let changes = self.log.len();
        if self.is_within(keep) || self.has_garbage() {
            return None;
        }
        let cut = (changes / 8).max(changes.saturating_sub(keep.changes)).max(1);
        Some(self.log.get(cut - 1)?.revision)
    }

    fn is_within(&self, keep: Retention) -> bool {
        self.log.len() <= keep.changes && self.past_bytes <= keep.bytes
    }

    fn has_garbage(&self) -> bool {
        self.log.front().is_some_and(|oldest| oldest.revision <= self.compacted)
    }

    /// The next events in `range` from revision `from` on, looking at `changes` changes and the rest of the last one's revision.
    pub(crate) fn replay(&self, range: &KeyRange, from: Revision, changes: usize) -> Result<Replay> {
        if from <= self.compacted {
            return Err(Error::Compacted(self.compacted));
        }
        let mut messages = Vec::new();
        let mut of_one: (Revision, Vec<Event>) = (Revision::NONE, Vec::new());
        let mut next = None;
        let begin = self.log.partition_point(|logged| logged.revision < from);
        let mut previous = Revision::NONE;
        for (looked_at, logged) in self.log.range(begin..).enumerate() {
            if looked_at >= changes && previous != logged.revision {
                next = Some(logged.revision);
                break;
            }
            previous = logged.revision;
            if !range.contains(&logged.key) {
                continue;
            }
            let Some(event) = self.logged_event(logged) else { continue };
            if of_one.0 != logged.revision {
                messages.extend(message(std::mem::replace(&mut of_one, (logged.revision, Vec::new()))));
            }
            of_one.1.push(event);
        }
        messages.extend(message(of_one));
        Ok(Replay { messages, next })
    }

    fn logged_event(&self, logged: &Logged) -> Option<Event> {
        let (before, version) = self.keys.get(&logged.key)?.written_at(logged.revision)?;
        let previous = before.and_then(|before| before.entry(&logged.key));
        event(logged.key.clone(), logged.revision, previous, version.entry(&logged.key))
    }
}

fn event(key: Key, revision: Revision, previous: Option<Entry>, entry: Option<Entry>) -> Option<Event> {
    match (entry, previous) {
        (Some(entry), previous) => Some(Event::Put { entry, previous }),
        (None, Some(previous)) => Some(Event::Delete { key, revision, previous }),
        (None, None) => None,
    }
}

fn message((revision, events): (Revision, Vec<Event>)) -> Option<WatchMessage> {
    (!events.is_empty()).then(|| WatchMessage::Events { revision, events: events.into() })
}

/// A part of the past, for one watch.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) messages: Vec<WatchMessage>,
    /// Where to go on; `None` when the present is reached.
    pub(crate) next: Option<Revision>,
}

impl Latest for Mvcc {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn latest(&self, key: &Key) -> Option<Entry> {
        self.get(key, self.revision)
    }

    fn lease(&self, id: LeaseId) -> Option<&Attached> {
        self.leases.get(id)
    }
}
