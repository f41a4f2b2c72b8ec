//! kill -9 in the middle of a restore, at many places: afterwards there is nothing, or everything.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use orchestra_store::{DurableStore, KeyRange, MemoryStore, RangeOptions, Store, Txn, snapshot};

/// Tells the child where to work; without it the child's test does nothing.
const DIR: &str = "ORCHESTRA_STORE_RESTORE_DIR";
const KEYS: u64 = 64;
const VALUE: usize = 32 * 1024;
const ROUNDS: u64 = 24;

/// Not a test of its own: what the test below starts and kills.
#[tokio::test]
#[ignore = "is run by kill_9_leaves_nothing_or_everything_of_a_restore"]
async fn child_restores_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    snapshot::restore_into(dir.join("file"), dir.join("state")).await.unwrap();
}

fn spawn(dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "kill_restore::child_restores_until_it_is_killed",
        "--exact",
        "--ignored",
        "--test-threads=1",
    ]);
    command.env(DIR, dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Starts a restore and kills it when its draft has come to `bytes`, or its directory has its name.
fn kill_at(dir: &Path, bytes: u64) {
    let mut child = spawn(dir);
    let draft = dir.join("state.restoring/0000000001.checkpoint.draft");
    let has_come =
        || fs::metadata(&draft).is_ok_and(|file| file.len() >= bytes) || dir.join("state").exists();
    while !has_come() && child.try_wait().unwrap().is_none() {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

async fn is_whole(state: &Path) {
    let store = DurableStore::open(state).unwrap();
    let all = store.range(KeyRange::all(), RangeOptions::new()).await.unwrap().value.entries;
    assert_eq!(all.len() as u64, KEYS);
    assert!(all.iter().all(|entry| entry.value.len() == VALUE));
}

#[tokio::test]
async fn kill_9_leaves_nothing_or_everything_of_a_restore() {
    let dir = tempfile::tempdir().unwrap();
    let store = MemoryStore::new();
    for n in 0..KEYS {
        store.commit(Txn::new().put(format!("k/{n:04}").into(), vec![n as u8; VALUE])).await.unwrap();
    }
    let file = dir.path().join("file");
    let bytes = snapshot::save(store.snapshot().await.unwrap(), &file).await.unwrap().bytes;
    let state = dir.path().join("state");
    for round in 0..ROUNDS {
        // The last rounds never come so far in the draft, and so meet what follows on it.
        kill_at(dir.path(), bytes * round / (ROUNDS - 6));
        if state.exists() {
            is_whole(&state).await;
            fs::remove_dir_all(&state).unwrap();
        }
    }
    assert!(spawn(dir.path()).wait().unwrap().success(), "what was left over is in nobody's way");
    is_whole(&state).await;
    assert!(!dir.path().join("state.restoring").exists());
}
