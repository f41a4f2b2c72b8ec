//! From keys of the handle to keys of the store, and back: pure, and the only place where either is made of the other.

use bytes::Bytes;

use crate::key::{Key, KeyRange};
use crate::lease::LeaseStatus;
use crate::limits::{self, MAX_KEY_BYTES};
use crate::store::{Entry, Error, Result};
use crate::txn::{Op, Txn};
use crate::watch::Event;

/// The keys that begin with a prefix, without it.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    prefix: Bytes,
    /// Every key of the scope, as the store sees it.
    all: KeyRange,
}

impl Scope {
    pub(super) fn new(prefix: Bytes) -> Self {
        Self { all: KeyRange::prefix(&prefix), prefix }
    }

    pub(super) fn all(&self) -> &KeyRange {
        &self.all
    }

    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// The key of the store.
    pub(super) fn outer(&self, key: &Key) -> Key {
        Key::new([&self.prefix, key.as_bytes()].concat())
    }

    /// The range of the store. Without an end it ends with the scope.
    pub(super) fn outer_range(&self, range: &KeyRange) -> KeyRange {
        let end = range.end.as_ref().map(|end| self.outer(end));
        KeyRange { start: self.outer(&range.start), end: end.or_else(|| self.all.end.clone()) }
    }

    /// The transaction of the store, if the handle may ask for it.
    pub(super) fn outer_txn(&self, txn: Txn) -> Result<Txn> {
        limits::check(&txn)?;
        let room = MAX_KEY_BYTES - self.prefix.len();
        let keys = txn.compares.iter().map(|compare| &compare.key).chain(txn.ops.iter().map(Op::key));
        for key in keys {
            limits::within("key size in bytes", key.as_bytes().len(), room)?;
        }
        let Txn { mut compares, mut ops } = txn;
        compares.iter_mut().for_each(|compare| compare.key = self.outer(&compare.key));
        for op in &mut ops {
            let (Op::Put { key, .. } | Op::Delete { key }) = op;
            *key = self.outer(key);
        }
        Ok(Txn { compares, ops })
    }

    /// Whether a key of the store lies in the scope.
    pub(super) fn holds(&self, key: &Key) -> bool {
        key.as_bytes().starts_with(&self.prefix)
    }

    /// The key of the handle. One from elsewhere is never shown: that the store gave it out is its failure.
    pub(super) fn inner(&self, key: &Key) -> Result<Key> {
        let bytes = key.as_bytes().strip_prefix(&self.prefix[..]);
        bytes.map(|bytes| Key::new(Bytes::copy_from_slice(bytes))).ok_or_else(|| {
            tracing::error!("a store answered with a key that was not asked for");
            Error::Unavailable("the store behind this handle gave a wrong answer".to_owned())
        })
    }

    pub(super) fn inner_entry(&self, entry: Entry) -> Result<Entry> {
        Ok(Entry { key: self.inner(&entry.key)?, ..entry })
    }

    pub(super) fn inner_entries(&self, entries: Vec<Entry>) -> Result<Vec<Entry>> {
        entries.into_iter().map(|entry| self.inner_entry(entry)).collect()
    }

    pub(super) fn inner_event(&self, event: &Event) -> Result<Event> {
        Ok(match event.clone() {
            Event::Put { entry, previous } => Event::Put {
                entry: self.inner_entry(entry)?,
                previous: previous.map(|entry| self.inner_entry(entry)).transpose()?,
            },
            Event::Delete { key, revision, previous } => {
                Event::Delete { key: self.inner(&key)?, revision, previous: self.inner_entry(previous)? }
            }
        })
    }

    /// The lease as the handle sees it; only for leases that hold nothing else.
    pub(super) fn inner_lease(&self, status: LeaseStatus) -> Result<LeaseStatus> {
        let keys = status.keys.iter().map(|key| self.inner(key)).collect::<Result<_>>()?;
        Ok(LeaseStatus::new(status.lease, status.remaining, keys))
    }
}

/// What may be told of an error: numbers and reasons, but no key, path or address. The rest is for the log.
pub(super) fn told(error: Error) -> Error {
    let told = match &error {
        Error::Compacted(_)
        | Error::FutureRevision(_)
        | Error::Invalid(_)
        | Error::TooLarge { .. }
        | Error::SlowWatcher
        | Error::UnknownLease(_) => return error,
        Error::Corrupt(_) | Error::KeyMissing { .. } => {
            Error::Corrupt("a value behind this handle cannot be read".to_owned())
        }
        _ => Error::Unavailable("the store behind this handle failed".to_owned()),
    };
    tracing::warn!(error = &error as &dyn std::error::Error, "a store failed behind a handle");
    told
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0_u8), Just(0xff), Just(b'a'), any::<u8>()], 0..4)
    }

    proptest! {
        /// Whatever is asked for, a range of the handle never reaches beyond its prefix, and holds the same keys.
        #[test]
        fn no_range_leaves_the_scope(
            prefix in bytes().prop_filter("not empty", |prefix| !prefix.is_empty()),
            start in bytes(), end in prop::option::of(bytes()), key in bytes(),
        ) {
            let scope = Scope::new(prefix.into());
            let range = KeyRange { start: Key::new(start), end: end.map(Key::new) };
            let outer = scope.outer_range(&range);
            let anything = Key::new(key.clone());
            prop_assert!(!outer.contains(&anything) || scope.holds(&anything), "{anything:?} lies in {outer:?}");
            let within = Key::new(key);
            prop_assert_eq!(range.contains(&within), outer.contains(&scope.outer(&within)));
            prop_assert_eq!(scope.inner(&scope.outer(&within)).unwrap(), within);
        }
    }

    #[test]
    fn a_key_from_elsewhere_is_not_told() {
        let error = Scope::new("/a/".into()).inner(&"/b/x".into()).unwrap_err().to_string();
        assert!(!error.contains("/b"), "{error}");
    }
}
