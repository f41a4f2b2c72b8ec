//! Snapshots into etcd, and out of it again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream;
use orchestra_store::conformance::snapshots::{
    g2_a_snapshot_that_breaks_off_restores_nothing, g3_old_revisions_mean_nothing_in_a_restored_store,
};
use orchestra_store::{
    DurableStore, Entry, Error, EtcdStore, KeyRange, MemoryStore, Outcome, RangeOptions, Result, Revision,
    Snapshot, Store, Txn,
};

use super::server::{Single, available};

async fn everything(store: &dyn Store) -> Vec<Entry> {
    store.range(KeyRange::all(), RangeOptions::new()).await.unwrap().value.entries
}

fn contents(entries: &[Entry]) -> Vec<(&[u8], &[u8])> {
    entries.iter().map(|entry| (entry.key.as_bytes(), &entry.value[..])).collect()
}

async fn restored(etcd: &Single, snapshot: Snapshot) -> Result<EtcdStore> {
    EtcdStore::restore(etcd.options(), snapshot).await?;
    EtcdStore::connect(etcd.options()).await
}

/// An etcd that serves, with nothing of ours in it.
async fn served() -> Single {
    let etcd = Single::start();
    drop(super::server::connect(etcd.options_at("/elsewhere")).await);
    etcd
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g2_a_snapshot_that_breaks_off_leaves_nothing_behind() {
    if available() {
        let etcd = served().await;
        g2_a_snapshot_that_breaks_off_restores_nothing(async |snapshot| restored(&etcd, snapshot).await)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g3_old_revisions_mean_nothing() {
    if available() {
        let etcd = served().await;
        g3_old_revisions_mean_nothing_in_a_restored_store(async |snapshot| restored(&etcd, snapshot).await)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_values_go_from_memory_to_disk_to_etcd_and_back() {
    if !available() {
        return;
    }
    let (dir, etcd) = (tempfile::tempdir().unwrap(), served().await);
    let memory = MemoryStore::new();
    for n in 0..3000_u32 {
        let value = vec![n as u8; n as usize % 3000];
        memory.commit(Txn::new().put(format!("k/{n:05}").into(), value)).await.unwrap();
    }
    memory.commit(Txn::new().put("big".into(), vec![b'b'; 1024 * 1024])).await.unwrap();
    memory.commit(Txn::new().put(orchestra_store::Key::new(vec![0, 0xff, b'/']), "odd")).await.unwrap();
    memory.commit(Txn::new().delete("k/00007".into())).await.unwrap();
    let entries = everything(&memory).await;
    let expected = contents(&entries);

    let first = dir.path().join("first");
    DurableStore::restore(&first, memory.snapshot().await.unwrap()).await.unwrap();
    let first = DurableStore::open(&first).unwrap();
    let in_etcd = restored(&etcd, first.snapshot().await.unwrap()).await.unwrap();
    let in_between = everything(&in_etcd).await;
    assert!(contents(&in_between) == expected);
    let last = dir.path().join("last");
    DurableStore::restore(&last, in_etcd.snapshot().await.unwrap()).await.unwrap();
    let last = DurableStore::open(&last).unwrap();
    assert!(contents(&everything(&last).await) == expected);

    // Revisions rise on the whole way, so that no number that anyone remembers means something else now.
    let mut revisions = Vec::new();
    for store in [&memory as &dyn Store, &first, &in_etcd, &last] {
        revisions.push(store.status().await.unwrap().revision);
    }
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
    assert!(
        in_between
            .iter()
            .all(|entry| entry.mod_revision > revisions[1] && entry.mod_revision <= revisions[2])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_restored_is_compared_and_changed_like_anything_else() {
    if !available() {
        return;
    }
    let (etcd, memory) = (served().await, MemoryStore::new());
    let old = memory.commit(Txn::new().put("k".into(), "1")).await.unwrap().revision;
    let store = restored(&etcd, memory.snapshot().await.unwrap()).await.unwrap();
    let put = |at: Revision| Txn::new().put("k".into(), "2").when("k".into(), at);
    for wrong in [old, Revision::NONE, Revision(u64::MAX)] {
        let refused = store.commit(put(wrong)).await.unwrap();
        assert!(matches!(&refused.outcome, Outcome::Refused(found) if found[0].is_some()), "{wrong}");
    }
    let now = everything(&store).await[0].mod_revision;
    assert_eq!(store.commit(put(now)).await.unwrap().outcome, Outcome::Applied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_holds_a_store_is_not_restored_into() {
    if !available() {
        return;
    }
    let etcd = Single::start();
    let (store, memory) = (etcd.store().await, MemoryStore::new());
    store.commit(Txn::new().put("k".into(), "mine")).await.unwrap();
    let outcome = EtcdStore::restore(etcd.options(), memory.snapshot().await.unwrap()).await;
    assert!(matches!(outcome, Err(Error::HoldsData(_))), "{outcome:?}");
    assert_eq!(everything(&store).await[0].value, "mine");
}

/// The JSON gateway's answer, as far as it is a number behind a name.
fn number(answer: &str, name: &str) -> Option<u64> {
    let (_, rest) = answer.split_once(&format!("\"{name}\":\""))?;
    rest.split('"').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_that_it_is_ready_which_arrives_late_makes_no_store_of_what_is_being_removed() {
    if !available() {
        return;
    }
    const KEYS: usize = 30_000;
    let etcd = Arc::new(served().await);
    let entries: Vec<Entry> = (0..KEYS)
        .map(|n| Entry {
            key: format!("k/{n:06}").into(),
            value: "x".into(),
            create_revision: Revision(2),
            mod_revision: Revision(2),
            version: 1,
        })
        .collect();
    // All of it comes, and then not the end.
    let broken = stream::iter([Ok(entries), Err(Error::Unavailable("the source went away".to_owned()))]);
    let snapshot = Snapshot::new(Revision(2), KEYS as u64 + 1, SystemTime::now(), broken);
    let encode = |text: &str| STANDARD.encode(text);
    let meta = encode("/orchestra/meta");
    let all =
        format!(r#"{{"key":"{}","range_end":"{}""#, encode("/orchestra/keys/"), encode("/orchestra/keys0"));
    // Under the claim that the restore begins with, when it has begun to remove: as if it had been on its way for long.
    let late = {
        let (etcd, done) = (Arc::clone(&etcd), Arc::new(AtomicBool::new(false)));
        let stop = Arc::clone(&done);
        let value = encode("orchestra-store 1 base=1000000000");
        let thread = std::thread::spawn(move || {
            let (mut claim, mut most) = (None, 0);
            while !stop.load(Ordering::Relaxed) {
                claim = claim.or_else(|| {
                    number(&etcd.ask("/v3/kv/range", &format!(r#"{{"key":"{meta}"}}"#)), "mod_revision")
                });
                let left =
                    number(&etcd.ask("/v3/kv/range", &format!(r#"{all},"count_only":true}}"#)), "count");
                let left = left.unwrap_or_default();
                if let Some(claim) = claim.filter(|_| left < most) {
                    let ready = format!(
                        r#"{{"compare":[{{"target":"MOD","key":"{meta}","mod_revision":"{claim}"}}],"success":[{{"request_put":{{"key":"{meta}","value":"{value}"}}}}]}}"#
                    );
                    etcd.ask("/v3/kv/txn", &ready);
                    return true;
                }
                most = most.max(left);
            }
            false
        });
        (thread, done)
    };
    let outcome = EtcdStore::restore(etcd.options(), snapshot).await;
    assert!(matches!(&outcome, Err(Error::Unavailable(why)) if why.contains("went away")), "{outcome:?}");
    late.1.store(true, Ordering::Relaxed);
    let was_sent = late.0.join().unwrap();
    let left = everything(&etcd.store().await).await.len();
    assert_eq!(left, 0, "a part of a store can be opened (was the late word sent: {was_sent})");
}
