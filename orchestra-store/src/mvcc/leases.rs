//! Which keys live only as long as a lease does.
//!
//! A table beside the keys, so that a key without a lease costs nothing. It knows no time: when a lease has run out is its
//! owner's business.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::{Change, Latest, Mvcc, Write};
use crate::key::Key;
use crate::lease::{Lease, LeaseId, LeasedKeys};
use crate::limits::{self, LEASED_KEY_BYTES, MAX_LEASE_BYTES};
use crate::store::{Error, Result};

/// The leases that are alive, and their keys.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// The highest id that was ever given out.
    last: u64,
    table: BTreeMap<LeaseId, Arc<Attached>>,
    of: HashMap<Key, LeaseId>,
}

/// What a lease is and holds. Shared with copies of the table, and copied only when it changes while one is about.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    ttl: Duration,
    keys: BTreeSet<Key>,
    bytes: usize,
}

impl Attached {
    /// Whether one more key may be attached.
    pub(crate) fn has_room(&self, key: &Key) -> bool {
        self.bytes_with(key) <= MAX_LEASE_BYTES || self.keys.contains(key)
    }

    /// What they would come to with `key`.
    pub(crate) fn bytes_with(&self, key: &Key) -> usize {
        self.bytes + cost(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }
}

fn cost(key: &Key) -> usize {
    LEASED_KEY_BYTES + key.as_bytes().len()
}

/// Whether one lease may hold all of these: what it holds has to go in one revision.
pub(crate) fn is_within_bounds(keys: &[Key]) -> bool {
    keys.iter().map(cost).sum::<usize>() <= MAX_LEASE_BYTES
}

/// The table at one moment, to be kept or carried elsewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeasesCopy {
    pub(crate) last: u64,
    leases: Vec<(LeaseId, Arc<Attached>)>,
}

impl LeasesCopy {
    pub(crate) fn len(&self) -> usize {
        self.leases.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = LeasedKeys> {
        self.leases.iter().map(|(id, attached)| LeasedKeys {
            lease: Lease { id: *id, ttl: attached.ttl },
            keys: attached.keys.iter().cloned().collect(),
        })
    }
}

impl Leases {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn get(&self, id: LeaseId) -> Option<&Attached> {
        self.table.get(&id).map(Arc::as_ref)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Lease> {
        self.table.iter().map(|(&id, attached)| Lease { id, ttl: attached.ttl })
    }

    pub(crate) fn copy(&self) -> LeasesCopy {
        let leases = self.table.iter().map(|(&id, attached)| (id, Arc::clone(attached)));
        LeasesCopy { last: self.last, leases: leases.collect() }
    }

    /// Takes up a lease whose id is higher than all before it.
    pub(crate) fn grant(&mut self, lease: Lease) {
        self.last = self.last.max(lease.id.get());
        let attached = Attached { ttl: lease.ttl, keys: BTreeSet::new(), bytes: 0 };
        self.table.insert(lease.id, Arc::new(attached));
    }

    /// Gives out no id up to `last` any more.
    pub(crate) fn move_on(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    /// Forgets a lease. False when there is none, or when it still has keys.
    pub(crate) fn end(&mut self, id: LeaseId) -> bool {
        let is_free = self.get(id).is_some_and(|attached| attached.keys.is_empty());
        is_free && self.table.remove(&id).is_some()
    }

    /// `key` was written with this lease, or without one, or was removed.
    pub(super) fn written(&mut self, key: &Key, lease: Option<LeaseId>) {
        if lease.is_none() && self.of.is_empty() {
            return;
        }
        let lease = lease.filter(|id| self.table.contains_key(id));
        let before = match lease {
            Some(id) => self.of.insert(key.clone(), id),
            None => self.of.remove(key),
        };
        if before == lease {
            return;
        }
        if let Some(attached) = before.and_then(|id| self.table.get_mut(&id)).map(Arc::make_mut) {
            attached.keys.remove(key);
            attached.bytes -= cost(key);
        }
        if let Some(attached) = lease.and_then(|id| self.table.get_mut(&id)).map(Arc::make_mut) {
            attached.keys.insert(key.clone());
            attached.bytes += cost(key);
        }
    }
}

impl Mvcc {
    pub(crate) fn leases(&self) -> &Leases {
        &self.leases
    }

    pub(crate) fn leases_mut(&mut self) -> &mut Leases {
        &mut self.leases
    }

    /// Puts a lease back, with keys that are alive.
    pub(crate) fn load_lease(&mut self, leased: LeasedKeys) -> Result<(), &'static str> {
        let LeasedKeys { lease, keys } = leased;
        if self.leases.get(lease.id).is_some() {
            return Err("a lease comes twice");
        }
        if !is_within_bounds(&keys) {
            return Err("a lease holds more than all of its keys may come to");
        }
        self.leases.grant(lease);
        for key in &keys {
            if self.stamp(key).is_none() || self.leases.of.contains_key(key) {
                return Err("a lease holds a key that it cannot hold");
            }
            self.leases.written(key, Some(lease.id));
        }
        Ok(())
    }
}

/// Decides to grant a lease, when `last` is the highest id given out so far.
pub(crate) fn plan_grant(ttl: Duration, last: u64) -> Result<Lease> {
    let ttl = limits::lease_ttl(ttl)?;
    let next = last.checked_add(1).filter(|&next| next <= i64::MAX as u64);
    let id = next.and_then(LeaseId::new).ok_or(Error::Invalid("no ids of leases are left"))?;
    Ok(Lease { id, ttl })
}

/// Decides the end of a lease whose keys are `keys`: their removal, if there are any.
pub(crate) fn plan_revoke(keys: Vec<Key>, state: &impl Latest) -> Option<Write> {
    let removal = |key: Key| {
        let old = state.stamp(&key)?;
        let (create_revision, version) = (old.create_revision, old.version);
        Some(Change { key, create_revision, version, value: None, lease: None })
    };
    let changes: Vec<Change> = keys.into_iter().filter_map(removal).collect();
    (!changes.is_empty()).then(|| Write { revision: state.revision().next(), changes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mvcc::{Plan, plan};
    use crate::txn::Txn;

    const TTL: Duration = Duration::from_secs(1);

    fn grant(state: &mut Mvcc) -> LeaseId {
        let lease = plan_grant(TTL, state.leases.last).unwrap();
        state.leases.grant(lease);
        lease.id
    }

    fn write(state: &mut Mvcc, txn: Txn) {
        let Ok(Plan::Write(write)) = plan(txn, state) else { panic!("no write") };
        state.apply(&write);
    }

    fn attached(state: &Mvcc, id: LeaseId) -> Vec<Key> {
        state.leases.get(id).unwrap().keys().cloned().collect()
    }

    #[test]
    fn a_copy_does_not_change_with_what_it_is_of() {
        let mut state = Mvcc::default();
        let (a, b) = (grant(&mut state), grant(&mut state));
        write(&mut state, Txn::new().put_leased("1".into(), "", a).put_leased("2".into(), "", b));
        let copy = state.leases.copy();
        write(&mut state, Txn::new().put_leased("1".into(), "", b).delete("2".into()));
        write(&mut state, Txn::new().put_leased("3".into(), "", a));
        assert_eq!((attached(&state, a), attached(&state, b)), (vec!["3".into()], vec!["1".into()]));
        let keys: Vec<Vec<Key>> = copy.iter().map(|leased| leased.keys).collect();
        assert_eq!(keys, [vec!["1".into()], vec!["2".into()]]);
    }

    #[test]
    fn nothing_is_kept_of_keys_without_a_lease() {
        let mut state = Mvcc::default();
        let id = grant(&mut state);
        for n in 0..10 {
            write(&mut state, Txn::new().put(format!("{n}").into(), "").put_leased("l".into(), "", id));
        }
        assert_eq!((state.leases.of.len(), attached(&state, id).len()), (1, 1));
        write(&mut state, Txn::new().put("l".into(), ""));
        assert!(state.leases.of.is_empty());
        assert_eq!(state.leases.get(id).unwrap().bytes, 0);
        assert!(state.leases.end(id) && !state.leases.end(id));
    }

    #[test]
    fn a_full_lease_takes_no_further_key_but_those_it_holds() {
        let mut state = Mvcc::default();
        let id = grant(&mut state);
        let key = |n: usize| Key::from(format!("{n:04}{}", "x".repeat(4000)));
        let held = MAX_LEASE_BYTES / cost(&key(0));
        for n in 0..held {
            write(&mut state, Txn::new().put_leased(key(n), "", id));
        }
        let refused = plan(Txn::new().put_leased(key(held), "", id), &state);
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
        write(&mut state, Txn::new().put_leased(key(0), "again", id));
        write(&mut state, Txn::new().delete(key(0)));
        write(&mut state, Txn::new().put_leased(key(held), "", id));
    }

    #[test]
    fn ids_end_before_they_overflow() {
        assert!(plan_grant(TTL, i64::MAX as u64 - 1).is_ok());
        assert!(plan_grant(TTL, i64::MAX as u64).is_err());
        assert!(plan_grant(TTL, u64::MAX).is_err());
    }
}
