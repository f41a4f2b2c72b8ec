//! What stores count and time, for whoever watches over a cluster.
//!
//! Nothing is global: a store has handles of its own, and they are shown by the [`Registry`] they are registered with, so
//! two clusters in one process do not mix. Counting costs atomics where requests pass; what takes longer to find out
//! is looked for when the registry is read. `docs/metrics.md` lists all names.
//!
//! ```
//! use orchestra_store::metrics::Metered;
//! use orchestra_store::{Key, MemoryStore, Store, Txn};
//! use prometheus_client::registry::Registry;
//!
//! /// Which group and resource a key is of; here nobody asks.
//! fn classify(_: &Key) -> Option<(&str, &str)> {
//!     None
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut registry = Registry::default();
//! let store = MemoryStore::new();
//! store.metrics().register(&mut registry);
//! let store = Metered::new(store, classify);
//! store.metrics().register(&mut registry);
//!
//! store.commit(Txn::new().put("a".into(), "1")).await?;
//! let mut text = String::new();
//! prometheus_client::encoding::text::encode(&mut text, &registry)?;
//! assert!(text.contains("etcd_requests_total{operation=\"update\",group=\"\",resource=\"\"} 1"));
//! assert!(text.contains("orchestra_store_watchers 0"));
//! # Ok(())
//! # }
//! ```

mod engine;
mod metered;
mod requests;

pub use engine::StoreMetrics;
pub(crate) use engine::Timings;
pub use metered::{Classify, Metered};
pub use requests::{Operation, RequestMetrics};

#[cfg(doc)]
use prometheus_client::registry::Registry;
