//! Which leases are the handle's own. The store knows one set of leases, and whoever knows the number of one may end it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::scope::Scope;
use crate::lease::{LeaseId, LeaseStatus};
use crate::store::{Error, Result, Store};

/// How many leases are remembered before those are looked for that have ended.
const FIRST_SWEEP: usize = 256;

/// Leases that are known to be the handle's: granted through it, or attached to keys of the scope and to no others.
#[derive(Debug)]
pub(super) struct OwnLeases {
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    ids: HashSet<LeaseId>,
    sweep_at: usize,
}

impl OwnLeases {
    pub(super) fn new() -> Self {
        Self { known: Mutex::new(Known { ids: HashSet::new(), sweep_at: FIRST_SWEEP }) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One was granted through the handle.
    pub(super) async fn add(&self, id: LeaseId, store: &impl Store) -> Result<()> {
        let is_full = {
            let mut known = self.known();
            known.ids.insert(id);
            known.ids.len() >= known.sweep_at
        };
        if is_full {
            let alive: HashSet<LeaseId> =
                store.leases().await?.value.into_iter().map(|status| status.lease.id).collect();
            let mut known = self.known();
            known.ids.retain(|known| *known == id || alive.contains(known));
            known.sweep_at = FIRST_SWEEP.max(2 * known.ids.len());
        }
        Ok(())
    }

    pub(super) fn forget(&self, id: LeaseId) {
        self.known().ids.remove(&id);
    }

    /// Refuses what is not the handle's as if there were no such lease.
    pub(super) async fn check(&self, id: LeaseId, scope: &Scope, store: &impl Store) -> Result<()> {
        if self.known().ids.contains(&id) {
            return Ok(());
        }
        // From before a restart, perhaps.
        let found = store.leases().await?.value.into_iter().find(|status| status.lease.id == id);
        match found {
            Some(status) if is_attached_within(&status, scope) => {
                self.known().ids.insert(id);
                Ok(())
            }
            _ => Err(Error::UnknownLease(id)),
        }
    }

    /// Those of all that are the handle's.
    pub(super) fn own(&self, all: Vec<LeaseStatus>, scope: &Scope) -> Vec<LeaseStatus> {
        let known = self.known();
        let is_own = |status: &LeaseStatus| {
            let is_known = known.ids.contains(&status.lease.id);
            is_known && status.keys.iter().all(|key| scope.holds(key)) || is_attached_within(status, scope)
        };
        all.into_iter().filter(is_own).collect()
    }
}

fn is_attached_within(status: &LeaseStatus, scope: &Scope) -> bool {
    !status.keys.is_empty() && status.keys.iter().all(|key| scope.holds(key))
}
