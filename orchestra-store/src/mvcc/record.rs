//! One version of one key, as small as it gets: numbers, key and value in a single allocation.
//!
//! A store is mostly such versions, a million of them in a large cluster. As fields of their own, key and value would cost
//! two allocations and two counters more, and room for their handles in the tree.

use std::sync::Arc;

use bytes::Bytes;

use super::Change;
use crate::key::Key;
use crate::revision::Revision;
use crate::store::Entry;

/// Where the key begins. Before it: three numbers of 8 bytes, the length of the key in 4, and whether there is a value.
const HEAD: usize = 29;
const SET: u8 = 1;

/// A key's state from `mod_revision` on, until its next version. Clones share it.
#[derive(Clone)]
pub(super) struct Record(Arc<[u8]>);

impl Record {
    pub(super) fn new(revision: Revision, change: &Change) -> Self {
        let (key, value) = (change.key.as_bytes(), change.value.as_deref());
        let numbers = [revision.0, change.create_revision.0, change.version].map(u64::to_le_bytes);
        let length = u32::try_from(key.len()).expect("keys are limited before they are stored");
        let parts = [
            numbers.as_flattened(),
            &length.to_le_bytes(),
            &[if value.is_some() { SET } else { 0 }],
            key,
            value.unwrap_or_default(),
        ];
        Self(parts.concat().into())
    }

    pub(super) fn of(entry: Entry) -> Self {
        let Entry { key, value, create_revision, mod_revision, version } = entry;
        Self::new(mod_revision, &Change { key, create_revision, version, value: Some(value), lease: None })
    }

    fn head(&self) -> &[u8; HEAD] {
        self.0.first_chunk().expect("every record begins with a head")
    }

    fn number<const AT: usize>(&self) -> u64 {
        let head = self.head();
        u64::from_le_bytes(std::array::from_fn(|i| head[AT + i]))
    }

    /// The revision that wrote it.
    pub(super) fn revision(&self) -> Revision {
        Revision(self.number::<0>())
    }

    pub(super) fn create_revision(&self) -> Revision {
        Revision(self.number::<8>())
    }

    pub(super) fn version(&self) -> u64 {
        self.number::<16>()
    }

    /// Whether it holds a value; otherwise it marks a removal.
    pub(super) fn is_set(&self) -> bool {
        self.head()[HEAD - 1] == SET
    }

    fn value_at(&self) -> usize {
        let head = self.head();
        HEAD + u32::from_le_bytes(std::array::from_fn(|i| head[24 + i])) as usize
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.0[HEAD..self.value_at()]
    }

    /// The key, in an allocation of its own, so that whoever keeps it does not keep the value too.
    pub(super) fn copy_key(&self) -> Key {
        Key::new(Bytes::copy_from_slice(self.key()))
    }

    /// The value, without a copy.
    pub(super) fn value(&self) -> Option<Bytes> {
        self.is_set().then(|| Bytes::from_owner(Value(self.clone())))
    }

    pub(super) fn value_len(&self) -> usize {
        self.0.len() - self.value_at()
    }

    pub(super) fn entry(&self) -> Option<Entry> {
        Some(Entry {
            key: self.copy_key(),
            value: self.value()?,
            create_revision: self.create_revision(),
            mod_revision: self.revision(),
            version: self.version(),
        })
    }

    /// What keeping it costs, roughly.
    pub(super) fn cost(&self) -> usize {
        size_of::<Self>() + self.0.len()
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("revision", &self.revision()).field("key", &self.copy_key()).finish()
    }
}

/// A record looked at as its value.
struct Value(Record);

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.0.0[self.0.value_at()..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_back_what_it_was_made_of() {
        for (key, value) in [("k", Some("value")), ("", Some("")), ("key", None)] {
            let change = Change {
                key: key.into(),
                create_revision: Revision(7),
                version: u64::MAX,
                value: value.map(Bytes::from),
                lease: None,
            };
            let record = Record::new(Revision(9), &change);
            assert_eq!((record.key(), record.value().as_deref()), (key.as_bytes(), value.map(str::as_bytes)));
            assert_eq!((record.revision(), record.create_revision()), (Revision(9), Revision(7)));
            assert_eq!((record.version(), record.is_set()), (u64::MAX, value.is_some()));
            assert_eq!(record.value_len(), value.map_or(0, str::len));
            let entry = record.entry();
            assert_eq!(entry.is_some(), value.is_some());
            if let Some(entry) = entry {
                let again = Record::of(entry.clone());
                assert_eq!(again.entry(), Some(entry));
            }
        }
    }
}
