//! Scheduling policies, each a set of plugins for the real scheduling framework, or a strategy for batches.

mod best_fit;
pub mod chance;
mod dot_product;
mod fair_share;
pub mod fgd;
mod flow;
mod gang;
mod gpu_clustering;
mod gpu_packing;
#[cfg(test)]
mod made_up;
mod random;
mod registry;
mod worst_fit;

use std::sync::Arc;

use orchestra_scheduler::view::NodeView;
use orchestra_scheduler::{Profile, TieBreak};

use crate::gpu::{Account, GpuDevices, PickDevice};

pub use best_fit::BestFit;
pub use dot_product::DotProduct;
pub use fair_share::FairShare;
pub use fgd::Fgd;
pub use flow::Flow;
pub use gpu_clustering::GpuClustering;
pub use gpu_packing::GpuPacking;
pub use random::Random;
pub use registry::all;
pub use worst_fit::WorstFit;

/// Millicores of the largest node that scores are measured by.
pub(crate) const LARGEST_CPU: f64 = 128_000.0;
/// Thousandths of devices of the largest node that scores are measured by.
pub(crate) const LARGEST_GPU: f64 = 8_000.0;

/// The default plugins without their scorers, with devices kept account of; of equally good nodes the first is taken.
#[must_use]
pub fn base(account: &Arc<Account>, rule: Arc<dyn PickDevice>) -> Profile {
    Profile::default()
        .without_scorers()
        .tie_break(TieBreak::First)
        .register(GpuDevices::new(account.clone(), rule).into())
}

/// The millicores that nobody on the node asked for.
#[must_use]
pub fn cpu_left(node: &NodeView) -> i64 {
    node.facts().allocatable.cpu.minus(node.requested().cpu).0
}
