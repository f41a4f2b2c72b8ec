//! VolumeBinding: a pod goes where its volumes can be.
//!
//! Bound claims tie the pod to the nodes that reach their volumes. Unbound claims either have to be bound first
//! or, with a class that waits for its first consumer, are given the chosen node and bound before the pod is.
//! Matching such claims with volumes made by hand is left out: they need a class that can make volumes.

use std::time::Duration;

use crate::effect::Effect;
use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Cycle, Filter, Plugin, PreBind, PreFilter, Requeue};
use crate::verdict::{PreFiltered, Preparation, Rejection, Verdict};
use crate::view::{
    BindingMode, ClaimKey, ClaimPhase, ClaimView, ClusterView, NodeFacts, NodeName, NodeView, PodView,
    SELECTED_NODE,
};

const UNBOUND: &str = "pod has unbound immediate PersistentVolumeClaims";
const NO_VOLUME: &str = "node(s) didn't find available persistent volumes to bind";
const WRONG_NODE: &str = "node(s) didn't match PersistentVolume's node affinity";
const VOLUME_GONE: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

/// Filters by the volumes of a pod's claims, and has late-binding claims bound before the pod.
#[derive(Clone, Copy, Debug)]
pub struct VolumeBinding {
    patience: Duration,
}

impl Default for VolumeBinding {
    fn default() -> Self {
        Self::waiting(Duration::from_secs(600))
    }
}

impl VolumeBinding {
    /// The plugin, waiting this long for claims to be bound (upstream's `bindTimeoutSeconds`).
    #[must_use]
    pub fn waiting(patience: Duration) -> Self {
        Self { patience }
    }
}

fn keys(pod: &PodView) -> impl Iterator<Item = ClaimKey> {
    let namespace = &pod.key.namespace;
    pod.rules
        .claims
        .iter()
        .map(|claim| ClaimKey { namespace: namespace.clone(), name: (&*claim.name).into() })
}

fn binds_late(cluster: &ClusterView, claim: &ClaimView) -> bool {
    let class = claim.class.as_ref().and_then(|class| cluster.class(class));
    class.is_some_and(|class| class.mode == BindingMode::WaitForFirstConsumer)
}

/// Why a node will not do for a claim that exists.
fn objection(cluster: &ClusterView, claim: &ClaimView, node: &NodeFacts) -> Option<&'static str> {
    let reaches = |selector: &crate::view::NodeSelector| selector.matches(&node.labels, &node.name);
    match &claim.phase {
        ClaimPhase::Bound(volume) => match cluster.volume(volume) {
            None => Some(VOLUME_GONE),
            Some(volume) => (!volume.node_affinity.as_ref().is_none_or(reaches)).then_some(WRONG_NODE),
        },
        ClaimPhase::Unbound { selected: Some(selected) } if *selected != node.name => Some(NO_VOLUME),
        ClaimPhase::Unbound { .. } => {
            let class = claim.class.as_ref().and_then(|class| cluster.class(class));
            let provisions =
                class.is_some_and(|class| class.provisions && class.topologies.as_ref().is_none_or(reaches));
            (!provisions).then_some(NO_VOLUME)
        }
        ClaimPhase::Binding | ClaimPhase::Lost(_) => Some(NO_VOLUME),
    }
}

impl Plugin for VolumeBinding {
    fn name(&self) -> &str {
        "VolumeBinding"
    }
}

impl PreFilter for VolumeBinding {
    fn pre_filter(&self, cycle: &mut Cycle<'_>, pod: &PodView) -> PreFiltered {
        if pod.rules.claims.is_empty() {
            return PreFiltered::Skip;
        }
        let cluster = cycle.cluster();
        let refuse = |text: String| PreFiltered::Reject(Rejection::unresolvable(text));
        let mut unbound = false;
        for (reference, key) in pod.rules.claims.iter().zip(keys(pod)) {
            let name = &reference.name;
            let Some(claim) = cluster.claim(&key) else {
                return refuse(if reference.ephemeral {
                    format!(
                        "waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}"
                    )
                } else {
                    format!("persistentvolumeclaim {name:?} not found")
                });
            };
            if claim.terminating {
                return refuse(format!("persistentvolumeclaim {name:?} is being deleted"));
            }
            match &claim.phase {
                ClaimPhase::Lost(volume) => {
                    return refuse(format!(
                        "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {:?}",
                        &**volume
                    ));
                }
                ClaimPhase::Bound(_) => {}
                ClaimPhase::Binding => unbound = true,
                ClaimPhase::Unbound { .. } => unbound |= !binds_late(cluster, claim),
            }
        }
        if unbound { refuse(UNBOUND.to_owned()) } else { PreFiltered::All }
    }
}

impl Filter for VolumeBinding {
    fn filter(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        let cluster = cycle.cluster();
        let claims = || keys(pod).filter_map(|key| cluster.claim(&key));
        match claims().find_map(|claim| objection(cluster, claim, node.facts())) {
            Some(reason) => Verdict::unresolvable(reason),
            None => Verdict::Pass,
        }
    }
}

impl PreBind for VolumeBinding {
    fn pre_bind(&self, cluster: &ClusterView, pod: &PodView, node: &NodeName) -> Preparation {
        let Some(facts) = cluster.node(node).map(|node| node.facts()) else {
            return Preparation::Fail(format!("node {node:?} not found", node = &**node));
        };
        let (mut effects, mut waiting) = (Vec::new(), false);
        for key in keys(pod) {
            let Some(claim) = cluster.claim(&key) else {
                return Preparation::Fail(format!("persistentvolumeclaim {:?} not found", &*key.name));
            };
            // Claim and volume are watched apart: half-way through being bound, one may be known before the other.
            let half_bound = match &claim.phase {
                ClaimPhase::Binding => true,
                ClaimPhase::Bound(volume) => cluster.volume(volume).is_none(),
                ClaimPhase::Unbound { .. } | ClaimPhase::Lost(_) => false,
            };
            if half_bound {
                waiting = true;
                continue;
            }
            if let Some(reason) = objection(cluster, claim, facts) {
                return Preparation::Fail(format!("persistentvolumeclaim {:?}: {reason}", &*key.name));
            }
            match &claim.phase {
                ClaimPhase::Unbound { selected: None } => effects.push(Effect::AnnotateClaim {
                    claim: key,
                    key: SELECTED_NODE,
                    value: node.to_string(),
                }),
                ClaimPhase::Unbound { selected: Some(_) } => waiting = true,
                ClaimPhase::Bound(_) | ClaimPhase::Binding | ClaimPhase::Lost(_) => {}
            }
        }
        match (effects.is_empty(), waiting) {
            (false, _) => Preparation::Perform(effects),
            (true, true) => Preparation::Wait,
            (true, false) => Preparation::Ready,
        }
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}

impl Requeue for VolumeBinding {
    fn hint(&self, pod: &PodView, event: &ClusterEvent) -> Hint {
        Hint::when(match event {
            ClusterEvent::ClaimChanged(claim) => keys(pod).any(|key| key == claim.key),
            ClusterEvent::VolumeChanged(_) | ClusterEvent::ClassChanged(_) | ClusterEvent::NodeAdded(_) => {
                true
            }
            ClusterEvent::NodeUpdated { old, new } => old.labels != new.labels,
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests;
