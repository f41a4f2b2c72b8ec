//! NodeVolumeLimits: a node takes only so many volumes of each driver.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Cycle, Filter, Plugin, PreFilter, Requeue};
use crate::verdict::{PreFiltered, Verdict};
use crate::view::{ClaimPhase, ClaimView, ClusterView, CsiNodeView, NodeView, PodView, VolumeHandle};

/// Filters by the volume limits that drivers state in CSINodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeVolumeLimits;

/// The volumes of the pod at hand.
#[derive(Debug)]
struct Wanted(BTreeSet<VolumeHandle>);

/// The volume behind a claim; one that is still to be made has no handle yet and is told apart by its claim.
fn volume(cluster: &ClusterView, claim: &ClaimView) -> Option<VolumeHandle> {
    if let ClaimPhase::Bound(name) = &claim.phase
        && let Some(volume) = cluster.volume(name)
    {
        return volume.handle.clone();
    }
    let class = cluster.class(claim.class.as_ref()?)?;
    let handle = format!("not made yet: {}", claim.key);
    Some(VolumeHandle::new(in_tree_successor(&class.provisioner), &handle))
}

/// The CSI driver that took over from a provisioner of old.
fn in_tree_successor(provisioner: &str) -> &str {
    match provisioner {
        "kubernetes.io/aws-ebs" => "ebs.csi.aws.com",
        "kubernetes.io/gce-pd" => "pd.csi.storage.gke.io",
        "kubernetes.io/azure-disk" => "disk.csi.azure.com",
        "kubernetes.io/cinder" => "cinder.csi.openstack.org",
        "kubernetes.io/vsphere-volume" => "csi.vsphere.vmware.com",
        "kubernetes.io/portworx-volume" => "pxd.portworx.com",
        other => other,
    }
}

fn volumes(cluster: &ClusterView, pod: &PodView) -> BTreeSet<VolumeHandle> {
    let claims = pod.claims().filter_map(|(_, key)| cluster.claim(&key));
    claims.filter_map(|claim| volume(cluster, claim)).collect()
}

/// The volumes that already take up places on a node: those of its pods, and what is attached to it.
fn attached(cluster: &ClusterView, node: &NodeView) -> BTreeSet<VolumeHandle> {
    let of_pods = node.pods().iter().flat_map(|pod| volumes(cluster, pod));
    let attachments = cluster.attachments(node.name()).filter_map(|attachment| {
        let handle = cluster.volume(attachment.volume.as_ref()?)?.handle.clone()?;
        Some(VolumeHandle::new(&attachment.driver, &handle.handle))
    });
    of_pods.chain(attachments).collect()
}

/// So many claims more can surely be mounted on a node, of whatever drivers: as if every claim and attachment there were another
/// volume of the driver with the lowest limit.
pub(crate) fn room_at_least(cluster: &ClusterView, node: &NodeView) -> i64 {
    let stated = cluster.kept::<CsiNodeView>(node.name());
    let Some(limit) = stated.and_then(|stated| stated.limits.values().min()) else { return i64::MAX };
    let used = node.claims() + cluster.attachments(node.name()).count();
    let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    whole(*limit) - whole(used)
}

fn by_driver<'a>(volumes: impl Iterator<Item = &'a VolumeHandle>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    volumes.for_each(|volume| *counts.entry(&*volume.driver).or_default() += 1);
    counts
}

impl Plugin for NodeVolumeLimits {
    fn name(&self) -> &str {
        "NodeVolumeLimits"
    }
}

impl PreFilter for NodeVolumeLimits {
    fn pre_filter(&self, cycle: &mut Cycle<'_>, pod: &PodView) -> PreFiltered {
        if pod.mounts.claims.is_empty() {
            return PreFiltered::Skip;
        }
        cycle.note(Wanted(volumes(cycle.cluster(), pod)));
        PreFiltered::All
    }
}

impl Filter for NodeVolumeLimits {
    fn filter(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        let cluster = cycle.cluster();
        let Some(stated) = cluster.kept::<CsiNodeView>(node.name()) else { return Verdict::Pass };
        if stated.limits.is_empty() {
            return Verdict::Pass;
        }
        let here;
        let wanted = match cycle.noted::<Wanted>() {
            Some(Wanted(wanted)) => wanted,
            None => {
                here = volumes(cluster, pod);
                &here
            }
        };
        if !wanted.iter().any(|volume| stated.limits.contains_key(&volume.driver)) {
            return Verdict::Pass;
        }
        let there = attached(cluster, node);
        let used = by_driver(there.iter());
        let over = |(driver, more): (&str, usize)| {
            let limit = stated.limits.get(driver);
            limit.is_some_and(|limit| used.get(driver).copied().unwrap_or(0) + more > *limit)
        };
        if by_driver(wanted.difference(&there)).into_iter().any(over) {
            return Verdict::unschedulable("node(s) exceed max volume count");
        }
        Verdict::Pass
    }
}

impl Requeue for NodeVolumeLimits {
    fn hint(&self, _: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        Hint::when(match event {
            ClusterEvent::CsiNodeChanged(_)
            | ClusterEvent::NodeAdded(_)
            | ClusterEvent::AttachmentDeleted(_)
            | ClusterEvent::VolumeChanged(_) => true,
            ClusterEvent::AssignedPodDeleted(gone) => !gone.mounts.claims.is_empty(),
            ClusterEvent::ClaimChanged(claim) => pod.claims().any(|(_, key)| key == claim.key),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cluster, pod};
    use crate::view::{AttachmentView, NodeName, VolumeView};
    use serde_json::json;
    use std::sync::Arc;

    /// A node that takes two volumes of driver "d", and claims a to e bound to volumes of it.
    fn limited() -> ClusterView {
        let mut cluster = cluster([json!({"metadata": {"name": "n"}})]);
        let node = json!({"metadata": {"name": "n"}, "spec": {"drivers": [
            {"name": "d", "nodeID": "n", "allocatable": {"count": 2}}, {"name": "free", "nodeID": "n"}]}});
        cluster.keep(Arc::new(CsiNodeView::from_api(&serde_json::from_value(node).unwrap())));
        for (name, driver) in [("a", "d"), ("b", "d"), ("c", "d"), ("x", "free")] {
            let claim = json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"volumeName": name},
                "status": {"phase": "Bound"}});
            cluster.keep(Arc::new(ClaimView::from_api(&serde_json::from_value(claim).unwrap()).unwrap()));
            let volume = json!({"metadata": {"name": name}, "spec": {"csi": {"driver": driver, "volumeHandle": name}}});
            cluster.keep(Arc::new(VolumeView::from_api(&serde_json::from_value(volume).unwrap()).unwrap()));
        }
        cluster
    }

    fn mounting(name: &str, claims: &[&str]) -> Arc<PodView> {
        let volumes: Vec<_> = claims
            .iter()
            .map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}))
            .collect();
        pod(json!({"metadata": {"name": name}, "spec": {"volumes": volumes}}))
    }

    fn fits(cluster: &ClusterView, claims: &[&str]) -> bool {
        let verdict = NodeVolumeLimits.filter(
            &Cycle::new(cluster),
            &mounting("new", claims),
            cluster.node("n").unwrap(),
        );
        assert!(
            verdict == Verdict::Pass || verdict == Verdict::unschedulable("node(s) exceed max volume count")
        );
        verdict == Verdict::Pass
    }

    #[test]
    fn unique_volumes_count_against_the_limit_of_their_driver() {
        let mut cluster = limited();
        assert!(fits(&cluster, &["a", "b", "x"]));
        assert!(!fits(&cluster, &["a", "b", "c"]));
        cluster.place(mounting("old", &["a"]), &NodeName::from("n"));
        assert!(fits(&cluster, &["a", "b"]), "a volume that is there already takes no place");
        assert!(!fits(&cluster, &["b", "c"]));
    }

    #[test]
    fn what_is_attached_without_a_pod_takes_up_a_place_too() {
        let mut cluster = limited();
        let attachment = json!({"metadata": {"name": "va"}, "spec": {"attacher": "d", "nodeName": "n",
            "source": {"persistentVolumeName": "c"}}});
        cluster.keep(Arc::new(AttachmentView::from_api(&serde_json::from_value(attachment).unwrap())));
        assert!(!fits(&cluster, &["a", "b"]));
        assert!(fits(&cluster, &["a", "c"]));
    }

    #[test]
    fn without_a_csi_node_there_is_no_limit_and_volumes_to_be_made_count() {
        let mut cluster = limited();
        let class = json!({"metadata": {"name": "late"}, "provisioner": "d"});
        cluster.keep(Arc::new(crate::view::ClassView::from_api(&serde_json::from_value(class).unwrap())));
        for name in ["p", "q"] {
            let claim = json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"storageClassName": "late"}});
            cluster.keep(Arc::new(ClaimView::from_api(&serde_json::from_value(claim).unwrap()).unwrap()));
        }
        assert!(fits(&cluster, &["a", "p"]));
        assert!(!fits(&cluster, &["a", "p", "q"]));
        cluster.forget::<CsiNodeView>(&NodeName::from("n"));
        assert!(fits(&cluster, &["a", "b", "c", "p"]));
    }

    #[test]
    fn volumes_of_drivers_of_old_count_for_those_that_took_over() {
        let mut cluster = limited();
        let node = json!({"metadata": {"name": "n"}, "spec": {"drivers": [
            {"name": "ebs.csi.aws.com", "nodeID": "n", "allocatable": {"count": 1}}]}});
        cluster.keep(Arc::new(CsiNodeView::from_api(&serde_json::from_value(node).unwrap())));
        let class = json!({"metadata": {"name": "old"}, "provisioner": "kubernetes.io/aws-ebs"});
        cluster.keep(Arc::new(crate::view::ClassView::from_api(&serde_json::from_value(class).unwrap())));
        let claim =
            json!({"metadata": {"name": "p", "namespace": "default"}, "spec": {"storageClassName": "old"}});
        cluster.keep(Arc::new(ClaimView::from_api(&serde_json::from_value(claim).unwrap()).unwrap()));
        let claim = json!({"metadata": {"name": "q", "namespace": "default"}, "spec": {"volumeName": "q"},
            "status": {"phase": "Bound"}});
        cluster.keep(Arc::new(ClaimView::from_api(&serde_json::from_value(claim).unwrap()).unwrap()));
        let volume =
            json!({"metadata": {"name": "q"}, "spec": {"awsElasticBlockStore": {"volumeID": "vol-1"}}});
        cluster.keep(Arc::new(VolumeView::from_api(&serde_json::from_value(volume).unwrap()).unwrap()));
        assert!(fits(&cluster, &["p"]) && fits(&cluster, &["q"]));
        assert!(!fits(&cluster, &["p", "q"]));
    }
}
