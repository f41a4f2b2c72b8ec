//! What fuzz targets assert about bytes from outside (`fuzz/` in the repository). No part of the crate's promises.
//!
//! Bytes that are merely random do not get past a checksum. So the input of [`log`] and [`snapshot`] is a recipe: pieces,
//! each of which becomes a whole frame around its bytes, or goes into the file as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::durable::codec::{self, Item};
use crate::durable::frame::{self, Header, Kind};
use crate::durable::recover::{Recovered, recover};
use crate::durable::segment;
use crate::key::{Key, KeyRange};
use crate::lease::{Lease, LeaseId, LeasedKeys};
use crate::mvcc::{Change, Latest, Mvcc, Write};
use crate::revision::Revision;
use crate::snapshot;
use crate::store::{Entry, Error, RangeOptions, Store as _};

/// The bit of a piece's first byte that says: as it is, without a frame.
const RAW: u8 = 1;
/// The bit that says: the end of a snapshot, with the right checksum.
const END: u8 = 2;

/// Whatever a frame holds reads as items or not at all, and items are written as they were read.
pub fn items(payload: &[u8]) {
    if let Ok(items) = codec::items(payload).collect::<Result<Vec<_>, _>>() {
        let mut again = Vec::with_capacity(payload.len());
        items.iter().for_each(|item| put(&mut again, item));
        assert_eq!(again, payload);
    }
}

/// Whatever a log holds, the store opens with a state that makes sense and opens the same again, or refuses.
pub fn log(recipe: &[u8]) {
    let dir = place("log");
    let file = segment::path(&dir, 1);
    let header = Header { salt: 7, ..Header::new(Kind::Log, 1, Revision(1), Revision::NONE) };
    fs::write(&file, cook(header, recipe)).expect("there is room for a log");
    let Some(Recovered { state, segment, .. }) = opened(recover(&dir)) else { return };
    check_state(&state);
    let (before, length) = (everything(&state), segment.length + segment.room());
    assert_eq!(fs::metadata(&file).map(|file| file.len()).ok(), Some(length), "a torn end is cut");
    let again = recover(&dir).expect("what was opened once can be opened again");
    assert_eq!((everything(&again.state), again.state.compacted()), (before, state.compacted()));
    assert_eq!(again.segment.length + again.segment.room(), length);
}

fn opened(recovered: crate::Result<Recovered>) -> Option<Recovered> {
    match recovered {
        Ok(recovered) => Some(recovered),
        Err(Error::Corrupt(why)) => {
            assert!(why.contains("0000000001.log"), "{why} does not name the file");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

fn everything(state: &Mvcc) -> (Revision, Vec<Entry>) {
    (state.revision(), state.range(&KeyRange::all(), state.revision(), None).entries)
}

fn check_state(state: &Mvcc) {
    let (revision, entries) = everything(state);
    assert!(state.compacted() <= revision);
    assert_eq!(entries.len() as u64, state.live());
    assert!(entries.is_sorted_by(|a, b| a.key < b.key));
    assert!(entries.iter().all(|entry| entry.mod_revision <= revision));
    let mut from = state.compacted().next();
    let mut last = state.compacted();
    while from <= revision {
        let replay = state.replay(&KeyRange::all(), from, 64, 4096).expect("it is in the window");
        for message in replay.messages {
            let crate::WatchMessage::Events { revision: at, events } = message else { continue };
            assert!(at > last && at <= revision && !events.is_empty());
            last = at;
        }
        let Some(next) = replay.next else { break };
        assert!(next > from);
        from = next;
    }
}

/// Whatever a snapshot holds, it is refused, or restores to what it says, and a snapshot of that says the same.
pub fn snapshot(recipe: &[u8]) {
    let dir = place("snapshot");
    let (file, copy) = (dir.join("file"), dir.join("copy"));
    let revision = Revision(u64::from(recipe.first().copied().unwrap_or(9)) + 1);
    let header = Header { salt: 7, ..Header::new(Kind::Snapshot, 0, revision, revision) };
    fs::write(&file, cook(header, recipe)).expect("there is room for a snapshot");
    let info = match snapshot::inspect(&file) {
        Ok(info) => info,
        Err(Error::BadSnapshot(_)) => return,
        Err(other) => panic!("{other}"),
    };
    let _ = fs::remove_file(&copy);
    futures::executor::block_on(async {
        let open = || crate::Snapshot::open(&file).expect("it was inspected");
        let again = snapshot::save(open(), &copy).await.expect("a good snapshot can be saved");
        assert_eq!((again.revision, again.keys, again.taken), (info.revision, info.keys, info.taken));
        let store = crate::MemoryStore::restore(open()).await.expect("a good snapshot can be restored");
        let page = store.range(KeyRange::all(), RangeOptions::new()).await.expect("it is there").value;
        assert_eq!(page.entries.len() as u64, info.keys);
        assert!(page.entries.is_sorted_by(|a, b| a.key < b.key));
    });
}

/// A directory for the files of this process, in memory where there is such a file system.
fn place(name: &str) -> PathBuf {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    let base = PLACE.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        base.join(format!("orchestra-fuzz-{}", std::process::id()))
    });
    let dir = base.join(name);
    fs::create_dir_all(&dir).expect("a directory can be made");
    dir
}

/// A file after a recipe: pieces of a byte that says what they are, two that say how long, and so many bytes.
fn cook(header: Header, mut recipe: &[u8]) -> Vec<u8> {
    let mut file = header.encode().to_vec();
    while let Some((&[kind, a, b], rest)) = recipe.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([a, b])).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        recipe = rest;
        if kind & END != 0 {
            let mut payload = Vec::new();
            codec::put_end(&mut payload, u64::from(kind >> 2), 0);
            codec::put_digest(&mut payload, Sha256::digest(&file).into());
            file.extend_from_slice(&frame::head(header.salt, &payload));
            file.append(&mut payload);
        } else if kind & RAW != 0 {
            file.extend_from_slice(piece);
        } else {
            file.extend_from_slice(&frame::head(header.salt, piece));
            file.extend_from_slice(piece);
        }
    }
    file
}

fn put(out: &mut Vec<u8>, item: &Item) {
    match item {
        Item::Write(write) => codec::put_write(out, write),
        Item::Compact(to) => codec::put_compact(out, *to),
        Item::Entry(entry) => codec::put_entry(out, entry),
        Item::End { entries, writes } => codec::put_end(out, *entries, *writes),
        Item::About { entries, taken } => codec::put_about(out, *entries, *taken),
        Item::Digest(digest) => codec::put_digest(out, *digest),
        Item::Grant(lease) => codec::put_grant(out, *lease),
        Item::Revoke(id) => codec::put_revoke(out, *id),
        Item::Lease(leased) => codec::put_lease(out, leased),
        Item::Leases { leases, last } => codec::put_leases(out, *leases, *last),
    }
}

fn piece(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("seeds are small");
    [&[kind][..], &length.to_le_bytes(), payload].concat()
}

fn framed(items: &[Item]) -> Vec<u8> {
    let mut payload = Vec::new();
    items.iter().for_each(|item| put(&mut payload, item));
    piece(0, &payload)
}

fn lease() -> Option<Lease> {
    Some(Lease { id: LeaseId::new(1)?, ttl: Duration::from_secs(9) })
}

fn written(revision: u64, key: &'static str, value: Option<&'static str>, leased: bool) -> Item {
    let change = Change {
        key: Key::from(key),
        create_revision: Revision(revision),
        version: 1,
        value: value.map(Into::into),
        lease: lease().filter(|_| leased).map(|lease| lease.id),
    };
    Item::Write(Write { revision: Revision(revision), changes: vec![change] })
}

fn entry(key: &'static str, revision: u64) -> Item {
    let numbers = (Revision(revision), 1);
    Item::Entry(Entry {
        key: Key::from(key),
        value: "v".into(),
        create_revision: numbers.0,
        mod_revision: numbers.0,
        version: numbers.1,
    })
}

/// Payloads that read well, to begin with.
pub fn item_seeds() -> Vec<Vec<u8>> {
    let leased = lease().map(|lease| Item::Lease(LeasedKeys { lease, keys: vec![Key::from("a")] }));
    let items = [
        Some(written(2, "a", Some("v"), false)),
        Some(written(3, "a", None, false)),
        Some(written(4, "b", Some("v"), true)),
        Some(Item::Compact(Revision(2))),
        Some(entry("a", 2)),
        Some(Item::End { entries: 1, writes: 0 }),
        Some(Item::Digest([3; 32])),
        lease().map(Item::Grant),
        leased,
        Some(Item::Leases { leases: 1, last: 1 }),
    ];
    let encode = |item: &Item| {
        let mut payload = Vec::new();
        put(&mut payload, item);
        payload
    };
    let each: Vec<Vec<u8>> = items.iter().flatten().map(encode).collect();
    let all = each.concat();
    each.into_iter().chain([all]).collect()
}

/// Logs that open, to begin with: also one with a torn end, and one with a hole.
pub fn log_seeds() -> Vec<Vec<u8>> {
    let create = framed(&[written(2, "a", Some("v"), false)]);
    let batch = framed(&[written(3, "b", Some("w"), false), written(4, "a", None, false)]);
    let compact = framed(&[Item::Compact(Revision(3))]);
    let granted: Vec<Item> =
        lease().map(Item::Grant).into_iter().chain([written(2, "l", Some("v"), true)]).collect();
    let (torn, zeros) = (piece(RAW, &create[..9]), piece(RAW, &[0; 40]));
    vec![
        create.clone(),
        [&create[..], &batch, &compact].concat(),
        framed(&granted),
        [&create[..], &torn].concat(),
        [&create[..], &zeros, &batch].concat(),
    ]
}

/// Snapshots that restore, to begin with.
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    let taken = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs().min(1) * 1000);
    let snapshot = |entries: &[Item]| {
        let about = framed(&[Item::About { entries: entries.len() as u64, taken }]);
        let leases = framed(&[Item::Leases { leases: 0, last: 0 }]);
        let held = if entries.is_empty() { Vec::new() } else { framed(entries) };
        [about, leases, held, piece(END | (entries.len() as u8) << 2, &[])].concat()
    };
    vec![snapshot(&[]), snapshot(&[entry("a", 1)]), snapshot(&[entry("a", 1), entry("b", 1)])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_passes_its_target() {
        item_seeds().iter().for_each(|seed| items(seed));
        log_seeds().iter().for_each(|seed| log(seed));
        snapshot_seeds().iter().for_each(|seed| snapshot(seed));
    }

    #[test]
    fn seeds_get_past_the_checksums() {
        let dir = place("seeds");
        for seed in snapshot_seeds() {
            let header = Header { salt: 7, ..Header::new(Kind::Snapshot, 0, Revision(1), Revision(1)) };
            fs::write(dir.join("file"), cook(header, &seed)).unwrap();
            snapshot::inspect(dir.join("file")).unwrap();
        }
        for (seed, revision) in log_seeds().iter().zip([2, 4, 2, 2]) {
            let header = Header { salt: 7, ..Header::new(Kind::Log, 1, Revision(1), Revision::NONE) };
            fs::write(segment::path(&dir, 1), cook(header, seed)).unwrap();
            assert_eq!(recover(&dir).unwrap().state.revision(), Revision(revision));
        }
    }
}
