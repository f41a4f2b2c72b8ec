//! An etcd that is not ours alone: several stores in it, foreign keys, and what is done to it behind our back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use orchestra_store::conformance::PATIENCE;
use orchestra_store::{
    Error, EtcdStore, KeyRange, MemoryStore, RangeOptions, ReadAt, Revision, Store, Txn, WatchMessage,
    WatchStream,
};
use prometheus_client::registry::Registry;
use tokio::time::timeout;

use super::server::{Single, available, connect};

fn put_raw(etcd: &Single, key: &str) {
    let (key, value) = (STANDARD.encode(key), STANDARD.encode("foreign"));
    etcd.ask("/v3/kv/put", &format!(r#"{{"key":"{key}","value":"{value}"}}"#));
}

fn delete_raw(etcd: &Single, key: &str) {
    etcd.ask("/v3/kv/deleterange", &format!(r#"{{"key":"{}"}}"#, STANDARD.encode(key)));
}

async fn reaches(stream: &mut WatchStream, revision: Revision) -> usize {
    let mut events = 0;
    loop {
        match timeout(PATIENCE, stream.next()).await.expect("it goes on").expect("it does not end").unwrap() {
            WatchMessage::Progress(at) if at >= revision => return events,
            WatchMessage::Progress(_) => {}
            WatchMessage::Events { events: more, .. } => events += more.len(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_roots_are_two_stores_and_a_watch_of_one_keeps_up_with_the_other() {
    if !available() {
        return;
    }
    let etcd = Single::start();
    let one = connect(etcd.options_at("/team")).await;
    let two = connect(etcd.options_at("/team/two")).await;
    let other = connect(etcd.options_at("/teams")).await;
    for store in [&one, &two, &other] {
        assert!(store.range(KeyRange::all(), RangeOptions::new()).await.unwrap().value.entries.is_empty());
    }
    let from = one.status().await.unwrap().revision.next();
    let mut watch = one.watch(KeyRange::all(), from).await.unwrap();
    for n in 0..20 {
        two.commit(Txn::new().put("k".into(), n.to_string())).await.unwrap();
        other.commit(Txn::new().put("k".into(), n.to_string())).await.unwrap();
    }
    one.commit(Txn::new().put("own".into(), "x")).await.unwrap();
    other.commit(Txn::new().put("k".into(), "last")).await.unwrap();
    let now = one.status().await.unwrap();
    assert_eq!(now.keys, 1);
    assert_eq!(reaches(&mut watch, now.revision).await, 1);
    // Also one that begins in the past, where the present is the work of others.
    let again = connect(etcd.options_at("/team")).await;
    other.commit(Txn::new().put("k".into(), "very last")).await.unwrap();
    let now = again.status().await.unwrap().revision;
    let mut watch = again.watch(KeyRange::all(), from).await.unwrap();
    assert_eq!(reaches(&mut watch, now).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_no_stores_are_left_alone() {
    if !available() {
        return;
    }
    let etcd = Single::start();
    drop(connect(etcd.options_at("/elsewhere")).await);
    put_raw(&etcd, "/orchestra/keys/a");
    let outcome = EtcdStore::connect(etcd.options()).await;
    assert!(matches!(outcome, Err(Error::HoldsData(_))), "{outcome:?}");
    delete_raw(&etcd, "/orchestra/keys/a");
    put_raw(&etcd, "/orchestra/meta");
    let outcome = EtcdStore::connect(etcd.options()).await;
    assert!(matches!(outcome, Err(Error::Corrupt(_))), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_writes_into_a_store_that_was_replaced() {
    if !available() {
        return;
    }
    let etcd = Single::start();
    let store = etcd.store().await;
    store.commit(Txn::new().put("a".into(), "1")).await.unwrap();
    delete_raw(&etcd, "/orchestra/meta");
    delete_raw(&etcd, "/orchestra/keys/a");
    let next = etcd.store().await;
    for txn in
        [Txn::new().put("b".into(), "2"), Txn::new().put("b".into(), "2").when("b".into(), Revision::NONE)]
    {
        let outcome = store.commit(txn).await;
        assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    }
    assert_eq!(next.status().await.unwrap().keys, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_etcd_would_not_take_is_refused_before_it_is_sent_and_after() {
    if !available() {
        return;
    }
    // Told less than etcd takes, then more.
    let etcd = Single::start();
    let small = connect(etcd.options().max_request_bytes(4096)).await;
    let before = small.status().await.unwrap().revision;
    let large = |bytes: usize| Txn::new().put("k".into(), vec![0; bytes]);
    let outcome = small.commit(large(4096)).await;
    assert!(matches!(outcome, Err(Error::TooLarge { limit: 4096, .. })), "{outcome:?}");
    let tight = Single::start_taking(64 * 1024);
    let wrong = connect(tight.options()).await;
    let outcome = wrong.commit(large(100 * 1024)).await;
    assert!(matches!(outcome, Err(Error::Invalid(_))), "{outcome:?}");
    let outcome = wrong.commit(large(1024 * 1024)).await;
    assert!(matches!(outcome, Err(Error::Invalid(_))), "{outcome:?}");
    for store in [small, wrong] {
        assert_eq!(store.status().await.unwrap().revision, before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_compaction_overtakes_at_a_removal_does_not_lose_it() {
    if !available() {
        return;
    }
    let etcd = Single::start();
    let writer = etcd.store().await;
    let created = writer.commit(Txn::new().put("k".into(), "x")).await.unwrap().revision;
    let removed = writer.commit(Txn::new().delete("k".into())).await.unwrap().revision;
    writer.commit(Txn::new().put("other".into(), "x")).await.unwrap();
    // In the window when it was begun; it asks etcd for the past only when it is looked at.
    let late = connect(etcd.options()).await;
    let mut at = late.watch(KeyRange::all(), removed).await.unwrap();
    let mut before = late.watch(KeyRange::all(), created.next()).await.unwrap();
    let mut behind = late.watch(KeyRange::all(), removed.next()).await.unwrap();
    writer.compact(removed).await.unwrap();
    for watch in [&mut at, &mut before] {
        let first = timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
        assert!(matches!(first, Err(Error::Compacted(to)) if to == removed), "{first:?}");
    }
    let first = timeout(PATIENCE, behind.next()).await.unwrap().unwrap().unwrap();
    assert!(
        matches!(&first, WatchMessage::Events { revision, .. } if *revision == removed.next()),
        "{first:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_large_values_is_read_in_parts_and_what_is_asked_of_etcd_is_counted() {
    if !available() {
        return;
    }
    let etcd = Single::start();
    let store = etcd.store().await;
    for n in 0..60_u8 {
        store.commit(Txn::new().put(format!("{n:02}").into(), vec![n; 1024 * 1024])).await.unwrap();
    }
    let now = store.status().await.unwrap().revision;
    let reads =
        [RangeOptions::new(), RangeOptions::new().at(ReadAt::Exactly(now)), RangeOptions::new().limit(55)];
    for (options, (expected, remaining)) in reads.into_iter().zip([(60, 0), (60, 0), (55, 5)]) {
        let before = counted(&store, "orchestra_store_etcd_requests_total");
        let page = store.range(KeyRange::all(), options).await.unwrap().value;
        assert_eq!((page.entries.len(), page.remaining), (expected, remaining));
        assert!(page.entries.iter().enumerate().all(|(n, entry)| entry.value[..] == [n as u8; 1024 * 1024]));
        let asked = counted(&store, "orchestra_store_etcd_requests_total") - before;
        assert!((3..30).contains(&asked), "{asked} requests");
    }
    let copy = MemoryStore::restore(store.snapshot().await.unwrap()).await.unwrap();
    assert_eq!(copy.status().await.unwrap().keys, 60);
    assert_eq!(counted(&store, "orchestra_store_etcd_requests_in_flight"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_with_etcd_is_counted() {
    if !available() {
        return;
    }
    let mut etcd = Single::start();
    let store = etcd.store().await;
    let from = store.status().await.unwrap().revision.next();
    let mut watch = store.watch(KeyRange::all(), from).await.unwrap();
    store.commit(Txn::new().put("k".into(), "1")).await.unwrap();
    tells(&mut watch, from).await;
    assert_eq!(counted(&store, "orchestra_store_watchers"), 1);
    let names =
        ["reconnects_total", "watch_resumptions_total"].map(|name| format!("orchestra_store_etcd_{name}"));
    // Some was there already if etcd was slow to start.
    let before = names.clone().map(|name| counted(&store, &name));
    etcd.restart();
    let again = async || store.commit(Txn::new().put("k".into(), "2")).await;
    let written = loop {
        if let Ok(committed) = again().await {
            break committed.revision;
        }
    };
    tells(&mut watch, written).await;
    for (name, before) in names.iter().zip(before) {
        assert!(counted(&store, name) > before, "{name}");
    }
}

/// Waits for the change of a revision.
async fn tells(stream: &mut WatchStream, wanted: Revision) {
    let told = async {
        loop {
            match stream.next().await.expect("it does not end").unwrap() {
                WatchMessage::Events { revision, .. } if revision >= wanted => return,
                _ => {}
            }
        }
    };
    timeout(PATIENCE, told).await.expect("it goes on");
}

/// What a store counts under a name.
fn counted(store: &EtcdStore, name: &str) -> u64 {
    let (mut registry, mut text) = (Registry::default(), String::new());
    store.metrics().register(&mut registry);
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}
