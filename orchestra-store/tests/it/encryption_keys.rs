//! A store and the file of its keys: starting, rotating, losing things, being killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orchestra_store::encryption::{Encryption, KeyFile, Rewritten, Sharing};
use orchestra_store::{
    Committed, DurableStore, Entry, Error, Key, KeyRange, Lease, LeaseId, LeaseStatus, MemoryStore, Page,
    RangeOptions, ReadAt, Result, Revision, Snapshot, Store, StoreStatus, Txn, Versioned, WatchStream,
};
use tempfile::TempDir;

/// Where a server would keep its things.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn keys(&self) -> PathBuf {
        self.dir.path().join("encryption.keys")
    }

    async fn open(&self, store: &MemoryStore, prefixes: &[&str]) -> Result<Option<Encryption>> {
        Encryption::open(Arc::new(store.clone()), self.keys(), prefixes, Sharing::Alone).await
    }

    async fn secrets(&self, store: &MemoryStore) -> Encryption {
        self.open(store, &["/secrets/"]).await.unwrap().unwrap()
    }
}

async fn put(store: &dyn Store, key: &str, value: &str) {
    store.commit(Txn::new().put(key.into(), value.to_owned())).await.unwrap();
}

async fn get(store: &dyn Store, key: &str) -> Result<String> {
    let entry = store.get(&key.into(), ReadAt::Latest).await?.value.unwrap();
    Ok(String::from_utf8_lossy(&entry.value).into_owned())
}

#[track_caller]
fn complains<T: std::fmt::Debug>(result: Result<T>, of: &[&str]) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::KeyFile { .. }), "{error:?}");
    let text = error.to_string();
    assert!(of.iter().all(|word| text.contains(word)), "{text}");
}

#[tokio::test]
async fn keys_are_made_once_and_found_again() {
    let (place, store) = (Place::new(), MemoryStore::new());
    put(&place.secrets(&store).await.store(), "/secrets/a", "hunter2").await;
    let made = fs::read(place.keys()).unwrap();
    let again = place.secrets(&store).await;
    assert_eq!(get(&again.store(), "/secrets/a").await.unwrap(), "hunter2");
    assert_eq!(fs::read(place.keys()).unwrap(), made);
    assert!(get(&store, "/secrets/a").await.unwrap().starts_with("orch-enc"));
}

#[tokio::test]
async fn nothing_is_made_where_nothing_is_to_be_encrypted() {
    let (place, store) = (Place::new(), MemoryStore::new());
    assert!(place.open(&store, &[]).await.unwrap().is_none());
    assert!(!place.keys().exists());
    assert_eq!(store.status().await.unwrap().revision, Revision(1));
}

#[tokio::test]
async fn a_store_from_before_is_encrypted_at_the_next_start_and_plain_values_are_refused_then() {
    let (place, store) = (Place::new(), MemoryStore::new());
    for n in 0..300 {
        put(&store, &format!("/secrets/{n}"), "hunter2").await;
    }
    let encryption = place.secrets(&store).await;
    let status = encryption.status().await.unwrap();
    assert_eq!((status.audit.plain, status.audit.sealed.values().sum::<u64>()), (0, 301));
    assert_eq!(get(&encryption.store(), "/secrets/7").await.unwrap(), "hunter2");
    // Somebody who can change the store but has not the keys.
    put(&store, "/secrets/7", "planted").await;
    for encryption in [encryption, place.secrets(&store).await] {
        assert!(matches!(get(&encryption.store(), "/secrets/7").await, Err(Error::Corrupt(_))));
        let rewritten = encryption.rewrite().await.unwrap();
        assert_eq!((rewritten.rewritten, rewritten.unreadable), (0, 1), "it is not made good");
    }
}

#[tokio::test]
async fn a_shared_store_takes_plain_values_until_it_is_asked_to_rewrite() {
    let (place, store) = (Place::new(), MemoryStore::new());
    put(&store, "/secrets/a", "hunter2").await;
    let open = async || {
        let store = Arc::new(store.clone());
        Encryption::open(store, place.keys(), &["/secrets/"], Sharing::Shared).await.unwrap().unwrap()
    };
    let first = open().await;
    put(&store, "/secrets/b", "from an older server").await;
    assert_eq!(get(&first.store(), "/secrets/b").await.unwrap(), "from an older server");
    assert_eq!(first.status().await.unwrap().audit.plain, 2);
    assert_eq!(first.rewrite().await.unwrap().rewritten, 2);
    let second = open().await;
    assert_eq!(get(&second.store(), "/secrets/a").await.unwrap(), "hunter2");
    put(&store, "/secrets/a", "planted").await;
    assert!(get(&second.store(), "/secrets/a").await.is_err());
}

#[tokio::test]
async fn what_is_not_to_be_encrypted_any_more_is_written_plain() {
    let (place, store) = (Place::new(), MemoryStore::new());
    let both = place.open(&store, &["/secrets/", "/maps/"]).await.unwrap().unwrap();
    put(&both.store(), "/secrets/a", "hunter2").await;
    put(&both.store(), "/maps/a", "x").await;
    let one = place.secrets(&store).await;
    assert_eq!(
        (get(&store, "/maps/a").await.unwrap(), get(&one.store(), "/maps/a").await.unwrap()),
        ("x".into(), "x".into())
    );
    assert!(get(&store, "/secrets/a").await.unwrap().starts_with("orch-enc"));
    let none = place.open(&store, &[]).await.unwrap().unwrap();
    assert_eq!(get(&store, "/secrets/a").await.unwrap(), "hunter2");
    assert_eq!(get(&none.store(), "/secrets/a").await.unwrap(), "hunter2");
    // And on again, with the same key.
    let again = place.open(&store, &["/"]).await.unwrap().unwrap();
    assert!(get(&store, "/maps/a").await.unwrap().starts_with("orch-enc"));
    assert_eq!(get(&again.store(), "/maps/a").await.unwrap(), "x");
    let narrower = place.secrets(&store).await;
    assert_eq!(get(&store, "/maps/a").await.unwrap(), "x");
    assert_eq!(get(&narrower.store(), "/secrets/a").await.unwrap(), "hunter2");
}

#[tokio::test]
async fn lost_keys_are_not_replaced_by_new_ones() {
    let (place, store) = (Place::new(), MemoryStore::new());
    put(&place.secrets(&store).await.store(), "/secrets/a", "hunter2").await;
    let kept = fs::read(place.keys()).unwrap();
    fs::remove_file(place.keys()).unwrap();
    let before = store.status().await.unwrap().revision;
    complains(
        place.open(&store, &["/secrets/"]).await,
        &["encryption.keys", "is missing", "is sealed with key"],
    );
    complains(place.open(&store, &[]).await, &["is missing"]);
    assert!(!place.keys().exists());
    // Keys of another cluster are no use either.
    let other = Place::new();
    other.secrets(&MemoryStore::new()).await;
    fs::copy(other.keys(), place.keys()).unwrap();
    complains(place.open(&store, &["/secrets/"]).await, &["encryption.keys", "is not among them"]);
    assert_eq!(store.status().await.unwrap().revision, before, "nothing was written");
    fs::write(place.keys(), kept).unwrap();
    assert_eq!(get(&place.secrets(&store).await.store(), "/secrets/a").await.unwrap(), "hunter2");
}

#[tokio::test]
async fn of_two_servers_that_begin_with_keys_of_their_own_one_is_refused() {
    let (places, store) = ([Place::new(), Place::new()], MemoryStore::new());
    let (a, b) = tokio::join!(places[0].open(&store, &["/secrets/"]), places[1].open(&store, &["/secrets/"]));
    let refused = [a, b].into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert_eq!(refused.len(), 1, "{refused:?}");
}

#[tokio::test]
async fn keys_rotate_under_a_running_cluster_and_old_ones_go_when_nothing_needs_them() {
    let (place, store) = (Place::new(), MemoryStore::new());
    let encryption = place.secrets(&store).await;
    for n in 0..50 {
        put(&encryption.store(), &format!("/secrets/{n}"), "hunter2").await;
    }
    let first = encryption.status().await.unwrap().keys[0];
    let rotated = encryption.rotate().await.unwrap();
    assert_eq!(rotated.rewritten.rewritten, 51, "every value and the marker");
    let status = encryption.status().await.unwrap();
    assert_eq!(status.keys, [rotated.key, first]);
    assert_eq!(status.audit.sealed.keys().collect::<Vec<_>>(), [&rotated.key]);
    // A value that only the older key opens keeps it.
    let old = place.dir.path().join("old");
    fs::copy(place.keys(), &old).unwrap();
    encryption.rotate().await.unwrap();
    let again = KeyFile::load(&old).unwrap().unwrap();
    let stale = orchestra_store::encryption::Encrypted::new(
        store.clone(),
        encryption.store().rules().clone(),
        again.keyring().clone(),
    );
    put(&stale, "/secrets/stale", "hunter2").await;
    let pruned = encryption.prune().await.unwrap();
    assert_eq!((pruned.dropped, pruned.kept), (vec![first], vec![rotated.key]));
    assert_eq!(encryption.rewrite().await.unwrap().rewritten, 1);
    assert_eq!(encryption.prune().await.unwrap().dropped, [rotated.key]);
    assert_eq!(KeyFile::load(place.keys()).unwrap().unwrap().keyring().keys().count(), 1);
    let restarted = place.secrets(&store).await;
    let all = restarted.store().range(KeyRange::prefix("/secrets/"), RangeOptions::new()).await.unwrap();
    assert!(all.value.entries.len() == 51 && all.value.entries.iter().all(|entry| entry.value == "hunter2"));
}

#[tokio::test]
async fn a_failed_rotation_changes_nothing() {
    let (place, store) = (Place::new(), MemoryStore::new());
    let encryption = place.secrets(&store).await;
    put(&encryption.store(), "/secrets/a", "hunter2").await;
    let before = encryption.status().await.unwrap();
    // A directory where the draft of the file would be.
    fs::create_dir(place.dir.path().join("encryption.keys.draft")).unwrap();
    complains(encryption.rotate().await, &["encryption.keys"]);
    let after = encryption.status().await.unwrap();
    assert_eq!((after.keys, after.audit), (before.keys, before.audit));
}

#[tokio::test]
async fn of_many_servers_that_start_at_once_with_one_file_all_have_the_same_keys() {
    for _ in 0..20 {
        let (place, store) = (Place::new(), MemoryStore::new());
        let begin = std::sync::Barrier::new(4);
        let open = || {
            begin.wait();
            let opening =
                Encryption::open(Arc::new(store.clone()), place.keys(), &["/secrets/"], Sharing::Shared);
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(opening)
        };
        let opened: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap().unwrap().unwrap()).collect()
        });
        let kept = KeyFile::load(place.keys()).unwrap().unwrap().keyring().newest().id();
        for encryption in &opened {
            assert_eq!(encryption.store().keyring().newest().id(), kept);
            put(&encryption.store(), "/secrets/a", "hunter2").await;
        }
    }
}

/// A store at which another server starts with the same file of keys, just before its state is first asked for.
#[derive(Debug)]
struct Raced {
    store: MemoryStore,
    keys: PathBuf,
    race: std::sync::Once,
}

impl Raced {
    fn begin_elsewhere(&self) {
        let opening = Encryption::open(
            Arc::new(self.store.clone()),
            self.keys.clone(),
            &["/secrets/"],
            Sharing::Shared,
        );
        let elsewhere = || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(opening);
        std::thread::scope(|scope| scope.spawn(elsewhere).join().unwrap().unwrap().unwrap());
    }
}

#[async_trait]
impl Store for Raced {
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
        self.store.get(key, at).await
    }

    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
        self.store.range(range, options).await
    }

    async fn commit(&self, txn: Txn) -> Result<Committed> {
        self.store.commit(txn).await
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        self.store.watch(range, from).await
    }

    async fn compact(&self, to: Revision) -> Result<()> {
        self.store.compact(to).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        self.store.grant(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration> {
        self.store.renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision> {
        self.store.revoke(lease).await
    }

    async fn leases(&self) -> Result<Versioned<Vec<LeaseStatus>>> {
        self.store.leases().await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.store.snapshot().await
    }

    async fn status(&self) -> Result<StoreStatus> {
        self.race.call_once(|| self.begin_elsewhere());
        self.store.status().await
    }
}

#[tokio::test]
async fn a_server_takes_the_keys_that_another_one_made_and_sealed_with_while_it_started() {
    let (place, store) = (Place::new(), MemoryStore::new());
    let raced = || Raced { store: store.clone(), keys: place.keys(), race: std::sync::Once::new() };
    let opened =
        Encryption::open(Arc::new(raced()), place.keys(), &["/secrets/"], Sharing::Shared).await.unwrap();
    let kept = KeyFile::load(place.keys()).unwrap().unwrap().keyring().newest().id();
    assert_eq!(opened.unwrap().store().keyring().newest().id(), kept);
    // Without a race the store is as sealed as before.
    fs::remove_file(place.keys()).unwrap();
    complains(place.open(&store, &["/secrets/"]).await, &["is missing"]);
}

#[tokio::test]
async fn the_keys_of_a_stopped_server_are_changed_without_deciding_what_is_encrypted() {
    let (place, store) = (Place::new(), MemoryStore::new());
    let reopen = async || Encryption::reopen(Arc::new(store.clone()), place.keys()).await;
    assert!(reopen().await.unwrap().is_none());
    assert!(!place.keys().exists());
    put(&place.open(&store, &["/secrets/", "/maps/"]).await.unwrap().unwrap().store(), "/maps/a", "hunter2")
        .await;
    let before = store.status().await.unwrap().revision;
    let file = fs::read(place.keys()).unwrap();
    let status = reopen().await.unwrap().unwrap().status().await.unwrap();
    assert_eq!(status.audit.sealed.values().sum::<u64>(), 2);
    assert_eq!((store.status().await.unwrap().revision, fs::read(place.keys()).unwrap()), (before, file));
    let rotated = reopen().await.unwrap().unwrap().rotate().await.unwrap();
    assert_eq!((rotated.rewritten.rewritten, rotated.rewritten.unreadable), (2, 0));
    assert_eq!(reopen().await.unwrap().unwrap().prune().await.unwrap().dropped, [status.keys[0]]);
    assert!(get(&store, "/maps/a").await.unwrap().starts_with("orch-enc"), "it stays encrypted");
    // Under "/maps/" both may lie, and nobody here knows which is wanted.
    let shared = Encryption::open(Arc::new(store.clone()), place.keys(), &["/secrets/"], Sharing::Shared);
    drop(shared.await.unwrap().unwrap());
    let undecided = reopen().await.unwrap().unwrap();
    assert_eq!(undecided.status().await.unwrap().audit.plain, 0);
    for outcome in [undecided.rewrite().await.map(drop), undecided.rotate().await.map(drop)] {
        assert!(matches!(outcome, Err(Error::Invalid(why)) if why.contains("start it")), "{outcome:?}");
    }
    complains(Encryption::reopen(Arc::new(MemoryStore::new()), place.keys()).await, &["is it the right one"]);
    fs::remove_file(place.keys()).unwrap();
    complains(reopen().await, &["is missing", "is sealed with key"]);
}

/// Tells the child where to work; without it the child's test does nothing.
const DIR: &str = "ORCHESTRA_STORE_REWRITE_DIR";
const VALUES: usize = 2000;

fn durable(dir: &Path) -> Arc<DurableStore> {
    Arc::new(DurableStore::open(dir.join("store")).unwrap())
}

async fn open_durable(dir: &Path) -> Encryption {
    let open = Encryption::open(durable(dir), dir.join("encryption.keys"), &["/secrets/"], Sharing::Alone);
    open.await.unwrap().unwrap()
}

/// Not a test of its own: what the test below starts and kills.
#[tokio::test]
#[ignore = "is run by kill_9_in_the_middle_of_a_rotation_loses_nothing"]
async fn child_rotates_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let encryption = open_durable(Path::new(&dir)).await;
    // Ends by itself, should nobody be left to kill it.
    for _ in 0..20 {
        encryption.rotate().await.unwrap();
    }
}

#[tokio::test]
async fn kill_9_in_the_middle_of_a_rotation_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // Plain at first, so that the first child is killed while it encrypts them.
    let store = durable(dir.path());
    for batch in 0..VALUES / 100 {
        let keys = (0..100).map(|n| format!("/secrets/{:04}", batch * 100 + n));
        let txn = keys.fold(Txn::new(), |txn, key| txn.put(key.as_str().into(), format!("hunter {key}")));
        store.commit(txn).await.unwrap();
    }
    drop(store);
    let mut mixed = 0;
    for round in 0..12_u64 {
        let size = || {
            let logs = fs::read_dir(dir.path().join("store")).unwrap().flatten();
            logs.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum::<u64>()
        };
        let (begun, grown) = (size(), 30_000 + round * 25_000);
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args([
            "encryption_keys::child_rotates_until_it_is_killed",
            "--exact",
            "--ignored",
            "--test-threads=1",
        ]);
        let quiet = std::process::Stdio::null;
        let mut child = command.env(DIR, dir.path()).stdout(quiet()).stderr(quiet()).spawn().unwrap();
        while size() < begun + grown && child.try_wait().unwrap().is_none() {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let encryption = open_durable(dir.path()).await;
        mixed += usize::from(encryption.status().await.unwrap().audit.sealed.len() > 1);
        let read =
            encryption.store().range(KeyRange::prefix("/secrets/"), RangeOptions::new()).await.unwrap();
        assert_eq!(read.value.entries.len(), VALUES);
        for entry in read.value.entries {
            assert_eq!(entry.value, [b"hunter ", entry.key.as_bytes()].concat());
        }
    }
    assert!(mixed > 0, "no kill came in the middle");
    let encryption = open_durable(dir.path()).await;
    let Rewritten { seen, unreadable, .. } = encryption.rewrite().await.unwrap();
    assert_eq!((seen, unreadable), (VALUES as u64 + 1, 0));
    let status = encryption.status().await.unwrap();
    assert_eq!(status.audit.sealed.keys().collect::<Vec<_>>(), [&status.keys[0]]);
    assert_eq!(encryption.prune().await.unwrap().dropped.len(), status.keys.len() - 1);
}
