//! The numbers of a node that plugins about resources look at, side by side: no map and no list, so that those of many
//! nodes can be gone through at the pace of memory.

use super::NodeView;
use crate::unit::{NonZero, ResourceName};

/// CPU, memory and pods of a node: what there is, and how much of it is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) allocatable: NonZero,
    /// What its pods asked for.
    pub(crate) requested: NonZero,
    /// What they count for in scoring.
    pub(crate) occupied: NonZero,
    pub(crate) allocatable_pods: i64,
    pub(crate) pods: i64,
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
        Load {
            allocatable: NonZero { cpu: offered.cpu, memory: offered.memory },
            requested: NonZero { cpu: requested.cpu, memory: requested.memory },
            occupied: self.occupied(),
            allocatable_pods: self.facts().allocatable_pods,
            pods: i64::try_from(self.pods().len()).unwrap_or(i64::MAX),
        }
    }
}
