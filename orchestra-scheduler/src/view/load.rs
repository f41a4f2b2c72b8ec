//! The numbers of a node that plugins about resources look at, side by side: no map and no list, so that those of many
//! nodes can be gone through at the pace of memory.

use super::NodeView;
use crate::unit::{NonZero, ResourceName};

/// CPU, memory and pods of a node: what there is, and how much of it is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    pub(crate) allocatable: NonZero,
    /// What its pods asked for.
    pub(crate) requested: NonZero,
    /// What they count for in scoring.
    pub(crate) occupied: NonZero,
    pub(crate) allocatable_pods: i64,
    pub(crate) pods: i64,
    /// One divided by the CPU and by the memory there is; infinite where there is none.
    pub(crate) inverse: [f64; 2],
    /// The shares of CPU and memory that its pods asked for; one is all.
    pub(crate) shares: [f64; 2],
}

/// The share that so much is of what there is, at most all of it.
#[inline]
pub(crate) fn share(used: i64, offered: i64) -> f64 {
    (used as f64 / offered as f64).min(1.0)
}

/// CPU and memory of a sum, by the name of the resource; `None` for any other resource.
#[inline]
pub(crate) fn amount(of: NonZero, name: &ResourceName) -> Option<i64> {
    match name {
        ResourceName::Cpu => Some(of.cpu.0),
        ResourceName::Memory => Some(of.memory.0),
        ResourceName::EphemeralStorage | ResourceName::Scalar(_) => None,
    }
}

impl NodeView {
    /// The numbers of this node.
    pub(crate) fn load(&self) -> Load {
        let (offered, requested) = (&self.facts().allocatable, self.requested());
        let (cpu, memory) = (offered.cpu.0, offered.memory.0);
        Load {
            inverse: [cpu, memory].map(|offered| 1.0 / offered as f64),
            shares: [share(requested.cpu.0, cpu), share(requested.memory.0, memory)],
            allocatable: NonZero { cpu: offered.cpu, memory: offered.memory },
            requested: NonZero { cpu: requested.cpu, memory: requested.memory },
            occupied: self.occupied(),
            allocatable_pods: self.facts().allocatable_pods,
            pods: i64::try_from(self.pods().len()).unwrap_or(i64::MAX),
        }
    }
}
