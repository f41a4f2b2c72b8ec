//! What was decided about volumes and devices and is not written yet.

use std::sync::Arc;

use super::{
    ClaimKey, ClaimView, ClusterView, DeviceAllocation, NamespacedName, NodeName, PodUid, VolumeView,
};

/// One thing that others must not count on any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Promise {
    /// A volume is going to be bound to a claim.
    Volume {
        /// The volume.
        volume: Arc<str>,
        /// The claim.
        claim: ClaimKey,
    },
    /// A volume is going to be made for a claim where this node can reach it.
    Node {
        /// The claim.
        claim: ClaimKey,
        /// The node.
        node: NodeName,
    },
    /// A resource claim is going to have these devices.
    Devices {
        /// The claim.
        claim: NamespacedName,
        /// The pod they are allocated for.
        pod: PodUid,
        /// The devices.
        allocation: Arc<DeviceAllocation>,
    },
}

impl ClusterView {
    /// Counts on a promise from now on.
    pub fn promise(&mut self, promise: Promise) {
        self.promises.push(promise);
    }

    /// A promise was kept, or will not be.
    pub fn release(&mut self, promise: &Promise) {
        if let Some(index) = self.promises.iter().position(|other| other == promise) {
            self.promises.swap_remove(index);
        }
    }

    /// Whether a volume belongs to a claim or is promised to it; `None` if it is nobody's.
    #[must_use]
    pub fn is_owner(&self, volume: &VolumeView, claim: &ClaimView) -> Option<bool> {
        if volume.owner.is_some() {
            return Some(volume.belongs_to(claim));
        }
        self.promises.iter().find_map(|promise| match promise {
            Promise::Volume { volume: promised, claim: to } if *promised == volume.name => {
                Some(*to == claim.key)
            }
            _ => None,
        })
    }

    /// The devices that resource claims are going to have, with the claim and the pod they are allocated for.
    pub(crate) fn promised_devices(
        &self,
    ) -> impl Iterator<Item = (&NamespacedName, &PodUid, &Arc<DeviceAllocation>)> {
        self.promises.iter().filter_map(|promise| match promise {
            Promise::Devices { claim, pod, allocation } => Some((claim, pod, allocation)),
            _ => None,
        })
    }

    /// The node a claim's volume is going to be made for, as it is promised.
    #[must_use]
    pub fn promised_node(&self, claim: &ClaimKey) -> Option<&NodeName> {
        self.promises.iter().find_map(|promise| match promise {
            Promise::Node { claim: promised, node } if promised == claim => Some(node),
            _ => None,
        })
    }
}
