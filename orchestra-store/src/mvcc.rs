//! The multi-version core that the backends share: a pure value, without locks, clock or I/O.
//!
//! Every key has its versions; every change has its place in one log, from which watches are replayed and by which
//! compaction finds what to drop without looking at any other key. It refuses to decide when anything is
//! durable or visible: that is its owner's business.

mod copy;
mod leases;
mod plan;
mod record;
mod sorted;
#[cfg(test)]
mod tests;
mod trim;
mod versions;

use std::collections::VecDeque;
use std::ops::Bound;

pub(crate) use leases::{Attached, LeasesCopy, is_within_bounds};
use leases::{Leases, plan_grant, plan_revoke};
pub(crate) use plan::{Change, Latest, Plan, Staged, Stamp, Write, plan};
use record::Record;
pub(crate) use trim::Share;
use trim::{Freed, STEP};
use versions::Versions;

use crate::key::{Key, KeyRange, is_between};
use crate::lease::LeaseId;
use crate::limits::Retention;
use crate::revision::Revision;
use crate::store::{Entry, Error, Page, ReadAt, Result};
use crate::watch::{Event, WatchMessage};

/// Keys with their versions in the window, and the log of the window's changes.
#[derive(Debug)]
pub(crate) struct Mvcc {
    revision: Revision,
    /// Nothing at or below it may be read.
    compacted: Revision,
    versions: Versions,
    /// Changes above `compacted`, and for a moment some below it that `trim` has not reached. A revision that changed
    /// several keys has several, in its order.
    log: VecDeque<Record>,
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
            versions: Versions::default(),
            log: VecDeque::new(),
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
        self.versions.load(Record::of(entry));
    }

    pub(crate) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(crate) fn live(&self) -> u64 {
        self.versions.live()
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
        self.versions.at(key.as_bytes(), at)?.entry()
    }

    pub(crate) fn range(&self, range: &KeyRange, at: Revision, limit: Option<usize>) -> Page {
        let (start, end) = range.bounds();
        let limit = limit.unwrap_or(usize::MAX);
        let records = self.versions.range(start, end, at).take(limit);
        let entries: Vec<Entry> = records.filter_map(Record::entry).collect();
        let behind = match entries.last() {
            _ if entries.len() < limit => return Page { entries, remaining: 0 },
            None => start,
            Some(last) => Bound::Excluded(last.key.as_bytes()),
        };
        let remaining = self.count(behind, end, at);
        Page { entries, remaining }
    }

    /// How many keys held a value at `at`: those that do now, without what was created since, and with what was removed.
    fn count(&self, start: Bound<&[u8]>, end: Bound<&[u8]>, at: Revision) -> u64 {
        let since = self.log.partition_point(|record| record.revision() <= at);
        let changes = self.log.range(since..).filter(|record| is_between((start, end), record.key()));
        let (mut created, mut removed) = (0, 0);
        for record in changes {
            created += usize::from(record.is_set() && record.create_revision() == record.revision());
            removed += usize::from(!record.is_set());
        }
        (self.versions.count(start, end) + removed).saturating_sub(created) as u64
    }

    /// Makes the changes of `write`, whose revision must be the next one.
    pub(crate) fn apply(&mut self, write: &Write) {
        self.change(write, |_, _| ());
    }

    /// [`Mvcc::apply`], and tells the changes as events, which costs as much again.
    pub(crate) fn apply_and_tell(&mut self, write: &Write) -> Vec<Event> {
        let mut events = Vec::with_capacity(write.changes.len());
        self.change(write, |record, previous| events.extend(event(record, previous)));
        events
    }

    fn change(&mut self, write: &Write, mut tell: impl FnMut(&Record, Option<&Record>)) {
        debug_assert_eq!(write.revision, self.revision.next(), "revisions are taken one by one");
        self.revision = write.revision;
        for change in &write.changes {
            self.leases.written(&change.key, change.lease);
            let record = Record::new(write.revision, change);
            let previous = self.versions.push(record.clone());
            tell(&record, previous.as_ref());
            self.log.push_back(record);
        }
    }

    /// Moves the lower end of the window up to `to`. What lies below is out of sight at once and freed by [`Mvcc::trim`].
    pub(crate) fn compact(&mut self, to: Revision) -> Result<()> {
        if to > self.revision {
            return Err(Error::FutureRevision(self.revision));
        }
        self.compacted = self.compacted.max(to);
        Ok(())
    }

    /// Takes out what is below the window, as much as `share` says but not more than [`STEP`] changes, and what it took off `share`.
    pub(crate) fn trim(&mut self, share: &mut Share) -> Freed {
        let mut freed = Freed::default();
        if self.is_kept() {
            return freed;
        }
        self.intact_from = self.compacted;
        while freed.changes < STEP && !share.is_used_up() {
            let compacted = self.compacted;
            let Some(oldest) = self.log.pop_front_if(|oldest| oldest.revision() <= compacted) else { break };
            let before = self.versions.past_bytes();
            self.versions.prune(&oldest, &mut freed.records);
            share.take(before.saturating_sub(self.versions.past_bytes()));
            freed.records.push(oldest);
            freed.changes += 1;
        }
        // What a checkpoint held back for its time leaves no room behind.
        if self.log.capacity() > 1024 && self.log.capacity() > 3 * self.log.len() {
            self.log.shrink_to(self.log.len() + self.log.len() / 2);
        }
        freed.has_more = self.has_garbage();
        freed
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
        Some(self.log.get(cut - 1)?.revision())
    }

    fn is_within(&self, keep: Retention) -> bool {
        self.log.len() <= keep.changes && self.versions.past_bytes() <= keep.bytes
    }

    fn has_garbage(&self) -> bool {
        self.log.front().is_some_and(|oldest| oldest.revision() <= self.compacted)
    }

    /// The next events in `range` from revision `from` on, looking at `changes` changes and finding `bytes` of values, and
    /// the rest of the last one's revision.
    pub(crate) fn replay(
        &self,
        range: &KeyRange,
        from: Revision,
        changes: usize,
        bytes: usize,
    ) -> Result<Replay> {
        if from <= self.compacted {
            return Err(Error::Compacted(self.compacted));
        }
        let mut messages = Vec::new();
        let mut of_one: (Revision, Vec<Event>) = (Revision::NONE, Vec::new());
        let mut next = None;
        let begin = self.log.partition_point(|record| record.revision() < from);
        let (mut previous, mut found) = (Revision::NONE, 0);
        for (looked_at, record) in self.log.range(begin..).enumerate() {
            let revision = record.revision();
            if (looked_at >= changes || found >= bytes) && previous != revision {
                next = Some(revision);
                break;
            }
            previous = revision;
            if !is_between(range.bounds(), record.key()) {
                continue;
            }
            let before = self.versions.before(record).filter(|before| before.is_set());
            found += record.value_len() + before.map_or(0, Record::value_len);
            let Some(event) = event(record, before) else { continue };
            if of_one.0 != revision {
                messages.extend(message(std::mem::replace(&mut of_one, (revision, Vec::new()))));
            }
            of_one.1.push(event);
        }
        messages.extend(message(of_one));
        Ok(Replay { messages, next })
    }
}

fn event(record: &Record, previous: Option<&Record>) -> Option<Event> {
    let previous = previous.and_then(Record::entry);
    match (record.entry(), previous) {
        (Some(entry), previous) => Some(Event::Put { entry, previous }),
        (None, Some(previous)) => {
            Some(Event::Delete { key: record.copy_key(), revision: record.revision(), previous })
        }
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

    fn stamp(&self, key: &Key) -> Option<Stamp> {
        let latest = self.versions.latest(key.as_bytes()).filter(|latest| latest.is_set())?;
        let (create_revision, mod_revision) = (latest.create_revision(), latest.revision());
        Some(Stamp { create_revision, mod_revision, version: latest.version() })
    }

    fn lease(&self, id: LeaseId) -> Option<&Attached> {
        self.leases.get(id)
    }
}
