//! What the in-process backends have in common: the state behind a lock, its watchers, and all reads.
//!
//! The lock is held for moments and never across an await. Backends differ in one thing only: what must have
//! happened before [`Engine::publish`] may be called.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, SystemTime};

use futures::{Stream, stream};
use tokio::task::coop::cooperative;

use crate::expiry::Expiry;
use crate::feed::{Feed, Hub, Next, Published, Run, Watches};
use crate::key::{Key, KeyRange};
use crate::lease::{Lease, LeaseId, LeaseStatus, LeasedKeys};
use crate::limits::WatchBound;
use crate::mvcc::{Latest, Mvcc, Share, Write};
use crate::revision::{Revision, Versioned};
use crate::snapshot::Snapshot;
use crate::store::{Entry, Error, Page, RangeOptions, ReadAt, Result, StoreStatus};
use crate::timer;
use crate::watch::WatchMessage;

/// How many past changes a watch looks at while it holds the lock.
const REPLAY_CHANGES: usize = 512;
/// How many bytes of values it takes along then, before the last revision: a watcher who sleeps keeps them from being freed.
const REPLAY_BYTES: usize = 1024 * 1024;
/// How many steps a compaction or a snapshot takes between pauses.
const STEPS: usize = 4;
/// How long it leaves lock and processor to others then.
const PAUSE: Duration = Duration::from_millis(1);

/// State and watchers.
#[derive(Debug)]
pub(crate) struct Engine {
    state: RwLock<Mvcc>,
    /// Locked inside `state`, never the other way round.
    hub: Mutex<Hub>,
    bound: WatchBound,
    /// Locked inside `state`, never the other way round.
    expiry: Arc<Expiry>,
}

impl Engine {
    pub(crate) fn new(state: Mvcc, bound: WatchBound) -> Self {
        let expiry = Arc::<Expiry>::default();
        state.leases().iter().for_each(|lease| expiry.add(lease));
        Self { state: RwLock::new(state), hub: Mutex::default(), bound, expiry }
    }

    pub(crate) fn expiry(&self) -> &Arc<Expiry> {
        &self.expiry
    }

    pub(crate) fn read(&self) -> Result<RwLockReadGuard<'_, Mvcc>> {
        self.state.read().map_err(|_| broken())
    }

    pub(crate) fn write(&self) -> Result<RwLockWriteGuard<'_, Mvcc>> {
        self.state.write().map_err(|_| broken())
    }

    fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
        let state = self.read()?;
        let revision = state.resolve(at)?;
        Ok(Versioned { revision, value: state.get(key, revision) })
    }

    pub(crate) fn range(&self, range: &KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
        let state = self.read()?;
        let revision = state.resolve(options.at)?;
        Ok(Versioned { revision, value: state.range(range, revision, options.limit) })
    }

    /// Makes `writes` visible to reads and watches, in their order. The caller holds the lock, so that what it
    /// decided still holds; the wakers are woken when it has let go.
    #[must_use = "watchers sleep until they are woken"]
    pub(crate) fn publish(&self, state: &mut Mvcc, writes: impl IntoIterator<Item = Write>) -> Vec<Waker> {
        let mut hub = self.hub();
        if hub.watchers() == 0 {
            writes.into_iter().for_each(|write| state.apply(&write));
            return Vec::new();
        }
        let publish = |write: Write| Published::new(write.revision, state.apply_and_tell(&write));
        let batch = writes.into_iter().map(publish).collect();
        hub.publish(batch)
    }

    /// Takes up a lease that was decided and is durable.
    pub(crate) fn granted(&self, state: &mut Mvcc, lease: Lease) {
        state.leases_mut().grant(lease);
        self.expiry.add(lease);
    }

    /// Forgets a lease whose keys were removed.
    pub(crate) fn ended(&self, state: &mut Mvcc, id: LeaseId) {
        state.leases_mut().end(id);
        self.expiry.remove(id);
    }

    pub(crate) fn renew(&self, id: LeaseId) -> Result<Duration> {
        self.expiry.renew(id)
    }

    pub(crate) fn leases(&self) -> Result<Versioned<Vec<LeaseStatus>>> {
        let (revision, leases) = {
            let state = self.read()?;
            (state.revision(), state.leases().copy())
        };
        let status = |leased: LeasedKeys| {
            LeaseStatus::new(leased.lease, self.expiry.remaining(leased.lease.id), leased.keys)
        };
        Ok(Versioned { revision, value: leases.iter().map(status).collect() })
    }

    pub(crate) fn watch(self: &Arc<Self>, range: KeyRange, from: Revision) -> Result<Watch> {
        let feed = Arc::new(Feed::new(range, from, self.bound));
        let engine = Arc::clone(self);
        let mut watch = Watch { engine, feed, past: VecDeque::new(), next: Some(from), run: None };
        watch.replay()?;
        Ok(watch)
    }

    /// Frees a step of what compaction left behind, up to `share`; false when nothing of it is left.
    pub(crate) fn trim_step(&self, share: &mut Share) -> Result<bool> {
        // The lock is let go before what was freed is dropped.
        let freed = self.write()?.trim(share);
        Ok(freed.has_more && *share != Share::default())
    }

    /// Frees what compaction left behind, in small steps. Between them it sleeps: a lock that is asked for again at once is not
    /// given to whoever waits for it, and writers would stand still until everything is freed.
    pub(crate) async fn trim(&self) -> Result<()> {
        let has_timer = timer::is_there();
        for step in 1.. {
            if !self.trim_step(&mut Share::ALL.clone())? {
                break;
            }
            if usize::is_multiple_of(step, STEPS) {
                give_way(has_timer).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Everything at the current revision, in pieces.
    pub(crate) fn snapshot(self: &Arc<Self>) -> Result<Snapshot> {
        let (revision, keys, leases) = {
            let mut state = self.write()?;
            state.hold();
            (state.revision(), state.live(), state.leases().copy())
        };
        let held = Held {
            engine: Arc::clone(self),
            revision,
            last: None,
            pieces: 0,
            seen: revision,
            has_timer: timer::is_there(),
        };
        let entries = stream::try_unfold(held, |mut held| async move {
            held.give_way().await?;
            let found = held.engine.read()?.held_entries(held.last.as_ref(), held.revision)?;
            let entries = found.into_entries();
            let Some(last) = entries.last() else { return Ok(None) };
            held.last = Some(last.key.clone());
            Ok(Some((entries, held)))
        });
        let snapshot = Snapshot::new(revision, keys, SystemTime::now(), entries);
        Ok(snapshot.with_leases(leases.iter().collect(), LeaseId::new(leases.last)))
    }

    pub(crate) fn status(&self, disk_bytes: u64) -> Result<StoreStatus> {
        let state = self.read()?;
        Ok(StoreStatus {
            revision: state.revision(),
            compacted: state.compacted(),
            keys: state.live(),
            leases: state.leases().len() as u64,
            disk_bytes,
        })
    }

    /// Ends all watches, and lets no lease run out any more.
    pub(crate) fn close(&self, why: &str) {
        self.expiry.close();
        let wakers = self.hub().close(why);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How the watches that have reached the present are doing.
    pub(crate) fn watches(&self) -> Watches {
        self.hub().watches()
    }

    /// How many watches have reached the present.
    pub(crate) fn watchers(&self) -> usize {
        self.hub().watchers()
    }
}

/// Leaves lock and processor to others for a while.
async fn give_way(has_timer: bool) {
    if has_timer {
        tokio::time::sleep(PAUSE).await;
    } else {
        // Then nobody's time is lost but the caller's.
        std::thread::sleep(PAUSE);
    }
}

fn broken() -> Error {
    Error::Unavailable("a panic interrupted a write".to_owned())
}

/// Where a snapshot has come to. The past is held while it lives.
#[derive(Debug)]
struct Held {
    engine: Arc<Engine>,
    revision: Revision,
    last: Option<Key>,
    pieces: usize,
    /// The store's revision when it gave way last.
    seen: Revision,
    has_timer: bool,
}

impl Held {
    /// Lets others have the processor, and now and then, while somebody writes, for a while: whoever takes a snapshot is seldom in as
    /// much of a hurry as they are.
    async fn give_way(&mut self) -> Result<()> {
        self.pieces += 1;
        if self.pieces.is_multiple_of(STEPS) {
            let now = self.engine.read()?.revision();
            if std::mem::replace(&mut self.seen, now) < now {
                give_way(self.has_timer).await;
                return Ok(());
            }
        }
        tokio::task::yield_now().await;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A broken engine frees nothing any more. What was held is freed along with the next writes.
        if let Ok(mut state) = self.engine.write() {
            state.release(self.revision);
        }
    }
}

/// One watch: first the past from the log, then the feed.
#[derive(Debug)]
pub(crate) struct Watch {
    engine: Arc<Engine>,
    feed: Arc<Feed>,
    past: VecDeque<WatchMessage>,
    /// Where the replay goes on; `None` once the feed has taken over.
    next: Option<Revision>,
    /// What is left of the last changes that the feed gave.
    run: Option<Run>,
}

impl Watch {
    /// Fetches the next part of the past. Reaching the present and joining the hub happen under one
    /// lock, so nothing is missed and nothing comes twice.
    fn replay(&mut self) -> Result<()> {
        while let (Some(from), true) = (self.next, self.past.is_empty()) {
            let state = self.engine.read()?;
            let replay = state.replay(self.feed.range(), from, REPLAY_CHANGES, REPLAY_BYTES)?;
            self.past.extend(replay.messages);
            self.next = replay.next;
            if self.next.is_none() {
                if from <= state.revision() {
                    self.past.push_back(WatchMessage::Progress(state.revision()));
                }
                self.engine.hub().register(Arc::clone(&self.feed));
            }
        }
        Ok(())
    }
}

impl Stream for Watch {
    type Item = Result<WatchMessage>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // A watcher that always finds something must not starve others on its thread.
        let message = pin!(cooperative(poll_fn(|context| self.poll_message(context))));
        message.poll(context)
    }
}

impl Watch {
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<WatchMessage>>> {
        if let Err(error) = self.replay() {
            self.next = None;
            self.feed.close();
            return Poll::Ready(Some(Err(error)));
        }
        let waiting = self.past.pop_front().or_else(|| self.run.as_mut()?.next());
        if let Some(message) = waiting {
            return Poll::Ready(Some(Ok(message)));
        }
        self.run = None;
        let next = ready!(self.feed.poll_next(context));
        Poll::Ready(next.transpose()?.and_then(|next| match next {
            Next::Progress(revision) => Some(Ok(WatchMessage::Progress(revision))),
            Next::Run(run) => self.run.insert(run).next().map(Ok),
        }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.feed.close();
    }
}
