//! Revisioned bytes: the one state of a cluster, behind one trait.
//!
//! A [`Store`] maps keys to values and numbers every change. It knows no Kubernetes type.

#[allow(dead_code, reason = "closing is for the durable store, which comes next")]
mod engine;
#[allow(dead_code, reason = "closing is for the durable store, which comes next")]
mod feed;
pub mod key;
pub mod limits;
pub mod memory;
#[allow(dead_code, unused_imports, reason = "staging is for the durable store, which comes next")]
mod mvcc;
pub mod revision;
pub mod store;
pub mod txn;
pub mod watch;

pub use key::{Key, KeyRange};
pub use memory::{MemoryOptions, MemoryStore};
pub use revision::{Revision, Versioned};
pub use store::{Entry, Error, Page, RangeOptions, ReadAt, Result, Store, StoreStatus};
pub use txn::{Committed, Compare, Op, Outcome, Txn};
pub use watch::{Event, WatchMessage, WatchStream};
