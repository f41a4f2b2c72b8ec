//! Resource claims: devices that a pod asks for by name.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::api::resource::v1::ResourceClaim;

use super::catalog::{Catalog, shelf};
use super::kept::{Kept, Shelf};
use super::{NamespacedName, NodeFacts, NodeSelector, PodUid, PodView};
use crate::event::ClusterEvent;

/// A resource claim that a pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceClaimReference {
    /// What the pod calls it.
    pub name: Box<str>,
    /// The claim's name, in the pod's namespace; `None` while it is still to be made from a template.
    pub claim: Option<Box<str>>,
}

impl DeviceClaimReference {
    /// The claims of a pod; one that turned out not to be needed is left out.
    pub(super) fn from_api(spec: &api::PodSpec, status: Option<&api::PodStatus>) -> Vec<Self> {
        let made = |name: &str| {
            let mut made = status?.resource_claim_statuses.iter().flatten();
            made.find(|made| made.name == name)
        };
        let references = spec.resource_claims.iter().flatten().filter_map(|reference| {
            let claim = match (&reference.resource_claim_name, made(&reference.name)) {
                (Some(name), _) => Some(name.as_str().into()),
                (None, Some(made)) => Some(made.resource_claim_name.as_deref()?.into()),
                (None, None) => None,
            };
            Some(Self { name: reference.name.as_str().into(), claim })
        });
        references.collect()
    }
}

/// The nodes on which allocated devices can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceAllocation {
    nodes: Option<NodeSelector>,
}

impl DeviceAllocation {
    /// Whether the devices can be used on a node.
    #[must_use]
    pub fn reaches(&self, node: &NodeFacts) -> bool {
        self.nodes.as_ref().is_none_or(|selector| selector.matches(&node.labels, &node.name))
    }
}

/// Who uses a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimUser {
    /// Its API group; empty is the core group.
    pub group: Box<str>,
    /// Its resource, such as `pods`.
    pub resource: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its identity.
    pub uid: PodUid,
}

/// A ResourceClaim, reduced to what scheduling needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceClaimView {
    /// Namespace and name.
    pub key: NamespacedName,
    /// Its devices, once it has them.
    pub allocation: Option<DeviceAllocation>,
    /// Who uses it.
    pub users: Vec<ClaimUser>,
    /// Whether its deletion has begun.
    pub terminating: bool,
    /// `metadata.resourceVersion`, so that nothing is written over what has changed.
    pub version: Box<str>,
}

impl DeviceClaimView {
    /// Reads a resource claim of the API.
    #[must_use]
    pub fn from_api(claim: &ResourceClaim) -> Self {
        let (meta, status) = (&claim.metadata, claim.status.as_ref());
        let users = status.into_iter().flat_map(|status| status.reserved_for.iter().flatten());
        let allocation = status.and_then(|status| status.allocation.as_ref());
        Self {
            key: NamespacedName::of(meta),
            allocation: allocation.map(|allocation| DeviceAllocation {
                nodes: allocation.node_selector.as_ref().map(NodeSelector::from_api),
            }),
            users: users
                .map(|user| ClaimUser {
                    group: user.api_group.as_deref().unwrap_or_default().into(),
                    resource: user.resource.as_str().into(),
                    name: user.name.as_str().into(),
                    uid: PodUid::from(user.uid.as_str()),
                })
                .collect(),
            terminating: meta.deletion_timestamp.is_some(),
            version: meta.resource_version.as_deref().unwrap_or_default().into(),
        }
    }

    /// Whether the pod is among the users.
    #[must_use]
    pub fn is_used_by(&self, pod: &PodView) -> bool {
        self.users.iter().any(|user| user.uid == pod.uid)
    }

    /// The users with this pod among them.
    #[must_use]
    pub fn users_with(&self, pod: &PodView) -> Vec<ClaimUser> {
        let mut users = self.users.clone();
        users.push(ClaimUser {
            group: "".into(),
            resource: "pods".into(),
            name: (&*pod.key.name).into(),
            uid: pod.uid.clone(),
        });
        users
    }
}

impl Kept for DeviceClaimView {
    type Key = NamespacedName;
    shelf!(device_claims);

    fn key(&self) -> NamespacedName {
        self.key.clone()
    }

    fn applied(_: Option<Arc<Self>>, now: Arc<Self>) -> Option<ClusterEvent> {
        Some(ClusterEvent::DeviceClaimChanged(now))
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        None
    }
}
