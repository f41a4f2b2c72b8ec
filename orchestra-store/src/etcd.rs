//! Real etcd, 3.4 or later, as the store: for control planes on more than one machine.
//!
//! ```no_run
//! use orchestra_store::{EtcdOptions, EtcdStore, Store, Txn};
//!
//! # async fn example() -> orchestra_store::Result<()> {
//! let store = EtcdStore::connect(EtcdOptions::parse("etcd://10.0.0.1:2379,10.0.0.2:2379/orchestra")?).await?;
//! store.commit(Txn::new().put("/pods/a".into(), "v1")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # How it maps
//!
//! One etcd may serve several stores, each under a *root*, `/orchestra` unless told otherwise:
//!
//! | key in etcd | is |
//! |---|---|
//! | `ROOT/keys/` and a key | that key of the store |
//! | `ROOT/meta` | says that this is a store, and which of its revisions the one is at which `meta` was written |
//! | `ROOT/fence` | written only where others write to the same etcd, so that a watch tells how far it is |
//!
//! So the store's revision is etcd's plus a constant. A store that was restored from a snapshot goes on from where the
//! snapshot says, although etcd, which cannot be told where to begin, may be at 5. Every write compares `meta`, so nobody
//! writes to an etcd that was emptied, replaced or restored behind their back.
//!
//! The store's window begins one revision later than etcd's: after `compact(c)` etcd still answers for *c*, and we do not.
//! For that a read of the past asks, in the same transaction, whether the revision before it is there too.
//!
//! Leases are etcd's, with times rounded up to seconds and to what etcd grants at least.
//!
//! A write is sent again only when it is certain that it was not sent, or that etcd refused it before any effect.

mod commit;
mod connection;
pub(crate) mod counters;
mod failure;
mod fence;
mod lease;
mod live;
mod meta;
mod options;
mod orphan;
mod probe;
mod proto;
mod read;
mod replay;
mod restore;
mod space;
mod store;
mod stream;

pub use options::{EtcdIdentity, EtcdOptions};
pub use store::EtcdStore;
