//! What a store accepts: sizes are checked before anything takes effect.

use std::collections::HashSet;
use std::time::Duration;

use crate::key::Key;
use crate::store::{Error, Result};
use crate::txn::{Op, Txn};

/// Longest key in bytes. The longest name Kubernetes can build stays below 1 KiB.
pub const MAX_KEY_BYTES: usize = 4 * 1024;
/// Longest value in bytes: 1.5 MiB, which is also what etcd takes by default.
pub const MAX_VALUE_BYTES: usize = 1536 * 1024;
/// Most writes, and most compares, of one transaction; etcd's default.
pub const MAX_TXN_OPS: usize = 128;
/// Most bytes of all keys and values of one transaction.
pub const MAX_TXN_BYTES: usize = 4 * 1024 * 1024;
/// Longest time to live of a lease: 285 years, which is also what etcd takes.
pub const MAX_LEASE_TTL: Duration = Duration::from_secs(9_000_000_000);
/// Most bytes of the keys attached to one lease, with [`LEASED_KEY_BYTES`] for each: all of them are removed in one revision.
/// (Kubernetes attaches at most 1,000 to one.) etcd has no such limit.
pub const MAX_LEASE_BYTES: usize = 4 * 1024 * 1024;
/// What an attached key counts beside its own bytes.
pub const LEASED_KEY_BYTES: usize = 32;

/// The time to live that is granted when `ttl` is asked for: whole milliseconds.
pub(crate) fn lease_ttl(ttl: Duration) -> Result<Duration> {
    if ttl.is_zero() {
        return Err(Error::Invalid("a lease lasts some time"));
    }
    let seconds = |ttl: Duration| usize::try_from(ttl.as_secs()).unwrap_or(usize::MAX);
    within("time to live of a lease in seconds", seconds(ttl), seconds(MAX_LEASE_TTL))?;
    Ok(Duration::from_millis(u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)))
}

/// What a layer between a caller and a backend may take of keys and of values for itself, such as for encryption or a
/// prefix. A store takes keys and values that are shorter than its limits by this much, and none beyond the limits.
pub const LAYER_BYTES: usize = 512;

/// Refuses what is too large or makes no sense, before any effect. Tells how many bytes it holds.
pub(crate) fn check(txn: &Txn) -> Result<usize> {
    within("number of writes in a transaction", txn.ops.len(), MAX_TXN_OPS)?;
    within("number of compares in a transaction", txn.compares.len(), MAX_TXN_OPS)?;
    let mut total = 0;
    for compare in &txn.compares {
        total += check_key(&compare.key)?;
    }
    for op in &txn.ops {
        let (key, value) = match op {
            Op::Put { key, value, .. } => (key, value.len()),
            Op::Delete { key } => (key, 0),
        };
        within("value size in bytes", value, MAX_VALUE_BYTES)?;
        total += check_key(key)? + value;
    }
    within("transaction size in bytes", total, MAX_TXN_BYTES)?;
    check_distinct(&txn.ops)?;
    Ok(total)
}

fn check_key(key: &Key) -> Result<usize> {
    let length = key.as_bytes().len();
    if length == 0 {
        return Err(Error::Invalid("key is empty"));
    }
    within("key size in bytes", length, MAX_KEY_BYTES)?;
    Ok(length)
}

fn check_distinct(ops: &[Op]) -> Result<()> {
    if ops.len() < 2 {
        return Ok(());
    }
    let mut seen = HashSet::with_capacity(ops.len());
    let all_new = ops.iter().all(|op| seen.insert(op.key()));
    if all_new { Ok(()) } else { Err(Error::Invalid("a transaction writes one key twice")) }
}

pub(crate) fn within(what: &'static str, actual: usize, limit: usize) -> Result<()> {
    if actual > limit { Err(Error::TooLarge { what, actual, limit }) } else { Ok(()) }
}

/// What a store keeps beyond the latest values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// At most so many past changes are kept; older ones are compacted away by the store itself.
    pub changes: usize,
    /// At most so many bytes of overwritten or deleted keys and values are kept.
    pub bytes: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { changes: 100_000, bytes: 32 * 1024 * 1024 }
    }
}

impl Retention {
    /// The default: 100,000 changes, 32 MiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps at most `changes` past changes.
    #[must_use]
    pub fn changes(mut self, changes: usize) -> Self {
        self.changes = changes;
        self
    }

    /// Keeps at most `bytes` of what was overwritten or deleted.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }
}

/// How far a watcher may fall behind before it is ended with [`Error::SlowWatcher`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchBound {
    /// Undelivered events.
    pub events: usize,
    /// Bytes of the values in them.
    pub bytes: usize,
}

impl Default for WatchBound {
    fn default() -> Self {
        Self { events: 16 * 1024, bytes: 64 * 1024 * 1024 }
    }
}

impl WatchBound {
    /// The default: 16,384 events, 64 MiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// At most `events` undelivered events.
    #[must_use]
    pub fn events(mut self, events: usize) -> Self {
        self.events = events;
        self
    }

    /// At most `bytes` of undelivered values.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }
}
