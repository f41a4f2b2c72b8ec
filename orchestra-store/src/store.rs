//! The trait every backend implements.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::key::{Key, KeyRange};
use crate::lease::{Lease, LeaseId, LeaseStatus};
use crate::revision::{Revision, Versioned};
use crate::snapshot::Snapshot;
use crate::txn::{Committed, Txn};
use crate::watch::WatchStream;

/// A key with its value and its history's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value; clones share the bytes.
    pub value: Bytes,
    /// The revision at which the key came to be, in this life of it.
    pub create_revision: Revision,
    /// The revision of the last write.
    pub mod_revision: Revision,
    /// Writes in this life, from 1.
    pub version: u64,
}

/// Which state a read looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadAt {
    /// Everything acknowledged before the call (linearizable).
    #[default]
    Latest,
    /// Exactly this revision, which must not be compacted away.
    Exactly(Revision),
}

/// How much of a range is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RangeOptions {
    /// Which state is read.
    pub at: ReadAt,
    /// At most so many entries; `None` is all.
    pub limit: Option<usize>,
}

impl RangeOptions {
    /// All entries, at the latest revision.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the state at `at`.
    #[must_use]
    pub fn at(mut self, at: ReadAt) -> Self {
        self.at = at;
        self
    }

    /// At most `limit` entries.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// A run of entries in byte order, all at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// How many more the range holds behind the last entry.
    pub remaining: u64,
}

/// What a store says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStatus {
    /// The current revision.
    pub revision: Revision,
    /// History at or below this revision is gone (the latest values stay).
    pub compacted: Revision,
    /// How many keys are alive.
    pub keys: u64,
    /// How many leases are alive.
    pub leases: u64,
    /// Bytes on disk; 0 when nothing is.
    pub disk_bytes: u64,
}

/// Why a store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The revision asked for is below the window.
    #[error("revision is compacted; the oldest that can be read is {}", .0.next())]
    Compacted(Revision),
    /// The revision asked for is ahead of the store.
    #[error("revision is in the future; the current one is {0}")]
    FutureRevision(Revision),
    /// The call makes no sense, whatever the store holds; nothing was written.
    #[error("{0}")]
    Invalid(&'static str),
    /// A size limit was exceeded; nothing was written.
    #[error("{what} is {actual}, more than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        actual: usize,
        /// How large it may be.
        limit: usize,
    },
    /// There is no such lease: it has ended, or never was. Nothing was written.
    #[error("lease {0} has ended or never was")]
    UnknownLease(LeaseId),
    /// The watcher did not keep up and was cut off.
    #[error("watcher fell too far behind")]
    SlowWatcher,
    /// The store no longer accepts anything, or is shutting down. A write may have taken effect or not.
    #[error("store is unavailable: {0}")]
    Unavailable(String),
    /// Another process holds the store.
    #[error("store is locked: {0}")]
    Locked(String),
    /// What is on disk is not what was written.
    #[error("store is damaged: {0}")]
    Corrupt(String),
    /// A value is encrypted with a key that is not there. Give the store that key, and it reads again.
    #[error("the value of {name} is sealed with encryption key {key}, which is missing")]
    KeyMissing {
        /// The key in the store under which the value lies.
        name: String,
        /// The name of the encryption key.
        key: String,
    },
    /// The file with the encryption keys cannot be used; nothing was written to the store.
    #[error("encryption keys in {}: {problem}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// What should be restored is damaged, cut short, or no snapshot at all; nothing was restored.
    #[error("not a good snapshot: {0}")]
    BadSnapshot(String),
    /// The place that should be filled is not empty; nothing in it was changed.
    #[error("{0} already holds data")]
    HoldsData(String),
    /// The backend failed.
    #[error("{backend} store failed")]
    Backend {
        /// The backend's name.
        backend: &'static str,
        /// Its error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What every call returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Revisioned keys and values.
///
/// # Contract
///
/// Each clause names a case of the suite that checks it; the others are in `docs/store-guarantees.md`.
///
/// 1. A write that was acknowledged survives what the implementation says it survives
///    (`a1_c3_everything_acknowledged_is_there_again_and_reads_the_same`), and nothing is shown that could still be lost.
/// 2. A transaction happens as a whole or not at all (`a3_a_reader_never_sees_half_a_transaction`), and a compare lets one
///    of any number of rivals through (`a5_of_many_rivals_one_wins`).
/// 3. Every transaction that changes something takes the next revision
///    (`b1_each_writing_transaction_takes_the_next_revision`), and nothing else takes one
///    (`b2_what_changes_nothing_takes_no_revision`).
/// 4. All reads and writes fit one order that agrees with real time (`a4_an_acknowledged_write_is_read_at_once`).
/// 5. A read of a revision in the window gives the same each time (`c3_the_past_reads_the_same_each_time`), outside of
///    it an error (`c5_outside_the_window_is_an_error`). The window is what lies above the compacted revision, up to the
///    current one.
/// 6. A watch delivers every matching change from its first revision on, once, in order, one message for each revision
///    (`d2_d3_no_event_is_lost_or_doubled_while_joining`, `d4_one_revision_is_one_message`).
/// 7. A watch tells how far it is, unasked ([`WatchMessage::Progress`](crate::WatchMessage::Progress),
///    `d7_progress_follows_the_replay_and_unrelated_writes`).
/// 8. A watcher that falls behind is ended, not thinned, and holds up nobody
///    (`d10_a_sleeping_watcher_disturbs_nobody_and_is_never_thinned`).
/// 9. Compaction takes only what no read in the window can need (`e1_the_latest_values_and_the_window_survive`).
/// 10. A key with a lease goes not before the lease's time has passed without a renewal
///     (`f1_a_key_stays_for_the_whole_time_since_the_last_renewal`), and at most
///     [`EXPIRY_BOUND`](crate::lease::EXPIRY_BOUND) after it (`f2_a_key_goes_when_its_lease_has_run_out`).
/// 11. A snapshot is the state at one revision (`g1_a_snapshot_is_one_revision_while_writes_go_on`), whole or an error.
///
/// # Cancellation
///
/// Dropping the future of a `commit` or `compact` leaves it open whether it takes effect, but it does so at most once
/// (`a6_a_dropped_commit_takes_effect_once_or_never`). Dropping any other future has no effect.
///
/// # Errors
///
/// [`Error::Unavailable`] and [`Error::Backend`] leave it open whether a write took effect. After every other error
/// nothing was changed.
///
/// # Implementing
///
/// Run `store_conformance!` (feature `conformance`) on it. Check the sizes of
/// [`limits`](crate::limits) before anything has an effect. Methods are called from any number of tasks at once.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// The entry under `key`, or `None`.
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>>;

    /// Entries of `range` at one revision, in byte order.
    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Versioned<Page>>;

    /// Applies `txn` if all its compares hold. Acknowledged means durable.
    async fn commit(&self, txn: Txn) -> Result<Committed>;

    /// Every change in `range` from revision `from` on (included), which may lie in the future but not below the window.
    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream>;

    /// Gives up history that no read at a revision above `to` needs: afterwards the window begins above `to`.
    /// Where it begins there already, or higher, nothing happens.
    async fn compact(&self, to: Revision) -> Result<()>;

    /// A lease that lives for at least `ttl` (which may be rounded up) without being renewed. Acknowledged means durable;
    /// no revision is taken. A lease that nobody got to know, because the call was dropped, ends by itself.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no time at all, [`Error::TooLarge`] beyond [`MAX_LEASE_TTL`](crate::limits::MAX_LEASE_TTL).
    async fn grant(&self, ttl: Duration) -> Result<Lease>;

    /// Has the lease live for its whole time again, which is returned. That time begins when the store takes the call, so a
    /// holder counts from before it made the call. Need not be durable: a restart begins the time anew anyway.
    ///
    /// # Errors
    /// [`Error::UnknownLease`] when it has ended already.
    async fn renew(&self, lease: LeaseId) -> Result<Duration>;

    /// Ends a lease and removes every key attached to it, in one revision, which is returned; with nothing attached none is
    /// taken, and the current one returned.
    ///
    /// # Errors
    /// [`Error::UnknownLease`] when it has ended already.
    async fn revoke(&self, lease: LeaseId) -> Result<Revision>;

    /// All living leases, in the order of their ids. For people who want to know why a key is going to vanish; nothing
    /// should be decided by it.
    async fn leases(&self) -> Result<Versioned<Vec<LeaseStatus>>>;

    /// Everything at one revision: the newest, or a later one. Reads and writes go on while it is taken.
    async fn snapshot(&self) -> Result<Snapshot>;

    /// Revision, window and sizes.
    async fn status(&self) -> Result<StoreStatus>;
}

macro_rules! forward {
    ($pointer:ident) => {
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<S: Store + ?Sized> Store for $pointer<S> {
            async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
                (**self).get(key, at).await
            }

            async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
                (**self).range(range, options).await
            }

            async fn commit(&self, txn: Txn) -> Result<Committed> {
                (**self).commit(txn).await
            }

            async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
                (**self).watch(range, from).await
            }

            async fn compact(&self, to: Revision) -> Result<()> {
                (**self).compact(to).await
            }

            async fn grant(&self, ttl: Duration) -> Result<Lease> {
                (**self).grant(ttl).await
            }

            async fn renew(&self, lease: LeaseId) -> Result<Duration> {
                (**self).renew(lease).await
            }

            async fn revoke(&self, lease: LeaseId) -> Result<Revision> {
                (**self).revoke(lease).await
            }

            async fn leases(&self) -> Result<Versioned<Vec<LeaseStatus>>> {
                (**self).leases().await
            }

            async fn snapshot(&self) -> Result<Snapshot> {
                (**self).snapshot().await
            }

            async fn status(&self) -> Result<StoreStatus> {
                (**self).status().await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
