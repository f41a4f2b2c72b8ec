//! The embedded store that survives everything but the loss of its disk.
//!
//! The same multi-version core as in memory, behind an append-only log: a write is on disk before anyone sees it, and
//! before it is acknowledged. Reads and watches are served from memory and never wait for the disk. The format of the
//! files is described in `docs/store-format.md`.

mod ahead;
mod batch;
pub(crate) mod checkpoint;
mod checkpointer;
pub(crate) mod codec;
pub(crate) mod disk;
pub(crate) mod frame;
mod gather;
mod lock;
mod queue;
pub(crate) mod recover;
mod restore;
pub(crate) mod segment;
mod usage;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::oneshot;

use ahead::Ahead;
use checkpointer::Checkpointer;
use lock::DirLock;
use queue::{Command, Queue};
pub(crate) use usage::DiskUsage;
use writer::Writer;

use crate::engine::Engine;
use crate::key::{Key, KeyRange};
use crate::lease::{Lease, LeaseId, LeaseStatus};
use crate::limits::{self, Retention, WatchBound};
use crate::metrics::{StoreMetrics, Timings};
use crate::revision::{Revision, Versioned};
use crate::snapshot::Snapshot;
use crate::store::{Entry, Error, Page, RangeOptions, ReadAt, Result, Store, StoreStatus};
use crate::timer;
use crate::txn::{Committed, Txn};
use crate::watch::WatchStream;

/// Keys and values in memory and in a directory, of which it is the only user.
///
/// Dropping it does what is still queued, ends its watches and lets go of the directory; that takes as long as one
/// sync of the disk. A `commit` whose future is dropped may or may not take effect.
///
/// Writers who are faster than the disk wait: what is queued is bounded, and a `commit` beyond it is not even queued until there is
/// room, in turn.
///
/// When the disk fails, every further write and [`Store::status`] answer [`Error::Unavailable`] with the reason, and
/// reads go on with what was acknowledged. Opening the directory anew tells what is there.
#[derive(Debug)]
pub struct DurableStore {
    dir: PathBuf,
    engine: Arc<Engine>,
    queue: Arc<Queue>,
    usage: Arc<DiskUsage>,
    timings: Arc<Timings>,
    writer: Option<JoinHandle<()>>,
    /// Last, so that the directory is free only when nothing writes to it any more.
    _lock: DirLock,
}

/// Bounds of a [`DurableStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DurableOptions {
    /// How much of the past is kept.
    pub retention: Retention,
    /// How far a watcher may fall behind.
    pub watch_bound: WatchBound,
    /// How large the log grows before a checkpoint takes its place. A checkpoint that is larger itself counts instead.
    pub checkpoint_bytes: u64,
}

impl Default for DurableOptions {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            watch_bound: WatchBound::default(),
            checkpoint_bytes: 64 * 1024 * 1024,
        }
    }
}

impl DurableOptions {
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

    /// Lets the log grow so large between checkpoints.
    #[must_use]
    pub fn checkpoint_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_bytes = bytes;
        self
    }
}

impl DurableStore {
    /// Opens the store in `dir`, making both if they are missing.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open, [`Error::Corrupt`] when a file is not what was written, and
    /// [`Error::Backend`] naming the path when the file system refuses.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(dir, DurableOptions::new())
    }

    /// Opens the store in `dir` with bounds of one's own.
    ///
    /// # Errors
    /// As [`DurableStore::open`].
    pub fn open_with(dir: impl AsRef<Path>, options: DurableOptions) -> Result<Self> {
        let (writer, lock) = Self::prepare(dir.as_ref(), options)?;
        Self::start(writer, lock)
    }

    /// Makes a store in `dir` that holds what `snapshot` holds, for [`DurableStore::open`], and tells its revision
    /// ([`Snapshot::restored_revision`]). `dir` must be missing or empty. Whatever happens meanwhile, afterwards it is as it was
    /// or holds everything. Blocks while it writes.
    ///
    /// # Errors
    /// [`Error::HoldsData`], those of the snapshot, and [`Error::Backend`] naming the path when the file system refuses.
    pub async fn restore(dir: impl AsRef<Path>, snapshot: Snapshot) -> Result<Revision> {
        restore::restore(dir.as_ref(), snapshot).await
    }

    /// Everything but the thread.
    fn prepare(dir: &Path, options: DurableOptions) -> Result<(Writer, DirLock)> {
        disk::create_dir(dir)?;
        let lock = DirLock::acquire(dir)?;
        let recovered = recover::recover(dir)?;
        let segment = recovered.segment;
        let closed_logs = recovered.log_bytes - segment.length;
        let usage = Arc::new(DiskUsage::new(recovered.checkpoint_bytes, closed_logs, segment.length));
        usage.set_ahead(segment.room());
        let ahead = Ahead::new(dir.to_owned(), options.checkpoint_bytes, segment.room());
        let engine = Arc::new(Engine::new(recovered.state, options.watch_bound));
        let timings = Arc::<Timings>::default();
        let (checkpoint_engine, checkpoint_usage) = (Arc::clone(&engine), Arc::clone(&usage));
        let checkpointer = Checkpointer::new(
            dir.to_owned(),
            checkpoint_engine,
            checkpoint_usage,
            Arc::clone(&timings),
            options.checkpoint_bytes,
        );
        let (dir, queue, retention) = (dir.to_owned(), Arc::default(), options.retention);
        Ok((Writer { dir, engine, queue, retention, segment, ahead, usage, timings, checkpointer }, lock))
    }

    fn start(writer: Writer, lock: DirLock) -> Result<Self> {
        let dir = writer.dir.clone();
        let (engine, queue, usage) =
            (Arc::clone(&writer.engine), Arc::clone(&writer.queue), Arc::clone(&writer.usage));
        let timings = Arc::clone(&writer.timings);
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let writer =
            thread.spawn(move || writer.run()).map_err(disk::at("start a writer thread for", &dir))?;
        let store = Self { dir, engine, queue, usage, timings, writer: Some(writer), _lock: lock };
        // Leases that were there run out from now on, if this is the runtime for it.
        store.attend();
        Ok(store)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Handles on what it counts.
    pub fn metrics(&self) -> StoreMetrics {
        StoreMetrics::on_disk(&self.engine, &self.timings, &self.usage)
    }

    /// How many watches are served live.
    pub fn watchers(&self) -> usize {
        self.engine.watchers()
    }

    /// Leases run out from now on, if there are any.
    fn attend(&self) {
        self.engine.expiry().attend(|| {
            let queue = Arc::clone(&self.queue);
            move |over| revoke_all(Arc::clone(&queue), over)
        });
    }

    fn engine(&self) -> &Arc<Engine> {
        self.attend();
        &self.engine
    }

    async fn answer<T>(&self, reply: oneshot::Receiver<Result<T>>) -> Result<T> {
        let answer = reply.await;
        self.attend();
        answer.unwrap_or_else(|_| Err(self.queue.refusal()))
    }
}

/// Ends leases that have run out, all with one write to the disk if it is free.
async fn revoke_all(queue: Arc<Queue>, over: Vec<LeaseId>) -> Result<()> {
    let mut answers = Vec::with_capacity(over.len());
    for id in over {
        let (reply, answer) = oneshot::channel();
        queue.push(Command::Revoke { id, reply }, 0).await?;
        answers.push(answer);
    }
    for answer in answers {
        match answer.await.unwrap_or_else(|_| Err(queue.refusal())) {
            // Its holder has just ended it.
            Ok(_) | Err(Error::UnknownLease(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Drop for DurableStore {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(Err(_)) = self.writer.take().map(JoinHandle::join) {
            tracing::error!(dir = %self.dir.display(), "the writer thread panicked");
        }
        self.engine.close("it is closed");
    }
}

// Reads never wait, so a caller in a loop would starve others on its thread; they therefore take part in the
// runtime's cooperative scheduling.
#[async_trait]
impl Store for DurableStore {
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
        tokio::task::coop::consume_budget().await;
        self.engine().get(key, at)
    }

    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
        tokio::task::coop::consume_budget().await;
        self.engine().range(&range, options)
    }

    async fn commit(&self, txn: Txn) -> Result<Committed> {
        let bytes = limits::check(&txn)?;
        let (reply, answer) = oneshot::channel();
        self.queue.push(Command::Commit { txn, reply }, bytes).await?;
        self.answer(answer).await
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        Ok(self.engine().watch(range, from)?.boxed())
    }

    async fn compact(&self, to: Revision) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(Command::Compact { to, reply }, 0).await?;
        self.answer(answer).await?;
        self.engine().trim().await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        timer::demand()?;
        let (reply, answer) = oneshot::channel();
        self.queue.push(Command::Grant { ttl, reply }, 0).await?;
        self.answer(answer).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration> {
        tokio::task::coop::consume_budget().await;
        match self.queue.failure() {
            Some(why) => Err(Error::Unavailable(why)),
            None => self.engine().renew(lease),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(Command::Revoke { id: lease, reply }, 0).await?;
        self.answer(answer).await
    }

    async fn leases(&self) -> Result<Versioned<Vec<LeaseStatus>>> {
        self.engine().leases()
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.engine().snapshot()
    }

    async fn status(&self) -> Result<StoreStatus> {
        match self.queue.failure() {
            Some(why) => Err(Error::Unavailable(why)),
            None => self.engine().status(self.usage.total()),
        }
    }
}
