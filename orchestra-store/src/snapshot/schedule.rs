//! Saving again and again, and keeping only the newest.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Snapshot, save};
use crate::durable::disk::{DRAFT_SUFFIX, at, create_dir, sync_dir};
use crate::store::{Error, Result, Store};

const SUFFIX: &str = ".snapshot";

/// When snapshots are saved, and how many stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The time from one to the next.
    pub every: Duration,
    /// How many of the newest stay; the last one always does.
    pub keep: usize,
}

/// Saves snapshots of `store` into `dir` for as long as it is polled. They are named after their revisions; other names in the
/// directory are left alone. The first is saved when the newest one there has reached its age, or at once.
/// One that fails is told in the log, removes no older one, and is tried again when the next is due.
///
/// # Errors
/// When the directory cannot be made or read; it does not end otherwise.
pub async fn save_on_schedule(store: Arc<dyn Store>, dir: &Path, schedule: Schedule) -> Result<Infallible> {
    create_dir(dir)?;
    for draft in named(dir, &[SUFFIX, DRAFT_SUFFIX].concat())? {
        fs::remove_file(&draft).map_err(at("remove", &draft))?;
    }
    tokio::time::sleep(first_wait(dir, schedule.every)?).await;
    loop {
        if let Err(error) = save_next(&store, dir, schedule.keep).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(dir = %dir.display(), error, "a scheduled snapshot failed");
        }
        tokio::time::sleep(schedule.every.max(Duration::from_secs(1))).await;
    }
}

fn first_wait(dir: &Path, every: Duration) -> Result<Duration> {
    let newest = saved(dir)?.pop();
    // One that cannot be read is no reason to wait.
    let taken = newest.and_then(|path| Snapshot::open(path).ok()).map(|snapshot| snapshot.taken());
    let age = taken.map(|taken| SystemTime::now().duration_since(taken).unwrap_or_default());
    Ok(age.map_or(Duration::ZERO, |age| every.saturating_sub(age)))
}

async fn save_next(store: &Arc<dyn Store>, dir: &Path, keep: usize) -> Result<()> {
    let snapshot = store.snapshot().await?;
    let path = dir.join(format!("{:020}{SUFFIX}", snapshot.revision().0));
    let runtime = tokio::runtime::Handle::current();
    // Writing blocks, and so must not happen where requests are served.
    let saving = tokio::task::spawn_blocking(move || runtime.block_on(save(snapshot, path)));
    match saving.await {
        // Nothing has happened since the last one.
        Ok(Err(Error::HoldsData(_))) => return Ok(()),
        Ok(outcome) => outcome?,
        Err(_) => return Err(Error::Unavailable("saving was broken off".to_owned())),
    };
    let mut saved = saved(dir)?;
    saved.truncate(saved.len().saturating_sub(keep.max(1)));
    for path in &saved {
        fs::remove_file(path).map_err(at("remove", path))?;
    }
    Ok(sync_dir(dir)?)
}

/// The snapshots in a directory, oldest first.
fn saved(dir: &Path) -> Result<Vec<PathBuf>> {
    named(dir, SUFFIX)
}

/// The files that are named after a revision and end in `suffix`, in order.
fn named(dir: &Path, suffix: &str) -> Result<Vec<PathBuf>> {
    let mut named = Vec::new();
    for entry in fs::read_dir(dir).map_err(at("read the directory", dir))? {
        let path = entry.map_err(at("read the directory", dir))?.path();
        let revision =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(suffix));
        if revision
            .is_some_and(|digits| digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        {
            named.push(path);
        }
    }
    named.sort();
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, Txn};

    const HOUR: Duration = Duration::from_secs(3600);

    fn start(store: &MemoryStore, dir: &Path, keep: usize) -> tokio::task::JoinHandle<Result<Infallible>> {
        let (store, dir) = (store.clone(), dir.to_owned());
        let schedule = Schedule { every: HOUR, keep };
        tokio::spawn(async move { save_on_schedule(Arc::new(store), &dir, schedule).await })
    }

    async fn write(store: &MemoryStore) {
        store.commit(Txn::new().put("k".into(), "v")).await.unwrap();
    }

    /// Lets the paused clock run on by hours.
    async fn pass(hours: u32) {
        tokio::time::sleep(hours * HOUR).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_stay_and_other_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("snapshots");
        let store = MemoryStore::new();
        let saving = start(&store, &dir, 3);
        pass(1).await;
        fs::write(dir.join("mine.snapshot"), "mine").unwrap();
        for _ in 0..6 {
            write(&store).await;
            pass(2).await;
        }
        let newest = saved(&dir).unwrap();
        assert_eq!(newest.len(), 3);
        assert!(newest[2].ends_with("00000000000000000007.snapshot"), "{newest:?}");
        assert!(newest.iter().all(|path| super::super::inspect(path).is_ok()));
        assert!(dir.join("mine.snapshot").exists());
        // Nothing happens, so nothing is saved and nothing removed.
        pass(10).await;
        assert_eq!(saved(&dir).unwrap(), newest);
        saving.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_does_not_save_before_it_is_due() {
        let dir = tempfile::tempdir().unwrap();
        let store = MemoryStore::new();
        let path = dir.path().join("00000000000000000001.snapshot");
        save(store.snapshot().await.unwrap(), &path).await.unwrap();
        write(&store).await;
        fs::write(dir.path().join("00000000000000000009.snapshot.draft"), "half").unwrap();
        let saving = start(&store, dir.path(), 3);
        tokio::time::sleep(HOUR / 2).await;
        assert_eq!(saved(dir.path()).unwrap().len(), 1);
        pass(1).await;
        assert_eq!(saved(dir.path()).unwrap().len(), 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "what a crash left is gone");
        saving.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_removes_nothing_and_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = MemoryStore::new();
        let saving = start(&store, dir.path(), 1);
        pass(2).await;
        write(&store).await;
        // A folder where the draft would be.
        let blocked = dir.path().join("00000000000000000002.snapshot.draft");
        fs::create_dir(&blocked).unwrap();
        pass(2).await;
        assert_eq!(saved(dir.path()).unwrap().len(), 1);
        fs::remove_dir(&blocked).unwrap();
        pass(2).await;
        assert!(saved(dir.path()).unwrap()[0].ends_with("00000000000000000002.snapshot"));
        saving.abort();
    }
}
