//! Keys that go away by themselves when nobody vouches for them any more.
//!
//! A lease is granted for a time to live, keys are written with it, and its holder renews it. When a whole time to live
//! passes without a renewal, the store removes the lease and, in one revision, every key that is attached to it then.
//!
//! # A lease is no mutual exclusion
//!
//! A holder that was paused, or cut off, learns of the end of its lease later than the store and its rivals do. Until then
//! it believes that it holds what another one holds already, so "I have a lease" is never a reason to write
//! something. What protects is the revision at which the holder's key was written, its *fencing revision*: inside the store,
//! compare it in every transaction that only the holder may make; outside, send it along, and have the receiver refuse
//! one that is lower than another it has seen.
//!
//! ```
//! use std::time::Duration;
//!
//! use orchestra_store::{Key, MemoryStore, Outcome, ReadAt, Revision, Store, Txn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> orchestra_store::Result<()> {
//! let store = MemoryStore::new();
//! let leader = Key::from("/leader");
//!
//! // Become the leader if nobody is, for as long as the lease is renewed.
//! let lease = store.grant(Duration::from_secs(10)).await?;
//! let elect = Txn::new().when(leader.clone(), Revision::NONE).put_leased(leader.clone(), "me", lease.id);
//! let elected = store.commit(elect).await?;
//! assert_eq!(elected.outcome, Outcome::Applied);
//! let fence = elected.revision;
//!
//! // Write as the leader: only if the key that made us the leader is still the one we wrote.
//! let work = || Txn::new().when(leader.clone(), fence).put("/work".into(), "step 1");
//! assert_eq!(store.commit(work()).await?.outcome, Outcome::Applied);
//! store.renew(lease.id).await?; // every few seconds
//!
//! // The lease ends, by itself or like this; others may lead. What we still write changes nothing.
//! store.revoke(lease.id).await?;
//! assert_eq!(store.get(&leader, ReadAt::Latest).await?.value, None);
//! assert!(matches!(store.commit(work()).await?.outcome, Outcome::Refused(_)));
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::key::Key;

/// How long after a lease has run out its keys may still be there, in a store that is healthy.
///
/// The stores of this crate remove them at once and need the time of one write. etcd looks for leases that have run out
/// twice a second.
pub const EXPIRY_BOUND: Duration = Duration::from_secs(1);

/// The name of a lease: never 0, and never given to another one of the same store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(NonZeroU64);

impl LeaseId {
    /// The lease of this number; `None` for 0.
    pub fn new(id: u64) -> Option<Self> {
        NonZeroU64::new(id).map(Self)
    }

    /// Its number. No backend gives out one above [`i64::MAX`].
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lease as it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// How long it lives without being renewed.
    pub ttl: Duration,
}

/// A lease and the keys that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedKeys {
    /// The lease.
    pub lease: Lease,
    /// The keys, in byte order.
    pub keys: Vec<Key>,
}

/// What is to be known of a living lease.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseStatus {
    /// The lease.
    pub lease: Lease,
    /// How long it lives if nobody renews it.
    pub remaining: Duration,
    /// The keys that are attached to it, in byte order.
    pub keys: Vec<Key>,
}

impl LeaseStatus {
    /// The status of `lease`, for who implements a store.
    pub fn new(lease: Lease, remaining: Duration, keys: Vec<Key>) -> Self {
        Self { lease, remaining, keys }
    }
}
