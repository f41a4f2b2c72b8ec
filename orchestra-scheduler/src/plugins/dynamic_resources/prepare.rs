//! What has to be true of a pod's claims before it is bound: that they have devices, that the pod is among their users, and that
//! the devices are prepared.

use std::sync::Arc;

use k8s_openapi::api::resource::v1::{AllocatedDeviceStatus, DeviceRequestAllocationResult};

use super::claims;
use super::extended::making;
use crate::effect::Effect;
use crate::verdict::{Announcement, Preparation};
use crate::view::{ClusterView, DeviceAllocation, DeviceClaimView, NodeFacts, NodeName, PodView};

/// How far the preparation of a claim's devices has come.
pub(super) enum Prepared {
    Done,
    Waiting,
    /// The driver says that it will not be.
    Failed(String),
}

pub(super) fn prepared(claim: &DeviceClaimView, allocation: &DeviceAllocation) -> Prepared {
    let mut prepared = Prepared::Done;
    for device in allocation.devices() {
        let is_true = |name: &str| {
            let is_it = |one: &&AllocatedDeviceStatus| {
                (&one.driver, &one.pool, &one.device, &one.share_id)
                    == (&device.driver, &device.pool, &device.device, &device.share_id)
            };
            let conditions =
                claim.devices.iter().filter(is_it).flat_map(|one| one.conditions.iter().flatten());
            conditions.into_iter().any(|condition| condition.type_ == name && condition.status == "True")
        };
        let DeviceRequestAllocationResult { binding_conditions, binding_failure_conditions, .. } = device;
        if let Some(failed) = binding_failure_conditions.iter().flatten().find(|name| is_true(name)) {
            return Prepared::Failed(format!(
                "claim {}: binding of device {} failed: {failed}",
                claim.key, device.device
            ));
        }
        if !binding_conditions.iter().flatten().all(|name| is_true(name)) {
            prepared = Prepared::Waiting;
        }
    }
    prepared
}

/// What is still missing of a pod's claims.
#[derive(Default)]
struct Missing {
    effects: Vec<Effect>,
    /// Something has to be seen or done by others.
    waiting: bool,
    /// Some device is one that has to be prepared.
    prepares: bool,
    failed: Option<String>,
}

impl Missing {
    /// Looks at devices that a claim has, with the pod among its users.
    fn look(&mut self, claim: &DeviceClaimView, allocation: &DeviceAllocation) {
        let mut conditions =
            allocation.devices().flat_map(|device| device.binding_conditions.iter().flatten());
        self.prepares |= conditions.next().is_some();
        match prepared(claim, allocation) {
            Prepared::Done => {}
            Prepared::Waiting => self.waiting = true,
            Prepared::Failed(reason) => {
                self.failed.get_or_insert(reason);
            }
        }
    }

    fn said(self, node: &NodeName) -> Preparation {
        if !self.effects.is_empty() {
            return Preparation::Perform(self.effects);
        }
        let then = match (self.failed, self.waiting) {
            (Some(reason), _) => Preparation::Fail(reason),
            (None, true) => Preparation::Wait,
            (None, false) => Preparation::Ready,
        };
        if !self.prepares {
            return then;
        }
        let note = format!("waiting for binding conditions for device on node {node}");
        let notice = Announcement { reason: "BindingConditionsPending", note };
        Preparation::Announced { notice, then: Box::new(then) }
    }
}

/// What is to be done before the pod can be bound to the node.
pub(super) fn prepare(cluster: &ClusterView, pod: &PodView, node: &NodeName) -> Preparation {
    let Some(facts) = cluster.node(node).map(|node| node.facts()) else {
        return Preparation::Fail(format!("node {:?} not found", &**node));
    };
    let mut missing = Missing::default();
    match claimed(cluster, pod, facts, &mut missing).and_then(|()| resources(cluster, pod, &mut missing)) {
        Ok(()) => missing.said(node),
        Err(reason) => Preparation::Fail(reason),
    }
}

/// What is missing of the claims that the pod names.
fn claimed(
    cluster: &ClusterView,
    pod: &PodView,
    facts: &NodeFacts,
    missing: &mut Missing,
) -> Result<(), String> {
    let mut seen: Vec<&Arc<DeviceClaimView>> = Vec::new();
    for claim in claims(cluster, pod) {
        let claim = claim?;
        if seen.iter().any(|other| other.key == claim.key) {
            continue;
        }
        seen.push(claim);
        let named = || format!("resourceclaim {:?}", &*claim.key.name);
        let Some(allocation) = &claim.allocation else {
            let mut promised = cluster.promised_devices();
            let promised = promised.find(|(key, user, _)| **key == claim.key && **user == pod.uid);
            let (.., allocation) = promised.ok_or_else(|| format!("{} lost its devices", named()))?;
            if claim.terminating {
                return Err(format!("{} is being deleted", named()));
            }
            missing.effects.push(Effect::AllocateClaim {
                claim: claim.key.clone(),
                version: claim.version.clone(),
                guarded: claim.guarded,
                allocation: allocation.clone(),
                users: claim.users_with(pod),
            });
            continue;
        };
        if !allocation.reaches(facts) {
            return Err(format!("{} got devices elsewhere", named()));
        }
        if claim.is_used_by(pod) {
            missing.look(claim, allocation);
            continue;
        }
        missing.effects.push(Effect::ReserveClaim {
            claim: claim.key.clone(),
            version: claim.version.clone(),
            users: claim.users_with(pod),
        });
    }
    Ok(())
}

/// What is missing of the claim for extended resources.
fn resources(cluster: &ClusterView, pod: &PodView, missing: &mut Missing) -> Result<(), String> {
    let Some(promised) = cluster.promised_resources().find(|promised| promised.pod == pod.uid) else {
        return Ok(());
    };
    let other = cluster.claims_made_for(pod).find(|claim| Some(&claim.key) != promised.made.as_ref());
    if let Some(other) = other {
        return Err(format!("resourceclaim {:?} is left of an earlier attempt", &*other.key.name));
    }
    let Some(made) = &promised.made else {
        missing.effects.push(making(pod, promised));
        return Ok(());
    };
    let Some(claim) = cluster.kept::<DeviceClaimView>(made) else {
        // Made, and not seen yet.
        missing.waiting = true;
        return Ok(());
    };
    if claim.terminating {
        return Err(format!("resourceclaim {:?} is being deleted", &*made.name));
    }
    match &claim.allocation {
        Some(allocation) if claim.is_used_by(pod) => missing.look(claim, allocation),
        _ => missing.waiting = true,
    }
    Ok(())
}
