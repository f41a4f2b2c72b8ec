//! A store whose requests are timed, whatever backend it is.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::requests::{Operation, RequestMetrics};
use crate::key::{Key, KeyRange};
use crate::lease::{Lease, LeaseId, LeaseStatus};
use crate::revision::{Revision, Versioned};
use crate::snapshot::Snapshot;
use crate::store::{Entry, Page, RangeOptions, ReadAt, Result, Store, StoreStatus};
use crate::txn::{Committed, Op, Txn};
use crate::watch::WatchStream;

/// Says which group and resource a key belongs to, for counting; `None` where it is neither.
pub trait Classify: Send + Sync + 'static {
    /// The group and the resource of a key.
    fn classify<'k>(&self, key: &'k Key) -> Option<(&'k str, &'k str)>;
}

impl<F: for<'k> Fn(&'k Key) -> Option<(&'k str, &'k str)> + Send + Sync + 'static> Classify for F {
    fn classify<'k>(&self, key: &'k Key) -> Option<(&'k str, &'k str)> {
        self(key)
    }
}

/// Times what is asked of `S`; everything else is as in `S`.
#[derive(Clone)]
pub struct Metered<S> {
    store: S,
    classify: Arc<dyn Classify>,
    metrics: RequestMetrics,
}

impl<S: fmt::Debug> fmt::Debug for Metered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered").field("store", &self.store).finish_non_exhaustive()
    }
}

impl<S> Metered<S> {
    /// Times what is asked of `store`, apart for each group and resource that `classify` tells.
    pub fn new(store: S, classify: impl Classify) -> Self {
        Self { store, classify: Arc::new(classify), metrics: RequestMetrics::default() }
    }

    /// The handles.
    pub fn metrics(&self) -> &RequestMetrics {
        &self.metrics
    }

    async fn timed<T>(
        &self,
        operation: Operation,
        key: Key,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let begun = Instant::now();
        let outcome = request.await;
        let subject = self.classify.classify(&key).unwrap_or_default();
        self.metrics.observe(operation, subject, begun.elapsed(), &outcome);
        outcome
    }
}

/// What a transaction counts as: what it does first. One that only compares is a read.
fn operation(txn: &Txn) -> (Operation, Key) {
    match txn.ops.first() {
        Some(Op::Delete { key }) => (Operation::Delete, key.clone()),
        Some(Op::Put { key, .. }) => {
            let is_new = txn
                .compares
                .iter()
                .any(|compare| compare.key == *key && compare.mod_revision == Revision::NONE);
            (if is_new { Operation::Create } else { Operation::Update }, key.clone())
        }
        None => {
            let key = txn.compares.first().map(|compare| compare.key.clone());
            (Operation::Get, key.unwrap_or_else(|| Key::new(bytes::Bytes::new())))
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Store> Store for Metered<S> {
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
        self.timed(Operation::Get, key.clone(), self.store.get(key, at)).await
    }

    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
        self.timed(Operation::List, range.start.clone(), self.store.range(range, options)).await
    }

    async fn commit(&self, txn: Txn) -> Result<Committed> {
        let (operation, key) = operation(&txn);
        self.timed(operation, key, self.store.commit(txn)).await
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        self.timed(Operation::Watch, range.start.clone(), self.store.watch(range, from)).await
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
