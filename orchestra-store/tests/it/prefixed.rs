//! A handle on one prefix: the suite, and neighbours that it must know nothing of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use orchestra_store::conformance::{reads, snapshots, watches, writes};
use orchestra_store::limits::MAX_KEY_BYTES;
use orchestra_store::{
    DurableStore, Error, KeyRange, MemoryStore, Outcome, Prefixed, RangeOptions, ReadAt, Result, Revision,
    Store, Txn, WatchMessage,
};
use tempfile::TempDir;

mod alone {
    use super::*;

    async fn build() -> (Prefixed<MemoryStore>, ()) {
        (Prefixed::new(MemoryStore::new(), "/b/").unwrap(), ())
    }

    orchestra_store::store_conformance!(build);
}

mod on_disk {
    use super::*;

    async fn build() -> (Prefixed<DurableStore>, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (Prefixed::new(DurableStore::open(dir.path()).unwrap(), vec![0xff, 0xff]).unwrap(), dir)
    }

    orchestra_store::store_conformance!(build);
}

/// Keys on either side of `/b/`, and as near to it as can be.
const NEIGHBOURS: [&str; 8] = ["/a/k", "/b", "/b.", "/b0", "/b0/k", "/b./../b/k", "/c/k", "k"];

async fn neighbourhood() -> MemoryStore {
    let store = MemoryStore::new();
    let all = NEIGHBOURS.iter().fold(Txn::new(), |txn, &key| txn.put(key.into(), "theirs"));
    store.commit(all).await.unwrap();
    store
}

fn handle(store: &MemoryStore) -> Prefixed<MemoryStore> {
    Prefixed::new(store.clone(), "/b/").unwrap()
}

/// Has neighbours write all the time while `work` goes on.
async fn among_noise<T>(store: &MemoryStore, work: impl Future<Output = T>) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let noise = {
        let (store, stop) = (store.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut round = 0_usize;
            while !stop.load(Ordering::Relaxed) {
                let key = NEIGHBOURS[round % NEIGHBOURS.len()];
                let txn = if round.is_multiple_of(5) {
                    Txn::new().delete(key.into())
                } else {
                    Txn::new().put(key.into(), format!("theirs {round}"))
                };
                store.commit(txn).await.unwrap();
                round += 1;
                tokio::task::yield_now().await;
            }
            round
        })
    };
    let done = work.await;
    stop.store(true, Ordering::Relaxed);
    assert!(noise.await.unwrap() > 0);
    done
}

#[tokio::test]
async fn the_cases_about_reach_hold_among_neighbours() {
    // A store each, as the cases expect to find nothing.
    macro_rules! hold {
        ($($area:ident::$case:ident)*) => {
            $($area::$case(Arc::new(handle(&neighbourhood().await))).await;)*
        };
    }
    hold! {
        writes::a3_all_writes_of_a_transaction_share_one_revision
        writes::a5_revision_none_means_absent_also_after_delete_and_compaction
        writes::a5_a_refusal_tells_what_each_compared_key_holds
        reads::c2_a_range_is_in_byte_order_and_at_one_revision
        reads::c3_the_past_reads_the_same_each_time
        reads::c4_pages_at_one_revision_have_no_gap_and_no_double
        reads::h1_a_range_ends_where_it_says
        reads::h2_keys_are_bytes
        reads::limit_and_remaining_agree_with_the_whole
        watches::d4_one_revision_is_one_message
        watches::d11_events_carry_what_was_there_before
        snapshots::g1_a_snapshot_is_one_revision_while_writes_go_on
        snapshots::g1_an_empty_store_has_an_empty_snapshot
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_noisy_neighbours_is_seen() {
    let store = neighbourhood().await;
    let mine = handle(&store);
    let from = mine.status().await.unwrap().revision.next();
    let mut watch = mine.watch(KeyRange::all(), from).await.unwrap();
    let (mut model, mut written) = (BTreeMap::new(), Vec::new());
    among_noise(&store, async {
        for n in 0..300 {
            let key = format!("k{}", n % 7);
            let txn = if n % 4 == 3 {
                model.remove(&key);
                Txn::new().delete(key.as_str().into()).put("last".into(), n.to_string())
            } else {
                model.insert(key.clone(), n.to_string());
                Txn::new().put(key.as_str().into(), n.to_string()).put("last".into(), n.to_string())
            };
            model.insert("last".to_owned(), n.to_string());
            written.push(mine.commit(txn).await.unwrap().revision);
            let page = mine.range(KeyRange::all(), RangeOptions::new().limit(3)).await.unwrap().value;
            assert_eq!(
                page.entries.len() as u64 + page.remaining,
                model.len() as u64,
                "a count of one's own"
            );
            assert!(
                page.entries
                    .iter()
                    .map(|entry| entry.key.as_bytes())
                    .eq(model.keys().take(3).map(String::as_bytes))
            );
            assert_eq!(mine.status().await.unwrap().keys, model.len() as u64);
        }
    })
    .await;
    let mut seen = Vec::new();
    while seen.len() < written.len() {
        match watch.next().await.unwrap().unwrap() {
            WatchMessage::Events { revision, events } => {
                assert!(
                    events
                        .iter()
                        .all(|event| event.key().as_bytes() == b"last" || event.key().as_bytes()[0] == b'k')
                );
                seen.push(revision);
            }
            WatchMessage::Progress(revision) => {
                assert!(
                    seen.last().is_none_or(|last| revision > *last),
                    "progress is a revision and nothing else"
                );
            }
        }
    }
    assert_eq!(seen, written);
    let mut snapshot = mine.snapshot().await.unwrap();
    assert_eq!(snapshot.keys(), model.len() as u64);
    let mut saved = Vec::new();
    while let Some(entries) = snapshot.next().await {
        saved.extend(entries.unwrap());
    }
    assert!(saved.iter().map(|entry| entry.key.as_bytes()).eq(model.keys().map(String::as_bytes)));
}

#[tokio::test]
async fn what_is_written_lands_below_the_prefix_only() {
    let store = neighbourhood().await;
    let mine = handle(&store);
    for key in ["../a/k", "/../a/k", "", "\u{0}", "/", "0", "k"] {
        match mine.commit(Txn::new().put(key.into(), "mine")).await {
            Ok(_) => assert_eq!(
                store.get(&format!("/b/{key}").into(), ReadAt::Latest).await.unwrap().value.unwrap().value,
                "mine"
            ),
            Err(error) => assert!(key.is_empty() && matches!(error, Error::Invalid(_)), "{key:?}: {error}"),
        }
    }
    for key in NEIGHBOURS {
        assert_eq!(
            store.get(&key.into(), ReadAt::Latest).await.unwrap().value.unwrap().value,
            "theirs",
            "{key}"
        );
        let below = mine.commit(Txn::new().when(key.into(), Revision::NONE)).await.unwrap();
        assert_eq!(below.outcome == Outcome::Applied, key != "k", "{key} is looked for below the prefix");
    }
}

#[tokio::test]
async fn compacting_a_handle_takes_nothing_from_neighbours() {
    let store = neighbourhood().await;
    let (mine, yours) = (handle(&store), Prefixed::new(store.clone(), "/c/").unwrap());
    mine.commit(Txn::new().put("a".into(), "1")).await.unwrap();
    let old = mine.status().await.unwrap().revision;
    mine.commit(Txn::new().put("a".into(), "2")).await.unwrap();
    mine.compact(old).await.unwrap();
    for refused in [mine.clone(), handle(&store)].iter().zip([true, false]) {
        let (handle, is_compacted) = refused;
        let read = handle.get(&"a".into(), ReadAt::Exactly(old)).await;
        assert_eq!(matches!(read, Err(Error::Compacted(at)) if at == old), is_compacted, "{read:?}");
    }
    assert!(yours.get(&"k".into(), ReadAt::Exactly(old)).await.is_ok());
    assert!(store.get(&"/b/a".into(), ReadAt::Exactly(old)).await.is_ok());
    // The owner of the whole store may.
    let now = store.status().await.unwrap().revision;
    store.compact(now).await.unwrap();
    assert!(
        matches!(yours.get(&"k".into(), ReadAt::Exactly(old)).await, Err(Error::Compacted(at)) if at == now)
    );
}

#[tokio::test]
async fn leases_of_others_are_not_there() {
    let store = neighbourhood().await;
    let (mine, yours) = (handle(&store), Prefixed::new(store.clone(), "/c/").unwrap());
    let hour = Duration::from_secs(3600);
    let [own, theirs] = [mine.grant(hour).await.unwrap().id, yours.grant(hour).await.unwrap().id];
    yours.commit(Txn::new().put_leased("k".into(), "theirs", theirs)).await.unwrap();
    mine.commit(Txn::new().put_leased("k".into(), "mine", own)).await.unwrap();
    let unknown = |result: Result<()>| {
        assert!(matches!(result, Err(Error::UnknownLease(id)) if id == theirs), "{result:?}")
    };
    unknown(mine.renew(theirs).await.map(drop));
    unknown(mine.revoke(theirs).await.map(drop));
    unknown(mine.commit(Txn::new().put_leased("x".into(), "mine", theirs)).await.map(drop));
    assert_eq!(yours.get(&"k".into(), ReadAt::Latest).await.unwrap().value.unwrap().value, "theirs");
    let listed = mine.leases().await.unwrap().value;
    assert_eq!(
        listed.iter().map(|status| (status.lease.id, &status.keys[..])).collect::<Vec<_>>(),
        [(own, &["k".into()][..])]
    );
    assert_eq!((mine.status().await.unwrap().leases, store.status().await.unwrap().leases), (1, 2));
    // After a restart the handle knows its leases by their keys.
    let again = handle(&store);
    again.renew(own).await.unwrap();
    again.revoke(own).await.unwrap();
    assert_eq!(again.get(&"k".into(), ReadAt::Latest).await.unwrap().value, None);
    unknown(again.revoke(theirs).await.map(drop));
}

#[tokio::test]
async fn errors_tell_neither_keys_nor_places() {
    use orchestra_store::encryption::{Encrypted, EncryptionRules, Keyring, Policy, SealingKey};
    let inner = neighbourhood().await;
    let rules = EncryptionRules::new().with("/", Policy::Sealed);
    let sealed = Encrypted::new(inner.clone(), rules, Keyring::new(SealingKey::generate().unwrap()));
    let mine = Prefixed::new(sealed, "/c/").unwrap();
    let error = mine.get(&"k".into(), ReadAt::Latest).await.unwrap_err();
    assert_eq!(error.to_string(), "store is damaged: a value behind this handle cannot be read");
    let mut watch = mine.watch(KeyRange::all(), Revision(1)).await.unwrap();
    let error = watch.next().await.unwrap().unwrap_err().to_string();
    assert!(!error.contains("/c"), "{error}");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_prefix_takes_its_room_from_keys() {
    let store = MemoryStore::new();
    assert!(matches!(Prefixed::new(store.clone(), ""), Err(Error::Invalid(_))));
    assert!(matches!(Prefixed::new(store.clone(), vec![b'p'; 513]), Err(Error::TooLarge { .. })));
    let mine = Prefixed::new(store.clone(), vec![b'p'; 512]).unwrap();
    let long = |bytes: usize| Txn::new().put("k".repeat(bytes).into(), "x");
    mine.commit(long(MAX_KEY_BYTES - 512)).await.unwrap();
    let refused = mine.commit(long(MAX_KEY_BYTES - 511)).await;
    assert!(matches!(refused, Err(Error::TooLarge { actual: 3585, limit: 3584, .. })), "{refused:?}");
}
