//! Storage classes and what CSI drivers say about themselves, their nodes and their room.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment};
use orchestra_core::selector::LabelSelector;

use super::amount::amount;
use super::catalog::{Catalog, shelf};
use super::group::read_selector;
use super::kept::{Kept, Shelf};
use super::{NamespacedName, NodeName, NodeSelector, SelectorTerm, ViewError};
use super::{Requirement, SelectorOperator};
use crate::event::ClusterEvent;
use crate::unit::{Bytes, ResourceName};

const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// When a class binds its claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingMode {
    /// At once.
    Immediate,
    /// When a pod that uses the claim has been given a node.
    WaitForFirstConsumer,
}

/// A StorageClass, reduced to what scheduling needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassView {
    /// Its name.
    pub name: Arc<str>,
    /// When its claims are bound.
    pub mode: BindingMode,
    /// Who makes its volumes.
    pub provisioner: Box<str>,
    /// Whether it can make volumes.
    pub provisions: bool,
    /// The nodes it can make volumes for; `None` is all.
    pub topologies: Option<NodeSelector>,
}

impl ClassView {
    /// Reads a storage class of the API.
    #[must_use]
    pub fn from_api(class: &StorageClass) -> Self {
        let topologies = class.allowed_topologies.as_ref().filter(|terms| !terms.is_empty());
        Self {
            name: class.metadata.name.as_deref().unwrap_or_default().into(),
            mode: match class.volume_binding_mode.as_deref() {
                Some("WaitForFirstConsumer") => BindingMode::WaitForFirstConsumer,
                _ => BindingMode::Immediate,
            },
            provisioner: class.provisioner.as_str().into(),
            provisions: !class.provisioner.is_empty() && class.provisioner != NO_PROVISIONER,
            topologies: topologies
                .map(|terms| NodeSelector { terms: terms.iter().map(|term| Some(topology(term))).collect() }),
        }
    }
}

impl Kept for ClassView {
    type Key = Arc<str>;
    shelf!(classes);

    fn key(&self) -> Arc<str> {
        self.name.clone()
    }

    fn applied(_: Option<Arc<Self>>, now: Arc<Self>) -> Option<ClusterEvent> {
        Some(ClusterEvent::ClassChanged(now))
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        None
    }
}

fn topology(term: &api::TopologySelectorTerm) -> SelectorTerm {
    let expressions = term.match_label_expressions.iter().flatten().map(|expression| Requirement {
        key: expression.key.as_str().into(),
        operator: SelectorOperator::In,
        values: expression.values.iter().map(|value| value.as_str().into()).collect(),
    });
    SelectorTerm { expressions: expressions.collect(), fields: Vec::new() }
}

/// A CSINode: how many volumes of each driver a node takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CsiNodeView {
    /// The node.
    pub name: NodeName,
    /// The most volumes by driver; a driver without an entry takes any number.
    pub limits: BTreeMap<Box<str>, usize>,
}

impl CsiNodeView {
    /// Reads a CSINode of the API.
    #[must_use]
    pub fn from_api(node: &CSINode) -> Self {
        let drivers = node.spec.drivers.iter();
        let limits = drivers.filter_map(|driver| {
            let count = driver.allocatable.as_ref()?.count?;
            Some((driver.name.as_str().into(), usize::try_from(count).unwrap_or(0)))
        });
        Self {
            name: NodeName::from(node.metadata.name.as_deref().unwrap_or_default()),
            limits: limits.collect(),
        }
    }
}

impl Kept for CsiNodeView {
    type Key = NodeName;
    shelf!(csi_nodes, |stated| Some(&stated.name));

    fn key(&self) -> NodeName {
        self.name.clone()
    }

    fn applied(_: Option<Arc<Self>>, now: Arc<Self>) -> Option<ClusterEvent> {
        Some(ClusterEvent::CsiNodeChanged(now))
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        None
    }
}

/// A CSIDriver: whether it says how much room there is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CsiDriverView {
    /// Its name.
    pub name: Arc<str>,
    /// Whether its capacity objects are to be believed.
    pub publishes_capacity: bool,
}

impl CsiDriverView {
    /// Reads a CSIDriver of the API.
    #[must_use]
    pub fn from_api(driver: &CSIDriver) -> Self {
        Self {
            name: driver.metadata.name.as_deref().unwrap_or_default().into(),
            publishes_capacity: driver.spec.storage_capacity.unwrap_or(false),
        }
    }
}

impl Kept for CsiDriverView {
    type Key = Arc<str>;
    shelf!(csi_drivers);

    fn key(&self) -> Arc<str> {
        self.name.clone()
    }

    fn applied(_: Option<Arc<Self>>, _: Arc<Self>) -> Option<ClusterEvent> {
        Some(ClusterEvent::StorageChanged)
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        None
    }
}

/// A CSIStorageCapacity: how large a volume some nodes could get.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CapacityView {
    /// Namespace and name.
    pub key: NamespacedName,
    /// The storage class it speaks of.
    pub class: Arc<str>,
    /// The nodes it speaks of.
    pub nodes: LabelSelector,
    /// The largest volume that can be made, if that is known.
    pub largest: Option<Bytes>,
}

impl CapacityView {
    /// Reads a CSIStorageCapacity of the API.
    ///
    /// # Errors
    /// When an amount does not parse.
    pub fn from_api(capacity: &CSIStorageCapacity) -> Result<Self, ViewError> {
        let largest = match (&capacity.maximum_volume_size, &capacity.capacity) {
            (Some(size), _) => Some(amount(&ResourceName::Memory, size, "maximumVolumeSize")?),
            (None, Some(size)) => Some(amount(&ResourceName::Memory, size, "capacity")?),
            (None, None) => None,
        };
        Ok(Self {
            key: NamespacedName::of(&capacity.metadata),
            class: capacity.storage_class_name.as_str().into(),
            nodes: read_selector(capacity.node_topology.as_ref()),
            largest: largest.map(Bytes),
        })
    }
}

impl Kept for CapacityView {
    type Key = NamespacedName;
    shelf!(capacities);

    fn key(&self) -> NamespacedName {
        self.key.clone()
    }

    fn applied(_: Option<Arc<Self>>, _: Arc<Self>) -> Option<ClusterEvent> {
        Some(ClusterEvent::StorageChanged)
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        None
    }
}

/// A VolumeAttachment: a volume that takes up a place on a node, whoever uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttachmentView {
    /// Its name.
    pub name: Arc<str>,
    /// The node.
    pub node: NodeName,
    /// The driver.
    pub driver: Box<str>,
    /// The volume; `None` if it is written out in a pod.
    pub volume: Option<Arc<str>>,
}

impl AttachmentView {
    /// Reads a VolumeAttachment of the API.
    #[must_use]
    pub fn from_api(attachment: &VolumeAttachment) -> Self {
        let spec = &attachment.spec;
        Self {
            name: attachment.metadata.name.as_deref().unwrap_or_default().into(),
            node: NodeName::from(spec.node_name.as_str()),
            driver: spec.attacher.as_str().into(),
            volume: spec.source.persistent_volume_name.as_deref().map(Arc::from),
        }
    }
}

/// Where a VolumeAttachment is found: the API does not let its node change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachmentKey {
    /// The node.
    pub node: NodeName,
    /// The attachment's name.
    pub name: Arc<str>,
}

impl Kept for AttachmentView {
    type Key = AttachmentKey;
    shelf!(attachments, |attachment| Some(&attachment.node));

    fn key(&self) -> AttachmentKey {
        AttachmentKey { node: self.node.clone(), name: self.name.clone() }
    }

    fn applied(_: Option<Arc<Self>>, _: Arc<Self>) -> Option<ClusterEvent> {
        None
    }

    fn deleted(gone: Arc<Self>) -> Option<ClusterEvent> {
        Some(ClusterEvent::AttachmentDeleted(gone))
    }
}
