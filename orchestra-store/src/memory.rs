//! The store that lives and dies with its process.

use std::future::ready;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::StreamExt;

use crate::engine::Engine;
use crate::key::{Key, KeyRange};
use crate::lease::{Lease, LeaseId, LeaseStatus};
use crate::limits::{self, Retention, WatchBound};
use crate::metrics::StoreMetrics;
use crate::mvcc::{Mvcc, Plan, Share, Staged, Write, plan};
use crate::revision::{Revision, Versioned};
use crate::snapshot::Snapshot;
use crate::store::{Entry, Error, Page, RangeOptions, ReadAt, Result, Store, StoreStatus};
use crate::timer;
use crate::txn::{Committed, Txn};
use crate::watch::WatchStream;

/// Everything in memory: a write survives anything short of the end of the process.
///
/// Cheap to make; for tests, simulation and embedding. Clones are handles on the same store, and when the last one is
/// dropped its watches end.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    owned: Arc<Owned>,
}

/// The engine, apart from the watches that hold it too: it is closed when no handle is left.
#[derive(Debug)]
struct Owned {
    engine: Arc<Engine>,
    retention: Retention,
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.engine.close("it is closed");
    }
}

impl Owned {
    fn commit(&self, txn: Txn) -> Result<Committed> {
        limits::check(&txn)?;
        let mut state = self.engine.write()?;
        let write = match plan(txn, &*state)? {
            Plan::Answer(answer) => return Ok(answer),
            Plan::Write(write) => write,
        };
        let committed = write.committed();
        let (wakers, share) = self.publish(&mut state, write)?;
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        self.trim(share)?;
        Ok(committed)
    }

    fn publish(&self, state: &mut Mvcc, write: Write) -> Result<(Vec<Waker>, Share)> {
        let share = write.trim_share();
        let wakers = self.engine.publish(state, [write]);
        if let Some(to) = state.overdue(self.retention) {
            state.compact(to)?;
        }
        Ok((wakers, share))
    }

    fn trim(&self, mut share: Share) -> Result<()> {
        while self.engine.trim_step(&mut share)? {}
        Ok(())
    }

    fn grant(&self, ttl: Duration) -> Result<Lease> {
        let mut state = self.engine.write()?;
        let lease = Staged::on(&state).grant(ttl)?;
        self.engine.granted(&mut state, lease);
        Ok(lease)
    }

    fn revoke(&self, id: LeaseId) -> Result<Revision> {
        let mut state = self.engine.write()?;
        let mut staged = Staged::on(&state);
        let removal = staged.revoke(id)?;
        let revision = staged.end(id, removal.as_ref());
        let (wakers, share) = match removal {
            Some(write) => self.publish(&mut state, write)?,
            None => Default::default(),
        };
        self.engine.ended(&mut state, id);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        self.trim(share)?;
        Ok(revision)
    }

    fn revoke_all(&self, over: Vec<LeaseId>) -> Result<()> {
        for id in over {
            match self.revoke(id) {
                // Its holder has just ended it.
                Ok(_) | Err(Error::UnknownLease(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_options(MemoryOptions::new())
    }

    /// An empty store with bounds of one's own.
    pub fn with_options(options: MemoryOptions) -> Self {
        Self::over(Mvcc::default(), options)
    }

    /// A store that holds what `snapshot` holds. Its revision is [`Snapshot::restored_revision`].
    ///
    /// # Errors
    /// Those of the snapshot: it is broken off, damaged or cut short.
    pub async fn restore(mut snapshot: Snapshot) -> Result<Self> {
        let revision = snapshot.restored_revision(SystemTime::now());
        let mut state = Mvcc::restored(revision);
        while let Some(entries) = snapshot.next().await {
            entries?.into_iter().for_each(|entry| state.load(entry));
        }
        for lease in snapshot.leases() {
            state.load_lease(lease.clone()).map_err(|what| Error::BadSnapshot(what.to_owned()))?;
        }
        state.leases_mut().move_on(snapshot.restored_last_lease(revision));
        let store = Self::over(state, MemoryOptions::new());
        // Its leases run out from now on.
        store.owned();
        Ok(store)
    }

    fn over(state: Mvcc, options: MemoryOptions) -> Self {
        let engine = Arc::new(Engine::new(state, options.watch_bound));
        Self { owned: Arc::new(Owned { engine, retention: options.retention }) }
    }

    /// What it owns, whose leases run out from now on, if there are any.
    fn owned(&self) -> &Owned {
        let owned = &self.owned;
        owned.engine.expiry().attend(|| {
            let owned = Arc::downgrade(owned);
            move |over| ready(owned.upgrade().map_or(Ok(()), |owned| owned.revoke_all(over)))
        });
        owned
    }

    fn engine(&self) -> &Arc<Engine> {
        &self.owned().engine
    }

    /// Handles on what it counts.
    pub fn metrics(&self) -> StoreMetrics {
        StoreMetrics::in_memory(&self.owned.engine)
    }

    /// How many watches are served live.
    pub fn watchers(&self) -> usize {
        self.engine().watchers()
    }
}

/// Bounds of a [`MemoryStore`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryOptions {
    /// How much of the past is kept.
    pub retention: Retention,
    /// How far a watcher may fall behind.
    pub watch_bound: WatchBound,
}

impl MemoryOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps so much of the past.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Lets a watcher fall so far behind.
    #[must_use]
    pub fn watch_bound(mut self, bound: WatchBound) -> Self {
        self.watch_bound = bound;
        self
    }
}

// Nothing here ever waits, so a caller in a loop would starve the watchers on its thread;
// every call therefore takes part in the runtime's cooperative scheduling.
#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
        tokio::task::coop::consume_budget().await;
        self.engine().get(key, at)
    }

    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
        tokio::task::coop::consume_budget().await;
        self.engine().range(&range, options)
    }

    async fn commit(&self, txn: Txn) -> Result<Committed> {
        tokio::task::coop::consume_budget().await;
        self.owned().commit(txn)
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        Ok(self.engine().watch(range, from)?.boxed())
    }

    async fn compact(&self, to: Revision) -> Result<()> {
        self.engine().write()?.compact(to)?;
        self.engine().trim().await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        tokio::task::coop::consume_budget().await;
        timer::demand()?;
        let lease = self.owned.grant(ttl)?;
        // Its time begins.
        self.owned();
        Ok(lease)
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration> {
        tokio::task::coop::consume_budget().await;
        self.engine().renew(lease)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision> {
        tokio::task::coop::consume_budget().await;
        self.owned().revoke(lease)
    }

    async fn leases(&self) -> Result<Versioned<Vec<LeaseStatus>>> {
        self.engine().leases()
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.engine().snapshot()
    }

    async fn status(&self) -> Result<StoreStatus> {
        self.engine().status(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::txn::Outcome;
    use crate::watch::{Event, WatchMessage};

    fn put(key: &str, value: &str) -> Txn {
        Txn::new().put(key.into(), value.to_owned())
    }

    #[tokio::test]
    async fn writes_take_one_revision_each_and_refusals_none() {
        let store = MemoryStore::new();
        assert_eq!(store.status().await.unwrap().revision, Revision(1));
        assert_eq!(store.commit(put("a", "1")).await.unwrap().revision, Revision(2));
        let refused = store.commit(put("a", "2").when("a".into(), Revision::NONE)).await.unwrap();
        assert_eq!(refused.revision, Revision(2));
        let Outcome::Refused(found) = refused.outcome else { panic!("not refused") };
        assert_eq!(found[0].as_ref().unwrap().value, "1");
        let none = store.commit(Txn::new().delete("b".into())).await.unwrap();
        assert_eq!(none, Committed { revision: Revision(2), outcome: Outcome::Applied });
    }

    #[tokio::test]
    async fn a_watch_replays_the_past_then_marks_progress_then_goes_live() {
        let store = MemoryStore::new();
        store.commit(put("/a/1", "x")).await.unwrap();
        store.commit(put("/b/1", "x")).await.unwrap();
        let mut watch = store.watch(KeyRange::prefix("/a/"), Revision(1)).await.unwrap();
        let WatchMessage::Events { revision, .. } = watch.next().await.unwrap().unwrap() else {
            panic!("no events")
        };
        assert_eq!(revision, Revision(2));
        assert_eq!(watch.next().await.unwrap().unwrap(), WatchMessage::Progress(Revision(3)));
        store.commit(put("/b/2", "x")).await.unwrap();
        store.commit(put("/b/3", "x")).await.unwrap();
        assert_eq!(watch.next().await.unwrap().unwrap(), WatchMessage::Progress(Revision(5)));
        store.commit(Txn::new().delete("/a/1".into())).await.unwrap();
        let WatchMessage::Events { revision, events } = watch.next().await.unwrap().unwrap() else {
            panic!("no events")
        };
        assert_eq!(revision, Revision(6));
        assert!(matches!(&events[..], [Event::Delete { previous, .. }] if previous.value == "x"));
        drop(watch);
        store.commit(put("/b/4", "x")).await.unwrap();
        assert_eq!(store.watchers(), 0);
    }
}
