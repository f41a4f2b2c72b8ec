//! Revisioned bytes: the one state of a cluster, behind one trait.
//!
//! A [`Store`] maps keys to values and numbers every change. It knows no Kubernetes type.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod durable;
mod engine;
mod feed;
pub mod key;
pub mod limits;
pub mod memory;
mod mvcc;
pub mod revision;
pub mod store;
pub mod txn;
pub mod watch;

pub use durable::{DurableOptions, DurableStore};
pub use key::{Key, KeyRange};
pub use limits::{Retention, WatchBound};
pub use memory::{MemoryOptions, MemoryStore};
pub use revision::{Revision, Versioned};
pub use store::{Entry, Error, Page, RangeOptions, ReadAt, Result, Store, StoreStatus};
pub use txn::{Committed, Compare, Op, Outcome, Txn};
pub use watch::{Event, WatchMessage, WatchStream};
