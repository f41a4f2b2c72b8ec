//! Claims, volumes and storage classes as the scheduler sees them.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::api::storage::v1::StorageClass;

use super::amount::amount;
use super::catalog::{Catalog, shelf};
use super::kept::{Kept, Shelf};
use super::{NodeName, NodeSelector, SelectorTerm, ViewError};
use super::{Requirement, SelectorOperator};
use crate::event::ClusterEvent;
use crate::unit::{Bytes, ResourceName};

/// Set on a claim: the node its first consumer was placed on.
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// Namespace and name of a claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimKey {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl fmt::Display for ClaimKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// How far a claim has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimPhase {
    /// No volume yet; `selected` is the node chosen for its first consumer.
    Unbound {
        /// The node the volume has to suit.
        selected: Option<NodeName>,
    },
    /// Names a volume that has not yet accepted it.
    Binding,
    /// Bound to the volume of this name.
    Bound(Arc<str>),
    /// Its volume is gone.
    Lost(Arc<str>),
}

/// A PersistentVolumeClaim, reduced to what scheduling needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimView {
    /// Namespace and name.
    pub key: ClaimKey,
    /// How far it has come.
    pub phase: ClaimPhase,
    /// Its storage class.
    pub class: Option<Arc<str>>,
    /// How much it asks for.
    pub request: Bytes,
    /// Whether its deletion has begun.
    pub terminating: bool,
}

impl ClaimView {
    /// Reads a claim of the API.
    ///
    /// # Errors
    /// When the request does not parse.
    pub fn from_api(claim: &api::PersistentVolumeClaim) -> Result<Self, ViewError> {
        let (meta, spec) = (&claim.metadata, claim.spec.as_ref());
        let annotation =
            |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str);
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
        let volume = spec.and_then(|spec| spec.volume_name.as_deref()).filter(|name| !name.is_empty());
        let storage = spec
            .and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"))
            .map(|quantity| amount(&ResourceName::Memory, quantity, "spec.resources.requests[storage]"));
        Ok(Self {
            key: ClaimKey {
                namespace: meta.namespace.as_deref().unwrap_or_default().into(),
                name: meta.name.as_deref().unwrap_or_default().into(),
            },
            phase: match volume {
                _ if phase == Some("Lost") => ClaimPhase::Lost(volume.unwrap_or_default().into()),
                Some(volume) if phase == Some("Bound") || annotation(BIND_COMPLETED).is_some() => {
                    ClaimPhase::Bound(volume.into())
                }
                Some(_) => ClaimPhase::Binding,
                None => ClaimPhase::Unbound { selected: annotation(SELECTED_NODE).map(NodeName::from) },
            },
            class: annotation(BETA_CLASS)
                .or_else(|| spec.and_then(|spec| spec.storage_class_name.as_deref()))
                .filter(|name| !name.is_empty())
                .map(Arc::from),
            request: Bytes(storage.transpose()?.unwrap_or(0)),
            terminating: meta.deletion_timestamp.is_some(),
        })
    }
}

impl Kept for ClaimView {
    type Key = ClaimKey;
    shelf!(claims);

    fn key(&self) -> ClaimKey {
        self.key.clone()
    }

    fn applied(_: Option<Arc<Self>>, now: Arc<Self>) -> Option<ClusterEvent> {
        Some(ClusterEvent::ClaimChanged(now))
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        None
    }
}

/// A PersistentVolume, reduced to what scheduling needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumeView {
    /// Its name.
    pub name: Arc<str>,
    /// The nodes that can reach it; `None` is all.
    pub node_affinity: Option<NodeSelector>,
}

impl VolumeView {
    /// Reads a volume of the API.
    #[must_use]
    pub fn from_api(volume: &api::PersistentVolume) -> Self {
        let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
        Self {
            name: volume.metadata.name.as_deref().unwrap_or_default().into(),
            node_affinity: affinity.map(NodeSelector::from_api),
        }
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
