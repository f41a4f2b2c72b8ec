//! Files: what is refused, and what stays behind.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::durable::{DurableOptions, DurableStore};
use crate::key::KeyRange;
use crate::limits::Retention;
use crate::memory::{MemoryOptions, MemoryStore};
use crate::store::{RangeOptions, Store};
use crate::txn::Txn;

async fn sample() -> MemoryStore {
    let store = MemoryStore::new();
    for n in 0..5 {
        store.commit(Txn::new().put(format!("k/{n}").into(), vec![n; 10 * n as usize])).await.unwrap();
    }
    store
}

async fn everything(store: &dyn Store) -> Vec<Entry> {
    store.range(KeyRange::all(), RangeOptions::new()).await.unwrap().value.entries
}

async fn file(dir: &TempDir) -> std::path::PathBuf {
    let path = dir.path().join("a.snapshot");
    save(sample().await.snapshot().await.unwrap(), &path).await.unwrap();
    path
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_file_tells_what_it_is_and_carries_everything_between_backends() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir).await;
    let info = inspect(&path).unwrap();
    assert_eq!((info.revision, info.keys, info.bytes), (Revision(6), 5, fs::metadata(&path).unwrap().len()));
    assert!(info.taken.elapsed().unwrap() < Duration::from_secs(600));
    let expected = everything(&sample().await).await;
    // Memory to file to disk, to file, to memory.
    let state = dir.path().join("data/store");
    let revision = restore_into(&path, &state).await.unwrap();
    let durable = DurableStore::open(&state).unwrap();
    assert_eq!(durable.status().await.unwrap().revision, revision);
    assert_eq!(everything(&durable).await, expected);
    let again = dir.path().join("b.snapshot");
    save(durable.snapshot().await.unwrap(), &again).await.unwrap();
    let memory = MemoryStore::restore(Snapshot::open(&again).unwrap()).await.unwrap();
    assert_eq!(everything(&memory).await, expected);
    assert_eq!(names(&dir.path().join("data")), ["store"]);
}

#[tokio::test]
async fn a_file_cut_or_garbled_at_any_byte_is_refused_and_restores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let good = fs::read(file(&dir).await).unwrap();
    let (bad, state) = (dir.path().join("bad"), dir.path().join("state"));
    let mut variants: Vec<Vec<u8>> = (0..good.len()).map(|length| good[..length].to_vec()).collect();
    for at in 0..good.len() {
        let mut garbled = good.clone();
        garbled[at] ^= 1 << (at % 8);
        variants.push(garbled);
    }
    variants.push([&good[..], b"x"].concat());
    variants.push([&good[..], &good[..]].concat());
    for (n, bytes) in variants.iter().enumerate() {
        fs::write(&bad, bytes).unwrap();
        let Err(Error::BadSnapshot(why)) = inspect(&bad) else { panic!("variant {n} was not refused") };
        assert!(why.contains("bad"), "{why}");
        assert!(matches!(restore_into(&bad, &state).await, Err(Error::BadSnapshot(_))), "variant {n}");
        assert_eq!(names(dir.path()), ["a.snapshot", "bad"], "variant {n}");
    }
}

#[tokio::test]
async fn whole_blocks_that_are_missing_or_moved_are_found() {
    // Every frame is whole in itself here; only the order, the count and the sum over all tell.
    let dir = tempfile::tempdir().unwrap();
    let store = MemoryStore::new();
    for n in 0..4 {
        store.commit(Txn::new().put(format!("k/{n}").into(), vec![b'v'; 300 * 1024])).await.unwrap();
    }
    let path = dir.path().join("a.snapshot");
    save(store.snapshot().await.unwrap(), &path).await.unwrap();
    let good = fs::read(&path).unwrap();
    let mut ends = vec![44];
    while let Some(length) = good.get(ends[ends.len() - 1]..).filter(|rest| !rest.is_empty()) {
        let size = u32::from_le_bytes(length[..4].try_into().unwrap()) as usize;
        ends.push(ends[ends.len() - 1] + 8 + size);
    }
    let frame = |n: usize| &good[ends[n]..ends[n + 1]];
    let header = &good[..44];
    let all: Vec<usize> = (0..ends.len() - 1).collect();
    // What it is about, the leases, four entries, the end.
    assert_eq!(all.len(), 7);
    for order in [
        &[0, 1, 2, 3, 5, 6][..],
        &[0, 1, 3, 2, 4, 5, 6],
        &[0, 1, 2, 3, 4, 5],
        &[0, 1, 2, 2, 3, 4, 6],
        &[0, 2, 3, 4, 5, 6],
        &[1, 2, 3, 4, 5, 6],
        &[0, 1, 1, 2, 3, 4, 5, 6],
    ] {
        let bytes: Vec<u8> = order.iter().fold(header.to_vec(), |bytes, &n| [&bytes[..], frame(n)].concat());
        fs::write(&path, bytes).unwrap();
        assert!(matches!(inspect(&path), Err(Error::BadSnapshot(_))), "{order:?}");
    }
}

#[tokio::test]
async fn foreign_files_and_other_files_of_a_store_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(DurableStore::open(dir.path().join("store")).unwrap());
    let foreign = dir.path().join("foreign");
    fs::write(&foreign, [b'x'; 4096]).unwrap();
    for path in [foreign, dir.path().join("store/0000000001.log")] {
        let Err(Error::BadSnapshot(why)) = inspect(&path) else { panic!("not refused") };
        assert_eq!(why, format!("{}: is not a snapshot", path.display()));
    }
    assert!(matches!(inspect(dir.path().join("none")), Err(Error::Backend { .. })));
}

#[tokio::test]
async fn what_is_there_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir).await;
    let outcome = save(sample().await.snapshot().await.unwrap(), &path).await;
    assert!(matches!(outcome, Err(Error::HoldsData(what)) if what.ends_with("a.snapshot")));
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    restore_into(&path, &state).await.unwrap();
    for _open in 0..2 {
        assert!(matches!(restore_into(&path, &state).await, Err(Error::HoldsData(_))));
        let _store = DurableStore::open(&state).unwrap();
        assert!(matches!(restore_into(&path, &state).await, Err(Error::HoldsData(_))));
    }
}

#[tokio::test]
async fn what_a_killed_restore_left_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir).await;
    let (state, draft) = (dir.path().join("state"), dir.path().join("state.restoring"));
    fs::create_dir(&draft).unwrap();
    for (name, bytes) in [("LOCK", "1"), ("0000000001.checkpoint", "half"), ("0000000001.log.draft", "")] {
        fs::write(draft.join(name), bytes).unwrap();
    }
    restore_into(&path, &state).await.unwrap();
    assert_eq!(names(&state), ["0000000001.checkpoint", "0000000001.log", "LOCK"]);
    assert!(!draft.exists());
    drop(DurableStore::open(&state).unwrap());
}

#[tokio::test]
async fn a_download_that_breaks_off_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<Result<Bytes>> = sample().await.snapshot().await.unwrap().into_bytes().collect().await;
    let path = dir.path().join("a.snapshot");
    let some = futures::stream::iter(bytes).take(1);
    assert!(matches!(receive(some, &path).await, Err(Error::BadSnapshot(_))));
    let failing = futures::stream::iter([Err(Error::Unavailable("lost".to_owned()))]);
    assert!(matches!(receive(failing, &path).await, Err(Error::Unavailable(_))));
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_restored_directory_lives_on_through_checkpoints_and_openings() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir).await;
    let state = dir.path().join("state");
    let revision = restore_into(&path, &state).await.unwrap();
    let options = DurableOptions::new().checkpoint_bytes(1);
    let mut expected = Vec::new();
    for round in 0..6 {
        let store = DurableStore::open_with(&state, options).unwrap();
        let status = store.status().await.unwrap();
        assert_eq!((status.revision, status.compacted.next()), (Revision(revision.0 + round), revision));
        let watch = store.watch(KeyRange::all(), revision.next()).await.unwrap();
        let events: Vec<_> = watch.take(round as usize).map(Result::unwrap).collect().await;
        assert_eq!(events, expected);
        store.commit(Txn::new().put("k".into(), round.to_string())).await.unwrap();
        let watch = store.watch(KeyRange::all(), revision.next()).await.unwrap();
        expected = watch.take(1 + round as usize).map(Result::unwrap).collect().await;
    }
}

#[tokio::test]
async fn a_snapshot_that_is_read_holds_the_past_and_an_abandoned_one_lets_go() {
    let options = MemoryOptions::new().retention(Retention::new().changes(10));
    let store = MemoryStore::with_options(options);
    for n in 0..1000 {
        store.commit(Txn::new().put(format!("k/{n:04}").into(), "old")).await.unwrap();
    }
    let mut snapshot = store.snapshot().await.unwrap();
    let abandoned = store.snapshot().await.unwrap();
    let first = snapshot.next().await.unwrap().unwrap();
    drop(abandoned);
    for n in 0..1000 {
        store.commit(Txn::new().put(format!("k/{n:04}").into(), "new")).await.unwrap();
    }
    let mut entries = first;
    while let Some(more) = snapshot.next().await {
        entries.extend(more.unwrap());
    }
    assert_eq!(entries.len(), 1000);
    assert!(entries.iter().all(|entry| entry.value == "old"));
    drop(snapshot);
    for n in 0..1000 {
        store.commit(Txn::new().put(format!("k/{n:04}").into(), "newer")).await.unwrap();
    }
    let status = store.status().await.unwrap();
    assert!(status.revision.0 - status.compacted.0 <= 11, "{status:?}");
}

#[test]
fn a_later_restore_goes_on_behind_everything_an_earlier_one_gave_out() {
    let taken = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let snapshot = Snapshot::new(Revision(50), 0, taken, futures::stream::empty());
    let at = |seconds: u64| snapshot.restored_revision(taken + Duration::from_secs(seconds)).0;
    assert_eq!(at(0), 1_000_050);
    assert!((0..1000).all(|second| at(second + 1) == at(second) + REVISIONS_PER_SECOND));
    // A clock that was set back does not take the revision back.
    assert_eq!(snapshot.restored_revision(SystemTime::UNIX_EPOCH), Revision(1_000_050));
}

#[tokio::test]
async fn a_snapshot_that_nobody_reads_keeps_a_bounded_past_and_then_fails() {
    let store = MemoryStore::with_options(MemoryOptions::new().retention(Retention::new().changes(10)));
    let value = Bytes::from(vec![b'v'; 1024 * 1024]);
    let write = async || drop(store.commit(Txn::new().put("k".into(), value.clone())).await.unwrap());
    write().await;
    let mut snapshot = store.snapshot().await.unwrap();
    for _ in 0..240 {
        write().await;
    }
    // What could not be freed is not added to.
    assert_eq!(store.status().await.unwrap().compacted, snapshot.revision());
    for _ in 0..100 {
        write().await;
    }
    let status = store.status().await.unwrap();
    assert!(status.revision.0 - status.compacted.0 <= 20, "{status:?}");
    assert!(matches!(snapshot.next().await, Some(Err(Error::Compacted(_)))));
}

#[tokio::test]
async fn a_lease_that_could_not_be_ended_in_one_revision_is_refused_everywhere() {
    use crate::lease::Lease;
    use crate::limits::{LEASED_KEY_BYTES, MAX_LEASE_BYTES};
    let key = |n: usize| crate::key::Key::from(format!("{n:06}{}", "x".repeat(4000)));
    let held = MAX_LEASE_BYTES / (key(0).as_bytes().len() + LEASED_KEY_BYTES);
    let lease = Lease { id: LeaseId::new(1).unwrap(), ttl: Duration::from_secs(60) };
    // As etcd may hold it, which knows no such limit.
    let snapshot = |count: usize| {
        let (create_revision, mod_revision) = (Revision(2), Revision(2));
        let value = bytes::Bytes::new();
        let entry =
            |n| Entry { key: key(n), value: value.clone(), create_revision, mod_revision, version: 1 };
        let entries: Vec<Entry> = (0..count).map(entry).collect();
        let keys = entries.iter().map(|entry| entry.key.clone()).collect();
        Snapshot::new(Revision(2), count as u64, SystemTime::now(), futures::stream::iter([Ok(entries)]))
            .with_leases(vec![LeasedKeys { lease, keys }], None)
    };
    let dir = tempfile::tempdir().unwrap();
    for (count, fits) in [(held, true), (held + 1, false), (5 * held, false)] {
        let place = dir.path().join(count.to_string());
        let outcomes = [
            MemoryStore::restore(snapshot(count)).await.map(drop),
            DurableStore::restore(&place, snapshot(count)).await.map(drop),
            save(snapshot(count), place.with_extension("snapshot")).await.map(drop),
        ];
        for outcome in outcomes {
            assert!(outcome.is_ok() == fits, "{count}: {outcome:?}");
            assert!(fits || matches!(outcome, Err(Error::BadSnapshot(_))), "{count}: {outcome:?}");
        }
        assert_eq!(place.exists(), fits);
    }
    let store = DurableStore::open(dir.path().join(held.to_string())).unwrap();
    store.revoke(lease.id).await.unwrap();
    drop(store);
    let store = DurableStore::open(dir.path().join(held.to_string())).unwrap();
    assert_eq!(store.status().await.unwrap().keys, 0);
}

#[tokio::test]
async fn what_is_larger_than_a_store_takes_is_refused() {
    use crate::limits::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
    let restored = async |key: usize, value: usize| {
        let entry = Entry {
            key: crate::key::Key::new(vec![b'k'; key]),
            value: vec![0; value].into(),
            create_revision: Revision(2),
            mod_revision: Revision(2),
            version: 1,
        };
        let entries = futures::stream::iter([Ok(vec![entry])]);
        MemoryStore::restore(Snapshot::new(Revision(2), 1, SystemTime::now(), entries)).await
    };
    assert!(restored(MAX_KEY_BYTES, MAX_VALUE_BYTES).await.is_ok());
    for (key, value) in [(MAX_KEY_BYTES + 1, 0), (1, MAX_VALUE_BYTES + 1), (0, 1)] {
        assert!(matches!(restored(key, value).await, Err(Error::BadSnapshot(_))), "{key} {value}");
    }
}
