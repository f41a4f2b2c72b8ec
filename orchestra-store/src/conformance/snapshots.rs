//! G: everything at one revision, and back.

use std::sync::Arc;
use std::time::SystemTime;

use futures::stream;

use super::leases::{LONG, grant, revoke};
use super::support::{
    all_at, commit, compact, current, delete, events_through, get, is_compacted, put, range, watch,
    watch_error, write,
};
use crate::key::KeyRange;
use crate::lease::{LeaseId, LeasedKeys};
use crate::memory::MemoryStore;
use crate::revision::Revision;
use crate::snapshot::Snapshot;
use crate::store::{Entry, Error, RangeOptions, ReadAt, Result, Store};
use crate::txn::Txn;

/// More keys than any store hands out at once, with lives and versions behind them.
async fn populate(store: &dyn Store) {
    for batch in 0..12 {
        let keys = (0..100).map(|n| format!("k/{:04}", batch * 100 + n));
        write(store, keys.fold(Txn::new(), |txn, key| txn.put(key.into(), "old"))).await;
    }
    write(store, put("k/0003", "twice").delete("k/0005".into())).await;
    write(store, put("k/0005", "a second life")).await;
    write(store, delete("k/0007")).await;
    write(store, put("big", vec![b'b'; 400 * 1024])).await;
}

/// Overwrites, removes and adds something nearly everywhere.
async fn disturb(store: &dyn Store, round: usize) {
    let keys = (0..12).map(|n| format!("k/{:04}", n * 100 + round));
    let txn = keys.fold(Txn::new(), |txn, key| txn.put(key.into(), "new"));
    write(store, txn.put(format!("m/{round}").into(), "new")).await;
    write(
        store,
        (0..12).fold(Txn::new(), |txn, n| txn.delete(format!("k/{:04}", n * 100 + 50 + round).into())),
    )
    .await;
}

async fn take(store: &dyn Store) -> Snapshot {
    store.snapshot().await.expect("a healthy store has a snapshot")
}

async fn drain(mut snapshot: Snapshot) -> Result<Vec<Entry>> {
    let mut all = Vec::new();
    while let Some(entries) = snapshot.next().await {
        all.extend(entries?);
    }
    Ok(all)
}

/// G1.
pub async fn g1_a_snapshot_is_one_revision_while_writes_go_on(store: Arc<dyn Store>) {
    populate(&*store).await;
    let now = current(&*store).await;
    let mut snapshot = take(&*store).await;
    assert!(snapshot.revision() >= now, "a snapshot holds everything acknowledged before it");
    let expected = all_at(&*store, snapshot.revision()).await;
    let (mut all, mut round) = (Vec::new(), 0);
    while let Some(entries) = snapshot.next().await {
        all.extend(entries.expect("a snapshot that is read without delay is not broken off"));
        disturb(&*store, round % 50).await;
        round += 1;
    }
    assert!(all == expected, "a snapshot holds what a range at its revision holds, byte for byte");
    assert_eq!(snapshot.keys(), expected.len() as u64);
}

/// G1, when what it is about is compacted meanwhile: the same state, or an error.
pub async fn g1_a_snapshot_that_compaction_overtakes_is_right_or_an_error(store: Arc<dyn Store>) {
    populate(&*store).await;
    let snapshot = take(&*store).await;
    let expected = all_at(&*store, snapshot.revision()).await;
    for round in 0..20 {
        disturb(&*store, round).await;
    }
    let now = current(&*store).await;
    compact(&*store, now).await;
    write(&*store, put("after", "x")).await;
    match drain(snapshot).await {
        Ok(all) => assert!(all == expected, "compaction changed a snapshot"),
        Err(error) => assert!(matches!(error, Error::Compacted(_)), "unexpected error: {error}"),
    }
}

/// G1.
pub async fn g1_an_empty_store_has_an_empty_snapshot(store: Arc<dyn Store>) {
    let snapshot = take(&*store).await;
    assert_eq!(snapshot.keys(), 0);
    assert!(drain(snapshot).await.expect("nothing can be missing").is_empty());
}

/// A snapshot of the reference store, and its entries.
async fn sample() -> (MemoryStore, Snapshot, Vec<Entry>) {
    let source = MemoryStore::new();
    populate(&source).await;
    let snapshot = take(&source).await;
    let entries = all_at(&source, snapshot.revision()).await;
    (source, snapshot, entries)
}

async fn restored<S: Store>(restore: impl AsyncFn(Snapshot) -> Result<S>, snapshot: Snapshot) -> S {
    restore(snapshot).await.expect("a good snapshot can be restored")
}

/// G2.
pub async fn g2_a_restored_store_holds_the_same_keys_and_numbers<S: Store>(
    restore: impl AsyncFn(Snapshot) -> Result<S>,
) {
    let (_source, snapshot, entries) = sample().await;
    let store = restored(restore, snapshot).await;
    let now = current(&store).await;
    assert!(range(&store, KeyRange::all(), RangeOptions::new()).await.entries == entries);
    assert!(all_at(&store, now).await == entries, "its own revision can be read");
    assert_eq!(store.status().await.expect("a healthy store has a status").keys, entries.len() as u64);
    let before = get(&store, "k/0003").await.expect("it was there");
    let written = write(&store, put("k/0003", "x").when("k/0003".into(), before.mod_revision)).await;
    let after = get(&store, "k/0003").await.expect("it was written");
    let numbers = (after.create_revision, after.mod_revision, after.version);
    assert_eq!(numbers, (before.create_revision, written, before.version + 1), "lives go on");
    commit(&store, put("k/0007", "x").when("k/0007".into(), Revision::NONE)).await;
    assert_eq!(get(&store, "k/0007").await.map(|entry| entry.version), Some(1), "what was removed stayed so");
}

/// G2, again and again.
pub async fn g2_a_snapshot_of_a_restored_store_is_the_same<S: Store>(
    restore: impl AsyncFn(Snapshot) -> Result<S>,
) {
    let (_source, snapshot, entries) = sample().await;
    let first = restored(&restore, snapshot).await;
    let second = restored(&restore, take(&first).await).await;
    assert!(range(&second, KeyRange::all(), RangeOptions::new()).await.entries == entries);
    assert!(current(&second).await > current(&first).await);
}

/// G2: not a part of it.
pub async fn g2_a_snapshot_that_breaks_off_restores_nothing<S: Store>(
    restore: impl AsyncFn(Snapshot) -> Result<S>,
) {
    let (source, snapshot, entries) = sample().await;
    let (revision, keys) = (snapshot.revision(), snapshot.keys());
    let begun = entries[..300].to_vec();
    let lost = || Err(Error::Unavailable("the connection is lost".to_owned()));
    let broken = Snapshot::new(revision, keys, SystemTime::now(), stream::iter([Ok(begun.clone()), lost()]));
    assert!(restore(broken).await.is_err(), "a snapshot that ends with an error was restored");
    let short = Snapshot::new(revision, keys, SystemTime::now(), stream::iter([Ok(begun)]));
    let outcome = restore(short).await;
    assert!(matches!(outcome, Err(Error::BadSnapshot(_))), "a snapshot without its end was restored");
    let store = restored(restore, take(&source).await).await;
    assert_eq!(
        store.status().await.expect("a healthy store has a status").keys,
        keys,
        "nothing was left behind"
    );
}

/// G3.
pub async fn g3_old_revisions_mean_nothing_in_a_restored_store<S: Store>(
    restore: impl AsyncFn(Snapshot) -> Result<S>,
) {
    let (source, snapshot, _) = sample().await;
    let revision = snapshot.revision();
    // What is copied goes on, and its clients see revisions that the copy never had.
    let mut seen = revision;
    for round in 0..20 {
        seen = write(&source, put("k/0003", round.to_string())).await;
    }
    let store = restored(restore, snapshot).await;
    let now = current(&store).await;
    assert!(now > seen, "revision {now} was given out before");
    let compacted = store.status().await.expect("a healthy store has a status").compacted;
    for old in [Revision(1), revision, revision.next(), seen, seen.next(), compacted] {
        let error = watch_error(&store, KeyRange::all(), old).await;
        assert!(matches!(error, Error::Compacted(_)), "a watch from {old} must not go on: {error}");
        is_compacted(store.get(&"k/0003".into(), ReadAt::Exactly(old)).await, compacted);
    }
    let mut stream = watch(&store, KeyRange::all(), now.next()).await;
    let next = write(&store, put("k/0003", "x")).await;
    assert_eq!(next, now.next());
    let events = events_through(&mut stream, next).await;
    assert_eq!(events.len(), 1, "a watch begins in the present");
}

/// A snapshot of the reference store with leases, and what it holds of them.
async fn sample_of_leases() -> (MemoryStore, Snapshot, Vec<LeasedKeys>) {
    let source = MemoryStore::new();
    let (first, idle, ended, second) = (
        grant(&source, LONG).await,
        grant(&source, LONG).await,
        grant(&source, LONG).await,
        grant(&source, 2 * LONG).await,
    );
    for n in 0..600 {
        let (left, right) = (format!("left/{n:03}"), format!("right/{n:03}"));
        write(
            &source,
            Txn::new().put_leased(left.into(), "v", first.id).put_leased(right.into(), "v", second.id),
        )
        .await;
    }
    write(
        &source,
        put("plain", "v").put("left/007".into(), "detached").put_leased("gone".into(), "v", ended.id),
    )
    .await;
    write(&source, delete("right/007")).await;
    revoke(&source, ended.id).await;
    let keys = |side: &str| (0..600).filter(|n| *n != 7).map(|n| format!("{side}/{n:03}").into()).collect();
    let leases = vec![
        LeasedKeys { lease: first, keys: keys("left") },
        LeasedKeys { lease: idle, keys: Vec::new() },
        LeasedKeys { lease: second, keys: keys("right") },
    ];
    let snapshot = take(&source).await;
    assert_eq!(snapshot.leases(), leases);
    (source, snapshot, leases)
}

async fn leased(store: &dyn Store) -> Vec<LeasedKeys> {
    let told = store.leases().await.expect("a healthy store tells its leases").value;
    told.into_iter().map(|status| LeasedKeys { lease: status.lease, keys: status.keys }).collect()
}

/// G2 for leases: the same, with the same keys, and their whole time before them.
pub async fn g2_a_restored_store_has_the_same_leases<S: Store>(restore: impl AsyncFn(Snapshot) -> Result<S>) {
    let (_source, snapshot, leases) = sample_of_leases().await;
    let store = restored(&restore, snapshot).await;
    assert_eq!(leased(&store).await, leases);
    let [first, idle, second] = &leases[..] else { unreachable!("there are three") };
    assert_eq!(store.renew(idle.lease.id).await.expect("it is alive"), idle.lease.ttl);
    // Once more, and now with what the restored store says of itself.
    let again = restored(&restore, take(&store).await).await;
    assert_eq!(leased(&again).await, leases);
    let before = current(&again).await;
    assert_eq!(revoke(&again, first.lease.id).await, before.next());
    let left = range(&again, KeyRange::prefix("left/"), RangeOptions::new()).await.entries;
    assert_eq!(left.iter().map(|entry| &entry.value[..]).collect::<Vec<_>>(), [b"detached"]);
    assert_eq!(leased(&again).await, [idle.clone(), second.clone()]);
}

/// G3 for leases: whom the original granted one later does not hold one that the restored store grants.
pub async fn g3_no_lease_is_granted_twice<S: Store>(restore: impl AsyncFn(Snapshot) -> Result<S>) {
    let (source, snapshot, leases) = sample_of_leases().await;
    let mut ids: Vec<LeaseId> = leases.iter().map(|leased| leased.lease.id).collect();
    for _ in 0..50 {
        ids.push(grant(&source, LONG).await.id);
    }
    let store = restored(restore, snapshot).await;
    for _ in 0..3 {
        let new = grant(&store, LONG).await.id;
        assert!(!ids.contains(&new), "lease {new} was granted twice");
        ids.push(new);
    }
}
