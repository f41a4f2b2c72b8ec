//! What must be true of the entries of a snapshot, wherever they come from.

use std::collections::HashSet;

use crate::key::Key;
use crate::lease::LeasedKeys;
use crate::limits::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::mvcc::is_within_bounds;
use crate::revision::Revision;
use crate::store::{Entry, Error, Result};

/// Looks at every entry as it passes.
#[derive(Debug)]
pub(super) struct Check {
    revision: Revision,
    keys: u64,
    seen: u64,
    last: Option<Key>,
    /// Keys with a lease that have not come yet.
    leased: HashSet<Key>,
    /// What is wrong with the leases.
    wrong: Option<&'static str>,
}

impl Check {
    pub(super) fn new(revision: Revision, keys: u64) -> Self {
        Self { revision, keys, seen: 0, last: None, leased: HashSet::new(), wrong: None }
    }

    /// Says which keys must come because leases hold them.
    pub(super) fn expect_leases(&mut self, leases: &[LeasedKeys]) {
        let ids = leases.iter().map(|leased| leased.lease.id);
        if !ids.is_sorted_by(|a, b| a < b) {
            self.wrong = Some("its leases are out of order");
        }
        // etcd lets a lease hold any number.
        if !leases.iter().all(|leased| is_within_bounds(&leased.keys)) {
            self.wrong = Some("a lease holds more than all of its keys may come to");
        }
        for key in leases.iter().flat_map(|leased| &leased.keys) {
            if !self.leased.insert(key.clone()) {
                self.wrong = Some("a key has two leases");
            }
        }
    }

    pub(super) fn keys(&self) -> u64 {
        self.keys
    }

    pub(super) fn take(&mut self, entries: &[Entry]) -> Result<()> {
        if let Some(wrong) = self.wrong {
            return Err(bad(wrong));
        }
        for entry in entries {
            if self.last.as_ref().is_some_and(|last| *last >= entry.key) {
                return Err(bad("its keys are out of order"));
            }
            let in_order = entry.create_revision <= entry.mod_revision && entry.mod_revision <= self.revision;
            if !in_order || entry.create_revision == Revision::NONE || entry.version == 0 {
                return Err(bad("the numbers of a key make no sense"));
            }
            let length = entry.key.as_bytes().len();
            if length == 0 || length > MAX_KEY_BYTES || entry.value.len() > MAX_VALUE_BYTES {
                return Err(bad("a key or a value is larger than a store takes"));
            }
            self.leased.remove(&entry.key);
            self.last = Some(entry.key.clone());
            self.seen += 1;
        }
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<()> {
        if let Some(wrong) = self.wrong {
            return Err(bad(wrong));
        }
        if !self.leased.is_empty() {
            return Err(bad("a lease holds a key that is not there"));
        }
        if self.seen == self.keys {
            return Ok(());
        }
        Err(bad(&format!("it holds {} of {} keys", self.seen, self.keys)))
    }
}

fn bad(what: &str) -> Error {
    Error::BadSnapshot(what.to_owned())
}
