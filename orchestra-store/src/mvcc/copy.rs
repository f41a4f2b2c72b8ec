//! Copying a state in small pieces while it goes on changing: for checkpoints, and for snapshots.
//!
//! Both need the past of one revision to stay. A checkpoint is written by the store itself and ends soon, so it keeps
//! the past however much that becomes; a snapshot may be read by a slow client, so it keeps a bounded amount of it.

use std::ops::Bound;

use super::record::Record;
use super::{Change, Mvcc, Write};
use crate::key::Key;
use crate::limits::Retention;
use crate::revision::Revision;
use crate::store::{Entry, Error, Result};

/// How much of the past is kept for snapshots that are being taken. One that is read too slowly for this fails.
const HELD: Retention = Retention { changes: 1_000_000, bytes: 256 * 1024 * 1024 };
/// Bytes of values that are handed out under one lock, before the last one.
const CHUNK_BYTES: usize = 256 * 1024;
/// Keys that are handed out under one lock, for a snapshot.
const CHUNK_KEYS: usize = 128;

/// Versions found under a lock, to be made entries without it: that takes allocations for each.
#[derive(Debug)]
pub(crate) struct Found(Vec<Record>);

impl Found {
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.0.iter().filter_map(Record::entry).collect()
    }
}

impl Mvcc {
    /// Keeps the past as it is until [`Mvcc::unpin`]; what is compacted meanwhile is freed later.
    pub(crate) fn pin(&mut self) {
        self.pins += 1;
    }

    pub(crate) fn unpin(&mut self) {
        self.pins = self.pins.saturating_sub(1);
    }

    /// Keeps what a snapshot of the current revision needs until [`Mvcc::release`], as long as the past does not outgrow [`HELD`].
    pub(crate) fn hold(&mut self) {
        self.holds.push(self.revision);
    }

    pub(crate) fn release(&mut self, at: Revision) {
        if let Some(place) = self.holds.iter().position(|&held| held == at) {
            self.holds.swap_remove(place);
        }
    }

    /// Whether nothing may be freed. A snapshot that was given up keeps nothing any more.
    pub(super) fn is_kept(&self) -> bool {
        let is_held = self.holds.iter().any(|&at| at >= self.intact_from);
        self.pins > 0 || is_held && self.is_within(HELD)
    }

    /// The next keys behind `after` that hold a value at revision `at`, which was current when the hold began.
    pub(crate) fn held_entries(&self, after: Option<&Key>, at: Revision) -> Result<Found> {
        if at < self.intact_from {
            return Err(Error::Compacted(self.intact_from));
        }
        Ok(self.entries_behind(after, at, CHUNK_KEYS))
    }

    /// The next keys behind `after` that hold a value at revision `at`, which may be compacted but is kept:
    /// at most `limit`, and fewer when they are large, but none only when there are no more.
    pub(crate) fn entries_behind(&self, after: Option<&Key>, at: Revision, limit: usize) -> Found {
        let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_bytes()));
        let mut bytes = 0;
        let mut has_room = |record: &Record| {
            let before = bytes;
            bytes += record.value_len();
            before < CHUNK_BYTES
        };
        let records = self.versions.range(start, Bound::Unbounded, at).take(limit);
        Found(records.take_while(|record| has_room(record)).cloned().collect())
    }

    /// The next writes behind `after` up to `through`, of `limit` changes or a little more.
    pub(crate) fn writes_behind(&self, after: Revision, through: Revision, limit: usize) -> Vec<Write> {
        let begin = self.log.partition_point(|record| record.revision() <= after);
        let mut writes: Vec<Write> = Vec::new();
        for (changes, record) in self.log.range(begin..).enumerate() {
            let revision = record.revision();
            let is_new = writes.last().is_none_or(|write| write.revision != revision);
            if revision > through || (is_new && changes >= limit) {
                break;
            }
            let change = Change {
                key: record.copy_key(),
                create_revision: record.create_revision(),
                version: record.version(),
                value: record.value(),
                // Copies say what is attached apart from the writes.
                lease: None,
            };
            match writes.last_mut() {
                Some(write) if !is_new => write.changes.push(change),
                _ => writes.push(Write { revision, changes: vec![change] }),
            }
        }
        writes
    }
}
