//! VolumeZone: a pod goes to the zone that its volumes are labelled with.

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Cycle, Filter, Plugin, PreFilter, Requeue};
use crate::verdict::{PreFiltered, Rejection, Verdict};
use crate::view::{BindingMode, ClaimPhase, ClusterView, NodeFacts, NodeView, PodView};

const ZONE: &str = "topology.kubernetes.io/zone";
const REGION: &str = "topology.kubernetes.io/region";
const BETA_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";
const BETA_REGION: &str = "failure-domain.beta.kubernetes.io/region";
const TOPOLOGY: [&str; 4] = [BETA_ZONE, BETA_REGION, ZONE, REGION];

/// Filters by the zone and region labels of the volumes of bound claims.
#[derive(Clone, Copy, Debug, Default)]
pub struct VolumeZone;

/// What the labels of the pod's volumes demand: for each, one of some values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Demanded(Vec<(&'static str, Vec<String>)>);

/// The label that took over from one of old.
fn stable(label: &'static str) -> &'static str {
    match label {
        BETA_ZONE => ZONE,
        BETA_REGION => REGION,
        label => label,
    }
}

fn demanded(cluster: &ClusterView, pod: &PodView) -> Result<Demanded, String> {
    let mut demanded = Vec::new();
    for (reference, key) in pod.claims() {
        if reference.name.is_empty() {
            return Err("PersistentVolumeClaim had no name".to_owned());
        }
        let Some(claim) = cluster.claim(&key) else {
            return Err(format!("persistentvolumeclaim {:?} not found", &*reference.name));
        };
        let volume = match &claim.phase {
            ClaimPhase::Bound(volume) | ClaimPhase::Lost(volume) if !volume.is_empty() => volume,
            _ => {
                let Some(name) = &claim.class else {
                    return Err("PersistentVolumeClaim had no pv name and storageClass name".to_owned());
                };
                let Some(class) = cluster.class(name) else {
                    return Err(format!("storageclass.storage.k8s.io {:?} not found", &**name));
                };
                match class.mode {
                    BindingMode::WaitForFirstConsumer => continue,
                    BindingMode::Immediate => return Err("PersistentVolume had no name".to_owned()),
                }
            }
        };
        let Some(volume) = cluster.volume(volume) else {
            return Err(format!("persistentvolume {:?} not found", &**volume));
        };
        for label in TOPOLOGY {
            let Some(values) = volume.labels.get(label) else { continue };
            let values: Vec<_> = values.split("__").map(|value| value.trim().to_owned()).collect();
            // A label that does not read as a set says nothing.
            if values.iter().all(|value| !value.is_empty()) {
                demanded.push((label, values));
            }
        }
    }
    Ok(Demanded(demanded))
}

impl Plugin for VolumeZone {
    fn name(&self) -> &str {
        "VolumeZone"
    }
}

impl PreFilter for VolumeZone {
    fn pre_filter(&self, cycle: &mut Cycle<'_>, pod: &PodView) -> PreFiltered {
        match demanded(cycle.cluster(), pod) {
            Err(reason) => PreFiltered::Reject(Rejection::unresolvable(reason)),
            Ok(Demanded(none)) if none.is_empty() => PreFiltered::Skip,
            Ok(demanded) => {
                cycle.note(demanded);
                PreFiltered::All
            }
        }
    }
}

impl Filter for VolumeZone {
    fn filter(&self, cycle: &Cycle<'_>, _: &PodView, node: &NodeView) -> Verdict {
        let labels = &node.facts().labels;
        let Some(Demanded(demanded)) = cycle.noted::<Demanded>() else { return Verdict::Pass };
        if !TOPOLOGY.iter().any(|label| labels.contains_key(*label)) {
            return Verdict::Pass;
        }
        let fulfilled = |(label, values): &(&'static str, Vec<String>)| {
            let here = labels.get(*label).or_else(|| labels.get(stable(label)));
            here.is_some_and(|here| values.contains(here))
        };
        if demanded.iter().all(fulfilled) {
            Verdict::Pass
        } else {
            Verdict::unresolvable("node(s) had no available volume zone")
        }
    }
}

impl Requeue for VolumeZone {
    fn hint(&self, _: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        let place = |node: &NodeFacts| TOPOLOGY.map(|label| node.labels.get(label).cloned());
        Hint::when(match event {
            ClusterEvent::ClaimChanged(claim) => pod.claims().any(|(_, key)| key == claim.key),
            ClusterEvent::VolumeChanged(_) | ClusterEvent::ClassChanged(_) | ClusterEvent::NodeAdded(_) => {
                true
            }
            ClusterEvent::NodeUpdated { old, new } => place(old) != place(new),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cluster, pod};
    use crate::view::{ClaimView, VolumeView};
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn verdict(volume: Value, node: Value) -> Option<Verdict> {
        let mut cluster = cluster([json!({"metadata": {"name": "n", "labels": node}})]);
        let claim = json!({"metadata": {"name": "data", "namespace": "default"}, "spec": {"volumeName": "pv"},
            "status": {"phase": "Bound"}});
        cluster.keep(Arc::new(ClaimView::from_api(&serde_json::from_value(claim).unwrap()).unwrap()));
        let volume = json!({"metadata": {"name": "pv", "labels": volume}});
        cluster.keep(Arc::new(VolumeView::from_api(&serde_json::from_value(volume).unwrap()).unwrap()));
        let pod = pod(
            json!({"spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}}),
        );
        let mut cycle = Cycle::new(&cluster);
        match VolumeZone.pre_filter(&mut cycle, &pod) {
            PreFiltered::Skip => None,
            PreFiltered::All => Some(VolumeZone.filter(&cycle, &pod, cluster.node("n").unwrap())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_nodes_zone_has_to_be_among_those_of_the_volume() {
        let conflict = Some(Verdict::unresolvable("node(s) had no available volume zone"));
        for (volume, node, expected) in [
            (json!({(ZONE): "a"}), json!({(ZONE): "a"}), Some(Verdict::Pass)),
            (json!({(ZONE): "a__b"}), json!({(ZONE): "b"}), Some(Verdict::Pass)),
            (json!({(ZONE): "a"}), json!({(ZONE): "b"}), conflict.clone()),
            (json!({(BETA_ZONE): "a"}), json!({(ZONE): "a"}), Some(Verdict::Pass)),
            (json!({(ZONE): "a", (REGION): "r"}), json!({(ZONE): "a"}), conflict),
            (json!({(ZONE): "a"}), json!({}), Some(Verdict::Pass)),
            (json!({}), json!({(ZONE): "a"}), None),
        ] {
            assert_eq!(verdict(volume.clone(), node.clone()), expected, "{volume} {node}");
        }
    }

    #[test]
    fn claims_that_lead_nowhere_reject_the_pod_and_late_ones_are_left_to_others() {
        let mut cluster = cluster([json!({})]);
        let pod = pod(
            json!({"spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}}),
        );
        let mut answer = |spec: Value| {
            let claim = json!({"metadata": {"name": "data", "namespace": "default"}, "spec": spec});
            cluster.keep(Arc::new(ClaimView::from_api(&serde_json::from_value(claim).unwrap()).unwrap()));
            for (name, mode) in [("late", "WaitForFirstConsumer"), ("now", "Immediate")] {
                let class =
                    json!({"metadata": {"name": name}, "provisioner": "x", "volumeBindingMode": mode});
                let class = crate::view::ClassView::from_api(&serde_json::from_value(class).unwrap());
                cluster.keep(Arc::new(class));
            }
            VolumeZone.pre_filter(&mut Cycle::new(&cluster), &pod)
        };
        let refused = |text: &'static str| PreFiltered::Reject(Rejection::unresolvable(text));
        assert_eq!(answer(json!({})), refused("PersistentVolumeClaim had no pv name and storageClass name"));
        assert_eq!(answer(json!({"storageClassName": "now"})), refused("PersistentVolume had no name"));
        assert_eq!(answer(json!({"storageClassName": "late"})), PreFiltered::Skip);
    }
}
