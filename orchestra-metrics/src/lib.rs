//! What every crate of Orchestra counts with.
//!
//! The facade is [`prometheus_client`]'s [`Registry`], by value: a component has handles of its own, and they are shown by
//! the registry they are registered with. Nothing is global, so two clusters in one process do not mix. This crate adds
//! what upstream's exposition needs and the facade lacks: histograms that are counted without a lock ([`Histogram`]),
//! series whose number is bounded whatever a client sends ([`Family`]), help texts to the letter ([`write`](mod@write)),
//! the older text form that upstream serves ([`text`]), and figures of the process ([`ProcessMetrics`]). It knows no other
//! crate, and it counts nothing by itself; the metrics of a component are in that component's crate.
//!
//! ```
//! use std::fmt;
//!
//! use orchestra_metrics::{Histogram, exponential, text, write};
//! use prometheus_client::collector::Collector;
//! use prometheus_client::encoding::DescriptorEncoder;
//! use prometheus_client::metrics::counter::Counter;
//! use prometheus_client::registry::Registry;
//!
//! const SECONDS: &[f64] = &exponential::<15>(0.001, 2.0);
//!
//! /// What a baker counts.
//! #[derive(Clone, Debug)]
//! struct BakerMetrics {
//!     loaves: Counter,
//!     baked: Histogram,
//! }
//!
//! impl Collector for BakerMetrics {
//!     fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
//!         let loaves = [([("kind", "rye")], self.loaves.get())];
//!         write::counter(&mut out, "baker_loaves_total", "Loaves, by kind.", loaves)?;
//!         write::histogram(&mut out, "baker_duration_seconds", "Time for one loaf.", [([], &self.baked)])
//!     }
//! }
//!
//! # fn main() -> fmt::Result {
//! let baker = BakerMetrics { loaves: Counter::default(), baked: Histogram::new(SECONDS) };
//! let mut registry = Registry::default();
//! registry.register_collector(Box::new(baker.clone()));
//! baker.loaves.inc();
//! let shown = text::classic(&registry)?;
//! assert!(shown.starts_with("# HELP baker_loaves_total Loaves, by kind.\n# TYPE baker_loaves_total counter\n"));
//! assert!(shown.contains("baker_loaves_total{kind=\"rye\"} 1\n"));
//! # Ok(())
//! # }
//! ```
//!
//! Invariant: counting takes atomics and at most one short lock, and never waits.

mod bounds;
mod family;
mod histogram;
mod process;
pub mod text;
pub mod write;

pub use bounds::{exponential, linear};
pub use family::Family;
pub use histogram::{Histogram, Tally};
pub use process::ProcessMetrics;

#[cfg(doc)]
use prometheus_client::registry::Registry;
