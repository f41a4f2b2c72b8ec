//! Deciding a transaction against a state, without changing the state.
//!
//! Apart from the change itself so that a durable store can decide a whole batch, make it durable,
//! and only then show it.

use std::collections::HashMap;

use bytes::Bytes;

use super::Mvcc;
use crate::key::Key;
use crate::revision::Revision;
use crate::store::Entry;
use crate::txn::{Committed, Op, Outcome, Txn};

/// The state a transaction is decided against.
pub(crate) trait Latest {
    /// The newest revision.
    fn revision(&self) -> Revision;
    /// What `key` holds.
    fn latest(&self, key: &Key) -> Option<Entry>;
}

/// What a transaction comes to.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Nothing changes: refused, or without effect.
    Answer(Committed),
    /// These changes, at a new revision.
    Write(Write),
}

/// The changes of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) revision: Revision,
    pub(crate) changes: Vec<Change>,
}

/// The change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) create_revision: Revision,
    pub(crate) version: u64,
    /// `None` removes.
    pub(crate) value: Option<Bytes>,
}

impl Write {
    /// How many changes below the window may be freed along with this write. Twice as many as it adds, and more when it is
    /// large, so that the past is freed faster than it grows, by count and by size, and no write pays for all.
    pub(crate) fn trim_share(&self) -> usize {
        let of = |change: &Change| 2 + change.value.as_ref().map_or(0, |value| value.len() / 64);
        self.changes.iter().map(of).sum()
    }

    pub(crate) fn committed(&self) -> Committed {
        Committed { revision: self.revision, outcome: Outcome::Applied }
    }
}

/// Decides `txn` against `state`.
pub(crate) fn plan(txn: Txn, state: &impl Latest) -> Plan {
    let current = state.revision();
    let holds = |compare: &crate::txn::Compare| {
        state.latest(&compare.key).map_or(Revision::NONE, |entry| entry.mod_revision) == compare.mod_revision
    };
    if !txn.compares.iter().all(holds) {
        let found = txn.compares.iter().map(|compare| state.latest(&compare.key)).collect();
        return Plan::Answer(Committed { revision: current, outcome: Outcome::Refused(found) });
    }
    let revision = current.next();
    let changes: Vec<Change> = txn.ops.into_iter().filter_map(|op| change(op, revision, state)).collect();
    if changes.is_empty() {
        return Plan::Answer(Committed { revision: current, outcome: Outcome::Applied });
    }
    Plan::Write(Write { revision, changes })
}

fn change(op: Op, revision: Revision, state: &impl Latest) -> Option<Change> {
    let old = state.latest(op.key());
    match op {
        Op::Put { key, value } => {
            let (create_revision, version) =
                old.map_or((revision, 1), |old| (old.create_revision, old.version + 1));
            Some(Change { key, create_revision, version, value: Some(value) })
        }
        Op::Delete { key } => {
            let old = old?;
            Some(Change { key, create_revision: old.create_revision, version: old.version, value: None })
        }
    }
}

/// A state with writes on top that are decided but not applied yet.
#[derive(Debug)]
pub(crate) struct Staged<'a> {
    base: &'a Mvcc,
    revision: Revision,
    changed: HashMap<Key, Option<Entry>>,
}

impl<'a> Staged<'a> {
    pub(crate) fn on(base: &'a Mvcc) -> Self {
        Self { base, revision: base.revision(), changed: HashMap::new() }
    }

    pub(crate) fn stage(&mut self, write: &Write) {
        self.revision = write.revision;
        for change in &write.changes {
            let entry = change.value.clone().map(|value| Entry {
                key: change.key.clone(),
                value,
                create_revision: change.create_revision,
                mod_revision: write.revision,
                version: change.version,
            });
            self.changed.insert(change.key.clone(), entry);
        }
    }
}

impl Latest for Staged<'_> {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn latest(&self, key: &Key) -> Option<Entry> {
        match self.changed.get(key) {
            Some(entry) => entry.clone(),
            None => self.base.latest(key),
        }
    }
}
