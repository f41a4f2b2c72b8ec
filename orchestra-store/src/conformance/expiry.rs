//! F1, F2, F4 and D12: leases and the passing of time.
//!
//! These cases run in real time, or on tokio's paused clock. There, time stands still while a store is asked, so that threads of
//! its own may take as long as they like; and it passes only where a case lets it pass.

use std::future::Future;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep};

use super::support::PATIENCE;
use crate::key::{Key, KeyRange};
use crate::lease::{EXPIRY_BOUND, Lease, LeaseId, LeaseStatus};
use crate::revision::Revision;
use crate::store::{Entry, Error, ReadAt, Result, Store};
use crate::txn::{Outcome, Txn};
use crate::watch::{Event, WatchMessage, WatchStream};

/// etcd grants nothing shorter with its default settings.
const TTL: Duration = Duration::from_secs(2);
/// How often a case looks whether something has happened that should not have.
const TICK: Duration = Duration::from_millis(50);

tokio::task_local! {
    static IS_IMPATIENT: ();
}

/// Runs a case of which it is known that a store fails it: it gives up soon, where it would wait for [`PATIENCE`] of real time
/// for a store that uses threads.
pub async fn impatiently<T>(case: impl Future<Output = T>) -> T {
    IS_IMPATIENT.scope((), case).await
}

/// Waits while a paused clock stands still, but no longer than [`PATIENCE`] of real time.
async fn still<T>(what: &str, future: impl Future<Output = T>) -> T {
    let (done, is_done) = mpsc::channel::<()>();
    let limit = if IS_IMPATIENT.try_with(|()| ()).is_ok() { PATIENCE / 100 } else { PATIENCE };
    // The paused clock does not go on while there is blocking work.
    let mut patience = tokio::task::spawn_blocking(move || is_done.recv_timeout(limit));
    let answer = tokio::select! {
        biased;
        answer = future => answer,
        _ = &mut patience => panic!("{what} did not come within {limit:?}"),
    };
    drop(done);
    let _over = patience.await;
    answer
}

async fn grant(store: &dyn Store) -> Lease {
    still("a grant", store.grant(TTL)).await.expect("a lease can be granted")
}

async fn write(store: &dyn Store, txn: Txn) -> Revision {
    let committed = still("an answer to a commit", store.commit(txn)).await.expect("it makes sense");
    assert_eq!(committed.outcome, Outcome::Applied);
    committed.revision
}

fn leased(key: &str, lease: Lease) -> Txn {
    Txn::new().put_leased(key.into(), "v", lease.id)
}

async fn get(store: &dyn Store, key: &str) -> Option<Entry> {
    let read = still("an answer to a read", store.get(&key.into(), ReadAt::Latest)).await;
    read.expect("the latest can always be read").value
}

async fn leases(store: &dyn Store) -> Vec<LeaseStatus> {
    still("the leases", store.leases()).await.expect("a healthy store tells its leases").value
}

async fn current(store: &dyn Store) -> Revision {
    still("the status", store.status()).await.expect("a healthy store has a status").revision
}

async fn watch(store: &dyn Store, from: Revision) -> WatchStream {
    still("a watch", store.watch(KeyRange::all(), from)).await.expect("the revision is in the window")
}

fn is_unknown<T: std::fmt::Debug>(result: Result<T>, lease: LeaseId) {
    assert!(matches!(result, Err(Error::UnknownLease(id)) if id == lease), "{result:?}");
}

/// Events, and when they were seen.
struct Seen {
    at: Instant,
    revision: Revision,
    removed: Vec<Key>,
}

/// The next removals: looks for them while time passes up to `by`, and then lets no more pass.
async fn removals(events: &mut WatchStream, by: Instant) -> Seen {
    loop {
        let message = match events.next().now_or_never() {
            Some(message) => message,
            None if Instant::now() < by => {
                sleep(TICK).await;
                continue;
            }
            None => still("the removal of keys whose lease has run out", events.next()).await,
        };
        match message {
            Some(Ok(WatchMessage::Progress(_))) => {}
            Some(Ok(WatchMessage::Events { revision, events })) => {
                let removed = events.iter().map(|event| match event {
                    Event::Delete { key, previous, .. } => {
                        assert_eq!(&previous.key, key);
                        key.clone()
                    }
                    Event::Put { .. } => panic!("a removal expected: {event:?}"),
                });
                return Seen { at: Instant::now(), revision, removed: removed.collect() };
            }
            other => panic!("a watch ended: {other:?}"),
        }
    }
}

/// F1, with a renewal when half of the time is over, and another one.
pub async fn f1_a_key_stays_for_the_whole_time_since_the_last_renewal(store: Arc<dyn Store>) {
    let lease = grant(&*store).await;
    let written = write(&*store, leased("k", lease)).await;
    let mut events = watch(&*store, written.next()).await;
    let mut renewed = Instant::now();
    for _ in 0..2 {
        sleep(lease.ttl / 2).await;
        let asked = Instant::now();
        match still("a renewal", store.renew(lease.id)).await {
            Ok(ttl) => (renewed, _) = (asked, assert_eq!(ttl, lease.ttl)),
            // On a machine that was asleep for so long it has rightly run out.
            Err(_) => assert!(renewed.elapsed() >= lease.ttl, "the lease ended before its time"),
        }
    }
    let seen = removals(&mut events, renewed + lease.ttl + EXPIRY_BOUND).await;
    assert!(
        seen.at - renewed >= lease.ttl,
        "a key went {:?} after a renewal for {:?}",
        seen.at - renewed,
        lease.ttl
    );
}

/// F2, and that the lease is gone as well.
pub async fn f2_a_key_goes_when_its_lease_has_run_out(store: Arc<dyn Store>) {
    let lease = grant(&*store).await;
    let written = write(&*store, leased("k", lease).put("bystander".into(), "v")).await;
    let mut events = watch(&*store, written.next()).await;
    let seen = removals(&mut events, Instant::now() + lease.ttl + EXPIRY_BOUND).await;
    assert_eq!(seen.removed, ["k".into()]);
    assert_eq!(get(&*store, "k").await, None);
    assert!(get(&*store, "bystander").await.is_some());
    assert!(leases(&*store).await.is_empty());
    is_unknown(still("a renewal", store.renew(lease.id)).await, lease.id);
    is_unknown(still("a revocation", store.revoke(lease.id)).await, lease.id);
    is_unknown(still("a commit", store.commit(leased("k", lease))).await, lease.id);
}

/// F2 and B2: a lease that holds nothing goes without a revision.
pub async fn f2_a_lease_without_keys_ends_too(store: Arc<dyn Store>) {
    let lease = grant(&*store).await;
    let before = current(&*store).await;
    sleep(lease.ttl + EXPIRY_BOUND).await;
    let is_over = async {
        while !store.leases().await.expect("a healthy store tells its leases").value.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    still("the end of a lease", is_over).await;
    assert_eq!(current(&*store).await, before);
}

/// F3: what a lease no longer holds does not go with it.
pub async fn f3_a_detached_key_outlives_its_lease(store: Arc<dyn Store>) {
    let lease = grant(&*store).await;
    write(&*store, leased("detached", lease)).await;
    let written = write(&*store, leased("held", lease).put("detached".into(), "v")).await;
    let mut events = watch(&*store, written.next()).await;
    let seen = removals(&mut events, Instant::now() + lease.ttl + EXPIRY_BOUND).await;
    assert_eq!(seen.removed, ["held".into()]);
    assert!(get(&*store, "detached").await.is_some());
}

/// D12: an expiry is a write like any other, one revision for each lease, and everyone sees the same.
pub async fn d12_an_expiry_is_one_revision_in_the_order_of_all_writes(store: Arc<dyn Store>) {
    let (first, second) = (grant(&*store).await, grant(&*store).await);
    write(&*store, leased("a/1", first).put_leased("a/2".into(), "v", first.id)).await;
    let written = write(&*store, leased("b/1", second).put_leased("b/2".into(), "v", second.id)).await;
    let mut live = watch(&*store, written.next()).await;
    let by = Instant::now() + first.ttl.max(second.ttl) + EXPIRY_BOUND;
    let mut seen = [removals(&mut live, by).await, removals(&mut live, by).await];
    assert_eq!(
        seen.each_ref().map(|seen| seen.revision),
        [written.next(), written.next().next()],
        "one revision for each lease"
    );
    seen.sort_by(|a, b| a.removed.cmp(&b.removed));
    let [first_gone, second_gone] = &mut seen;
    first_gone.removed.sort();
    second_gone.removed.sort();
    assert_eq!(first_gone.removed, ["a/1".into(), "a/2".into()]);
    assert_eq!(second_gone.removed, ["b/1".into(), "b/2".into()]);
    // Who looks later finds it in the past, and reads go with it.
    let mut later = watch(&*store, written.next()).await;
    let again = removals(&mut later, by).await;
    assert_eq!(again.revision, written.next());
    let key: Key = "a/1".into();
    let before = store.get(&key, ReadAt::Exactly(Revision(first_gone.revision.0 - 1))).await;
    assert!(before.expect("it is in the window").value.is_some());
    let at = store.get(&key, ReadAt::Exactly(first_gone.revision)).await;
    assert_eq!(at.expect("it is in the window").value, None);
    let next = write(&*store, Txn::new().put("k".into(), "v")).await;
    assert_eq!(next, written.next().next().next(), "and writes go on behind it");
}

/// F4: the time begins anew, so it is longer by what had passed, and not by more.
pub async fn f4_a_restart_shortens_no_lease_and_makes_none_immortal<S: Store>(open: impl AsyncFn() -> S) {
    let store = open().await;
    let lease = grant(&store).await;
    let written = write(&store, leased("k", lease)).await;
    sleep(lease.ttl / 2).await;
    let renewed = Instant::now();
    if still("a renewal", store.renew(lease.id)).await.is_err() {
        // The machine was asleep for so long that the lease rightly ran out.
        return;
    }
    sleep(lease.ttl * 3 / 4).await;
    drop(store);
    let store = open().await;
    let opened = Instant::now();
    let mut events = watch(&store, written.next()).await;
    let seen = removals(&mut events, opened + lease.ttl + EXPIRY_BOUND).await;
    assert!(seen.at - renewed >= lease.ttl, "a restart shortened a lease");
    assert_eq!((seen.revision, seen.removed), (written.next(), vec!["k".into()]));
}

/// F3 and F4: what happened to leases before a restart has happened.
pub async fn f4_leases_are_after_a_restart_what_they_were<S: Store>(open: impl AsyncFn() -> S) {
    let store = open().await;
    let (kept, ended) = (grant(&store).await, grant(&store).await);
    write(&store, leased("ended", ended).put_leased("detached".into(), "v", ended.id)).await;
    write(&store, leased("kept", kept).put_leased("moved".into(), "v", ended.id)).await;
    write(&store, leased("moved", kept).put("detached".into(), "v")).await;
    let revoked = still("a revocation", store.revoke(ended.id)).await.expect("it has not ended");
    drop(store);
    let store = open().await;
    assert_eq!(current(&store).await, revoked);
    let told: Vec<_> = leases(&store).await.into_iter().map(|status| (status.lease, status.keys)).collect();
    assert_eq!(told, [(kept, vec!["kept".into(), "moved".into()])]);
    assert_eq!(get(&store, "ended").await, None);
    assert!(get(&store, "detached").await.is_some());
    let next = grant(&store).await;
    assert!(next.id != kept.id && next.id != ended.id, "an id was used twice");
    let mut events = watch(&store, revoked.next()).await;
    let seen = removals(&mut events, Instant::now() + kept.ttl + EXPIRY_BOUND).await;
    assert_eq!(seen.removed, ["kept".into(), "moved".into()]);
}
