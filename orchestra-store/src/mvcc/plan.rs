//! Deciding a transaction against a state, without changing the state.
//!
//! Apart from the change itself so that a durable store can decide a whole batch, make it durable,
//! and only then show it.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use super::{Attached, Mvcc, Share, plan_grant, plan_revoke};
use crate::key::Key;
use crate::lease::{Lease, LeaseId};
use crate::limits::MAX_LEASE_BYTES;
use crate::revision::Revision;
use crate::store::{Entry, Error, Result};
use crate::txn::{Committed, Op, Outcome, Txn};

/// A value that is large for [`Write::trim_share`].
const LARGE: usize = 16 * 1024;

/// The state a transaction is decided against.
pub(crate) trait Latest {
    /// The newest revision.
    fn revision(&self) -> Revision;
    /// What `key` holds.
    fn latest(&self, key: &Key) -> Option<Entry>;
    /// The numbers of what `key` holds, which cost less to tell.
    fn stamp(&self, key: &Key) -> Option<Stamp>;
    /// What is known of a lease that has not ended.
    fn lease(&self, id: LeaseId) -> Option<&Attached>;
}

/// The numbers of a key's latest value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) create_revision: Revision,
    pub(crate) mod_revision: Revision,
    pub(crate) version: u64,
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
    /// What the key is attached to from now on.
    pub(crate) lease: Option<LeaseId>,
}

impl Write {
    /// What is freed below the window along with this write: twice what it adds, so that the past is freed faster than
    /// it grows, by count and by size, and no write pays for all. A large write, which takes its time anyway, frees more.
    pub(crate) fn trim_share(&self) -> Share {
        let of = |value: &Bytes| if value.len() < LARGE { 2 * value.len() } else { 16 * value.len() };
        let bytes = self.changes.iter().filter_map(|change| change.value.as_ref()).map(of).sum();
        Share { changes: 2 * self.changes.len(), bytes }
    }

    pub(crate) fn committed(&self) -> Committed {
        Committed { revision: self.revision, outcome: Outcome::Applied }
    }
}

/// Decides `txn` against `state`.
pub(crate) fn plan(txn: Txn, state: &impl Latest) -> Result<Plan> {
    let current = state.revision();
    let holds = |compare: &crate::txn::Compare| {
        state.stamp(&compare.key).map_or(Revision::NONE, |stamp| stamp.mod_revision) == compare.mod_revision
    };
    if !txn.compares.iter().all(holds) {
        let found = txn.compares.iter().map(|compare| state.latest(&compare.key)).collect();
        return Ok(Plan::Answer(Committed { revision: current, outcome: Outcome::Refused(found) }));
    }
    txn.ops.iter().try_for_each(|op| check_lease(op, state))?;
    let revision = current.next();
    let changes: Vec<Change> = txn.ops.into_iter().filter_map(|op| change(op, revision, state)).collect();
    if changes.is_empty() {
        return Ok(Plan::Answer(Committed { revision: current, outcome: Outcome::Applied }));
    }
    Ok(Plan::Write(Write { revision, changes }))
}

fn check_lease(op: &Op, state: &impl Latest) -> Result<()> {
    let Op::Put { key, lease: Some(id), .. } = op else { return Ok(()) };
    let attached = state.lease(*id).ok_or(Error::UnknownLease(*id))?;
    if attached.has_room(key) {
        return Ok(());
    }
    let (what, actual) = ("size in bytes of the keys of a lease", attached.bytes_with(key));
    Err(Error::TooLarge { what, actual, limit: MAX_LEASE_BYTES })
}

fn change(op: Op, revision: Revision, state: &impl Latest) -> Option<Change> {
    let old = state.stamp(op.key());
    match op {
        Op::Put { key, value, lease } => {
            let (create_revision, version) =
                old.map_or((revision, 1), |old| (old.create_revision, old.version + 1));
            Some(Change { key, create_revision, version, value: Some(value), lease })
        }
        Op::Delete { key } => {
            let old = old?;
            let (create_revision, version) = (old.create_revision, old.version);
            Some(Change { key, create_revision, version, value: None, lease: None })
        }
    }
}

/// A state with writes on top that are decided but not applied yet.
#[derive(Debug)]
pub(crate) struct Staged<'a> {
    base: &'a Mvcc,
    revision: Revision,
    changed: HashMap<Key, Option<Entry>>,
    /// The leases of changed keys.
    attached: HashMap<Key, LeaseId>,
    ended: Vec<LeaseId>,
    last_lease: u64,
}

impl<'a> Staged<'a> {
    pub(crate) fn on(base: &'a Mvcc) -> Self {
        Self {
            base,
            revision: base.revision(),
            changed: HashMap::new(),
            attached: HashMap::new(),
            ended: Vec::new(),
            last_lease: base.leases().last(),
        }
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
            match change.lease {
                Some(id) => self.attached.insert(change.key.clone(), id),
                None => self.attached.remove(&change.key),
            };
        }
    }

    /// Decides and stages a new lease. Nobody knows its id before it is applied.
    pub(crate) fn grant(&mut self, ttl: Duration) -> Result<Lease> {
        let lease = plan_grant(ttl, self.last_lease)?;
        self.last_lease = lease.id.get();
        Ok(lease)
    }

    /// Decides the end of a lease: the removal of what is attached to it.
    pub(crate) fn revoke(&self, id: LeaseId) -> Result<Option<Write>> {
        let attached = self.lease(id).ok_or(Error::UnknownLease(id))?;
        let unchanged = attached.keys().filter(|key| !self.changed.contains_key(*key));
        let changed = self.attached.iter().filter(|(_, lease)| **lease == id).map(|(key, _)| key);
        let mut keys: Vec<Key> = unchanged.chain(changed).cloned().collect();
        keys.sort_unstable();
        Ok(plan_revoke(keys, self))
    }

    /// Stages the end of a lease, as it was decided, and tells the revision after it.
    pub(crate) fn end(&mut self, id: LeaseId, removal: Option<&Write>) -> Revision {
        if let Some(write) = removal {
            self.stage(write);
        }
        self.ended.push(id);
        self.revision
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

    fn stamp(&self, key: &Key) -> Option<Stamp> {
        match self.changed.get(key) {
            Some(entry) => entry.as_ref().map(|entry| Stamp {
                create_revision: entry.create_revision,
                mod_revision: entry.mod_revision,
                version: entry.version,
            }),
            None => self.base.stamp(key),
        }
    }

    fn lease(&self, id: LeaseId) -> Option<&Attached> {
        if self.ended.contains(&id) { None } else { self.base.lease(id) }
    }
}
