//! What older formats wrote is still read. The files in `tests/data/format-*` were written by the programs of their time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use orchestra_store::{
    DurableStore, Entry, KeyRange, RangeOptions, ReadAt, Revision, Snapshot, Store, Txn, snapshot,
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// A copy, for opening changes a directory.
fn copied(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in fs::read_dir(data(name)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    dir
}

async fn entries(store: &DurableStore) -> Vec<Entry> {
    store.range(KeyRange::all(), RangeOptions::new()).await.unwrap().value.entries
}

fn told(entries: &[Entry]) -> Vec<(&str, u64, u64, u64)> {
    let text = |entry: &Entry| str::from_utf8(entry.key.as_bytes()).unwrap().to_owned().leak() as &str;
    entries
        .iter()
        .map(|entry| (text(entry), entry.create_revision.0, entry.mod_revision.0, entry.version))
        .collect()
}

/// Opens it, uses what is new, and opens it again.
async fn is_read_and_goes_on(name: &str, old_log: &str, expected: &[(&str, u64, u64, u64)], revision: u64) {
    let dir = copied(name);
    let old = fs::read(dir.path().join(old_log)).unwrap();
    let store = DurableStore::open(dir.path()).unwrap();
    assert_eq!(told(&entries(&store).await), expected);
    let status = store.status().await.unwrap();
    assert_eq!((status.revision, status.compacted, status.leases), (Revision(revision), Revision(3), 0));
    let mut past = store.watch(KeyRange::all(), Revision(4)).await.unwrap();
    assert!(past.next().await.unwrap().is_ok());
    let at = store.get(&"b/1".into(), ReadAt::Exactly(Revision(4))).await.unwrap();
    assert_eq!(at.value.unwrap().value, "v");
    let lease = store.grant(Duration::from_secs(3600)).await.unwrap();
    store.commit(Txn::new().put_leased("new".into(), "v", lease.id)).await.unwrap();
    drop(store);
    assert_eq!(
        fs::read(dir.path().join(old_log)).unwrap(),
        old,
        "an old program must not find anything new in an old file"
    );
    let store = DurableStore::open(dir.path()).unwrap();
    assert_eq!(entries(&store).await.len(), expected.len() + 1);
    assert_eq!(store.leases().await.unwrap().value[0].keys, ["new".into()]);
    assert_eq!(store.revoke(lease.id).await.unwrap(), Revision(revision + 2));
    assert_eq!(told(&entries(&store).await), expected);
}

#[tokio::test]
async fn a_log_of_the_first_format_is_read_and_left_as_it_was() {
    let expected = [("a", 2, 4, 3), ("b/0", 2, 2, 1), ("b/2", 4, 4, 1)];
    is_read_and_goes_on("format-1/log", "0000000001.log", &expected, 5).await;
}

#[tokio::test]
async fn a_checkpoint_of_the_first_format_is_read() {
    let expected = [("a", 2, 4, 3), ("b/0", 2, 2, 1), ("b/2", 4, 4, 1), ("fill", 5, 5, 1)];
    is_read_and_goes_on("format-1/checkpoint", "0000000002.log", &expected, 6).await;
}

#[tokio::test]
async fn a_snapshot_of_the_first_format_is_read() {
    let info = snapshot::inspect(data("format-1/old.snapshot")).unwrap();
    assert_eq!((info.revision, info.keys, info.leases), (Revision(5), 3, 0));
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    DurableStore::restore(&state, Snapshot::open(data("format-1/old.snapshot")).unwrap()).await.unwrap();
    let store = DurableStore::open(&state).unwrap();
    assert_eq!(told(&entries(&store).await), [("a", 2, 4, 3), ("b/0", 2, 2, 1), ("b/2", 4, 4, 1)]);
}

/// What the second format wrote: leases, which the first has not.
async fn is_read_with_leases_and_goes_on(
    name: &str,
    log: &str,
    expected: &[(&str, u64, u64, u64)],
    revision: u64,
) {
    let dir = copied(name);
    let old = fs::read(dir.path().join(log)).unwrap();
    for more in 0..2 {
        let store = DurableStore::open(dir.path()).unwrap();
        let held = entries(&store).await;
        let (seen, added) =
            told(&held).into_iter().partition::<Vec<_>, _>(|(key, ..)| !key.starts_with("new/"));
        assert_eq!((seen.as_slice(), added.len()), (expected, more));
        let leases = store.leases().await.unwrap().value;
        assert_eq!((leases.len(), leases[0].keys.as_slice()), (1, &["leased".into()][..]));
        let written = store.commit(Txn::new().put(format!("new/{more}").into(), "v")).await.unwrap();
        assert_eq!(written.revision, Revision(revision + 1 + more as u64));
    }
    assert_eq!(fs::read(dir.path().join(log)).unwrap(), old, "an old file stays as it was");
}

#[tokio::test]
async fn a_log_of_the_second_format_is_read_and_left_as_it_was() {
    let expected = [("a", 2, 4, 3), ("b/1", 2, 2, 1), ("b/2", 4, 4, 1), ("leased", 5, 5, 1)];
    is_read_with_leases_and_goes_on("format-2/log", "0000000001.log", &expected, 5).await;
}

#[tokio::test]
async fn a_checkpoint_of_the_second_format_is_read() {
    let expected =
        [("a", 2, 4, 3), ("b/1", 2, 2, 1), ("b/2", 4, 4, 1), ("fill", 6, 6, 1), ("leased", 5, 5, 1)];
    is_read_with_leases_and_goes_on("format-2/checkpoint", "0000000002.log", &expected, 6).await;
}
