//! Members are killed and cut off while writers and watchers run: nothing acknowledged is lost, no watch has a gap or a double.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use orchestra_store::{
    Error, EtcdStore, Event, KeyRange, Outcome, RangeOptions, Revision, Store, Txn, WatchMessage,
};
use tokio::sync::watch;
use tokio::time::timeout;

use super::cluster::Cluster;
use super::server::{available, connect};

/// How long the cluster may take to serve again after a fault.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Progress {
    acknowledged: watch::Sender<usize>,
    stop: AtomicBool,
}

impl Progress {
    /// Waits for so many writes that begin after now.
    async fn more(&self, writes: usize, during: &str) {
        let wanted = *self.acknowledged.borrow() + writes;
        let mut acknowledged = self.acknowledged.subscribe();
        let reached = timeout(PATIENCE, acknowledged.wait_for(|&writes| writes >= wanted)).await;
        reached.unwrap_or_else(|_| panic!("no {writes} writes {during}")).unwrap();
    }
}

/// What became of each key that a writer tried to create.
type Tried = BTreeMap<String, Option<Revision>>;

async fn write(store: EtcdStore, writer: usize, progress: Arc<Progress>) -> Tried {
    let mut tried = Tried::new();
    for n in 0.. {
        if progress.stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("w{writer}/{n:06}");
        let txn = Txn::new().put(key.as_str().into(), key.clone()).when(key.as_str().into(), Revision::NONE);
        match store.commit(txn).await {
            Ok(committed) => {
                assert_eq!(committed.outcome, Outcome::Applied, "{key} was sent twice");
                progress.acknowledged.send_modify(|writes| *writes += 1);
                tried.insert(key, Some(committed.revision));
            }
            Err(Error::Unavailable(_)) => {
                tried.insert(key, None);
            }
            Err(error) => panic!("{key}: {error}"),
        }
    }
    tried
}

/// Every creation from `from` on until `last` is told, and when it was.
async fn follow(
    store: EtcdStore,
    from: Revision,
    mut last: watch::Receiver<Option<Revision>>,
) -> Vec<(String, Revision)> {
    let mut stream = store.watch(KeyRange::all(), from).await.unwrap();
    let (mut seen, mut at) = (Vec::new(), Revision::NONE);
    loop {
        let message = tokio::select! {
            message = timeout(PATIENCE, stream.next()) => message.expect("a watch goes on").expect("a watch does not end"),
            _ = last.wait_for(|last| last.is_some_and(|last| last <= at)) => return seen,
        };
        match message.expect("a watch does not fail") {
            WatchMessage::Progress(revision) => {
                assert!(revision >= at, "{revision} after {at}");
                at = revision;
            }
            WatchMessage::Events { revision, events } => {
                assert!(revision > at, "{revision} after {at}");
                at = revision;
                seen.extend(events.iter().map(created));
            }
        }
    }
}

async fn campaign(faults: impl AsyncFnOnce(&mut Cluster, &Progress)) {
    let mut cluster = Cluster::start().await;
    let store = connect(cluster.options(0)).await;
    let from = store.status().await.unwrap().revision.next();
    let progress = Arc::new(Progress { acknowledged: watch::channel(0).0, stop: AtomicBool::new(false) });
    let mut writers = Vec::new();
    for writer in 0..6 {
        // Two begin at each member.
        let store = connect(cluster.options(writer)).await;
        writers.push(tokio::spawn(write(store, writer, Arc::clone(&progress))));
    }
    // Where they end is told when the writers have ended.
    let (tell, last) = watch::channel(None);
    let mut watchers = Vec::new();
    for watcher in 0..3 {
        let store = connect(cluster.options(watcher)).await;
        watchers.push(tokio::spawn(follow(store, from, last.clone())));
    }
    faults(&mut cluster, &progress).await;
    progress.more(200, "after all faults").await;
    progress.stop.store(true, Ordering::Relaxed);
    let mut tried = Tried::new();
    for writer in writers {
        tried.extend(writer.await.unwrap());
    }
    let found = store.range(KeyRange::all(), RangeOptions::new()).await.unwrap();
    tell.send_replace(Some(found.revision));
    let there: BTreeMap<String, Revision> =
        found.value.entries.iter().map(|entry| (name(entry.key.as_bytes()), entry.mod_revision)).collect();
    for (key, acknowledged) in &tried {
        if let Some(revision) = acknowledged {
            assert_eq!(there.get(key), Some(revision), "{key} was acknowledged");
        }
    }
    for key in there.keys() {
        assert!(tried.contains_key(key), "{key} was never written");
    }
    let mut expected: Vec<(String, Revision)> = there.into_iter().collect();
    expected.sort_by_key(|(_, revision)| *revision);
    for watcher in watchers {
        let seen = watcher.await.unwrap();
        assert!(seen == expected, "a watch saw {} creations, and there were {}", seen.len(), expected.len());
    }
}

fn name(key: &[u8]) -> String {
    String::from_utf8(key.to_vec()).unwrap()
}

fn created(event: &Event) -> (String, Revision) {
    match event {
        Event::Put { entry, previous: None } => (name(entry.key.as_bytes()), entry.mod_revision),
        other => panic!("not a creation: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_each_member_in_turn_is_killed_and_comes_back() {
    if !available() {
        return;
    }
    campaign(async |cluster, progress| {
        for member in 0..3 {
            progress.more(100, "with all members").await;
            cluster.kill(member);
            progress.more(100, "with one member killed").await;
            cluster.start_again(member);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_each_member_in_turn_is_cut_off_from_the_others() {
    if !available() {
        return;
    }
    campaign(async |cluster, progress| {
        for member in 0..3 {
            progress.more(100, "with all members").await;
            cluster.isolate(Some(member));
            progress.more(300, "with one member cut off").await;
            if member == 2 {
                let alone = EtcdStore::connect(cluster.only(member)).await;
                assert!(matches!(alone, Err(Error::Unavailable(_))), "it is not cut off: {alone:?}");
            }
            cluster.isolate(None);
        }
    })
    .await;
}
