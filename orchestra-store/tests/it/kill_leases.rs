//! kill -9 between grants, puts, revocations and expiries: a key never outlives its lease, nor goes before it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use orchestra_store::lease::EXPIRY_BOUND;
use orchestra_store::{
    DurableOptions, DurableStore, KeyRange, LeaseId, LeaseStatus, RangeOptions, Store, Txn, WatchMessage,
};

/// Tells the child where to write; without it the child's test does nothing.
const DIR: &str = "ORCHESTRA_STORE_KILL_LEASES_DIR";
const WRITERS: usize = 6;
const ROUNDS: u64 = 12;
const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(20);

fn open(dir: &Path) -> DurableStore {
    DurableStore::open_with(dir, DurableOptions::new().checkpoint_bytes(16 * 1024)).unwrap()
}

fn say(line: &str) {
    // One call for each line, so that a kill tears at most the last.
    std::io::stdout().lock().write_all(format!("say {line}\n").as_bytes()).unwrap();
}

/// Not a test of its own: what the test below starts and kills.
#[test]
#[ignore = "is run by kill_9_neither_shortens_a_lease_nor_leaves_a_key_behind"]
fn child_uses_leases_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(open(Path::new(&dir)));
        let long = (0..WRITERS).map(|_| tokio::spawn(use_long_leases(Arc::clone(&store))));
        let short = tokio::spawn(use_short_leases(Arc::clone(&store)));
        futures::future::join_all(long.chain([short])).await;
    });
}

fn key(lease: LeaseId, n: u64) -> String {
    format!("leased/{lease}/{n}")
}

async fn use_long_leases(store: Arc<DurableStore>) {
    // Ends by itself, should nobody be left to kill it.
    for round in 0..500 {
        let lease = store.grant(LONG).await.unwrap().id;
        for n in 0..3 {
            store.commit(Txn::new().put_leased(key(lease, n).into(), "v", lease)).await.unwrap();
            say(&format!("put {lease} {n}"));
        }
        store.commit(Txn::new().put(key(lease, 1).replace("leased", "freed").into(), "v")).await.unwrap();
        if round % 3 > 0 {
            say(&format!("ending {lease} 0"));
            store.revoke(lease).await.unwrap();
            say(&format!("ended {lease} 0"));
        }
    }
}

async fn use_short_leases(store: Arc<DurableStore>) {
    for _ in 0..100 {
        let lease = store.grant(SHORT).await.unwrap().id;
        let range = KeyRange::prefix(format!("leased/{lease}/"));
        let txn = (0..2).fold(Txn::new(), |txn, n| txn.put_leased(key(lease, n).into(), "v", lease));
        let Ok(put) = store.commit(txn).await else { continue };
        let mut watch = store.watch(range, put.revision.next()).await.unwrap();
        while let Some(Ok(message)) = watch.next().await {
            if matches!(message, WatchMessage::Events { .. }) {
                break;
            }
        }
    }
}

fn spawn(dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "kill_leases::child_uses_leases_until_it_is_killed",
        "--exact",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env(DIR, dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// What the child was told before it died, of long leases.
#[derive(Debug, Default)]
struct Told {
    put: BTreeMap<u64, BTreeSet<u64>>,
    ending: BTreeSet<u64>,
    ended: BTreeSet<u64>,
}

impl Told {
    fn read(&mut self, line: &str) -> bool {
        // The first stands behind what libtest prints.
        let Some((_, words)) = line.strip_suffix('\n').and_then(|line| line.split_once("say ")) else {
            return false;
        };
        let words: Vec<&str> = words.split(' ').collect();
        let [what, lease, n] = words[..] else { panic!("{line}") };
        let (lease, n) = (lease.parse().unwrap(), n.parse().unwrap());
        match what {
            "put" => drop(self.put.entry(lease).or_default().insert(n)),
            "ending" => drop(self.ending.insert(lease)),
            _ => drop(self.ended.insert(lease)),
        }
        true
    }
}

fn kill_after(dir: &Path, lines: u64, told: &mut Told) {
    let mut child = spawn(dir);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let (mut line, mut read, mut killed) = (String::new(), 0, false);
    while reader.read_line(&mut line).unwrap() > 0 {
        read += u64::from(told.read(&line));
        line.clear();
        if read >= lines && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the child ended by itself after {read} lines");
}

async fn keys(store: &DurableStore, prefix: &str) -> BTreeSet<String> {
    let page = store.range(KeyRange::prefix(prefix), RangeOptions::new()).await.unwrap().value;
    page.entries.iter().map(|entry| String::from_utf8(entry.key.as_bytes().to_vec()).unwrap()).collect()
}

async fn attached(store: &DurableStore) -> BTreeMap<u64, BTreeSet<String>> {
    let leases = store.leases().await.unwrap().value;
    let text = |key: &orchestra_store::Key| String::from_utf8(key.as_bytes().to_vec()).unwrap();
    leases.iter().map(|status| (status.lease.id.get(), status.keys.iter().map(text).collect())).collect()
}

async fn check(dir: &Path, told: &Told) {
    let store = open(dir);
    let (keys, attached) = (keys(&store, "leased/").await, attached(&store).await);
    for (id, held) in &attached {
        assert!(
            held.iter().all(|key| key.starts_with(&format!("leased/{id}/"))),
            "lease {id} holds {held:?}"
        );
    }
    let held: BTreeSet<String> = attached.values().flatten().cloned().collect();
    assert_eq!(held, keys, "a key lives without its lease");
    for (id, put) in &told.put {
        if told.ended.contains(id) {
            assert!(!attached.contains_key(id), "lease {id} was revoked and is alive");
        } else if !told.ending.contains(id) {
            let held = attached.get(id).unwrap_or_else(|| panic!("lease {id} ended before its time"));
            assert!(put.iter().all(|n| held.contains(&format!("leased/{id}/{n}"))), "{id}: {put:?} {held:?}");
        }
    }
}

/// Everything that is left lives for one more time to live, and not longer.
async fn check_expiry(dir: &Path) {
    let store = open(dir);
    // The leases of the child that were short run out first.
    tokio::time::sleep(LONG / 2).await;
    settle(&store, |leases| leases.iter().all(|status| status.lease.ttl == LONG)).await;
    let (leased, freed) = (keys(&store, "leased/").await, keys(&store, "freed/").await);
    assert!(!leased.is_empty() && !freed.is_empty());
    tokio::time::sleep(LONG / 2 - Duration::from_secs(1)).await;
    assert_eq!(keys(&store, "leased/").await, leased, "a key went before its lease");
    tokio::time::sleep(Duration::from_secs(1) + EXPIRY_BOUND).await;
    settle(&store, <[_]>::is_empty).await;
    assert_eq!(keys(&store, "leased/").await, BTreeSet::new(), "a key outlives its lease");
    assert_eq!(keys(&store, "freed/").await, freed);
}

/// Waits for the disk. The paused clock stands still as long as somebody is busy.
async fn settle(store: &DurableStore, is_settled: impl Fn(&[LeaseStatus]) -> bool) {
    while !is_settled(&store.leases().await.unwrap().value) {
        tokio::task::yield_now().await;
    }
}

#[test]
fn kill_9_neither_shortens_a_lease_nor_leaves_a_key_behind() {
    let dir = tempfile::tempdir().unwrap();
    let paused =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mut told = Told::default();
    for round in 0..ROUNDS {
        kill_after(dir.path(), 1 + round * 37 % 311, &mut told);
        paused().block_on(check(dir.path(), &told));
    }
    paused().block_on(check_expiry(dir.path()));
}
