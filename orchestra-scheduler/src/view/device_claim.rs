//! Resource claims: devices that a pod asks for by name.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::api::resource::v1::{
    AllocatedDeviceStatus, AllocationResult, DeviceClaim, DeviceRequestAllocationResult, ResourceClaim,
};

use super::catalog::{Catalog, shelf};
use super::kept::{Kept, Shelf};
use super::{NamespacedName, NodeFacts, NodeSelector, PodUid, PodView};
use crate::event::ClusterEvent;

/// The finalizer of claims that have devices.
pub(crate) const CLAIM_GUARD: &str = "resource.kubernetes.io/delete-protection";

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

/// The devices that a claim has, and the nodes on which they can be used.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DeviceAllocation {
    nodes: Option<NodeSelector>,
    /// As `status.allocation` states it.
    pub result: AllocationResult,
}

// Everything in it is text, numbers without a point, and JSON; all of that equals itself.
impl Eq for DeviceAllocation {}

impl DeviceAllocation {
    /// Reads an allocation.
    #[must_use]
    pub fn new(result: AllocationResult) -> Self {
        Self { nodes: result.node_selector.as_ref().map(NodeSelector::from_api), result }
    }

    /// Whether the devices can be used on a node.
    #[must_use]
    pub fn reaches(&self, node: &NodeFacts) -> bool {
        self.nodes.as_ref().is_none_or(|selector| selector.matches(&node.labels, &node.name))
    }

    /// The devices.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceRequestAllocationResult> {
        self.result.devices.iter().flat_map(|devices| devices.results.iter().flatten())
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
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DeviceClaimView {
    /// Namespace and name.
    pub key: NamespacedName,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// What it asks for.
    pub wanted: DeviceClaim,
    /// Its devices, once it has them.
    pub allocation: Option<Arc<DeviceAllocation>>,
    /// What drivers say of those devices.
    pub devices: Vec<AllocatedDeviceStatus>,
    /// Who uses it.
    pub users: Vec<ClaimUser>,
    /// Whether it is kept from vanishing as long as it has devices.
    pub guarded: bool,
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
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            wanted: claim.spec.devices.clone().unwrap_or_default(),
            allocation: allocation.map(|allocation| Arc::new(DeviceAllocation::new(allocation.clone()))),
            devices: status.and_then(|status| status.devices.clone()).unwrap_or_default(),
            guarded: meta.finalizers.iter().flatten().any(|finalizer| finalizer == CLAIM_GUARD),
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

    /// Whether nobody but this pod uses it.
    #[must_use]
    pub fn is_used_by_nobody_but(&self, pod: &PodView) -> bool {
        self.users.iter().all(|user| user.uid == pod.uid)
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

    fn applied(before: Option<Arc<Self>>, now: Arc<Self>) -> Option<ClusterEvent> {
        let had = before.is_some_and(|before| before.allocation.is_some());
        Some(match had && now.allocation.is_none() {
            true => ClusterEvent::DevicesFreed(now),
            false => ClusterEvent::DeviceClaimChanged(now),
        })
    }

    fn deleted(gone: Arc<Self>) -> Option<ClusterEvent> {
        gone.allocation.is_some().then_some(ClusterEvent::DevicesFreed(gone))
    }
}
