//! Which volume each claim of a pod would get on one node.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::binds_late;
use crate::unit::Bytes;
use crate::view::{
    BindingMode, CapacityView, ClaimPhase, ClaimView, ClassView, ClusterView, CsiDriverView, NodeFacts,
    PodView, VolumeView,
};

pub(super) const NO_VOLUME: &str = "node(s) didn't find available persistent volumes to bind";
pub(super) const WRONG_NODE: &str = "node(s) didn't match PersistentVolume's node affinity";
pub(super) const NO_ROOM: &str = "node(s) did not have enough free storage";
pub(super) const VOLUME_GONE: &str =
    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

/// What is to be done so that a pod's volumes can be had on a node.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Claims that get a volume that exists.
    pub(super) bind: Vec<(Arc<ClaimView>, Arc<VolumeView>)>,
    /// Claims that get a volume made for them.
    pub(super) provision: Vec<Arc<ClaimView>>,
}

/// Plans the volumes of a pod on a node.
///
/// # Errors
/// Every reason why the node will not do.
pub(super) fn plan(
    cluster: &ClusterView,
    pod: &PodView,
    node: &NodeFacts,
) -> Result<Plan, Vec<&'static str>> {
    let claims: Vec<&Arc<ClaimView>> = pod.claims().filter_map(|(_, key)| cluster.claim(&key)).collect();
    let mut reasons = Vec::new();
    let bound = claims.iter().filter_map(|claim| match &claim.phase {
        ClaimPhase::Bound(volume) => Some(volume),
        _ => None,
    });
    let bound = check_bound(cluster, bound, node);
    reasons.extend(bound.filter(|reason| *reason == WRONG_NODE));
    let mut plan = Plan::default();
    let mut waiting = Vec::new();
    let mut elsewhere = false;
    for claim in claims.into_iter().filter(|claim| !matches!(claim.phase, ClaimPhase::Bound(_))) {
        match selected(cluster, claim) {
            Some(selected) if **selected != *node.name => elsewhere = true,
            Some(_) => plan.provision.push(claim.clone()),
            None if binds_late(cluster, claim) => waiting.push(claim.clone()),
            None => elsewhere = true,
        }
    }
    if elsewhere {
        reasons.push(NO_VOLUME);
    } else {
        let unmatched = match_volumes(cluster, waiting, node, &mut plan.bind);
        plan.provision.extend(unmatched);
        reasons.extend(plan.provision.iter().find_map(|claim| cannot_provision(cluster, claim, node)));
    }
    reasons.extend(bound.filter(|reason| *reason == VOLUME_GONE));
    if reasons.is_empty() { Ok(plan) } else { Err(reasons) }
}

/// The node that a claim's volume has to suit, written or promised.
fn selected<'a>(cluster: &'a ClusterView, claim: &'a ClaimView) -> Option<&'a crate::view::NodeName> {
    match &claim.phase {
        ClaimPhase::Unbound { selected: Some(node) } => Some(node),
        _ => cluster.promised_node(&claim.key),
    }
}

fn check_bound<'a>(
    cluster: &ClusterView,
    volumes: impl Iterator<Item = &'a Arc<str>>,
    node: &NodeFacts,
) -> Option<&'static str> {
    for name in volumes {
        match cluster.volume(name) {
            None => return Some(VOLUME_GONE),
            Some(volume) if !volume.reaches(node) => return Some(WRONG_NODE),
            Some(_) => {}
        }
    }
    None
}

/// Gives each claim, those that ask for least first, the smallest volume that suits; returns those without one.
fn match_volumes(
    cluster: &ClusterView,
    mut claims: Vec<Arc<ClaimView>>,
    node: &NodeFacts,
    matched: &mut Vec<(Arc<ClaimView>, Arc<VolumeView>)>,
) -> Vec<Arc<ClaimView>> {
    claims.sort_by_key(|claim| claim.request);
    let mut taken: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut unmatched = Vec::new();
    for claim in claims {
        match suitable(cluster, &claim, node, &taken) {
            Some(volume) => {
                taken.insert(volume.name.clone());
                matched.push((claim, volume));
            }
            None => unmatched.push(claim),
        }
    }
    unmatched
}

/// The volume a claim would get on a node: the one set aside for it, else the smallest free one that suits.
fn suitable(
    cluster: &ClusterView,
    claim: &ClaimView,
    node: &NodeFacts,
    taken: &BTreeSet<Arc<str>>,
) -> Option<Arc<VolumeView>> {
    let mut smallest: Option<&Arc<VolumeView>> = None;
    for volume in cluster.all::<VolumeView>().filter(|volume| volume.class == claim.class) {
        let owner = cluster.is_owner(volume, claim);
        let fits = volume.capacity >= claim.request && volume.block == claim.block && !volume.terminating;
        if owner == Some(false) || !fits || taken.contains(&volume.name) {
            continue;
        }
        if owner == Some(true) {
            return volume.reaches(node).then(|| volume.clone());
        }
        let chosen = claim.selector.as_ref().is_none_or(|selector| selector.matches(&volume.labels));
        if !chosen || !volume.available || !volume.reaches(node) || !volume.access.cover(&claim.access) {
            continue;
        }
        if smallest.is_none_or(|smallest| smallest.capacity > volume.capacity) {
            smallest = Some(volume);
        }
    }
    smallest.cloned()
}

/// Why no volume can be made for a claim where a node can reach it, if so.
fn cannot_provision(cluster: &ClusterView, claim: &ClaimView, node: &NodeFacts) -> Option<&'static str> {
    let Some(class) = claim.class.as_ref().and_then(|class| cluster.class(class)) else {
        return Some(NO_VOLUME);
    };
    let reaches = class.topologies.as_ref().is_none_or(|selector| selector.matches(&node.labels, &node.name));
    if class.mode == BindingMode::Immediate || !class.provisions || !reaches {
        return Some(NO_VOLUME);
    }
    (!has_room(cluster, class, claim.request, node)).then_some(NO_ROOM)
}

/// Whether a driver that says how much room it has says that there is enough.
fn has_room(cluster: &ClusterView, class: &ClassView, request: Bytes, node: &NodeFacts) -> bool {
    let driver = cluster.kept::<CsiDriverView>(&Arc::from(&*class.provisioner));
    if request.0 == 0 || !driver.is_some_and(|driver| driver.publishes_capacity) {
        return true;
    }
    cluster.all::<CapacityView>().any(|capacity| {
        capacity.class == class.name
            && capacity.nodes.matches(&node.labels)
            && capacity.largest.is_some_and(|largest| largest >= request)
    })
}
