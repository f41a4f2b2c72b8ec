//! What must be true of the entries of a snapshot, wherever they come from.

use crate::key::Key;
use crate::revision::Revision;
use crate::store::{Entry, Error, Result};

/// Looks at every entry as it passes.
#[derive(Debug)]
pub(super) struct Check {
    revision: Revision,
    keys: u64,
    seen: u64,
    last: Option<Key>,
}

impl Check {
    pub(super) fn new(revision: Revision, keys: u64) -> Self {
        Self { revision, keys, seen: 0, last: None }
    }

    pub(super) fn keys(&self) -> u64 {
        self.keys
    }

    pub(super) fn take(&mut self, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            if self.last.as_ref().is_some_and(|last| *last >= entry.key) {
                return Err(bad("its keys are out of order"));
            }
            let in_order = entry.create_revision <= entry.mod_revision && entry.mod_revision <= self.revision;
            if !in_order || entry.create_revision == Revision::NONE || entry.version == 0 {
                return Err(bad("the numbers of a key make no sense"));
            }
            self.last = Some(entry.key.clone());
            self.seen += 1;
        }
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<()> {
        if self.seen == self.keys {
            return Ok(());
        }
        Err(bad(&format!("it holds {} of {} keys", self.seen, self.keys)))
    }
}

fn bad(what: &str) -> Error {
    Error::BadSnapshot(what.to_owned())
}
