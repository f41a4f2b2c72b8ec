//! VolumeBinding: a pod goes where its volumes can be.
//!
//! Bound claims tie the pod to the nodes that reach their volumes. Unbound claims either have to be bound first
//! or, with a class that waits for its first consumer, are bound before the pod is: to volumes that exist and suit, or
//! to volumes made where the chosen node can reach them. What was decided for one pod is promised, so that no other
//! counts on the same volume before it is written.

mod plan;

use std::time::Duration;

use crate::effect::Effect;
use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Cycle, Filter, Plugin, PreBind, PreFilter, Requeue, Reserve};
use crate::verdict::{PreFiltered, Preparation, Rejection, RejectionKind, Reservation, Verdict};
use crate::view::{
    BindingMode, ClaimPhase, ClaimView, ClusterView, NodeName, NodeView, PodView, Promise, SELECTED_NODE,
};

pub(crate) use self::plan::{Wanted, Whereabouts};

use self::plan::plan;

const UNBOUND: &str = "pod has unbound immediate PersistentVolumeClaims";

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

fn binds_late(cluster: &ClusterView, claim: &ClaimView) -> bool {
    let class = claim.class.as_ref().and_then(|class| cluster.class(class));
    class.is_some_and(|class| class.mode == BindingMode::WaitForFirstConsumer)
}

impl Plugin for VolumeBinding {
    fn name(&self) -> &str {
        "VolumeBinding"
    }
}

impl PreFilter for VolumeBinding {
    fn pre_filter(&self, cycle: &mut Cycle<'_>, pod: &PodView) -> PreFiltered {
        if pod.mounts.claims.is_empty() {
            return PreFiltered::Skip;
        }
        let cluster = cycle.cluster();
        let refuse = |text: String| PreFiltered::Reject(Rejection::unresolvable(text));
        let mut unbound = false;
        for (reference, key) in pod.claims() {
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
            if let ClaimPhase::Lost(volume) = &claim.phase {
                return refuse(format!(
                    "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {:?}",
                    &**volume
                ));
            }
            if claim.terminating {
                return refuse(format!("persistentvolumeclaim {name:?} is being deleted"));
            }
            match &claim.phase {
                ClaimPhase::Bound(_) | ClaimPhase::Lost(_) => {}
                ClaimPhase::Binding => unbound = true,
                ClaimPhase::Unbound { .. } => unbound |= !binds_late(cluster, claim),
            }
        }
        if unbound {
            return refuse(UNBOUND.to_owned());
        }
        cycle.note(Wanted::of(cluster, pod));
        PreFiltered::All
    }
}

impl Filter for VolumeBinding {
    fn filter(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        let planned = match cycle.noted::<Wanted>() {
            Some(wanted) => wanted.plan(node.facts()),
            None => plan(cycle.cluster(), pod, node.facts()),
        };
        match planned {
            Ok(_) => Verdict::Pass,
            Err(reasons) => Verdict::Reject(Rejection {
                kind: RejectionKind::Unresolvable,
                reasons: reasons.into_iter().map(Into::into).collect(),
            }),
        }
    }
}

impl Reserve for VolumeBinding {
    fn reserve(&self, cycle: &mut Cycle<'_>, pod: &PodView, node: &NodeName) -> Reservation {
        let Some(view) = cycle.cluster().node(node) else {
            return Reservation::Fail(format!("node {:?} not found", &**node));
        };
        match plan(cycle.cluster(), pod, view.facts()) {
            Ok(plan) => {
                let bind = plan.bind.iter().map(|(claim, volume)| Promise::Volume {
                    volume: volume.name.clone(),
                    claim: claim.key.clone(),
                });
                let make = plan
                    .provision
                    .iter()
                    .map(|claim| Promise::Node { claim: claim.key.clone(), node: node.clone() });
                Reservation::Promise(bind.chain(make).collect())
            }
            Err(reasons) => Reservation::Fail(reasons.join(", ")),
        }
    }

    fn unreserve(&self, _: &mut Cycle<'_>, _: &PodView, _: &NodeName) -> Vec<Effect> {
        // The promises end with the attempt.
        Vec::new()
    }
}

impl PreBind for VolumeBinding {
    fn pre_bind(&self, cluster: &ClusterView, pod: &PodView, node: &NodeName) -> Preparation {
        let Some(facts) = cluster.node(node).map(|node| node.facts()) else {
            return Preparation::Fail(format!("node {node:?} not found", node = &**node));
        };
        let (mut effects, mut waiting) = (Vec::new(), false);
        for (reference, key) in pod.claims() {
            let Some(claim) = cluster.claim(&key) else {
                return Preparation::Fail(format!("persistentvolumeclaim {:?} not found", &*reference.name));
            };
            // Claim and volume are watched apart: half-way through being bound, one may be known before the other.
            waiting |= match &claim.phase {
                ClaimPhase::Binding => true,
                ClaimPhase::Bound(volume) => cluster.volume(volume).is_none(),
                ClaimPhase::Unbound { .. } | ClaimPhase::Lost(_) => false,
            };
        }
        if waiting {
            return Preparation::Wait;
        }
        let plan = match plan(cluster, pod, facts) {
            Ok(plan) => plan,
            Err(reasons) => return Preparation::Fail(reasons.join(", ")),
        };
        for (claim, volume) in plan.bind {
            if volume.owner.as_ref().is_some_and(|owner| owner.uid == claim.uid) {
                waiting = true;
                continue;
            }
            effects.push(Effect::BindVolume {
                volume: volume.name.clone(),
                version: volume.version.clone(),
                claim: claim.key.clone(),
                uid: claim.uid.clone(),
            });
        }
        for claim in plan.provision {
            match &claim.phase {
                ClaimPhase::Unbound { selected: Some(_) } => waiting = true,
                _ => effects.push(Effect::AnnotateClaim {
                    claim: claim.key.clone(),
                    key: SELECTED_NODE,
                    value: node.to_string(),
                }),
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
    fn hint(&self, _: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        Hint::when(match event {
            ClusterEvent::ClaimChanged(claim) => pod.claims().any(|(_, key)| key == claim.key),
            ClusterEvent::StorageChanged | ClusterEvent::CsiNodeChanged(_) => true,
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
