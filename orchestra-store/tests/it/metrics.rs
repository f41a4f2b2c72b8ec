//! What stores count, read back from the text that is shown.

use std::collections::BTreeMap;

use futures::StreamExt;
use orchestra_store::metrics::Metered;
use orchestra_store::{
    DurableOptions, DurableStore, Error, Key, KeyRange, MemoryOptions, MemoryStore, Store, Txn, WatchBound,
};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// Every sample by its name with its labels.
fn samples(registry: &Registry) -> BTreeMap<String, f64> {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

async fn put(store: &dyn Store, key: &str) {
    store.commit(Txn::new().put(key.into(), "x")).await.unwrap();
}

fn classify(key: &Key) -> Option<(&str, &str)> {
    std::str::from_utf8(key.as_bytes())
        .ok()?
        .strip_prefix('/')?
        .split_once('/')
        .map(|(resource, _)| ("g", resource))
}

mod wrapped {
    use super::*;

    async fn build() -> (Metered<MemoryStore>, ()) {
        (Metered::new(MemoryStore::new(), classify), ())
    }

    orchestra_store::store_conformance!(build);
}

#[tokio::test]
async fn a_store_on_disk_tells_of_syncs_batches_checkpoints_and_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = DurableStore::open_with(dir.path(), DurableOptions::new().checkpoint_bytes(512)).unwrap();
    let mut registry = Registry::default();
    store.metrics().register(&mut registry);
    for n in 0..60 {
        put(&store, &format!("k{n}")).await;
    }
    let seen = samples(&registry);
    assert_eq!(seen["orchestra_store_batch_calls_sum"], 60.0);
    assert!(seen["orchestra_store_sync_duration_seconds_count"] >= 1.0);
    assert_eq!(
        seen["orchestra_store_sync_duration_seconds_count"],
        seen["orchestra_store_batch_calls_count"]
    );
    assert_eq!(seen["orchestra_store_failed_checkpoints_total"], 0.0);
    let files = seen["orchestra_store_log_bytes"] + seen["orchestra_store_checkpoint_bytes"];
    assert_eq!(files as u64, store.status().await.unwrap().disk_bytes);
    // Dropping it waits for the checkpoint that runs.
    drop(store);
    let after = samples(&registry);
    assert!(after["orchestra_store_checkpoint_duration_seconds_count"] >= 1.0);
    assert!(!after.contains_key("orchestra_store_watchers"), "there is no store any more");
}

#[tokio::test]
async fn watchers_their_backlog_and_those_that_were_cut_off_are_counted() {
    let bound = WatchBound::new().events(10);
    let store = MemoryStore::with_options(MemoryOptions::new().watch_bound(bound));
    let mut registry = Registry::default();
    store.metrics().register(&mut registry);
    let from = store.status().await.unwrap().revision.next();
    let mut sleeping = store.watch(KeyRange::all(), from).await.unwrap();
    let _elsewhere = store.watch(KeyRange::prefix("/b/"), from).await.unwrap();
    for n in 0..7 {
        put(&store, &format!("/a/{n}")).await;
    }
    let seen = samples(&registry);
    assert_eq!((seen["orchestra_store_watchers"], seen["orchestra_store_watch_backlog_events"]), (2.0, 7.0));
    assert_eq!(seen["orchestra_store_watch_backlog_bytes"], 7.0);
    for n in 7..20 {
        put(&store, &format!("/a/{n}")).await;
    }
    let seen = samples(&registry);
    assert_eq!((seen["orchestra_store_watchers"], seen["orchestra_store_slow_watchers_total"]), (1.0, 1.0));
    assert_eq!(seen["orchestra_store_watch_backlog_events"], 0.0);
    let last = loop {
        match sleeping.next().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(last, Error::SlowWatcher));
}

#[tokio::test]
async fn requests_are_counted_under_upstreams_names() {
    let store = Metered::new(MemoryStore::new(), classify);
    let mut registry = Registry::default();
    store.metrics().register(&mut registry);
    let pod = || Key::from("/pods/a");
    let created =
        store.commit(Txn::new().when(pod(), Default::default()).put(pod(), "1")).await.unwrap().revision;
    store.commit(Txn::new().when(pod(), created).put(pod(), "2")).await.unwrap();
    store.commit(Txn::new().when(pod(), created).put(pod(), "3")).await.unwrap();
    store.commit(Txn::new().delete(pod())).await.unwrap();
    store.get(&pod(), Default::default()).await.unwrap();
    store.range(KeyRange::prefix("/pods/"), Default::default()).await.unwrap();
    drop(store.watch(KeyRange::all(), created).await.unwrap());
    store.commit(Txn::new().put("/pods/large".into(), vec![0; 2_000_000])).await.unwrap_err();
    let seen = samples(&registry);
    let count = |what: &str, operation: &str, of: (&str, &str)| {
        let (group, resource) = of;
        let name = format!("{what}{{operation=\"{operation}\",group=\"{group}\",resource=\"{resource}\"}}");
        seen.get(&name).copied().unwrap_or_default()
    };
    let pods = ("g", "pods");
    for (operation, expected) in
        [("create", 1.0), ("update", 3.0), ("delete", 1.0), ("get", 1.0), ("list", 1.0)]
    {
        assert_eq!(count("etcd_requests_total", operation, pods), expected, "{operation}");
        assert_eq!(count("etcd_request_duration_seconds_count", operation, pods), expected, "{operation}");
    }
    assert_eq!(count("etcd_request_errors_total", "update", pods), 1.0, "a refused compare is no error");
    assert_eq!(count("etcd_requests_total", "watch", ("", "")), 1.0);
}

#[tokio::test]
async fn two_stores_in_one_process_do_not_mix() {
    let (busy, idle) = (MemoryStore::new(), MemoryStore::new());
    let [mut first, mut second] = [Registry::default(), Registry::default()];
    busy.metrics().register(&mut first);
    idle.metrics().register(&mut second);
    let from = busy.status().await.unwrap().revision.next();
    let _watch = busy.watch(KeyRange::all(), from).await.unwrap();
    let watchers = |registry| samples(registry)["orchestra_store_watchers"];
    assert_eq!((watchers(&first), watchers(&second)), (1.0, 0.0));
}
