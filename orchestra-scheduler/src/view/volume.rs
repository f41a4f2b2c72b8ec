//! Volumes as the scheduler sees them.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;

use super::amount::amount;
use super::catalog::{Catalog, shelf};
use super::claim::{AccessModes, BETA_CLASS};
use super::kept::{Kept, Shelf};
use super::{ClaimKey, ClaimView, Labels, NodeFacts, NodeSelector, ViewError};
use crate::event::ClusterEvent;
use crate::unit::{Bytes, ResourceName};

/// The volume as its driver knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeHandle {
    /// The CSI driver; that which took over, for volumes of the old kinds.
    pub driver: Box<str>,
    /// The driver's name for it.
    pub handle: Box<str>,
}

impl VolumeHandle {
    /// A volume of a driver.
    #[must_use]
    pub fn new(driver: &str, handle: &str) -> Self {
        Self { driver: driver.into(), handle: handle.into() }
    }

    fn from_api(spec: &api::PersistentVolumeSpec) -> Option<Self> {
        if let Some(csi) = &spec.csi {
            return Some(Self::new(&csi.driver, &csi.volume_handle));
        }
        let ebs =
            spec.aws_elastic_block_store.as_ref().map(|disk| Self::new("ebs.csi.aws.com", &disk.volume_id));
        let gce = || Some(Self::new("pd.csi.storage.gke.io", &spec.gce_persistent_disk.as_ref()?.pd_name));
        let azure = || Some(Self::new("disk.csi.azure.com", &spec.azure_disk.as_ref()?.disk_uri));
        let cinder = || Some(Self::new("cinder.csi.openstack.org", &spec.cinder.as_ref()?.volume_id));
        let vsphere =
            || Some(Self::new("csi.vsphere.vmware.com", &spec.vsphere_volume.as_ref()?.volume_path));
        let portworx = || Some(Self::new("pxd.portworx.com", &spec.portworx_volume.as_ref()?.volume_id));
        ebs.or_else(gce).or_else(azure).or_else(cinder).or_else(vsphere).or_else(portworx)
    }
}

/// The claim that a volume belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeOwner {
    /// Namespace and name.
    pub claim: ClaimKey,
    /// The claim's identity; empty while an administrator only set the volume aside for it.
    pub uid: Box<str>,
}

/// A PersistentVolume, reduced to what scheduling needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumeView {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels, by which claims select and which name its zone.
    pub labels: Labels,
    /// The nodes that can reach it; `None` is all.
    pub node_affinity: Option<NodeSelector>,
    /// The claim it belongs to.
    pub owner: Option<VolumeOwner>,
    /// Its storage class.
    pub class: Option<Arc<str>>,
    /// How much it holds.
    pub capacity: Bytes,
    /// How it may be mounted.
    pub access: AccessModes,
    /// Whether it is a device rather than a file system.
    pub block: bool,
    /// Whether it waits for a claim (`status.phase` is `Available`).
    pub available: bool,
    /// Whether its deletion has begun.
    pub terminating: bool,
    /// What its driver calls it, if it has a driver that limits how many a node takes.
    pub handle: Option<VolumeHandle>,
    /// `metadata.resourceVersion`, so that nothing is written over what has changed.
    pub version: Box<str>,
}

impl VolumeView {
    /// Reads a volume of the API.
    ///
    /// # Errors
    /// When the capacity does not parse.
    pub fn from_api(volume: &api::PersistentVolume) -> Result<Self, ViewError> {
        let (meta, nothing) = (&volume.metadata, api::PersistentVolumeSpec::default());
        let spec = volume.spec.as_ref().unwrap_or(&nothing);
        let storage = spec
            .capacity
            .as_ref()
            .and_then(|capacity| capacity.get("storage"))
            .map(|quantity| amount(&ResourceName::Memory, quantity, "spec.capacity[storage]"));
        let annotated = meta.annotations.as_ref().and_then(|all| all.get(BETA_CLASS));
        let affinity = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
        Ok(Self {
            name: meta.name.as_deref().unwrap_or_default().into(),
            labels: meta.labels.clone().unwrap_or_default(),
            node_affinity: affinity.map(NodeSelector::from_api),
            owner: spec.claim_ref.as_ref().map(|claim| VolumeOwner {
                claim: ClaimKey {
                    namespace: claim.namespace.as_deref().unwrap_or_default().into(),
                    name: claim.name.as_deref().unwrap_or_default().into(),
                },
                uid: claim.uid.as_deref().unwrap_or_default().into(),
            }),
            class: annotated
                .or(spec.storage_class_name.as_ref())
                .filter(|name| !name.is_empty())
                .map(|name| name.as_str().into()),
            capacity: Bytes(storage.transpose()?.unwrap_or(0)),
            access: AccessModes::from_api(spec.access_modes.as_deref()),
            block: spec.volume_mode.as_deref() == Some("Block"),
            available: volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Available"),
            terminating: meta.deletion_timestamp.is_some(),
            handle: VolumeHandle::from_api(spec),
            version: meta.resource_version.as_deref().unwrap_or_default().into(),
        })
    }

    /// Whether a node can reach the volume.
    #[must_use]
    pub fn reaches(&self, node: &NodeFacts) -> bool {
        self.node_affinity.as_ref().is_none_or(|selector| selector.matches(&node.labels, &node.name))
    }

    /// Whether the volume belongs to this claim, or was set aside for it.
    #[must_use]
    pub fn belongs_to(&self, claim: &ClaimView) -> bool {
        self.owner
            .as_ref()
            .is_some_and(|owner| owner.claim == claim.key && (owner.uid.is_empty() || owner.uid == claim.uid))
    }
}

impl Kept for VolumeView {
    type Key = Arc<str>;
    shelf!(volumes);

    fn key(&self) -> Arc<str> {
        self.name.clone()
    }

    fn applied(_: Option<Arc<Self>>, now: Arc<Self>) -> Option<ClusterEvent> {
        Some(ClusterEvent::VolumeChanged(now))
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        None
    }
}
