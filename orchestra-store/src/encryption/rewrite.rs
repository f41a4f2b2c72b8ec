//! Looking at what is stored under which key, and writing it anew with the newest.

use std::collections::{BTreeMap, HashMap};

use futures::StreamExt;

use super::encrypted::Encrypted;
use super::frame;
use super::key::KeyId;
use super::rules::Policy;
use crate::key::{Key, KeyRange};
use crate::lease::LeaseId;
use crate::revision::Revision;
use crate::store::{Entry, Error, Page, RangeOptions, ReadAt, Result, Store};
use crate::txn::{Committed, Outcome, Txn};

/// Values looked at in one read.
const PAGE: usize = 256;
/// Values written anew at once, so that they share syncs of the disk.
const AT_ONCE: usize = 32;
/// How often one value is tried that others write at the same time.
const TRIES: usize = 64;
/// How many unreadable values are named.
const NAMED: usize = 10;

/// How the values under the rules' prefixes are stored, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// The revision.
    pub revision: Revision,
    /// How many values each key seals, by the name of the key, whether it is there or not.
    pub sealed: BTreeMap<KeyId, u64>,
    /// How many are plain where they should be encrypted.
    pub plain: u64,
    /// How many are encrypted where they need not be any more.
    pub superfluous: u64,
    /// How many look encrypted but cannot have been made here.
    pub damaged: u64,
}

/// What writing anew came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewritten {
    /// Values that were looked at.
    pub seen: u64,
    /// Values that were written anew.
    pub rewritten: u64,
    /// Values that could not be read, and are as they were.
    pub unreadable: u64,
    /// The first few of them, with the reason.
    pub problems: Vec<String>,
}

impl<S: Store> Encrypted<S> {
    /// Looks at every value that has a policy; no value is decrypted.
    ///
    /// # Errors
    /// Those of the store behind.
    pub async fn audit(&self) -> Result<Audit> {
        let mut audit = Audit { revision: self.inner.status().await?.revision, ..Audit::default() };
        let mut pages = Pages::of(self);
        while let Some(entries) = pages.next(self, Some(audit.revision)).await? {
            for entry in &entries {
                self.count(entry, &mut audit);
            }
        }
        Ok(audit)
    }

    fn count(&self, entry: &Entry, audit: &mut Audit) {
        let policy = self.rules().policy(&entry.key);
        if !frame::is_sealed(&entry.value) {
            audit.plain += u64::from(policy != Some(Policy::Plain));
            return;
        }
        match frame::sealed_with(&entry.key, &entry.value) {
            Ok(id) => *audit.sealed.entry(id).or_default() += 1,
            Err(_) => audit.damaged += 1,
        }
        audit.superfluous += u64::from(policy == Some(Policy::Plain));
    }

    /// Writes every value anew that is not stored as the rules and the newest key want it. Others may write at the same
    /// time: nothing of theirs is lost. It may be broken off anywhere and called again; what is done is not done twice.
    ///
    /// # Errors
    /// Those of the store behind. A value that cannot be read is no error: it is counted, and left alone.
    pub async fn rewrite(&self) -> Result<Rewritten> {
        let mut done = Rewritten::default();
        let mut pages = Pages::of(self);
        while let Some(entries) = pages.next(self, None).await? {
            done.seen += entries.len() as u64;
            let stale: Vec<Entry> = entries.into_iter().filter(|entry| self.is_stale(entry)).collect();
            let leases = if stale.is_empty() { Leases::new() } else { self.attached().await? };
            let writes = stale.into_iter().map(|entry| {
                let lease = leases.get(&entry.key).copied();
                self.rewrite_one(entry, lease)
            });
            let mut writes = futures::stream::iter(writes).buffer_unordered(AT_ONCE);
            while let Some(outcome) = writes.next().await {
                match outcome {
                    Ok(has_written) => done.rewritten += u64::from(has_written),
                    Err(error @ (Error::Corrupt(_) | Error::KeyMissing { .. })) => {
                        done.unreadable += 1;
                        if done.problems.len() < NAMED {
                            done.problems.push(error.to_string());
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(done)
    }

    /// Whether a value is stored otherwise than it would be written now.
    fn is_stale(&self, entry: &Entry) -> bool {
        let newest = self.keyring().newest().id();
        match self.rules().policy(&entry.key) {
            None => false,
            Some(Policy::Plain) => frame::is_sealed(&entry.value),
            Some(Policy::Sealed | Policy::Sealing) => {
                frame::sealed_with(&entry.key, &entry.value).ok() != Some(newest)
            }
        }
    }

    /// Which lease each key is attached to. What was read before this, and has not changed when it is written, is still attached
    /// as this says: attaching is a write.
    async fn attached(&self) -> Result<Leases> {
        let leases = self.inner.leases().await?.value;
        let keys = leases.into_iter().flat_map(|status| {
            let id = status.lease.id;
            status.keys.into_iter().map(move |key| (key, id))
        });
        Ok(keys.collect())
    }

    /// Writes one value anew, unless somebody else does; false when there was nothing left to do.
    async fn rewrite_one(&self, mut entry: Entry, mut lease: Option<LeaseId>) -> Result<bool> {
        for _ in 0..TRIES {
            let key = entry.key.clone();
            let value = self.sealer.open(&key, entry.value)?;
            let value = self.sealer.seal(&key, value)?;
            let txn = Txn::new().when(key.clone(), entry.mod_revision);
            let txn = match lease {
                Some(lease) => txn.put_leased(key.clone(), value, lease),
                None => txn.put(key.clone(), value),
            };
            match self.inner.commit(txn).await {
                Ok(Committed { outcome: Outcome::Applied, .. }) => return Ok(true),
                // The lease took the value with it.
                Ok(Committed { outcome: Outcome::Refused(_), .. }) | Err(Error::UnknownLease(_)) => {}
                Err(error) => return Err(error),
            }
            match self.inner.get(&key, ReadAt::Latest).await?.value {
                Some(now) if self.is_stale(&now) => entry = now,
                _ => return Ok(false),
            }
            lease = self.attached().await?.get(&key).copied();
        }
        Err(Error::Unavailable(format!(
            "{} is written all the time under an older encryption key: does another server use other keys?",
            entry.key.as_bytes().escape_ascii()
        )))
    }
}

type Leases = HashMap<Key, LeaseId>;

/// Every stored value with a policy, once, in pages.
struct Pages {
    left: Vec<KeyRange>,
}

impl Pages {
    fn of<S: Store>(store: &Encrypted<S>) -> Self {
        let mut left: Vec<KeyRange> = Vec::new();
        let mut prefixes: Vec<&[u8]> = store.rules().iter().map(|(prefix, _)| prefix).collect();
        prefixes.sort_unstable();
        // One prefix may lie in another; sorted, it comes behind it.
        for prefix in prefixes {
            let inside = left.last().is_some_and(|last| last.contains(&Key::new(prefix.to_vec())));
            if !inside {
                left.push(KeyRange::prefix(prefix));
            }
        }
        left.reverse();
        Self { left }
    }

    async fn next<S: Store>(
        &mut self,
        store: &Encrypted<S>,
        at: Option<Revision>,
    ) -> Result<Option<Vec<Entry>>> {
        while let Some(range) = self.left.last_mut() {
            let at = at.map_or(ReadAt::Latest, ReadAt::Exactly);
            let options = RangeOptions::new().at(at).limit(PAGE);
            let Page { entries, .. } = store.inner.range(range.clone(), options).await?.value;
            match entries.last() {
                Some(last) => {
                    range.start = Key::new([last.key.as_bytes(), &[0]].concat());
                    return Ok(Some(entries));
                }
                None => {
                    self.left.pop();
                }
            }
        }
        Ok(None)
    }
}
