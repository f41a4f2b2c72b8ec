//! Which volume each claim of a pod would get on one node.
//!
//! Most of that is the same on every node, so it is worked out once for a pod ([`Wanted`]); what is left to ask of a node is
//! whether it reaches a volume or a class.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::binds_late;
use crate::unit::Bytes;
use crate::view::{
    BindingMode, CapacityView, ClaimPhase, ClaimView, ClassView, ClusterView, CsiDriverView, NodeFacts,
    NodeName, NodeSelector, PodView, VolumeView,
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
    Wanted::of(cluster, pod).plan(node)
}

/// The claims of a pod, and all that can be said of them before a node is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The volumes of claims that are bound; `None` is one that is gone.
    bound: Vec<Option<Arc<VolumeView>>>,
    /// Claims whose volume has to suit one node.
    settled: Vec<(NodeName, Source)>,
    /// Claims that are bound where the pod goes, those that ask for least first.
    waiting: Vec<Waiting>,
    /// Whether some claim has to be bound first.
    never: bool,
}

/// On what it depends where the claims of a pod can be had: alike for many pods.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Whereabouts {
    /// The nodes of each volume.
    bound: Vec<NodeSelector>,
    /// Who makes the volumes that are to be made.
    made: Vec<Maker>,
}

/// A claim that is bound where the pod goes.
#[derive(Clone, Debug)]
struct Waiting {
    source: Source,
    /// Volumes that are the claim's already, or were set aside for it.
    own: Vec<Arc<VolumeView>>,
    /// Others that would do, the smallest first.
    free: Vec<Arc<VolumeView>>,
}

/// A claim, and who makes a volume for it.
#[derive(Clone, Debug)]
struct Source {
    claim: Arc<ClaimView>,
    maker: Maker,
}

/// Where a volume can be made for a claim.
#[derive(Clone, Debug, PartialEq)]
struct Maker {
    /// Its class, if that makes volumes.
    class: Option<Arc<ClassView>>,
    /// Where there is room for it; `None` where that is not told.
    room: Option<Vec<Arc<CapacityView>>>,
}

impl Wanted {
    /// What the pod wants.
    pub(super) fn of(cluster: &ClusterView, pod: &PodView) -> Self {
        let mut wanted = Self::default();
        for claim in pod.claims().filter_map(|(_, key)| cluster.claim(&key)) {
            if let ClaimPhase::Bound(volume) = &claim.phase {
                wanted.bound.push(cluster.volume(volume).cloned());
                continue;
            }
            match selected(cluster, claim) {
                Some(node) => wanted.settled.push((node.clone(), Source::of(cluster, claim))),
                None if binds_late(cluster, claim) => wanted.waiting.push(Waiting::of(cluster, claim)),
                None => wanted.never = true,
            }
        }
        wanted.waiting.sort_by_key(|waiting| waiting.source.claim.request);
        wanted
    }

    /// On what it depends where all of it can be had; `None` where that is more than a few rules for nodes.
    pub(crate) fn whereabouts(&self) -> Option<Whereabouts> {
        let simple = |waiting: &Waiting| waiting.own.is_empty() && waiting.free.is_empty();
        if self.never || !self.settled.is_empty() || !self.waiting.iter().all(simple) {
            return None;
        }
        let mut whereabouts = Whereabouts { bound: Vec::new(), made: Vec::new() };
        for volume in &self.bound {
            match &volume.as_ref()?.node_affinity {
                Some(selector) if !whereabouts.bound.contains(selector) => {
                    whereabouts.bound.push(selector.clone());
                }
                _ => {}
            }
        }
        for Waiting { source, .. } in &self.waiting {
            if !whereabouts.made.contains(&source.maker) {
                whereabouts.made.push(source.maker.clone());
            }
        }
        Some(whereabouts)
    }

    /// How all of it is had on a node.
    ///
    /// # Errors
    /// Every reason why the node will not do.
    pub(super) fn plan(&self, node: &NodeFacts) -> Result<Plan, Vec<&'static str>> {
        let unfit = |volume: &Option<Arc<VolumeView>>| match volume {
            None => Some(VOLUME_GONE),
            Some(volume) => (!volume.reaches(node)).then_some(WRONG_NODE),
        };
        let bound = self.bound.iter().find_map(unfit);
        let mut reasons = Vec::new();
        reasons.extend(bound.filter(|reason| *reason == WRONG_NODE));
        let mut plan = Plan::default();
        if self.never || self.settled.iter().any(|(selected, _)| **selected != *node.name) {
            reasons.push(NO_VOLUME);
        } else {
            let mut sources: Vec<&Source> = self.settled.iter().map(|(_, source)| source).collect();
            sources.extend(self.matched(node, &mut plan.bind));
            plan.provision.extend(sources.iter().map(|source| source.claim.clone()));
            reasons.extend(sources.iter().find_map(|source| source.maker.fails(node)));
        }
        reasons.extend(bound.filter(|reason| *reason == VOLUME_GONE));
        if reasons.is_empty() { Ok(plan) } else { Err(reasons) }
    }

    /// Gives each claim that waits the smallest volume that suits; returns those without one.
    fn matched(
        &self,
        node: &NodeFacts,
        matched: &mut Vec<(Arc<ClaimView>, Arc<VolumeView>)>,
    ) -> Vec<&Source> {
        let mut taken: BTreeSet<&str> = BTreeSet::new();
        let mut unmatched = Vec::new();
        for waiting in &self.waiting {
            match waiting.suitable(node, &taken) {
                Some(volume) => {
                    taken.insert(&volume.name);
                    matched.push((waiting.source.claim.clone(), volume.clone()));
                }
                None => unmatched.push(&waiting.source),
            }
        }
        unmatched
    }
}

impl Waiting {
    fn of(cluster: &ClusterView, claim: &Arc<ClaimView>) -> Self {
        let (mut own, mut free) = (Vec::new(), Vec::new());
        for volume in cluster.all::<VolumeView>().filter(|volume| volume.class == claim.class) {
            let fits = volume.capacity >= claim.request && volume.block == claim.block && !volume.terminating;
            if !fits {
                continue;
            }
            let chosen = || claim.selector.as_ref().is_none_or(|selector| selector.matches(&volume.labels));
            match cluster.is_owner(volume, claim) {
                Some(false) => {}
                Some(true) => own.push(volume.clone()),
                None if volume.available && volume.access.cover(&claim.access) && chosen() => {
                    free.push(volume.clone());
                }
                None => {}
            }
        }
        free.sort_by_key(|volume| volume.capacity);
        Self { source: Source::of(cluster, claim), own, free }
    }

    /// The volume the claim would get on a node: the one set aside for it, else the smallest free one that suits.
    fn suitable(&self, node: &NodeFacts, taken: &BTreeSet<&str>) -> Option<&Arc<VolumeView>> {
        let left = |volume: &&Arc<VolumeView>| !taken.contains(&*volume.name);
        match self.own.iter().find(left) {
            Some(own) => Some(own).filter(|volume| volume.reaches(node)),
            None => self.free.iter().filter(left).find(|volume| volume.reaches(node)),
        }
    }
}

impl Source {
    fn of(cluster: &ClusterView, claim: &Arc<ClaimView>) -> Self {
        let class = claim.class.as_ref().and_then(|class| cluster.class(class));
        let class = class.filter(|class| class.mode != BindingMode::Immediate && class.provisions);
        let room = class.and_then(|class| room(cluster, class, claim.request));
        Self { claim: claim.clone(), maker: Maker { class: class.cloned(), room } }
    }
}

impl Maker {
    /// Why no volume can be made for the claim where a node can reach it, if so.
    fn fails(&self, node: &NodeFacts) -> Option<&'static str> {
        let reaches = |class: &Arc<ClassView>| {
            class.topologies.as_ref().is_none_or(|selector| selector.matches(&node.labels, &node.name))
        };
        if !self.class.as_ref().is_some_and(reaches) {
            return Some(NO_VOLUME);
        }
        let has_room = |room: &Vec<Arc<CapacityView>>| room.iter().any(|one| one.nodes.matches(&node.labels));
        (!self.room.as_ref().is_none_or(has_room)).then_some(NO_ROOM)
    }
}

/// The node that a claim's volume has to suit, written or promised.
fn selected<'a>(cluster: &'a ClusterView, claim: &'a ClaimView) -> Option<&'a NodeName> {
    match &claim.phase {
        ClaimPhase::Unbound { selected: Some(node) } => Some(node),
        _ => cluster.promised_node(&claim.key),
    }
}

/// Where a driver that says how much room it has says that there is enough.
fn room(cluster: &ClusterView, class: &ClassView, request: Bytes) -> Option<Vec<Arc<CapacityView>>> {
    let driver = cluster.kept::<CsiDriverView>(&Arc::from(&*class.provisioner));
    if request.0 == 0 || !driver.is_some_and(|driver| driver.publishes_capacity) {
        return None;
    }
    let enough = |capacity: &&Arc<CapacityView>| {
        capacity.class == class.name && capacity.largest.is_some_and(|largest| largest >= request)
    };
    Some(cluster.all::<CapacityView>().filter(enough).cloned().collect())
}
