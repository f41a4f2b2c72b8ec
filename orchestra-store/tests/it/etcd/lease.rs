//! Leases as etcd keeps them.

use std::time::Duration;

use futures::StreamExt;
use orchestra_store::conformance::PATIENCE;
use orchestra_store::{Error, EtcdStore, Event, KeyRange, MemoryStore, ReadAt, Store, Txn, WatchMessage};
use tokio::time::timeout;

use super::server::{Single, available, connect};

const LONG: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_sees_its_own_leases_and_keys_only() {
    if !available() {
        return;
    }
    let etcd = Single::start();
    let (one, two) = (connect(etcd.options_at("/one")).await, connect(etcd.options_at("/two")).await);
    let (mine, other) = (one.grant(LONG).await.unwrap(), two.grant(LONG).await.unwrap());
    assert!(mine.ttl >= LONG);
    for (store, lease) in [(&one, mine), (&two, other)] {
        let txn = Txn::new().put_leased("b".into(), "x", lease.id).put_leased("a".into(), "x", lease.id);
        store.commit(txn).await.unwrap();
        let leases = store.leases().await.unwrap().value;
        assert_eq!(leases.len(), 1);
        assert_eq!((leases[0].lease, &leases[0].keys), (lease, &vec!["a".into(), "b".into()]));
        assert_eq!(store.status().await.unwrap().leases, 1);
    }
    let before = one.status().await.unwrap().revision;
    assert_eq!(one.revoke(mine.id).await.unwrap(), before.next());
    assert_eq!(one.status().await.unwrap().keys, 0);
    assert_eq!(two.status().await.unwrap().keys, 2);
    let late = one.commit(Txn::new().put_leased("a".into(), "x", mine.id)).await;
    assert!(matches!(late, Err(Error::UnknownLease(id)) if id == mine.id), "{late:?}");
    for outcome in [one.renew(mine.id).await.map(drop), one.revoke(mine.id).await.map(drop)] {
        assert!(matches!(outcome, Err(Error::UnknownLease(_))), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_runs_out_is_a_change_like_any_other() {
    if !available() {
        return;
    }
    let etcd = Single::start();
    let store = etcd.store().await;
    let lease = store.grant(Duration::from_millis(1)).await.unwrap();
    let txn = ["a", "b"].into_iter().fold(Txn::new(), |txn, key| txn.put_leased(key.into(), "x", lease.id));
    let written = store.commit(txn).await.unwrap().revision;
    let mut watch = store.watch(KeyRange::all(), written.next()).await.unwrap();
    let message = timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
    let WatchMessage::Events { revision, events } = message else { panic!("{message:?}") };
    assert_eq!((revision, events.len()), (written.next(), 2));
    assert!(
        events.iter().all(|event| matches!(event, Event::Delete { previous, .. } if previous.value == "x"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_go_into_a_snapshot_and_out_of_it() {
    if !available() {
        return;
    }
    let etcd = Single::start();
    let store = etcd.store().await;
    let lease = store.grant(LONG).await.unwrap();
    let mut txn = Txn::new().put("free".into(), "x");
    for n in 0..100 {
        txn = txn.put_leased(format!("{n:03}").into(), "x", lease.id);
    }
    store.commit(txn).await.unwrap();
    let memory = MemoryStore::restore(store.snapshot().await.unwrap()).await.unwrap();
    let found = memory.leases().await.unwrap().value;
    assert_eq!((found[0].lease.id, found[0].keys.len()), (lease.id, 100));

    // As after a loss of everything: the lease is not there either.
    store.revoke(lease.id).await.unwrap();
    let options = etcd.options_at("/again");
    EtcdStore::restore(options.clone(), memory.snapshot().await.unwrap()).await.unwrap();
    let again = connect(options).await;
    let found = again.leases().await.unwrap().value;
    assert_eq!((found[0].lease.ttl, found[0].keys.len()), (lease.ttl, 100));
    again.revoke(found[0].lease.id).await.unwrap();
    assert_eq!(again.status().await.unwrap().keys, 1);
    assert!(again.get(&"free".into(), ReadAt::Latest).await.unwrap().value.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_beside_the_original_has_leases_of_its_own() {
    if !available() {
        return;
    }
    let etcd = Single::start();
    let store = etcd.store().await;
    let lease = store.grant(LONG).await.unwrap();
    store.commit(Txn::new().put_leased("k".into(), "x", lease.id)).await.unwrap();
    let memory = MemoryStore::restore(store.snapshot().await.unwrap()).await.unwrap();
    let mut copies = Vec::new();
    for root in ["/copy", "/other"] {
        EtcdStore::restore(etcd.options_at(root), memory.snapshot().await.unwrap()).await.unwrap();
        copies.push(connect(etcd.options_at(root)).await);
    }
    let [one, other] = &copies[..] else { panic!() };
    for store in [&store, one, other] {
        assert_eq!(store.status().await.unwrap().leases, 1);
    }
    // The name from before is of no use in a copy, where it would end what another store holds.
    let outcomes = [
        one.revoke(lease.id).await.map(drop),
        one.renew(lease.id).await.map(drop),
        one.commit(Txn::new().put_leased("k".into(), "y", lease.id)).await.map(drop),
    ];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(Error::UnknownLease(id)) if id == lease.id), "{outcome:?}");
    }
    let own = one.leases().await.unwrap().value[0].lease.id;
    one.revoke(own).await.unwrap();
    for (store, keys) in [(&store, 1), (one, 0), (other, 1)] {
        assert_eq!(store.status().await.unwrap().keys, keys);
    }
}
