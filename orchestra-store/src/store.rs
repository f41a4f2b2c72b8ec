//! The trait every backend implements.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::key::{Key, KeyRange};
use crate::revision::{Revision, Versioned};
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
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// The entry under `key`, or `None`.
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>>;

    /// Entries of `range` at one revision, in byte order.
    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Versioned<Page>>;

    /// Applies `txn` if all its compares hold. Acknowledged means durable.
    async fn commit(&self, txn: Txn) -> Result<Committed>;

    /// Every change in `range` from revision `from` on (included).
    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream>;

    /// Gives up history that no read at a revision above `to` needs.
    async fn compact(&self, to: Revision) -> Result<()>;

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

            async fn status(&self) -> Result<StoreStatus> {
                (**self).status().await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
