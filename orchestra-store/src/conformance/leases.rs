//! F: keys that live only as long as a lease, apart from the passing of time.

use std::sync::Arc;
use std::time::Duration;

use super::support::{
    all_at, commit, current, delete, get, next_events, patiently, put, refused, value, watch, write,
};
use crate::key::{Key, KeyRange};
use crate::lease::{Lease, LeaseId};
use crate::limits::MAX_LEASE_TTL;
use crate::revision::Revision;
use crate::store::{Error, Result, Store};
use crate::txn::Txn;
use crate::watch::Event;

/// Longer than any case takes.
pub(super) const LONG: Duration = Duration::from_secs(600);

pub(super) async fn grant(store: &dyn Store, ttl: Duration) -> Lease {
    let lease = patiently("an answer to a grant", store.grant(ttl)).await.expect("a lease can be granted");
    assert!(lease.ttl >= ttl, "a lease was granted for less than was asked for");
    lease
}

pub(super) async fn revoke(store: &dyn Store, lease: LeaseId) -> Revision {
    patiently("an answer to a revocation", store.revoke(lease)).await.expect("the lease has not ended")
}

/// The keys attached to a lease, or `None` when it has ended.
pub(super) async fn attached(store: &dyn Store, lease: LeaseId) -> Option<Vec<Key>> {
    let leases = store.leases().await.expect("a healthy store tells its leases").value;
    leases.into_iter().find(|status| status.lease.id == lease).map(|status| status.keys)
}

fn is_unknown<T: std::fmt::Debug>(result: Result<T>, lease: LeaseId) {
    match result {
        Err(Error::UnknownLease(id)) => assert_eq!(id, lease, "the error names the lease"),
        other => panic!("expected that lease {lease} is unknown, got {other:?}"),
    }
}

fn leased(key: &str, value: &'static str, lease: Lease) -> Txn {
    Txn::new().put_leased(key.into(), value, lease.id)
}

/// F3.
pub async fn f3_revoking_removes_all_keys_in_one_revision(store: Arc<dyn Store>) {
    let (lease, other) = (grant(&*store, LONG).await, grant(&*store, LONG).await);
    assert_ne!(lease.id, other.id);
    write(&*store, leased("b", "1", lease)).await;
    write(&*store, leased("a", "1", lease).put("bystander".into(), "1")).await;
    write(&*store, leased("other", "1", other)).await;
    let before = write(&*store, leased("a", "2", lease)).await;
    let mut events = watch(&*store, KeyRange::all(), before.next()).await;
    let revoked = revoke(&*store, lease.id).await;
    assert_eq!(revoked, before.next(), "a revocation takes one revision, whatever it removes");
    let left: Vec<Key> = all_at(&*store, revoked).await.into_iter().map(|entry| entry.key).collect();
    assert_eq!(left, ["bystander".into(), "other".into()]);
    let (revision, mut events) = next_events(&mut events).await;
    assert_eq!(revision, revoked, "all removals come as one message");
    events.sort_by(|a, b| a.key().cmp(b.key()));
    match &events[..] {
        [Event::Delete { key: a, previous, .. }, Event::Delete { key: b, .. }] => {
            assert_eq!((a, b, &previous.value[..]), (&"a".into(), &"b".into(), &b"2"[..]));
        }
        other => panic!("two removals expected: {other:?}"),
    }
    assert_eq!(attached(&*store, lease.id).await, None);
    assert_eq!(attached(&*store, other.id).await, Some(vec!["other".into()]));
    let again = write(&*store, put("a", "3")).await;
    assert_eq!(again, revoked.next(), "a second life is a plain key");
    assert_eq!(get(&*store, "a").await.map(|entry| (entry.create_revision, entry.version)), Some((again, 1)));
}

/// F3.
pub async fn f3_writing_with_another_lease_or_none_detaches(store: Arc<dyn Store>) {
    let (first, second) = (grant(&*store, LONG).await, grant(&*store, LONG).await);
    write(&*store, leased("freed", "1", first).put_leased("moved".into(), "1", first.id)).await;
    write(&*store, leased("reborn", "1", first).put_leased("kept".into(), "1", first.id)).await;
    write(&*store, put("freed", "2").put_leased("moved".into(), "2", second.id)).await;
    write(&*store, leased("kept", "2", first)).await;
    write(&*store, delete("reborn")).await;
    write(&*store, put("reborn", "2")).await;
    revoke(&*store, first.id).await;
    assert_eq!(value(&*store, "freed").await.as_deref(), Some(&b"2"[..]), "a put without a lease detaches");
    assert_eq!(
        value(&*store, "moved").await.as_deref(),
        Some(&b"2"[..]),
        "a put with another lease detaches"
    );
    assert_eq!(value(&*store, "reborn").await.as_deref(), Some(&b"2"[..]), "a removal detaches");
    assert_eq!(value(&*store, "kept").await, None, "a put with the same lease stays attached");
    revoke(&*store, second.id).await;
    assert_eq!(value(&*store, "moved").await, None, "and the other lease holds it");
    assert!(value(&*store, "freed").await.is_some());
}

/// F3 and B2.
pub async fn f3_ending_a_lease_without_keys_takes_no_revision(store: Arc<dyn Store>) {
    let before = write(&*store, put("k", "v")).await;
    let (never_used, left) = (grant(&*store, LONG).await, grant(&*store, LONG).await);
    assert_eq!(current(&*store).await, before, "a grant takes no revision");
    assert_eq!(revoke(&*store, never_used.id).await, before);
    write(&*store, leased("k", "w", left)).await;
    let detached = write(&*store, put("k", "x")).await;
    assert_eq!(revoke(&*store, left.id).await, detached);
    assert_eq!(current(&*store).await, detached);
}

/// F3 and A8: also of a lease that has ended.
pub async fn f3_an_unknown_lease_is_refused_before_any_effect(store: Arc<dyn Store>) {
    let ended = grant(&*store, LONG).await;
    let living = grant(&*store, LONG).await;
    let before = write(&*store, leased("k", "old", living)).await;
    revoke(&*store, ended.id).await;
    let never = LeaseId::new(i64::MAX as u64 - 7).expect("it is not 0");
    for unknown in [ended.id, never] {
        let txn = put("first", "x").put_leased("k".into(), "new", unknown).delete("k2".into());
        is_unknown(patiently("an answer to a commit", store.commit(txn.clone())).await, unknown);
        // What is refused for its compares is refused, whatever else is wrong with it.
        refused(&*store, txn.when("k".into(), Revision::NONE)).await;
        is_unknown(patiently("an answer to a renewal", store.renew(unknown)).await, unknown);
        is_unknown(patiently("an answer to a revocation", store.revoke(unknown)).await, unknown);
    }
    assert_eq!(current(&*store).await, before);
    assert_eq!(value(&*store, "k").await.as_deref(), Some(&b"old"[..]));
    assert_eq!(value(&*store, "first").await, None);
    assert_eq!(attached(&*store, living.id).await, Some(vec!["k".into()]));
}

/// F3 and A3: a refused transaction leaves what is attached alone too.
pub async fn f3_a_refused_transaction_attaches_and_detaches_nothing(store: Arc<dyn Store>) {
    let lease = grant(&*store, LONG).await;
    write(&*store, leased("held", "1", lease).put("free".into(), "1")).await;
    let txn = put("held", "2").put_leased("free".into(), "2", lease.id).when("held".into(), Revision::NONE);
    refused(&*store, txn).await;
    assert_eq!(attached(&*store, lease.id).await, Some(vec!["held".into()]));
}

/// F5: who has lost its lease cannot write any more what only the holder may, even before it has noticed.
pub async fn f5_the_fencing_revision_stops_a_holder_whose_lease_ended(store: Arc<dyn Store>) {
    let elect = async |lease: Lease, name: &'static str| {
        write(&*store, leased("leader", name, lease).when("leader".into(), Revision::NONE)).await
    };
    let work = |fence: Revision, what: &'static str| put("work", what).when("leader".into(), fence);
    let first = grant(&*store, LONG).await;
    let old_fence = elect(first, "first").await;
    write(&*store, work(old_fence, "by the first")).await;
    revoke(&*store, first.id).await;
    refused(&*store, work(old_fence, "too late")).await;
    let second = grant(&*store, LONG).await;
    let fence = elect(second, "second").await;
    assert!(fence > old_fence, "a later holder has a higher fence");
    refused(&*store, work(old_fence, "too late")).await;
    write(&*store, work(fence, "by the second")).await;
    assert_eq!(value(&*store, "work").await.as_deref(), Some(&b"by the second"[..]));
}

/// A8.
pub async fn a8_a_lease_for_no_time_or_for_ever_is_refused(store: Arc<dyn Store>) {
    let none = store.grant(Duration::ZERO).await;
    assert!(matches!(none, Err(Error::Invalid(_))), "{none:?}");
    for ttl in [MAX_LEASE_TTL + Duration::from_secs(1), Duration::MAX] {
        let answer = store.grant(ttl).await;
        assert!(matches!(answer, Err(Error::TooLarge { .. })), "{answer:?}");
    }
    assert!(store.leases().await.expect("a healthy store tells its leases").value.is_empty());
    // What is at the bound is not beyond it.
    grant(&*store, MAX_LEASE_TTL).await;
}

/// What people see when they ask.
pub async fn leases_tell_what_is_attached(store: Arc<dyn Store>) {
    let (first, second) = (grant(&*store, LONG).await, grant(&*store, 2 * LONG).await);
    write(&*store, leased("b", "1", first).put_leased("a".into(), "1", first.id)).await;
    write(&*store, put("plain", "1")).await;
    let renewed = patiently("an answer to a renewal", store.renew(second.id)).await;
    assert_eq!(renewed.expect("the lease is alive"), second.ttl);
    let told = store.leases().await.expect("a healthy store tells its leases");
    assert_eq!(told.revision, current(&*store).await);
    let mut leases: Vec<_> = told.value.iter().map(|status| (status.lease, status.keys.clone())).collect();
    let mut expected = vec![(first, vec!["a".into(), "b".into()]), (second, Vec::new())];
    expected.sort_by_key(|(lease, _)| lease.id);
    assert_eq!(leases, expected);
    assert!(told.value.iter().all(|status| status.remaining <= status.lease.ttl));
    assert!(told.value.iter().all(|status| !status.remaining.is_zero()));
    leases.clear();
    let status = store.status().await.expect("a healthy store has a status");
    assert_eq!((status.leases, status.keys), (2, 3));
    commit(&*store, delete("a")).await;
    assert_eq!(attached(&*store, first.id).await, Some(vec!["b".into()]), "what is removed is not attached");
}
