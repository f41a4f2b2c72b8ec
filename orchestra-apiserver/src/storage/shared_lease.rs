//! One lease for many objects that live for the same time.
//!
//! Upstream's store does it alike: objects made within a minute share a lease, up to a thousand of them, so that a storm of events
//! costs a lease for each thousand and not for each event. The lease lasts that minute longer, so that the last
//! object put on it still lives for its whole time.

use std::sync::Arc;
use std::time::Duration;

use orchestra_store::{Error, LeaseId, Result, Store};
use tokio::sync::Mutex;
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
    /// Held while one is granted, so that a storm asks for one and not for a thousand.
    current: Mutex<Option<Current>>,
}

#[derive(Debug)]
struct Current {
    id: LeaseId,
    /// From then on another one is needed.
    until: Instant,
    objects: usize,
}

impl SharedLease {
    pub(crate) fn new(store: Arc<dyn Store>, ttl: Duration) -> Self {
        Self { store, ttl, current: Mutex::default() }
    }

    /// A lease that lasts at least the whole time from now on.
    pub(crate) async fn take(&self) -> Result<LeaseId> {
        let mut current = self.current.lock().await;
        // From before the grant: its time may begin as early as that.
        let now = Instant::now();
        if let Some(current) = current.as_mut().filter(|it| now < it.until && it.objects < MOST_OBJECTS) {
            current.objects += 1;
            return Ok(current.id);
        }
        let id = self.store.grant(self.ttl + REUSED_FOR).await?.id;
        *current = Some(Current { id, until: now + REUSED_FOR, objects: 1 });
        Ok(id)
    }

    /// Whether `error` says that the lease `taken` has ended before its time, because somebody revoked it. It is not
    /// handed out again then, and what was to be written can be tried with another one.
    pub(crate) async fn is_gone(&self, error: &Error, taken: LeaseId) -> bool {
        if !matches!(error, Error::UnknownLease(id) if *id == taken) {
            return false;
        }
        self.current.lock().await.take_if(|current| current.id == taken);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orchestra_store::lease::EXPIRY_BOUND;
    use orchestra_store::{MemoryStore, Txn};

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
        assert!(shared.is_gone(&error, first).await);
        let second = shared.take().await.unwrap();
        assert_ne!(second, first);
        assert!(!shared.is_gone(&Error::Invalid("something else"), second).await);
        assert!(shared.is_gone(&error, first).await, "many may find out at once");
        assert_eq!(shared.take().await.unwrap(), second);
    }
}
