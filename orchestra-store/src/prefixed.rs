//! A part of a store, as a store of its own.

mod leases;
mod scope;

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::key::{Key, KeyRange};
use crate::lease::{Lease, LeaseId, LeaseStatus, LeasedKeys};
use crate::limits::{self, LAYER_BYTES};
use crate::revision::{Revision, Versioned};
use crate::snapshot::Snapshot;
use crate::store::{Entry, Error, Page, RangeOptions, ReadAt, Result, Store, StoreStatus};
use crate::txn::{Committed, Op, Outcome, Txn};
use crate::watch::{WatchMessage, WatchStream};
use leases::OwnLeases;
use scope::{Scope, told};

/// How often a snapshot is tried that is overtaken by compaction before it has begun.
const TRIES: usize = 8;

/// A store that is the keys of `S` under one prefix, without the prefix.
///
/// Whoever holds it can neither read, write, watch nor count anything else, and learns of others no more than how fast the
/// revision rises and that numbers of leases were given out. In particular:
///
/// * A range without an end ends with the prefix. Keys are bytes: `..` leads nowhere.
/// * Errors tell no key, path or address; those are in the log.
/// * [`Store::status`] counts own keys and leases, which takes as long as reading them, and says nothing of the disk.
/// * Leases of others are not there. A lease is one's own when it was granted through the handle or its clones, or
///   when it is attached to own keys only.
/// * [`Store::compact`] raises the lower end of the window for this handle and its clones alone, until they are dropped, and frees
///   nothing: the past is shared, so compacting it is for whoever owns the whole store. When that one compacts, the handle's
///   window shrinks too.
/// * [`Store::snapshot`] holds own keys and leases. It is made by looking at all.
/// * Revisions are those of the whole store. A transaction takes the next one there, which need not be the next
///   one seen here; the numbers in between were others' writes, and come as progress in a watch.
///
/// How long calls take is not hidden.
///
/// ```
/// use orchestra_store::{KeyRange, MemoryStore, Prefixed, RangeOptions, Store, Txn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> orchestra_store::Result<()> {
/// let store = MemoryStore::new();
/// let [mine, yours] = [Prefixed::new(store.clone(), "/mine/")?, Prefixed::new(store.clone(), "/yours/")?];
/// mine.commit(Txn::new().put("a".into(), "1")).await?;
/// yours.commit(Txn::new().put("b".into(), "2")).await?;
///
/// let all = mine.range(KeyRange::all(), RangeOptions::new()).await?.value.entries;
/// assert_eq!(all.iter().map(|entry| entry.key.as_bytes()).collect::<Vec<_>>(), [b"a"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Prefixed<S> {
    store: S,
    shared: Arc<Shared>,
}

/// What clones have in common.
#[derive(Debug)]
struct Shared {
    scope: Scope,
    leases: OwnLeases,
    /// The handle's own compacted revision.
    compacted: AtomicU64,
}

impl<S: Clone> Clone for Prefixed<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S: Store> Prefixed<S> {
    /// The keys of `store` that begin with `prefix`. End it with what separates parts of a key, or `/a` is a part of `/ab`'s neighbours.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty prefix, which would separate nothing, and [`Error::TooLarge`] for one beyond [`LAYER_BYTES`].
    pub fn new(store: S, prefix: impl Into<Bytes>) -> Result<Self> {
        let prefix = prefix.into();
        if prefix.is_empty() {
            return Err(Error::Invalid("a prefix is empty"));
        }
        limits::within("prefix size in bytes", prefix.len(), LAYER_BYTES)?;
        let (scope, leases, compacted) = (Scope::new(prefix), OwnLeases::new(), AtomicU64::new(0));
        Ok(Self { store, shared: Arc::new(Shared { scope, leases, compacted }) })
    }

    /// The prefix.
    pub fn prefix(&self) -> &[u8] {
        self.scope().prefix()
    }

    fn scope(&self) -> &Scope {
        &self.shared.scope
    }

    fn compacted(&self) -> Revision {
        Revision(self.shared.compacted.load(Ordering::Acquire))
    }

    /// Refuses what lies below the handle's own window.
    async fn check_window(&self, at: Revision) -> Result<()> {
        let own = self.compacted();
        if at > own || own == Revision::NONE {
            return Ok(());
        }
        let shared = self.store.status().await.map_err(told)?.compacted;
        Err(Error::Compacted(own.max(shared)))
    }

    async fn check_read(&self, at: ReadAt) -> Result<()> {
        match at {
            ReadAt::Latest => Ok(()),
            ReadAt::Exactly(revision) => self.check_window(revision).await,
        }
    }

    /// A lease that a transaction names and that is not the handle's.
    async fn foreign_lease(&self, txn: &Txn) -> Result<Option<LeaseId>> {
        for op in &txn.ops {
            let Op::Put { lease: Some(lease), .. } = op else { continue };
            match self.shared.leases.check(*lease, self.scope(), &self.store).await {
                Err(Error::UnknownLease(lease)) => return Ok(Some(lease)),
                checked => checked?,
            }
        }
        Ok(None)
    }

    /// How many keys there are.
    async fn count(&self, at: ReadAt) -> Result<u64> {
        let page =
            self.store.range(self.scope().all().clone(), RangeOptions::new().at(at).limit(1)).await?.value;
        Ok(page.remaining + page.entries.len() as u64)
    }

    /// A snapshot of everything, and how much of it is ours.
    async fn counted_snapshot(&self) -> Result<(Snapshot, u64)> {
        let mut tries = 0;
        loop {
            let snapshot = self.store.snapshot().await?;
            match self.count(ReadAt::Exactly(snapshot.revision())).await {
                Ok(keys) => return Ok((snapshot, keys)),
                // Overtaken before it has begun.
                Err(Error::Compacted(_)) if tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Store> Store for Prefixed<S> {
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
        self.check_read(at).await?;
        let read = self.store.get(&self.scope().outer(key), at).await.map_err(told)?;
        let value = read.value.map(|entry| self.scope().inner_entry(entry)).transpose()?;
        Ok(Versioned { revision: read.revision, value })
    }

    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
        self.check_read(options.at).await?;
        let read = self.store.range(self.scope().outer_range(&range), options).await.map_err(told)?;
        let Page { entries, remaining } = read.value;
        let value = Page { entries: self.scope().inner_entries(entries)?, remaining };
        Ok(Versioned { revision: read.revision, value })
    }

    async fn commit(&self, txn: Txn) -> Result<Committed> {
        let txn = self.scope().outer_txn(txn)?;
        let (txn, foreign) = match self.foreign_lease(&txn).await.map_err(told)? {
            None => (txn, None),
            // Refused for its compares, if they refuse it, and only then for the lease: nothing of it is written.
            Some(lease) => (Txn { ops: Vec::new(), ..txn }, Some(lease)),
        };
        let Committed { revision, outcome } = self.store.commit(txn).await.map_err(told)?;
        let outcome = match (outcome, foreign) {
            (Outcome::Applied, Some(lease)) => return Err(Error::UnknownLease(lease)),
            (Outcome::Applied, None) => Outcome::Applied,
            (Outcome::Refused(found), _) => {
                let inner =
                    |found: Option<Entry>| found.map(|entry| self.scope().inner_entry(entry)).transpose();
                Outcome::Refused(found.into_iter().map(inner).collect::<Result<_>>()?)
            }
        };
        Ok(Committed { revision, outcome })
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        self.check_window(from).await?;
        let stream = self.store.watch(self.scope().outer_range(&range), from).await.map_err(told)?;
        let shared = Arc::clone(&self.shared);
        let inner = stream.map(move |message| match message.map_err(told)? {
            WatchMessage::Events { revision, events } => {
                let events =
                    events.iter().map(|event| shared.scope.inner_event(event)).collect::<Result<_>>()?;
                Ok(WatchMessage::Events { revision, events })
            }
            WatchMessage::Progress(revision) => Ok(WatchMessage::Progress(revision)),
        });
        // An error is the last item.
        let whole = inner.scan(false, |has_ended, item| {
            let ended = std::mem::replace(has_ended, item.is_err());
            ready((!ended).then_some(item))
        });
        Ok(whole.boxed())
    }

    async fn compact(&self, to: Revision) -> Result<()> {
        let current = self.store.status().await.map_err(told)?.revision;
        if to > current {
            return Err(Error::FutureRevision(current));
        }
        self.shared.compacted.fetch_max(to.0, Ordering::AcqRel);
        Ok(())
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        let lease = self.store.grant(ttl).await.map_err(told)?;
        self.shared.leases.add(lease.id, &self.store).await.map_err(told)?;
        Ok(lease)
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration> {
        self.shared.leases.check(lease, self.scope(), &self.store).await.map_err(told)?;
        self.store.renew(lease).await.map_err(told)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision> {
        self.shared.leases.check(lease, self.scope(), &self.store).await.map_err(told)?;
        let revision = self.store.revoke(lease).await.map_err(told)?;
        self.shared.leases.forget(lease);
        Ok(revision)
    }

    async fn leases(&self) -> Result<Versioned<Vec<LeaseStatus>>> {
        let Versioned { revision, value } = self.store.leases().await.map_err(told)?;
        let own = self.shared.leases.own(value, self.scope()).into_iter();
        let value = own.map(|status| self.scope().inner_lease(status)).collect::<Result<_>>()?;
        Ok(Versioned { revision, value })
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        let (snapshot, keys) = self.counted_snapshot().await.map_err(told)?;
        let (revision, taken) = (snapshot.revision(), snapshot.taken());
        let mut leases = Vec::new();
        for LeasedKeys { lease, keys } in snapshot.leases() {
            // One without keys lives on in the whole store, and there is nothing in it to be restored.
            if !keys.is_empty() && keys.iter().all(|key| self.scope().holds(key)) {
                let keys = keys.iter().map(|key| self.scope().inner(key)).collect::<Result<_>>()?;
                leases.push(LeasedKeys { lease: *lease, keys });
            }
        }
        let all = stream::try_unfold(snapshot, async |mut snapshot| {
            let entries = snapshot.next().await.transpose()?;
            Ok(entries.map(|entries| (entries, snapshot)))
        });
        let shared = Arc::clone(&self.shared);
        let own = all.map_err(told).map(move |entries| {
            let own = entries?.into_iter().filter(|entry| shared.scope.holds(&entry.key));
            own.map(|entry| shared.scope.inner_entry(entry)).collect::<Result<Vec<_>>>()
        });
        let own = own.try_filter(|entries| ready(!entries.is_empty()));
        Ok(Snapshot::new(revision, keys, taken, own).with_leases(leases, None))
    }

    async fn status(&self) -> Result<StoreStatus> {
        let StoreStatus { revision, compacted, .. } = self.store.status().await.map_err(told)?;
        let keys = self.count(ReadAt::Latest).await.map_err(told)?;
        let leases = self.leases().await?.value.len() as u64;
        let compacted = compacted.max(self.compacted());
        Ok(StoreStatus { revision, compacted, keys, leases, disk_bytes: 0 })
    }
}
