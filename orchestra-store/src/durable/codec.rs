//! The bytes of what is stored. All numbers are little-endian; see `docs/store-format.md`.
//!
//! Decoding is total: any bytes give items or an error, never a panic.

use std::time::Duration;

use bytes::Bytes;

use crate::key::Key;
use crate::lease::{Lease, LeaseId, LeasedKeys};
use crate::limits::MAX_LEASE_TTL;
use crate::mvcc::{Change, Write};
use crate::revision::Revision;
use crate::store::Entry;

const WRITE: u8 = 1;
const COMPACT: u8 = 2;
const ENTRY: u8 = 3;
const END: u8 = 4;
const ABOUT: u8 = 5;
const DIGEST: u8 = 6;
const GRANT: u8 = 7;
const REVOKE: u8 = 8;
const LEASE: u8 = 9;
const LEASES: u8 = 10;

const REMOVED: u8 = 0;
const SET: u8 = 1;
const SET_LEASED: u8 = 2;

/// One thing a frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// The changes of one revision.
    Write(Write),
    /// The window begins above this revision.
    Compact(Revision),
    /// A key that was alive at the lower end of the window (checkpoints only).
    Entry(Entry),
    /// The last item of a checkpoint, and nearly of a snapshot: how many entries and writes came before it.
    End { entries: u64, writes: u64 },
    /// The first item of a snapshot: how many entries it holds, and when it was taken, in milliseconds since 1970.
    About { entries: u64, taken: u64 },
    /// The last item of a snapshot: the SHA-256 of everything before this frame.
    Digest([u8; 32]),
    /// A new lease.
    Grant(Lease),
    /// The end of a lease, whose keys the write before it removed.
    Revoke(LeaseId),
    /// A lease that is alive, and its keys (checkpoints and snapshots only).
    Lease(LeasedKeys),
    /// The last of the leases (checkpoints and snapshots only): how many came before, and the highest id ever given out.
    Leases { leases: u64, last: u64 },
}

/// Whether a log frame can begin with this byte.
pub(crate) fn is_log_tag(byte: u8) -> bool {
    matches!(byte, WRITE | COMPACT | GRANT | REVOKE)
}

pub(crate) fn put_write(out: &mut Vec<u8>, write: &Write) {
    out.push(WRITE);
    put_u64(out, write.revision.0);
    put_u32(out, write.changes.len());
    for change in &write.changes {
        out.push(match (&change.value, change.lease) {
            (Some(_), Some(_)) => SET_LEASED,
            (Some(_), None) => SET,
            (None, _) => REMOVED,
        });
        put_u64(out, change.create_revision.0);
        put_u64(out, change.version);
        if let (Some(_), Some(lease)) = (&change.value, change.lease) {
            put_u64(out, lease.get());
        }
        put_bytes(out, change.key.as_bytes());
        if let Some(value) = &change.value {
            put_bytes(out, value);
        }
    }
}

pub(crate) fn put_compact(out: &mut Vec<u8>, to: Revision) {
    out.push(COMPACT);
    put_u64(out, to.0);
}

pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.push(ENTRY);
    put_u64(out, entry.create_revision.0);
    put_u64(out, entry.mod_revision.0);
    put_u64(out, entry.version);
    put_bytes(out, entry.key.as_bytes());
    put_bytes(out, &entry.value);
}

pub(crate) fn put_end(out: &mut Vec<u8>, entries: u64, writes: u64) {
    out.push(END);
    put_u64(out, entries);
    put_u64(out, writes);
}

pub(crate) fn put_about(out: &mut Vec<u8>, entries: u64, taken: u64) {
    out.push(ABOUT);
    put_u64(out, entries);
    put_u64(out, taken);
}

pub(crate) fn put_digest(out: &mut Vec<u8>, digest: [u8; 32]) {
    out.push(DIGEST);
    out.extend_from_slice(&digest);
}

pub(crate) fn put_grant(out: &mut Vec<u8>, lease: Lease) {
    out.push(GRANT);
    put_lease_head(out, lease);
}

pub(crate) fn put_revoke(out: &mut Vec<u8>, id: LeaseId) {
    out.push(REVOKE);
    put_u64(out, id.get());
}

pub(crate) fn put_lease(out: &mut Vec<u8>, leased: &LeasedKeys) {
    out.push(LEASE);
    put_lease_head(out, leased.lease);
    put_u32(out, leased.keys.len());
    leased.keys.iter().for_each(|key| put_bytes(out, key.as_bytes()));
}

pub(crate) fn put_leases(out: &mut Vec<u8>, leases: u64, last: u64) {
    out.push(LEASES);
    put_u64(out, leases);
    put_u64(out, last);
}

fn put_lease_head(out: &mut Vec<u8>, lease: Lease) {
    put_u64(out, lease.id.get());
    put_u64(out, u64::try_from(lease.ttl.as_millis()).unwrap_or(u64::MAX));
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Sizes are checked at the store's door and far below 4 GiB.
fn put_u32(out: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("sizes are limited before anything is encoded");
    out.extend_from_slice(&length.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// The items of a frame one by one, or what is wrong with it. Behind an error there is nothing.
pub(crate) fn items(mut payload: &[u8]) -> impl Iterator<Item = Result<Item, &'static str>> {
    std::iter::from_fn(move || {
        let next = (!payload.is_empty()).then(|| item(&mut payload))?;
        if next.is_err() {
            payload = &[];
        }
        Some(next)
    })
}

fn item(input: &mut &[u8]) -> Result<Item, &'static str> {
    match take_u8(input)? {
        WRITE => take_write(input).map(Item::Write),
        COMPACT => Ok(Item::Compact(Revision(take_u64(input)?))),
        ENTRY => {
            let create_revision = Revision(take_u64(input)?);
            let mod_revision = Revision(take_u64(input)?);
            let version = take_u64(input)?;
            let key = Key::new(take_bytes(input)?);
            Ok(Item::Entry(Entry { create_revision, mod_revision, version, key, value: take_bytes(input)? }))
        }
        END => Ok(Item::End { entries: take_u64(input)?, writes: take_u64(input)? }),
        ABOUT => Ok(Item::About { entries: take_u64(input)?, taken: take_u64(input)? }),
        DIGEST => {
            let (digest, rest) = input.split_first_chunk().ok_or(SHORT)?;
            *input = rest;
            Ok(Item::Digest(*digest))
        }
        GRANT => take_lease_head(input).map(Item::Grant),
        REVOKE => take_lease_id(input).map(Item::Revoke),
        LEASE => {
            let lease = take_lease_head(input)?;
            let count = take_u32(input)?;
            // No more than the bytes can hold, whatever the number says.
            let mut keys = Vec::with_capacity(count.min(input.len() / 4));
            for _ in 0..count {
                keys.push(Key::new(take_bytes(input)?));
            }
            Ok(Item::Lease(LeasedKeys { lease, keys }))
        }
        LEASES => Ok(Item::Leases { leases: take_u64(input)?, last: take_u64(input)? }),
        _ => Err("unknown item"),
    }
}

fn take_lease_head(input: &mut &[u8]) -> Result<Lease, &'static str> {
    let id = take_lease_id(input)?;
    let ttl = Duration::from_millis(take_u64(input)?);
    if ttl.is_zero() || ttl > MAX_LEASE_TTL {
        return Err("the time of a lease makes no sense");
    }
    Ok(Lease { id, ttl })
}

fn take_lease_id(input: &mut &[u8]) -> Result<LeaseId, &'static str> {
    LeaseId::new(take_u64(input)?).ok_or("a lease has no number")
}

fn take_write(input: &mut &[u8]) -> Result<Write, &'static str> {
    let revision = Revision(take_u64(input)?);
    let count = take_u32(input)?;
    // No more than the bytes can hold, whatever the number says.
    let mut changes = Vec::with_capacity(count.min(input.len() / 16));
    for _ in 0..count {
        let kind = take_u8(input)?;
        let create_revision = Revision(take_u64(input)?);
        let version = take_u64(input)?;
        let lease = if kind == SET_LEASED { Some(take_lease_id(input)?) } else { None };
        let key = Key::new(take_bytes(input)?);
        let value = match kind {
            SET | SET_LEASED => Some(take_bytes(input)?),
            REMOVED => None,
            _ => return Err("unknown kind of change"),
        };
        changes.push(Change { key, create_revision, version, value, lease });
    }
    Ok(Write { revision, changes })
}

fn take_u8(input: &mut &[u8]) -> Result<u8, &'static str> {
    let (&first, rest) = input.split_first().ok_or(SHORT)?;
    *input = rest;
    Ok(first)
}

fn take_u32(input: &mut &[u8]) -> Result<usize, &'static str> {
    let (number, rest) = input.split_first_chunk().ok_or(SHORT)?;
    *input = rest;
    usize::try_from(u32::from_le_bytes(*number)).map_err(|_| SHORT)
}

fn take_u64(input: &mut &[u8]) -> Result<u64, &'static str> {
    let (number, rest) = input.split_first_chunk().ok_or(SHORT)?;
    *input = rest;
    Ok(u64::from_le_bytes(*number))
}

/// A copy, so that a value does not keep its whole frame in memory.
fn take_bytes(input: &mut &[u8]) -> Result<Bytes, &'static str> {
    let length = take_u32(input)?;
    let (bytes, rest) = input.split_at_checked(length).ok_or(SHORT)?;
    *input = rest;
    Ok(Bytes::copy_from_slice(bytes))
}

const SHORT: &str = "an item is cut short";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(payload: &[u8]) -> Result<Vec<Item>, &'static str> {
        items(payload).collect()
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
    }

    fn change() -> impl Strategy<Value = Change> {
        let lease = prop::option::of(any::<u64>()).prop_map(|id| id.and_then(LeaseId::new));
        (bytes(), any::<u64>(), any::<u64>(), prop::option::of(bytes()), lease).prop_map(
            |(key, create, version, value, lease)| Change {
                key: Key::new(key),
                create_revision: Revision(create),
                version,
                lease: lease.filter(|_| value.is_some()),
                value,
            },
        )
    }

    proptest! {
        #[test]
        fn a_write_reads_back_as_it_was(revision: u64, changes in prop::collection::vec(change(), 0..5), to: u64) {
            let write = Write { revision: Revision(revision), changes };
            let mut out = Vec::new();
            put_write(&mut out, &write);
            put_compact(&mut out, Revision(to));
            prop_assert_eq!(all(&out).unwrap(), vec![Item::Write(write), Item::Compact(Revision(to))]);
        }

        #[test]
        fn an_entry_reads_back_as_it_was(key in bytes(), value in bytes(), n: u64) {
            let entry = Entry { key: Key::new(key), value, create_revision: Revision(n), mod_revision: Revision(n / 2), version: n / 3 };
            let mut out = Vec::new();
            put_entry(&mut out, &entry);
            put_end(&mut out, n, 7);
            prop_assert_eq!(all(&out).unwrap(), vec![Item::Entry(entry), Item::End { entries: n, writes: 7 }]);
        }

        #[test]
        fn a_lease_reads_back_as_it_was(id in 1_u64.., ttl in 1..1_000_000_u64, keys in prop::collection::vec(bytes(), 0..5)) {
            let id = LeaseId::new(id).unwrap();
            let lease = Lease { id, ttl: Duration::from_millis(ttl) };
            let leased = LeasedKeys { lease, keys: keys.into_iter().map(Key::new).collect() };
            let mut out = Vec::new();
            put_grant(&mut out, lease);
            put_lease(&mut out, &leased);
            put_leases(&mut out, 1, id.get());
            put_revoke(&mut out, id);
            let expected =
                vec![Item::Grant(lease), Item::Lease(leased), Item::Leases { leases: 1, last: id.get() }, Item::Revoke(id)];
            prop_assert_eq!(all(&out).unwrap(), expected);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _either = all(&bytes);
        }
    }
}
