//! Revisioned bytes: the one state of a cluster, behind one trait.
//!
//! A [`Store`] maps keys to values and numbers every change. It knows no Kubernetes type.
//!
//! ```
//! use futures::StreamExt;
//! use orchestra_store::{KeyRange, MemoryStore, Outcome, RangeOptions, ReadAt, Revision, Store, Txn, WatchMessage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> orchestra_store::Result<()> {
//! let store = MemoryStore::new(); // or DurableStore::open("state")?
//!
//! // Create, if it does not exist yet; then change, if nobody else has.
//! let created = store.commit(Txn::new().put("/pods/a".into(), "v1").when("/pods/a".into(), Revision::NONE)).await?;
//! let changed = store.commit(Txn::new().put("/pods/a".into(), "v2").when("/pods/a".into(), created.revision)).await?;
//! let late = store.commit(Txn::new().put("/pods/a".into(), "v3").when("/pods/a".into(), created.revision)).await?;
//! assert!(matches!(late.outcome, Outcome::Refused(found) if found[0].as_ref().unwrap().value == "v2"));
//!
//! // Read now, or as it was.
//! let page = store.range(KeyRange::prefix("/pods/"), RangeOptions::new().limit(500)).await?;
//! assert_eq!((page.revision, page.value.entries.len()), (changed.revision, 1));
//! let before = store.get(&"/pods/a".into(), ReadAt::Exactly(created.revision)).await?;
//! assert_eq!(before.value.unwrap().value, "v1");
//!
//! // Watch from then on.
//! let mut watch = store.watch(KeyRange::prefix("/pods/"), changed.revision).await?;
//! let Some(Ok(WatchMessage::Events { revision, events })) = watch.next().await else { panic!("ended") };
//! assert_eq!((revision, events.len()), (changed.revision, 1));
//! # Ok(())
//! # }
//! ```
//!
//! # Extension points
//!
//! [`Store`] is the trait; [`MemoryStore`], [`DurableStore`] and `EtcdStore` (feature `etcd`) implement it. A backend of your own shows with the
//! suite in `conformance` that it keeps what the trait promises.
//!
//! # Runtime
//!
//! Tokio's, with a timer (`enable_time` or `enable_all`). Without one, or outside of a runtime, everything works but leases: [`Store::grant`] says
//! so, and leases that are there do not run out. Tokio then prints the panic by which it tells that the timer is missing; nothing else comes of it.
//!
//! # Features
//!
//! - `conformance`: the tests every backend has to pass, as macros and functions.
//! - `etcd`: real etcd as a backend, `EtcdStore`.
//! - `encryption`: the module of that name, values sealed at rest; needs a C compiler.
//! - `unstable-fuzzing`: what the fuzz targets call; may change at any time.
//!
//! # Invariants
//!
//! - Nothing is visible before it is durable, and nothing is acknowledged before it is visible.
//! - No lock is held across an await, and none while the disk works.
//! - A value is stored once: entries, events and pages share its bytes. (A `Bytes` made from a `Vec` with room to spare
//!   keeps that room; shrink it before you store it.)

pub mod compactor;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod durable;
#[cfg(feature = "encryption")]
pub mod encryption;
mod engine;
#[cfg(feature = "etcd")]
pub mod etcd;
mod expiry;
mod feed;
#[cfg(any(test, feature = "unstable-fuzzing"))]
#[cfg_attr(test, allow(unreachable_pub, dead_code, reason = "only the fuzz targets reach it"))]
pub mod fuzzing;
pub mod key;
pub mod lease;
pub mod limits;
pub mod memory;
pub mod metrics;
mod mvcc;
mod prefixed;
pub mod revision;
pub mod snapshot;
pub mod store;
mod timer;
pub mod txn;
pub mod watch;

pub use compactor::compact_behind;
pub use durable::{DurableOptions, DurableStore};
#[cfg(feature = "etcd")]
pub use etcd::{EtcdIdentity, EtcdOptions, EtcdStore};
pub use key::{Key, KeyRange};
pub use lease::{Lease, LeaseId, LeaseStatus, LeasedKeys};
pub use limits::{Retention, WatchBound};
pub use memory::{MemoryOptions, MemoryStore};
pub use prefixed::Prefixed;
pub use revision::{Revision, Versioned};
pub use snapshot::{Snapshot, SnapshotInfo};
pub use store::{Entry, Error, Page, RangeOptions, ReadAt, Result, Store, StoreStatus};
pub use txn::{Committed, Compare, Op, Outcome, Txn};
pub use watch::{Event, WatchMessage, WatchStream};

// So that the guide's code compiles.
#[cfg(all(doctest, feature = "conformance"))]
#[doc = include_str!("../../docs/store-backends.md")]
mod guide {}
