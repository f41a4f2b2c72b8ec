//! What was decided about volumes and devices and is not written yet.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ContainerExtendedResourceRequest;
use k8s_openapi::api::resource::v1::DeviceRequest;

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
    /// Devices are going to stand for extended resources of a pod.
    Resources(PromisedResources),
}

/// Devices for extended resources that a pod asks for: a claim is going to be made for them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PromisedResources {
    /// The pod.
    pub pod: PodUid,
    /// What the claim says.
    pub wanted: Arc<TranslatedClaim>,
    /// The devices.
    pub allocation: Arc<DeviceAllocation>,
    /// The claim, once it is made; it may not have been seen yet.
    pub made: Option<NamespacedName>,
}

/// Extended resources of a pod, said as a claim of devices.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TranslatedClaim {
    /// The requests of the claim.
    pub requests: Vec<DeviceRequest>,
    /// Which of them are for which container's resource.
    pub mappings: Vec<ContainerExtendedResourceRequest>,
}

// Everything in it is text and whole numbers; all of that equals itself.
impl Eq for TranslatedClaim {}

impl PromisedResources {
    /// Devices for a pod, with a claim that is still to be made.
    #[must_use]
    pub fn new(pod: PodUid, wanted: Arc<TranslatedClaim>, allocation: Arc<DeviceAllocation>) -> Self {
        Self { pod, wanted, allocation, made: None }
    }
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

    /// The devices that are going to stand for extended resources.
    pub(crate) fn promised_resources(&self) -> impl Iterator<Item = &PromisedResources> {
        self.promises.iter().filter_map(|promise| match promise {
            Promise::Resources(promised) => Some(promised),
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
