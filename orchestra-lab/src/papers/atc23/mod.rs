//! "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX ATC 2023: how much
//! of a cluster's devices six policies give away before they get stuck.
//!
//! The protocol, as the authors' simulator carries it out: the pods of a trace in an order shuffled by a seed, then pods drawn
//! from it again until those that came want 130 % of all devices (some taken out where they want more than that from the
//! start); nobody leaves, who finds no node is dropped; of equally good nodes the first in an order drawn once takes the
//! pod. The orders are those of Go's generator, so a seed here meets the pods, and the order of nodes, that it met there.
//! `docs/fgd.md` compares what comes out.

mod run;
mod trace;
mod workload;

pub use run::{Curve, run};
pub use trace::Trace;
pub use workload::Workload;

use orchestra_scheduler::Profile;

use crate::policies::{BestFit, DotProduct, Fgd, GpuClustering, GpuPacking, Random, fgd::Typical};

/// The seeds of the published runs.
pub const SEEDS: std::ops::RangeInclusive<i64> = 42..=51;

/// A policy of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// Any node.
    Random,
    /// Tetris's packing.
    DotProduct,
    /// Alike with alike.
    GpuClustering,
    /// Used before free.
    GpuPacking,
    /// Least left.
    BestFit,
    /// Fragmentation gradient descent.
    Fgd,
}

impl Contestant {
    /// All of them, in the paper's order.
    pub const ALL: [Self; 6] =
        [Self::Random, Self::DotProduct, Self::GpuClustering, Self::GpuPacking, Self::BestFit, Self::Fgd];

    /// The name in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::DotProduct => "dotprod",
            Self::GpuClustering => "gpuclustering",
            Self::GpuPacking => "gpupacking",
            Self::BestFit => "bestfit",
            Self::Fgd => "fgd",
        }
    }

    /// The policy, with nothing decided yet.
    #[must_use]
    pub fn profile(self, typical: &Typical, seed: i64) -> Profile {
        match self {
            Self::Random => Random::profile(seed.unsigned_abs()),
            Self::DotProduct => DotProduct::profile(),
            Self::GpuClustering => GpuClustering::profile(),
            Self::GpuPacking => GpuPacking::profile(),
            Self::BestFit => BestFit::profile(),
            Self::Fgd => Fgd::profile(typical),
        }
    }
}

#[cfg(test)]
mod tests;
