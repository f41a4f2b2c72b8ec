//! The store itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::stream;
use prost::Message;
use tokio::sync::{OnceCell, watch};
use tonic::Status;

use super::connection::{Answer, COMPACT, Connection, Method, RANGE, REVOKE, STATUS, TXN};
use super::counters::Watchers;
use super::failure::{self, Failure, judge};
use super::lease::{self, Leases, Names};
use super::live::{Live, Pump};
use super::options::EtcdOptions;
use super::orphan::{Finishing, Orphans};
use super::probe::{Sight, Window};
use super::proto::{
    CompactionRequest, CompactionResponse, LeaseRequest, LeaseRevokeResponse, RangeRequest, RangeResponse,
    StatusRequest, StatusResponse, TxnResponse,
};
use super::read::{FIRST_PAGE, Reader, next_piece};
use super::replay::{Source, Watch};
use super::restore::restore;
use super::space::{Keys, Space};
use super::{commit, meta};
use crate::key::{Key, KeyRange};
use crate::lease::{Lease, LeaseId, LeaseStatus, LeasedKeys};
use crate::limits::{self, WatchBound};
use crate::metrics::StoreMetrics;
use crate::revision::{Revision, Versioned};
use crate::snapshot::Snapshot;
use crate::store::{Entry, Error, Page, RangeOptions, ReadAt, Result, Store, StoreStatus};
use crate::txn::{Committed, Op, Txn};
use crate::watch::WatchStream;

/// How often the present is looked at anew because a lease ended meanwhile.
const TRIES: usize = 8;
/// How long a compaction waits for this store's own watches to have what it takes away.
const OWN_WATCHES: Duration = Duration::from_secs(5);

/// A store in etcd, under a root of its own.
///
/// A write survives what etcd says it survives: the loss of a minority of its members, with all their disks. Clones are handles on the
/// same connection; when the last one is dropped its watches end, after what it committed itself.
#[derive(Clone, Debug)]
pub struct EtcdStore {
    owned: Arc<Owned>,
}

/// The store, apart from the watches that live beside it: it is closed when no handle is left.
#[derive(Debug)]
struct Owned(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connection: Arc<Connection>,
    space: Space,
    window: Arc<Window>,
    live: Arc<OnceCell<Arc<Live>>>,
    closing: watch::Sender<Option<i64>>,
    /// The newest revision of etcd that a commit of this store took.
    committed: Arc<AtomicI64>,
    orphans: Arc<Orphans>,
    names: Names,
    max_request_bytes: usize,
    watch_bound: WatchBound,
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.closing.send_replace(Some(self.0.committed.load(Ordering::Relaxed)));
    }
}

impl EtcdStore {
    /// Connects, and makes an empty store where there is none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no member answers, [`Error::HoldsData`] when the root holds keys that are no store's,
    /// [`Error::Backend`] when etcd refuses.
    pub async fn connect(options: EtcdOptions) -> Result<Self> {
        let connection = Arc::new(Connection::new(&options)?);
        let keys = Keys::below(&options.root);
        let origin = meta::open(&connection, &keys).await?;
        let space = Space { keys, origin };
        let inner = Inner {
            connection,
            window: Arc::new(Window::new(&space)),
            names: Names::of(&space.keys),
            space,
            live: Arc::default(),
            closing: watch::channel(None).0,
            committed: Arc::default(),
            orphans: Arc::default(),
            max_request_bytes: options.max_request_bytes,
            watch_bound: options.watch_bound,
        };
        Ok(Self { owned: Arc::new(Owned(Arc::new(inner))) })
    }

    /// Makes a store of a snapshot in a root where nothing is, and tells the revision it goes on from
    /// ([`Snapshot::restored_revision`]). It can be opened when all of it is there, and not before; what an abandoned restore left
    /// is removed first.
    ///
    /// Keys and values are those of the snapshot. Their numbers are not: etcd gives out its own, so every key has a new
    /// `create_revision` and `mod_revision`, above any that the snapshot's store gave out, and version 1.
    ///
    /// # Errors
    /// [`Error::HoldsData`] when there is a store already, or anything else, [`Error::TooLarge`] for an entry that etcd does not
    /// take, those of the snapshot, and those of [`connect`](Self::connect).
    pub async fn restore(options: EtcdOptions, snapshot: Snapshot) -> Result<Revision> {
        let connection = Connection::new(&options)?;
        restore(&connection, &Keys::below(&options.root), options.max_request_bytes, snapshot).await
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.owned.0
    }

    /// Handles on what it counts: its watchers, and its dealings with etcd.
    pub fn metrics(&self) -> StoreMetrics {
        let inner = self.inner();
        StoreMetrics::in_etcd(Watchers(Arc::downgrade(&inner.live)), inner.connection.counters())
    }

    /// How many watches are served live.
    pub fn watchers(&self) -> usize {
        self.inner().live.get().map_or(0, |live| live.watchers())
    }
}

impl Inner {
    fn reader(&self) -> Reader<'_> {
        Reader { connection: &self.connection, space: &self.space, window: &self.window }
    }

    fn leases(&self) -> Leases<'_> {
        Leases { connection: &self.connection, keys: &self.space.keys, names: &self.names }
    }

    /// Sends what changes something, once. It comes to its end whatever becomes of the caller.
    async fn change<Q, A>(self: &Arc<Self>, method: Method, order: Q) -> Result<A, Status>
    where
        Q: Message + Clone + 'static,
        A: Answer,
    {
        self.orphans.settled().await;
        let inner = Arc::clone(self);
        let work = async move {
            let answered = inner.connection.send::<Q, A>(method, order).await;
            if let Ok(answer) = &answered {
                inner.committed.fetch_max(answer.revision().unwrap_or_default(), Ordering::Relaxed);
            }
            answered
        };
        Finishing::new(Arc::clone(&self.orphans), Box::pin(work)).await
    }

    /// The present, and which keys go with which leases in it.
    async fn leased(&self) -> Result<(Sight, Vec<LeasedKeys>)> {
        for _ in 0..TRIES {
            let sight = self.window.look(&self.connection, &self.space).await?;
            if self.leases().is_none().await? {
                return Ok((sight, Vec::new()));
            }
            let attached = self.reader().attached(self.space.origin.theirs(sight.revision)).await?;
            if let Some(leases) = self.leases().at(attached).await? {
                return Ok((sight, leases));
            }
        }
        Err(Error::Unavailable("etcd: leases end faster than they can be listed".to_owned()))
    }

    async fn compacted(&self) -> Result<Revision> {
        self.window.compacted(&self.connection, &self.space).await
    }

    /// What feeds the watchers; begun with the first of them.
    async fn live(&self) -> Result<&Arc<Live>> {
        self.live
            .get_or_try_init(async || {
                let question =
                    RangeRequest { key: self.space.keys.meta(), count_only: true, ..RangeRequest::default() };
                let now: RangeResponse =
                    self.connection.ask(RANGE, question).await.map_err(failure::error)?;
                let live = Arc::new(Live::behind(now.revision().unwrap_or_default()));
                let pump = Pump {
                    live: Arc::clone(&live),
                    connection: Arc::clone(&self.connection),
                    space: self.space.clone(),
                    window: Arc::clone(&self.window),
                    committed: Arc::clone(&self.committed),
                    closing: self.closing.subscribe(),
                };
                tokio::spawn(pump.run());
                Ok(live)
            })
            .await
    }

    /// Whether a watch that begins there misses nothing.
    async fn begins_in_the_window(&self, from: Revision) -> Result<()> {
        if from > self.space.origin.floor() {
            let revision = self.space.origin.theirs(from).saturating_sub(1);
            let before = RangeRequest {
                key: self.space.keys.meta(),
                revision,
                count_only: true,
                ..RangeRequest::default()
            };
            match self.connection.ask::<_, RangeResponse>(RANGE, before).await {
                Ok(_) => return Ok(()),
                Err(status) if judge(&status) == Failure::Future => return Ok(()),
                Err(status) if judge(&status) == Failure::Compacted => {}
                Err(status) => return Err(failure::error(status)),
            }
        }
        Err(Error::Compacted(self.compacted().await?))
    }
}

/// The lease that is told when etcd says that there is none, without saying which: one of another store, if any is.
fn told_lease(txn: &Txn, names: &Names) -> Option<LeaseId> {
    let leases = || txn.ops.iter().filter_map(Op::lease);
    leases().find(|&lease| names.check(lease).is_err()).or_else(|| leases().next())
}

#[async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
        self.inner().reader().get(key, at).await
    }

    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
        self.inner().reader().range(&range, options).await
    }

    async fn commit(&self, txn: Txn) -> Result<Committed> {
        limits::check(&txn)?;
        let inner = self.inner();
        let changes_nothing = txn.ops.is_empty();
        let compared: Vec<Revision> = txn.compares.iter().map(|compare| compare.mod_revision).collect();
        let leased = told_lease(&txn, &inner.names);
        let request = commit::request(txn, &inner.space, &inner.names, inner.max_request_bytes)?;
        let answered: Result<TxnResponse, _> = if changes_nothing {
            inner.connection.ask(TXN, request).await
        } else {
            inner.change(TXN, request).await
        };
        match answered {
            Ok(answer) => commit::answer(&compared, answer, &inner.space),
            Err(status) if judge(&status) == Failure::TooLarge => Err(Error::Invalid(
                "etcd takes only smaller requests than this side was told: see its --max-request-bytes",
            )),
            Err(status)
                if judge(&status) == Failure::NoLease
                    && let Some(lease) = leased =>
            {
                Err(Error::UnknownLease(lease))
            }
            Err(status) => Err(failure::error(status)),
        }
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        let inner = self.inner();
        let live = Arc::clone(inner.live().await?);
        inner.begins_in_the_window(from).await?;
        let source = Source {
            connection: Arc::clone(&inner.connection),
            space: inner.space.clone(),
            window: Arc::clone(&inner.window),
            live,
            closing: inner.closing.subscribe(),
        };
        Ok(Watch::new(source, range, from, inner.watch_bound).into_stream())
    }

    async fn compact(&self, to: Revision) -> Result<()> {
        let inner = self.inner();
        if to <= inner.space.origin.floor() {
            return Ok(());
        }
        let revision = inner.space.origin.theirs(to);
        if let Some(live) = inner.live.get() {
            live.reach(revision.min(inner.connection.seen()), OWN_WATCHES).await;
        }
        let order = CompactionRequest { revision };
        // Safe to repeat: it does nothing once it is done.
        match inner.connection.ask::<_, CompactionResponse>(COMPACT, order).await {
            Ok(_) => {
                inner.window.raise(revision);
                Ok(())
            }
            Err(status) => match judge(&status) {
                Failure::Compacted => Ok(()),
                Failure::Future => Err(Error::FutureRevision(
                    inner.window.look(&inner.connection, &inner.space).await?.revision,
                )),
                _ => Err(failure::error(status)),
            },
        }
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        self.inner().leases().grant(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration> {
        self.inner().leases().renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision> {
        self.inner().names.check(lease)?;
        let order = LeaseRequest { id: lease::theirs(lease) };
        let answer: LeaseRevokeResponse = match self.inner().change(REVOKE, order).await {
            Err(status) if judge(&status) == Failure::NoLease => return Err(Error::UnknownLease(lease)),
            answer => answer.map_err(failure::error)?,
        };
        self.inner().space.origin.ours(answer.revision().unwrap_or_default())
    }

    async fn leases(&self) -> Result<Versioned<Vec<LeaseStatus>>> {
        let inner = self.inner();
        // First, so that what is told is at least as new.
        let revision = inner.window.look(&inner.connection, &inner.space).await?.revision;
        Ok(Versioned { revision, value: inner.leases().all().await? })
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        let inner = Arc::clone(self.inner());
        let (sight, leases) = inner.leased().await?;
        let revision = inner.space.origin.theirs(sight.revision);
        let last = leases.last().map(|leased| leased.lease.id);
        let begin = (inner, self.inner().space.keys.all().0, FIRST_PAGE);
        let entries = stream::try_unfold(begin, move |(inner, start, size)| async move {
            let piece = next_piece(inner.reader(), start, revision, size).await?;
            Ok(piece.map(|piece| (piece.entries, (inner, piece.next, piece.size))))
        });
        Ok(Snapshot::new(sight.revision, sight.keys, SystemTime::now(), entries).with_leases(leases, last))
    }

    async fn status(&self) -> Result<StoreStatus> {
        let inner = self.inner();
        let sight = inner.window.look(&inner.connection, &inner.space).await?;
        let member: StatusResponse =
            inner.connection.ask(STATUS, StatusRequest {}).await.map_err(failure::error)?;
        Ok(StoreStatus {
            revision: sight.revision,
            compacted: sight.compacted,
            keys: sight.keys,
            leases: inner.leases().count().await?,
            disk_bytes: u64::try_from(member.db_size).unwrap_or_default(),
        })
    }
}
