//! One lease for many objects that live for the same time.
//!
//! Upstream's store does it alike: objects made within a minute share a lease, up to a thousand of them, so that a storm of events
//! costs a lease for each thousand and not for each event. The lease lasts that minute longer, so that the last
//! object put on it still lives for its whole time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use orchestra_store::{Error, LeaseId, Result, Store};
use tokio::time::Instant;

/// For how long objects are put on the same lease.
const REUSED_FOR: Duration = Duration::from_secs(60);
/// How many objects are put on it at most.
const MOST_OBJECTS: usize = 1000;

/// Hands out the lease for objects that live for `ttl`.
#[derive(Debug)]
pub(crate) struct SharedLease {
    store: Arc<dyn Store>,
    ttl: Duration,
    /// Held for moments only, and never while the store is asked.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Current>,
    /// A grant on its way. All who need it wait for the same one, so that a storm asks for one lease and not for a thousand; it
    /// stays here when they go away, and whoever comes next goes on with it.
    granting: Option<Granting>,
}

type Granting = Shared<BoxFuture<'static, Result<Current, Arc<Error>>>>;

#[derive(Clone, Copy, Debug)]
struct Current {
    id: LeaseId,
    /// From then on another one is needed.
    until: Instant,
    objects: usize,
}

impl SharedLease {
    pub(crate) fn new(store: Arc<dyn Store>, ttl: Duration) -> Self {
        Self { store, ttl, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lease that lasts at least the whole time from now on.
    pub(crate) async fn take(&self) -> Result<LeaseId> {
        loop {
            let granting = {
                let mut state = self.state();
                if let Some(id) = state.current.as_mut().and_then(Current::take) {
                    return Ok(id);
                }
                state.granting.get_or_insert_with(|| self.grant()).clone()
            };
            let granted = granting.clone().await;
            let mut state = self.state();
            if state.granting.take_if(|theirs| theirs.ptr_eq(&granting)).is_some() {
                state.current = granted.as_ref().ok().copied().or(state.current);
            }
            drop(state);
            // All who waited for it are told.
            granted.map_err(|error| Error::Unavailable(error.to_string()))?;
        }
    }

    fn grant(&self) -> Granting {
        let (store, ttl) = (Arc::clone(&self.store), self.ttl);
        // From before the grant: its time may begin as early as that.
        let until = Instant::now() + REUSED_FOR;
        let granting = async move {
            let lease = store.grant(ttl + REUSED_FOR).await.map_err(Arc::new)?;
            Ok(Current { id: lease.id, until, objects: 0 })
        };
        granting.boxed().shared()
    }

    /// Whether `error` says that the lease `taken` has ended before its time, because somebody revoked it. It is not
    /// handed out again then, and what was to be written can be tried with another one.
    pub(crate) fn is_gone(&self, error: &Error, taken: LeaseId) -> bool {
        if !matches!(error, Error::UnknownLease(id) if *id == taken) {
            return false;
        }
        self.state().current.take_if(|current| current.id == taken);
        true
    }
}

impl Current {
    /// One more object, if it may be.
    fn take(&mut self) -> Option<LeaseId> {
        let may_be = Instant::now() < self.until && self.objects < MOST_OBJECTS;
        self.objects += usize::from(may_be);
        may_be.then_some(self.id)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use orchestra_store::lease::{EXPIRY_BOUND, Lease, LeaseStatus};
    use orchestra_store::{
        Committed, Entry, Key, KeyRange, MemoryStore, Page, RangeOptions, ReadAt, Revision, Snapshot,
        StoreStatus, Txn, Versioned, WatchStream,
    };
    use tokio::sync::Notify;

    use super::*;

    const TTL: Duration = Duration::from_secs(3600);

    fn leases(store: &MemoryStore) -> SharedLease {
        SharedLease::new(Arc::new(store.clone()), TTL)
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_or_a_thousand_objects_share_a_lease_and_each_lives_its_whole_time() {
        let store = MemoryStore::new();
        let shared = leases(&store);
        let first = shared.take().await.unwrap();
        for _ in 1..MOST_OBJECTS {
            assert_eq!(shared.take().await.unwrap(), first);
        }
        let second = shared.take().await.unwrap();
        assert_ne!(second, first);
        tokio::time::sleep(REUSED_FOR - Duration::from_millis(1)).await;
        assert_eq!(shared.take().await.unwrap(), second);
        store.commit(Txn::new().put_leased("last".into(), "v", second)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_ne!(shared.take().await.unwrap(), second);
        tokio::time::sleep(TTL - Duration::from_millis(1)).await;
        assert_eq!(store.status().await.unwrap().keys, 1);
        tokio::time::sleep(EXPIRY_BOUND).await;
        assert_eq!(store.status().await.unwrap().keys, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_was_revoked_is_not_handed_out_again() {
        let store = MemoryStore::new();
        let shared = leases(&store);
        let first = shared.take().await.unwrap();
        store.revoke(first).await.unwrap();
        let error = store.commit(Txn::new().put_leased("k".into(), "v", first)).await.unwrap_err();
        assert!(shared.is_gone(&error, first));
        let second = shared.take().await.unwrap();
        assert_ne!(second, first);
        assert!(!shared.is_gone(&Error::Invalid("something else"), second));
        assert!(shared.is_gone(&error, first), "many may find out at once");
        assert_eq!(shared.take().await.unwrap(), second);
    }

    /// A store that grants when it is told to.
    #[derive(Debug)]
    struct Slow {
        store: MemoryStore,
        go: Notify,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl Store for Slow {
        async fn grant(&self, ttl: Duration) -> Result<Lease> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.go.notified().await;
            self.store.grant(ttl).await
        }
        async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
            self.store.get(key, at).await
        }
        async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
            self.store.range(range, options).await
        }
        async fn commit(&self, txn: Txn) -> Result<Committed> {
            self.store.commit(txn).await
        }
        async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
            self.store.watch(range, from).await
        }
        async fn compact(&self, to: Revision) -> Result<()> {
            self.store.compact(to).await
        }
        async fn renew(&self, lease: LeaseId) -> Result<Duration> {
            self.store.renew(lease).await
        }
        async fn revoke(&self, lease: LeaseId) -> Result<Revision> {
            self.store.revoke(lease).await
        }
        async fn leases(&self) -> Result<Versioned<Vec<LeaseStatus>>> {
            self.store.leases().await
        }
        async fn snapshot(&self) -> Result<Snapshot> {
            self.store.snapshot().await
        }
        async fn status(&self) -> Result<StoreStatus> {
            self.store.status().await
        }
    }

    #[tokio::test]
    async fn whoever_goes_away_while_one_is_granted_costs_no_second_one_and_holds_up_nobody() {
        let store = Slow { store: MemoryStore::new(), go: Notify::new(), asked: AtomicUsize::new(0) };
        let store = Arc::new(store);
        let shared = SharedLease::new(store.clone(), TTL);
        let mut first = Box::pin(shared.take());
        assert!(futures::poll!(&mut first).is_pending());
        // Finds out at once, though the store has not answered.
        let other = LeaseId::new(7).unwrap();
        assert!(shared.is_gone(&Error::UnknownLease(other), other));
        drop(first);
        let mut others: Vec<_> = (0..3).map(|_| Box::pin(shared.take())).collect();
        for other in &mut others {
            assert!(futures::poll!(other).is_pending());
        }
        drop(others.remove(0));
        store.go.notify_one();
        let taken = futures::future::try_join_all(others).await.unwrap();
        assert_eq!(taken[0], taken[1]);
        assert_eq!(shared.take().await.unwrap(), taken[0]);
        assert_eq!(store.asked.load(Ordering::Relaxed), 1);
        assert_eq!(store.status().await.unwrap().leases, 1);
    }
}
