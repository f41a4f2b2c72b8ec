//! Every step of the disk fails in turn: a full disk, a sync that fails, a rename, an open, a read.
//!
//! Whichever it is, nothing that was acknowledged is lost, nothing is acknowledged that is not durable, reads go on, and
//! nothing that failed is tried again as if nothing had happened.

use std::os::unix::fs::FileExt;

use super::*;
use crate::durable::disk::tape::{Done, Fault, Kind, Recording};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// What became of a store whose disk fails.
#[derive(Debug, Default)]
struct Fate {
    /// The revision of the last acknowledged write.
    told: u64,
    /// Whether it said that it takes no more writes.
    refuses: bool,
    /// Whether it could be opened at all.
    opened: bool,
    /// Whether the fault came before it was closed.
    was_alive: bool,
}

/// Logs that grow, and logs that are written over zeros.
fn options() -> [DurableOptions; 2] {
    [1500, 16 * 1024]
        .map(|bytes| DurableOptions::new().checkpoint_bytes(bytes).retention(Retention::new().changes(30)))
}

/// Writes until it is refused, or enough. Leaves time for checkpoints, which are written beside it.
async fn live(dir: &Path, options: DurableOptions, writes: u64, tape: &Recording) -> Fate {
    let mut fate = Fate::default();
    let Ok(store) = DurableStore::open_with(dir, options) else { return fate };
    (fate.opened, fate.told) = (true, everything(&store).await.revision.0);
    for n in 0..writes {
        let before = everything(&store).await;
        match store
            .commit(put(&format!("key/{}", n % 3), vec![b'v'; 200]).put("n".into(), n.to_string()))
            .await
        {
            Ok(committed) => {
                assert!(!fate.refuses, "acknowledged after a refusal");
                fate.told = committed.revision.0;
                tape.told(fate.told);
            }
            Err(Error::Unavailable(_)) => {
                fate.refuses = true;
                assert!(matches!(store.status().await, Err(Error::Unavailable(_))));
                assert_eq!(everything(&store).await, before, "reads go on, with what is durable");
                assert!(matches!(store.compact(before.revision).await, Err(Error::Unavailable(_))));
            }
            Err(other) => panic!("{other}"),
        }
    }
    fate.was_alive = !tape.failed().is_empty();
    fate
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

fn is_next(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "next.log.draft")
}

/// One life with a fault, one without. False when the fault never came, for there are no more steps of the kind.
async fn fail_at(fault: Fault, options: DurableOptions) -> bool {
    let place = place();
    let dir = place.path().join("state");
    // Something to recover: a checkpoint, logs, and a torn tail.
    let first = live(&dir, options, 20, &Recording::of(&dir, None)).await;
    let torn = fs::OpenOptions::new().write(true).open(last_log(&dir)).unwrap();
    torn.write_all_at(&[1; 100], torn.metadata().unwrap().len()).unwrap();

    let tape = Recording::of(place.path(), Some(fault));
    let fate = live(&dir, options, 100, &tape).await;
    let failed = tape.failed();
    check_nothing_is_tried_again(&tape, fault, &fate);
    drop(tape);

    let store = DurableStore::open_with(&dir, options).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
    let revision = everything(&store).await.revision;
    assert!(revision.0 >= fate.told.max(first.told), "{fault:?}: lost {fate:?}, {revision} is left");
    assert_eq!(store.commit(put("after", "x")).await.unwrap().revision, revision.next(), "{fault:?}");
    !failed.is_empty()
}

fn check_nothing_is_tried_again(tape: &Recording, fault: Fault, fate: &Fate) {
    // What is ready ahead is no log yet, and writing goes on without it.
    let Some((at, path)) = tape.failed().into_iter().find(|(_, path)| !is_next(path)) else {
        assert!(fate.opened && !fate.refuses, "{fault:?}: it complains about nothing");
        return;
    };
    // What fails in closing is the mark at the end of the log, which nothing hangs on.
    if is_log(&path) && matches!(fault.kind, Kind::Write | Kind::Sync) && (fate.was_alive || !fate.opened) {
        assert!(fate.refuses || !fate.opened, "{fault:?}: goes on with a log that failed");
        let touches =
            |done: &&Done| matches!(done, Done::Write(file, ..) | Done::Sync(file) if *file == path);
        let done = tape.done();
        let touched = done[at..].iter().position(|done| touches(&done));
        // But for one try that has more room than the first, because what was ready ahead was given up.
        let again = touched.filter(|_| fault.errno == ENOSPC && fault.kind == Kind::Write);
        let gave_way = |to: usize| {
            done[..at + to].iter().any(|done| matches!(done, Done::Remove(file) if is_next(file)))
        };
        let touched = match again {
            Some(to) if gave_way(to) => done[at + to + 1..].iter().find(touches),
            _ => touched.map(|to| &done[at + to]),
        };
        assert_eq!(touched, None, "{fault:?}: the log is touched again");
    }
}

/// Lets every step of a kind fail in turn, so many times in a row, and tells how many there were at least.
async fn fail_everywhere(kind: Kind, errno: i32, times: usize) -> usize {
    let mut least = usize::MAX;
    for options in options() {
        let mut after = 0;
        while fail_at(Fault { kind, after, times, errno }, options).await {
            after += 1;
        }
        println!("each of {after} steps of {kind:?} failed in turn");
        least = least.min(after);
    }
    least
}

#[tokio::test]
async fn a_disk_that_becomes_full_at_any_write_loses_nothing() {
    assert!(fail_everywhere(Kind::Write, ENOSPC, usize::MAX).await > 30);
}

#[tokio::test]
async fn a_disk_that_has_no_room_for_a_new_file_loses_nothing() {
    assert!(fail_everywhere(Kind::Create, ENOSPC, usize::MAX).await >= 2);
}

/// A sync that fails once and then works is the worst: what it lost looks as if it were there.
#[tokio::test]
async fn a_sync_that_fails_once_is_not_asked_again() {
    assert!(fail_everywhere(Kind::Sync, EIO, 1).await > 30);
}

#[tokio::test]
async fn a_directory_that_cannot_be_synced_loses_nothing() {
    assert!(fail_everywhere(Kind::SyncDir, EIO, 1).await >= 2);
    fail_everywhere(Kind::SyncDir, EIO, usize::MAX).await;
}

#[tokio::test]
async fn names_that_cannot_be_given_or_taken_away_lose_nothing() {
    assert!(fail_everywhere(Kind::Rename, EIO, 1).await >= 2);
    assert!(fail_everywhere(Kind::Remove, EIO, 1).await > 1);
}

#[tokio::test]
async fn files_that_cannot_be_opened_read_or_cut_lose_nothing() {
    assert!(fail_everywhere(Kind::Open, EIO, 1).await >= 2);
    assert!(fail_everywhere(Kind::Read, EIO, 1).await >= 2);
    assert!(fail_everywhere(Kind::Cut, EIO, 1).await >= 1);
}
