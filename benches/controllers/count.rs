//! A store that counts what is written to it, by resource.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use orchestra::store::{
    Committed, Key, KeyRange, Lease, LeaseId, LeaseStatus, Op, Outcome, Page, RangeOptions, ReadAt, Result,
    Revision, Snapshot, Store, StoreStatus, Txn, Versioned, WatchStream,
};
use orchestra::store::{DurableStore, Entry};

/// What was done to a resource: how often something was put there, and removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) puts: u64,
    pub(crate) removals: u64,
    /// Transactions that came too late.
    pub(crate) refused: u64,
}

/// By resource.
pub(crate) type Writes = BTreeMap<String, Written>;

/// The durable store, counted. Clones count the same.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    store: Arc<DurableStore>,
    writes: Arc<Mutex<Writes>>,
}

impl Counted {
    pub(crate) fn new(store: DurableStore) -> Self {
        Self { store: Arc::new(store), writes: Arc::default() }
    }

    pub(crate) fn writes(&self) -> Writes {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, done: &[(String, bool)], applied: bool) {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        for (resource, puts) in done {
            let written = writes.entry(resource.clone()).or_default();
            match (applied, puts) {
                (false, _) => written.refused += 1,
                (true, true) => written.puts += 1,
                (true, false) => written.removals += 1,
            }
        }
    }
}

/// The plural of what lies under a key such as `/registry/core/pods/...`.
fn resource(key: &Key) -> String {
    String::from_utf8_lossy(key.as_bytes()).split('/').nth(3).unwrap_or("?").to_owned()
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for Counted {
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
        self.store.get(key, at).await
    }

    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
        self.store.range(range, options).await
    }

    async fn commit(&self, txn: Txn) -> Result<Committed> {
        let done: Vec<_> =
            txn.ops.iter().map(|op| (resource(op.key()), matches!(op, Op::Put { .. }))).collect();
        let committed = self.store.commit(txn).await?;
        self.count(&done, committed.outcome == Outcome::Applied);
        Ok(committed)
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        self.store.watch(range, from).await
    }

    async fn compact(&self, to: Revision) -> Result<()> {
        self.store.compact(to).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        self.store.grant(ttl).await
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
