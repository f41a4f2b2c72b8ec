//! Resource claims: devices that a pod asks for by name.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::api::resource::v1::{
    AllocatedDeviceStatus, AllocationResult, DeviceClaim, DeviceRequestAllocationResult, ResourceClaim,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::catalog::{Catalog, shelf};
use super::kept::{Kept, Shelf};
use super::{ClusterView, NamespacedName, NodeFacts, NodeSelector, PodUid, PodView, TranslatedClaim};
use crate::event::ClusterEvent;

/// The finalizer of claims that have devices.
pub(crate) const CLAIM_GUARD: &str = "resource.kubernetes.io/delete-protection";
/// Says of a claim that a scheduler made it, of the extended resources that a pod asks for.
pub(crate) const MADE_OF_RESOURCES: &str = "resource.kubernetes.io/extended-resource-claim";

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
    /// The pod for whose extended resources a scheduler made it, if one did.
    pub made_for: Option<PodUid>,
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
            made_for: made_for(meta),
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

    /// The claim that stands for extended resources of a pod, before it is made: as long as it is only thought of, it has
    /// upstream's name, which no claim can have.
    pub(crate) fn for_resources(pod: &PodView, wanted: &TranslatedClaim) -> Self {
        Self {
            key: NamespacedName::new(&pod.key.namespace, "<extended-resources>"),
            uid: (&*pod.uid).into(),
            wanted: DeviceClaim { requests: Some(wanted.requests.clone()), ..DeviceClaim::default() },
            allocation: None,
            devices: Vec::new(),
            made_for: Some(pod.uid.clone()),
            users: Vec::new(),
            guarded: false,
            terminating: false,
            version: "".into(),
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

fn made_for(meta: &ObjectMeta) -> Option<PodUid> {
    let says = meta.annotations.as_ref().and_then(|all| all.get(MADE_OF_RESOURCES));
    let owners = meta.owner_references.iter().flatten();
    let owner = owners.into_iter().find(|owner| owner.controller == Some(true))?;
    says.is_some_and(|says| says == "true").then(|| PodUid::from(owner.uid.as_str()))
}

impl ClusterView {
    /// The claims that were made of a pod's extended resources; more than one only where an attempt failed and another
    /// followed.
    pub fn claims_made_for(&self, pod: &PodView) -> impl Iterator<Item = &Arc<DeviceClaimView>> {
        let namespace = pod.key.namespace.clone();
        let first = NamespacedName::new(&namespace, "");
        let nearby = DeviceClaimView::shelf(self.catalog()).starting_at(first);
        let nearby = nearby.take_while(move |claim| claim.key.namespace == namespace);
        nearby.filter(|claim| claim.made_for.as_ref() == Some(&pod.uid))
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
        // A pod that failed may wait for the claim that was made for it to go.
        (gone.allocation.is_some() || gone.made_for.is_some()).then_some(ClusterEvent::DevicesFreed(gone))
    }
}
