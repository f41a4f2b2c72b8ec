//! Changes in the cluster that can make a rejected pod worth another try.

use std::sync::Arc;

use crate::view::{
    AttachmentView, ClaimView, ClassView, CsiNodeView, DeviceClaimView, DeviceClassView, NodeFacts,
    PodGroupView, PodView, VolumeView,
};

/// A change, with what was there before where that matters.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// A node came.
    NodeAdded(Arc<NodeFacts>),
    /// A node says something else about itself.
    NodeUpdated {
        /// What it said.
        old: Arc<NodeFacts>,
        /// What it says.
        new: Arc<NodeFacts>,
    },
    /// A node is gone.
    NodeDeleted(Arc<NodeFacts>),
    /// A pod now runs on a node.
    AssignedPodAdded(Arc<PodView>),
    /// A pod on a node changed.
    AssignedPodUpdated {
        /// What it was.
        old: Arc<PodView>,
        /// What it is.
        new: Arc<PodView>,
    },
    /// A pod left its node, or ended.
    AssignedPodDeleted(Arc<PodView>),
    /// A waiting pod itself changed.
    PodUpdated {
        /// What it was.
        old: Arc<PodView>,
        /// What it is.
        new: Arc<PodView>,
    },
    /// A claim came or changed.
    ClaimChanged(Arc<ClaimView>),
    /// A volume came or changed.
    VolumeChanged(Arc<VolumeView>),
    /// A storage class came or changed.
    ClassChanged(Arc<ClassView>),
    /// What a node says about volume limits came or changed.
    CsiNodeChanged(Arc<CsiNodeView>),
    /// A volume was detached.
    AttachmentDeleted(Arc<AttachmentView>),
    /// A resource claim came or changed.
    DeviceClaimChanged(Arc<DeviceClaimView>),
    /// A resource claim gave its devices back, or is gone with them.
    DevicesFreed(Arc<DeviceClaimView>),
    /// What drivers offer came or changed.
    DevicesChanged,
    /// A class of devices came or changed.
    DeviceClassChanged {
        /// What it was; `None` if it came.
        old: Option<Arc<DeviceClassView>>,
        /// What it is.
        new: Arc<DeviceClassView>,
    },
    /// A pod group came or changed.
    PodGroupChanged(Arc<PodGroupView>),
    /// What drivers say about their room came or changed.
    StorageChanged,
}

impl ClusterEvent {
    /// The event in upstream's words. Where this does not tell apart what came from what changed, it changed.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NodeAdded(_) => "NodeAdd",
            Self::NodeUpdated { .. } => "NodeUpdate",
            Self::NodeDeleted(_) => "NodeDelete",
            Self::AssignedPodAdded(_) => "AssignedPodAdd",
            Self::AssignedPodUpdated { .. } => "AssignedPodUpdate",
            Self::AssignedPodDeleted(_) => "AssignedPodDelete",
            Self::PodUpdated { .. } => "UnschedulablePodUpdate",
            Self::ClaimChanged(_) => "PersistentVolumeClaimUpdate",
            Self::VolumeChanged(_) => "PersistentVolumeUpdate",
            Self::ClassChanged(_) => "StorageClassUpdate",
            Self::CsiNodeChanged(_) => "CSINodeUpdate",
            Self::AttachmentDeleted(_) => "VolumeAttachmentDelete",
            Self::DeviceClaimChanged(_) | Self::DevicesFreed(_) => "ResourceClaimUpdate",
            Self::DevicesChanged => "ResourceSliceUpdate",
            Self::DeviceClassChanged { old: None, .. } => "DeviceClassAdd",
            Self::DeviceClassChanged { .. } => "DeviceClassUpdate",
            Self::PodGroupChanged(_) => "PodGroupUpdate",
            Self::StorageChanged => "CSIStorageCapacityUpdate",
        }
    }
}

/// Whether an event is a reason to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// It is.
    Queue,
    /// It changes nothing for this pod.
    Skip,
}

impl Hint {
    /// [`Hint::Queue`] if `helps`.
    #[must_use]
    pub fn when(helps: bool) -> Self {
        if helps { Self::Queue } else { Self::Skip }
    }
}
