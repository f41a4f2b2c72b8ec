//! An etcd that is not ours alone: several stores in it, foreign keys, and what is done to it behind our back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use orchestra_store::conformance::PATIENCE;
use orchestra_store::{
    Error, EtcdStore, KeyRange, RangeOptions, Revision, Store, Txn, WatchMessage, WatchStream,
};
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
