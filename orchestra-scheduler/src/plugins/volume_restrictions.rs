//! VolumeRestrictions: what only one pod can have.
//!
//! Network disks written out in pods cannot be on one node twice, and a claim that is `ReadWriteOncePod` can be used by
//! one pod in the whole cluster.

use std::collections::BTreeSet;

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Adjust, Cycle, Filter, Plugin, PreFilter, Requeue};
use crate::verdict::{PreFiltered, Rejection, Verdict};
use crate::view::{ClaimKey, ClaimReference, ClusterView, NodeView, PodView};

/// Filters by disks and claims that are in use.
#[derive(Clone, Copy, Debug, Default)]
pub struct VolumeRestrictions;

/// The pod's claims that one pod at a time may use, and how many of them are in use.
#[derive(Clone, Debug)]
struct Exclusive {
    claims: BTreeSet<ClaimKey>,
    in_use: i64,
}

impl Exclusive {
    fn shift(&mut self, other: &PodView, by: i64) {
        let shared = other.claims().filter(|(_, key)| self.claims.contains(key)).count();
        self.in_use += by * i64::try_from(shared).unwrap_or(0);
    }
}

/// The claims that a pod names; those made for it alone are no one else's.
fn named(pod: &PodView) -> impl Iterator<Item = (&ClaimReference, ClaimKey)> {
    pod.claims().filter(|(reference, _)| !reference.ephemeral)
}

/// The claims of a pod that one pod at a time may use.
fn exclusive(cluster: &ClusterView, pod: &PodView) -> BTreeSet<ClaimKey> {
    let one_only = |key: &ClaimKey| cluster.claim(key).is_some_and(|claim| claim.access.one_pod_only());
    named(pod).map(|(_, key)| key).filter(one_only).collect()
}

fn used_by_others(cluster: &ClusterView, claim: &ClaimKey) -> bool {
    let mut pods = cluster.nodes().flat_map(|node| node.pods());
    pods.any(|pod| pod.claims().any(|(_, key)| key == *claim))
}

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &str {
        "VolumeRestrictions"
    }
}

impl PreFilter for VolumeRestrictions {
    fn pre_filter(&self, cycle: &mut Cycle<'_>, pod: &PodView) -> PreFiltered {
        let cluster = cycle.cluster();
        if let Some((missing, _)) = named(pod).find(|(_, key)| cluster.claim(key).is_none()) {
            let text = format!("persistentvolumeclaim {:?} not found", &*missing.name);
            return PreFiltered::Reject(Rejection::unresolvable(text));
        }
        let claims = exclusive(cluster, pod);
        let in_use = claims.iter().filter(|claim| used_by_others(cluster, claim)).count();
        if pod.mounts.disks.is_empty() && in_use == 0 {
            return PreFiltered::Skip;
        }
        cycle.note(Exclusive { claims, in_use: i64::try_from(in_use).unwrap_or(i64::MAX) });
        PreFiltered::All
    }
}

impl Adjust for VolumeRestrictions {
    fn added(&self, cycle: &mut Cycle<'_>, _: &PodView, added: &PodView, _: &NodeView) {
        if let Some(exclusive) = cycle.noted_mut::<Exclusive>() {
            exclusive.shift(added, 1);
        }
    }

    fn removed(&self, cycle: &mut Cycle<'_>, _: &PodView, removed: &PodView, _: &NodeView) {
        if let Some(exclusive) = cycle.noted_mut::<Exclusive>() {
            exclusive.shift(removed, -1);
        }
    }
}

impl Filter for VolumeRestrictions {
    fn filter(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        let conflict = |other: &PodView| {
            pod.mounts.disks.iter().any(|disk| other.mounts.disks.iter().any(|one| disk.conflicts_with(one)))
        };
        if node.pods().iter().any(|other| conflict(other)) {
            return Verdict::unschedulable("node(s) had no available disk");
        }
        if cycle.noted::<Exclusive>().is_some_and(|exclusive| exclusive.in_use > 0) {
            return Verdict::unschedulable(
                "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by \
                 another pod",
            );
        }
        Verdict::Pass
    }
}

impl Requeue for VolumeRestrictions {
    fn hint(&self, _: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        Hint::when(match event {
            ClusterEvent::AssignedPodDeleted(gone) => {
                let disks = &pod.mounts.disks;
                disks.iter().any(|disk| gone.mounts.disks.iter().any(|one| disk.conflicts_with(one)))
                    || pod.claims().any(|(_, key)| gone.claims().any(|(_, other)| other == key))
            }
            ClusterEvent::ClaimChanged(claim) => pod.claims().any(|(_, key)| key == claim.key),
            ClusterEvent::NodeAdded(_) => true,
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cluster, pod};
    use crate::view::{ClaimView, NodeName};
    use serde_json::{Value, json};
    use std::sync::Arc;

    const DISK: &str = "node(s) had no available disk";

    fn mounting(name: &str, volume: Value) -> Arc<PodView> {
        pod(json!({"metadata": {"name": name}, "spec": {"volumes": [volume]}}))
    }

    fn conflict(left: Value, right: Value) -> bool {
        let mut cluster = cluster([json!({})]);
        cluster.place(mounting("old", left), &NodeName::from("node"));
        let (pod, mut cycle) = (mounting("new", right), Cycle::new(&cluster));
        assert_eq!(VolumeRestrictions.pre_filter(&mut cycle, &pod), PreFiltered::All);
        let verdict = VolumeRestrictions.filter(&cycle, &pod, cluster.node("node").unwrap());
        assert!(verdict == Verdict::Pass || verdict == Verdict::unschedulable(DISK), "{verdict:?}");
        verdict != Verdict::Pass
    }

    #[test]
    fn network_disks_conflict_unless_both_only_read_and_amazons_always() {
        let gce = |read_only: bool| json!({"name": "v", "gcePersistentDisk": {"pdName": "d", "readOnly": read_only}});
        let iscsi = |iqn: &str, read_only: bool| json!({"name": "v", "iscsi": {"iqn": iqn, "lun": 0, "targetPortal": "p", "readOnly": read_only}});
        let rbd = |monitor: &str, image: &str, read_only: bool| json!({"name": "v", "rbd": {"monitors": [monitor, "m"], "image": image, "readOnly": read_only}});
        let ebs = json!({"name": "v", "awsElasticBlockStore": {"volumeID": "d", "readOnly": true}});
        for (left, right, expected) in [
            (gce(false), gce(true), true),
            (gce(true), gce(true), false),
            (ebs.clone(), ebs.clone(), true),
            (iscsi("a", false), iscsi("a", false), true),
            (iscsi("a", true), iscsi("a", true), false),
            (iscsi("a", false), iscsi("b", false), false),
            (rbd("x", "i", false), rbd("y", "i", false), true),
            (rbd("x", "i", true), rbd("y", "i", true), false),
            (rbd("x", "i", false), rbd("x", "j", false), false),
            (gce(false), ebs, false),
        ] {
            assert_eq!(conflict(left.clone(), right.clone()), expected, "{left} {right}");
        }
    }

    #[test]
    fn a_claim_for_one_pod_is_refused_everywhere_until_its_user_goes() {
        let mut cluster = cluster([json!({"metadata": {"name": "a"}}), json!({"metadata": {"name": "b"}})]);
        let claim = json!({"metadata": {"name": "data", "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOncePod"]}});
        cluster.keep(Arc::new(ClaimView::from_api(&serde_json::from_value(claim).unwrap()).unwrap()));
        let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}});
        let (user, pod) = (mounting("old", volume.clone()), mounting("new", volume));
        assert_eq!(VolumeRestrictions.pre_filter(&mut Cycle::new(&cluster), &pod), PreFiltered::Skip);
        cluster.place(user.clone(), &NodeName::from("a"));
        let mut cycle = Cycle::new(&cluster);
        assert_eq!(VolumeRestrictions.pre_filter(&mut cycle, &pod), PreFiltered::All);
        let node = cluster.node("b").unwrap();
        let in_use = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by \
            another pod";
        assert_eq!(VolumeRestrictions.filter(&cycle, &pod, node), Verdict::unschedulable(in_use));
        VolumeRestrictions.removed(&mut cycle, &pod, &user, cluster.node("a").unwrap());
        assert_eq!(VolumeRestrictions.filter(&cycle, &pod, node), Verdict::Pass);
        assert_eq!(
            VolumeRestrictions.hint(&ClusterView::default(), &pod, &ClusterEvent::AssignedPodDeleted(user)),
            Hint::Queue
        );
    }
}
