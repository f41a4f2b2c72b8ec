//! What only a store on a disk has to show, and needs a look inside to show it.

mod ahead;
mod faults;
mod leases;
mod power;

use std::fs;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use tempfile::TempDir;

use super::*;
use crate::watch::WatchMessage;

/// A place for stores whose disk is only pretended to fail: in memory, where there is such a file system.
fn place() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn put(key: &str, value: impl Into<Vec<u8>>) -> Txn {
    Txn::new().put(key.into(), value.into())
}

fn last_log(dir: &Path) -> PathBuf {
    let logs = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    logs.filter(|path| path.extension().is_some_and(|ext| ext == "log")).max().unwrap()
}

fn count(dir: &Path, extension: &str) -> usize {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|ext| ext == extension)).count()
}

async fn everything(store: &DurableStore) -> Versioned<Page> {
    store.range(KeyRange::all(), RangeOptions::new()).await.unwrap()
}

async fn history(store: &DurableStore, from: Revision) -> Vec<WatchMessage> {
    let watch = store.watch(KeyRange::all(), from).await.unwrap();
    let events = watch.map(Result::unwrap).take_while(|message| {
        let is_event = matches!(message, WatchMessage::Events { .. });
        async move { is_event }
    });
    events.collect().await
}

#[tokio::test]
async fn reopening_gives_back_keys_numbers_window_and_history() {
    let dir = tempfile::tempdir().unwrap();
    let store = DurableStore::open(dir.path()).unwrap();
    for n in 0..20 {
        store.commit(put("a", n.to_string()).put("b".into(), n.to_string())).await.unwrap();
    }
    store.commit(Txn::new().delete("b".into()).put("c".into(), "c")).await.unwrap();
    store.compact(Revision(10)).await.unwrap();
    let before = (everything(&store).await, history(&store, Revision(11)).await);
    drop(store);
    let store = DurableStore::open(dir.path()).unwrap();
    assert_eq!((everything(&store).await, history(&store, Revision(11)).await), before);
    assert_eq!(store.status().await.unwrap().compacted, Revision(10));
    assert!(matches!(store.watch(KeyRange::all(), Revision(10)).await, Err(Error::Compacted(Revision(10)))));
    assert_eq!(store.commit(put("d", "d")).await.unwrap().revision, Revision(23));
}

#[tokio::test]
async fn a_checkpoint_takes_the_place_of_the_log_and_keeps_the_window() {
    let dir = tempfile::tempdir().unwrap();
    let options = DurableOptions::new().checkpoint_bytes(2048).retention(Retention::new().changes(50));
    let store = DurableStore::open_with(dir.path(), options).unwrap();
    for n in 0..2000 {
        let key = format!("key/{}", n % 7);
        store.commit(put(&key, format!("{n}-{}", "x".repeat(50))).put("order".into(), "o")).await.unwrap();
    }
    // While a checkpoint is written its past is kept, so the window may be larger for as long as that takes.
    let status = loop {
        let status = store.status().await.unwrap();
        if status.revision.0 - status.compacted.0 <= 50 {
            break status;
        }
        store.commit(put("key/0", "more")).await.unwrap();
    };
    let from = status.compacted.next();
    let before = (everything(&store).await, history(&store, from).await, status.compacted);
    drop(store);
    assert!(count(dir.path(), "checkpoint") <= 1);
    assert!(count(dir.path(), "log") <= 2);
    let store = DurableStore::open_with(dir.path(), options).unwrap();
    let after =
        (everything(&store).await, history(&store, from).await, store.status().await.unwrap().compacted);
    assert_eq!(after, before);
    assert!(store.status().await.unwrap().disk_bytes < 300 * 1024, "2,000 writes of 7 keys are bounded");
}

#[tokio::test]
async fn a_crash_between_any_two_steps_of_a_checkpoint_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path(), 6).await;
    let (log_1, kept_log_1) = (segment::path(dir.path(), 1), dir.path().join("kept"));
    fs::hard_link(&log_1, &kept_log_1).unwrap();
    let store = DurableStore::open_with(dir.path(), DurableOptions::new().checkpoint_bytes(1)).unwrap();
    store.compact(Revision(3)).await.unwrap();
    while log_1.exists() {
        tokio::task::yield_now().await;
    }
    let expected = (everything(&store).await, history(&store, Revision(4)).await);
    drop(store);
    let (log_2, checkpoint_2) = (segment::path(dir.path(), 2), checkpoint::path(dir.path(), 2));
    let half = fs::read(&checkpoint_2).unwrap();
    let half = &half[..half.len() / 2];
    // The second log is begun; the checkpoint is being written; it has its name; the first log is removed.
    for step in 0..4 {
        let crashed = TempDir::new().unwrap();
        fs::copy(&log_2, segment::path(crashed.path(), 2)).unwrap();
        let checkpoint = checkpoint::path(crashed.path(), 2);
        if step < 3 {
            fs::copy(&kept_log_1, segment::path(crashed.path(), 1)).unwrap();
        }
        match step {
            0 => {}
            1 => fs::write(checkpoint.with_extension("checkpoint.draft"), half).unwrap(),
            _ => drop(fs::copy(&checkpoint_2, checkpoint).unwrap()),
        }
        for _again in 0..2 {
            let store = DurableStore::open(crashed.path()).unwrap();
            assert_eq!(
                (everything(&store).await, history(&store, Revision(4)).await),
                expected,
                "step {step}"
            );
        }
        assert_eq!(count(crashed.path(), "draft"), 0);
        assert_eq!(count(crashed.path(), "log"), if step < 2 { 2 } else { 1 });
    }
}

/// A store of some acknowledged writes, closed, and how long its log was after each.
async fn sample(dir: &Path, writes: u64) -> Vec<u64> {
    let store = DurableStore::open(dir).unwrap();
    let mut lengths = vec![fs::metadata(last_log(dir)).unwrap().len()];
    for n in 0..writes {
        store.commit(put("a", vec![b'v'; 1 + n as usize]).put(format!("b{n}").into(), "w")).await.unwrap();
        lengths.push(fs::metadata(last_log(dir)).unwrap().len());
    }
    lengths
}

#[tokio::test]
async fn a_log_cut_at_any_byte_opens_with_exactly_its_whole_writes() {
    let dir = tempfile::tempdir().unwrap();
    let lengths = sample(dir.path(), 6).await;
    let log = fs::read(last_log(dir.path())).unwrap();
    for length in lengths[2]..=lengths[6] {
        let cut = TempDir::new().unwrap();
        fs::write(segment::path(cut.path(), 1), &log[..length as usize]).unwrap();
        let whole = lengths.iter().filter(|&&end| end <= length).count() as u64 - 1;
        let store = DurableStore::open(cut.path()).unwrap();
        let page = everything(&store).await;
        assert_eq!(page.revision, Revision(1 + whole), "cut at {length}");
        assert_eq!(page.value.entries.len() as u64, 1 + whole, "cut at {length}");
        store.commit(put("after", "x")).await.unwrap();
        drop(store);
        assert_eq!(everything(&DurableStore::open(cut.path()).unwrap()).await.revision, Revision(2 + whole));
    }
}

#[tokio::test]
async fn garbage_or_zeros_where_the_last_write_was_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let lengths = sample(dir.path(), 4).await;
    let log = fs::read(last_log(dir.path())).unwrap();
    for from in lengths[3]..lengths[4] {
        for filler in [0x00, 0xff, 0x01] {
            let torn = TempDir::new().unwrap();
            let mut bytes = log.clone();
            bytes[from as usize..].fill(filler);
            // The filler may be what stood there already; then the write is simply whole.
            let revision = if bytes == log { Revision(5) } else { Revision(4) };
            fs::write(segment::path(torn.path(), 1), &bytes).unwrap();
            assert_eq!(everything(&DurableStore::open(torn.path()).unwrap()).await.revision, revision);
        }
    }
}

#[tokio::test]
async fn damage_to_the_last_write_of_a_store_that_was_closed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lengths = sample(dir.path(), 4).await;
    let log = fs::read(last_log(dir.path())).unwrap();
    assert!(log.len() as u64 > lengths[4], "the end is marked");
    for at in lengths[3]..log.len() as u64 {
        let damaged = TempDir::new().unwrap();
        let mut bytes = log.clone();
        bytes[at as usize] ^= 0x10;
        fs::write(segment::path(damaged.path(), 1), &bytes).unwrap();
        let opened = DurableStore::open(damaged.path());
        if at < lengths[4] {
            assert!(matches!(opened, Err(Error::Corrupt(_))), "byte {at} was not missed");
        } else {
            // The mark itself holds nothing.
            assert_eq!(everything(&opened.unwrap()).await.revision, Revision(5));
        }
    }
}

#[tokio::test]
async fn a_store_that_wrote_nothing_leaves_its_log_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path(), 2).await;
    let log = fs::read(last_log(dir.path())).unwrap();
    for _ in 0..3 {
        everything(&DurableStore::open(dir.path()).unwrap()).await;
    }
    assert_eq!(fs::read(last_log(dir.path())).unwrap(), log);
}

#[tokio::test]
async fn damage_before_good_writes_is_refused_and_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let lengths = sample(dir.path(), 4).await;
    let log = fs::read(last_log(dir.path())).unwrap();
    for at in 0..lengths[3] {
        let damaged = TempDir::new().unwrap();
        let mut bytes = log.clone();
        bytes[at as usize] ^= 0x10;
        fs::write(segment::path(damaged.path(), 1), &bytes).unwrap();
        let Err(Error::Corrupt(why)) = DurableStore::open(damaged.path()) else {
            panic!("byte {at} was not missed")
        };
        assert!(why.contains("0000000001.log"), "{why}");
    }
}

#[tokio::test]
async fn a_flipped_bit_in_a_checkpoint_or_a_missing_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = DurableOptions::new().checkpoint_bytes(1);
    let store = DurableStore::open_with(dir.path(), options).unwrap();
    while count(dir.path(), "checkpoint") == 0 || count(dir.path(), "draft") > 0 {
        store.commit(put("a", "some value")).await.unwrap();
    }
    drop(store);
    let checkpoint = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let checkpoint =
        checkpoint.filter(|path| path.extension().is_some_and(|ext| ext == "checkpoint")).max().unwrap();
    let good = fs::read(&checkpoint).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&checkpoint, &bad).unwrap();
        assert!(matches!(DurableStore::open(dir.path()), Err(Error::Corrupt(_))), "byte {at}");
    }
    fs::write(&checkpoint, &good[..good.len() - 1]).unwrap();
    assert!(matches!(DurableStore::open(dir.path()), Err(Error::Corrupt(_))), "its end is missing");
    fs::write(&checkpoint, &good).unwrap();
    drop(DurableStore::open(dir.path()).unwrap());
    fs::remove_file(checkpoint.with_extension("log")).unwrap();
    assert!(matches!(DurableStore::open(dir.path()), Err(Error::Corrupt(_))), "its log is missing");
}

#[tokio::test]
async fn a_second_opening_is_refused_until_the_first_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let first = DurableStore::open(dir.path()).unwrap();
    let mut watch = first.watch(KeyRange::all(), Revision(2)).await.unwrap();
    let Err(Error::Locked(why)) = DurableStore::open(dir.path()) else { panic!("opened twice") };
    assert!(why.contains(&std::process::id().to_string()), "{why}");
    drop(first);
    assert!(matches!(watch.next().await, Some(Err(Error::Unavailable(_)))));
    assert!(watch.next().await.is_none());
    DurableStore::open(dir.path()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = DurableStore::open(file.join("store")).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains(&file.display().to_string()), "{source}");
}

#[tokio::test]
async fn what_is_not_ours_in_the_directory_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("admin.kubeconfig"), "mine").unwrap();
    fs::write(dir.path().join("1.log"), "mine").unwrap();
    fs::write(dir.path().join("0000000007.checkpoint.draft"), "half").unwrap();
    DurableStore::open(dir.path()).unwrap();
    assert!(dir.path().join("admin.kubeconfig").exists() && dir.path().join("1.log").exists());
    assert!(!dir.path().join("0000000007.checkpoint.draft").exists());
}
