//! E: giving up the past.

use std::sync::Arc;

use super::support::{
    all_at, compact, current, delete, events_through, get, is_future, put, range, watch, write,
};
use crate::key::KeyRange;
use crate::revision::Revision;
use crate::store::{RangeOptions, Store};

/// E1.
pub async fn e1_the_latest_values_and_the_window_survive(store: Arc<dyn Store>) {
    write(&*store, put("old", "1").put("gone".into(), "1").put("often".into(), "1")).await;
    write(&*store, delete("gone")).await;
    for n in 0..10 {
        write(&*store, put("often", n.to_string())).await;
    }
    let now = current(&*store).await;
    let compacted = Revision(now.0 - 4);
    let mut before = Vec::new();
    for revision in compacted.0 + 1..=now.0 {
        before.push(all_at(&*store, Revision(revision)).await);
    }
    let mut stream = watch(&*store, KeyRange::all(), compacted.next()).await;
    let events = events_through(&mut stream, now).await;
    compact(&*store, compacted).await;
    for (revision, expected) in (compacted.0 + 1..=now.0).zip(before) {
        assert_eq!(all_at(&*store, Revision(revision)).await, expected);
    }
    let mut stream = watch(&*store, KeyRange::all(), compacted.next()).await;
    assert_eq!(events_through(&mut stream, now).await, events);
    compact(&*store, now).await;
    let latest = range(&*store, KeyRange::all(), RangeOptions::new()).await.entries;
    let latest: Vec<_> = latest.iter().map(|entry| (entry.key.as_bytes(), &entry.value[..])).collect();
    assert_eq!(latest, [(&b"often"[..], &b"9"[..]), (b"old", b"1")]);
    assert_eq!(current(&*store).await, now, "compaction takes no revision");
}

/// E2.
pub async fn e2_compaction_never_goes_back_nor_ahead(store: Arc<dyn Store>) {
    for n in 0..9 {
        write(&*store, put("k", n.to_string())).await;
    }
    let now = current(&*store).await;
    is_future(store.compact(now.next()).await, now);
    let compacted = || async { store.status().await.expect("a healthy store has a status").compacted };
    let to = Revision(now.0 - 3);
    for again in [to, to, Revision(to.0 - 2), Revision::NONE] {
        compact(&*store, again).await;
        assert_eq!(compacted().await, to);
    }
    // Two that cross end at the higher one.
    let (first, second) = (Revision(to.0 + 1), Revision(to.0 + 2));
    let (_, _) = futures::join!(compact(&*store, second), compact(&*store, first));
    assert_eq!(compacted().await, second);
}

/// E4 as far as it is a matter of right and wrong.
pub async fn e_writes_and_watches_go_on_during_compaction(store: Arc<dyn Store>) {
    let from = current(&*store).await.next();
    let mut stream = watch(&*store, KeyRange::all(), from).await;
    let compactor = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for _ in 0..30 {
                let now = current(&*store).await;
                compact(&*store, now).await;
                tokio::task::yield_now().await;
            }
        })
    };
    let mut seen = from;
    for n in 0..200 {
        let txn = if n % 5 == 4 { delete("k") } else { put("k", n.to_string()) };
        let revision = write(&*store, txn).await;
        for (at, _) in events_through(&mut stream, revision).await {
            assert_eq!(at, seen, "a watch that keeps up misses nothing, whatever is compacted behind it");
            seen = seen.next();
        }
    }
    compactor.await.expect("the compactor did not panic");
    assert_eq!(get(&*store, "k").await, None);
}
