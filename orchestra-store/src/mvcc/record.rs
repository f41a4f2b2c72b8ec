//! One version of one key, as small as it gets: numbers, key and value in a single allocation.
//!
//! A store is mostly such versions, a million of them in a large cluster. As fields of their own, key and value would cost
//! two allocations and two counters more, and room for their handles in the tree.

use std::iter::repeat_n;
use std::sync::Arc;

use bytes::Bytes;

use super::Change;
use crate::key::Key;
use crate::revision::Revision;
use crate::store::Entry;

/// Bytes of the revision, with which a record begins. Behind it, for it is needed most often, the key; then what is seldom needed;
/// then the value. What is nearly always small takes a byte: the length of the key with whether there is a value, how many revisions
/// ago the key was created, and its version.
const REVISION: usize = 8;
/// Seven bits a byte.
const LONGEST_NUMBER: usize = u64::BITS.div_ceil(7) as usize;

/// A key's state from `mod_revision` on, until its next version. Clones share it.
#[derive(Clone)]
pub(super) struct Record(Arc<[u8]>);

impl Record {
    pub(super) fn new(revision: Revision, change: &Change) -> Self {
        let (key, value) = (change.key.as_bytes(), change.value.as_deref());
        let about_key = Number::of((key.len() as u64) << 1 | u64::from(value.is_some()));
        let created = Number::of(revision.0.wrapping_sub(change.create_revision.0));
        let version = Number::of(change.version);
        let parts = [
            &revision.0.to_le_bytes(),
            about_key.as_bytes(),
            key,
            created.as_bytes(),
            version.as_bytes(),
            value.unwrap_or_default(),
        ];
        // Made in place: a copy on the way would cost as much as all the rest of a write in memory.
        let mut bytes: Arc<[u8]> = repeat_n(0, parts.iter().map(|part| part.len()).sum()).collect();
        if let Some(mut room) = Arc::get_mut(&mut bytes) {
            for part in parts {
                let (place, rest) = room.split_at_mut(part.len());
                place.copy_from_slice(part);
                room = rest;
            }
        }
        Self(bytes)
    }

    pub(super) fn of(entry: Entry) -> Self {
        let Entry { key, value, create_revision, mod_revision, version } = entry;
        Self::new(mod_revision, &Change { key, create_revision, version, value: Some(value), lease: None })
    }

    /// The revision that wrote it.
    pub(super) fn revision(&self) -> Revision {
        let revision = self.0.first_chunk().expect("every record begins with its revision");
        Revision(u64::from_le_bytes(*revision))
    }

    fn about_key(&self) -> (u64, usize) {
        number(&self.0, REVISION)
    }

    /// When its key was created, its version, and where its value begins.
    fn numbers(&self) -> (Revision, u64, usize) {
        let (about_key, key_at) = self.about_key();
        let (created, at) = number(&self.0, key_at + (about_key >> 1) as usize);
        let (version, value_at) = number(&self.0, at);
        (Revision(self.revision().0.wrapping_sub(created)), version, value_at)
    }

    pub(super) fn create_revision(&self) -> Revision {
        self.numbers().0
    }

    pub(super) fn version(&self) -> u64 {
        self.numbers().1
    }

    /// Whether it holds a value; otherwise it marks a removal.
    pub(super) fn is_set(&self) -> bool {
        // The lowest bit of the first byte of the number.
        self.0[REVISION] & 1 == 1
    }

    fn value_at(&self) -> usize {
        self.numbers().2
    }

    pub(super) fn key(&self) -> &[u8] {
        let (about, at) = self.about_key();
        &self.0[at..at + (about >> 1) as usize]
    }

    /// The key, in an allocation of its own, so that whoever keeps it does not keep the value too.
    pub(super) fn copy_key(&self) -> Key {
        Key::new(Bytes::copy_from_slice(self.key()))
    }

    /// The value, without a copy.
    pub(super) fn value(&self) -> Option<Bytes> {
        self.is_set().then(|| Bytes::from_owner(Value(self.clone(), self.value_at())))
    }

    pub(super) fn value_len(&self) -> usize {
        self.0.len() - self.value_at()
    }

    pub(super) fn entry(&self) -> Option<Entry> {
        let (create_revision, version, _) = self.numbers();
        let (key, value) = (self.copy_key(), self.value()?);
        Some(Entry { key, value, create_revision, mod_revision: self.revision(), version })
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

/// A number as it is written: seven bits a byte, the lowest first, and the highest bit where it goes on.
struct Number {
    bytes: [u8; LONGEST_NUMBER],
    length: usize,
}

impl Number {
    fn of(mut number: u64) -> Self {
        let (mut bytes, mut length) = ([0; LONGEST_NUMBER], 1);
        for byte in &mut bytes {
            *byte = number as u8 & 0x7f;
            number >>= 7;
            if number == 0 {
                break;
            }
            *byte |= 0x80;
            length += 1;
        }
        Self { bytes, length }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The number at `at`, and what is behind it.
fn number(bytes: &[u8], mut at: usize) -> (u64, usize) {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes[at];
        at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return (number, at);
        }
        shift += 7;
    }
}

/// A value, and where it begins in its record.
struct Value(Record, usize);

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.0.0[self.1..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_back_what_it_was_made_of() {
        let long = "k".repeat(5_000);
        let keys = ["k", "", "key", &long[..63], &long[..64], &long];
        let values = [Some("value"), Some(""), None];
        let created = [7, 9, 0, u64::MAX].map(Revision);
        for ((key, value), create_revision) in
            keys.iter().flat_map(|key| values.map(|value| (*key, value))).zip(created.into_iter().cycle())
        {
            let change = Change {
                key: key.into(),
                create_revision,
                version: u64::MAX,
                value: value.map(Bytes::from),
                lease: None,
            };
            let record = Record::new(Revision(9), &change);
            assert_eq!((record.key(), record.value().as_deref()), (key.as_bytes(), value.map(str::as_bytes)));
            assert_eq!((record.revision(), record.create_revision()), (Revision(9), create_revision));
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
