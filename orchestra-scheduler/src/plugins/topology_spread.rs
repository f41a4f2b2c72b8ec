//! PodTopologySpread: a group of pods is kept even over zones, nodes, or whatever a node label divides by.
//!
//! The filter keeps hard constraints (`DoNotSchedule`), the score prefers by soft ones (`ScheduleAnyway`). A pod
//! without constraints gets those of the configuration, over the pods of its services and its owner.

mod filter;
pub(crate) mod score;

use orchestra_core::selector::LabelSelector;

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Plugin, Requeue};
use crate::view::{
    ClusterView, InclusionPolicy, Labels, NodeFacts, NodeView, OwnerView, PodView, ServiceView,
    SpreadConstraint, TaintEffect, Unsatisfiable,
};

pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The constraints that hold for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spreading {
    pub(crate) hard: Vec<SpreadConstraint>,
    pub(crate) soft: Vec<SpreadConstraint>,
    /// Whether nodes without the labels of all soft constraints get nothing.
    pub(crate) strict: bool,
}

/// Filters and scores by `spec.topologySpreadConstraints`.
#[derive(Clone, Debug)]
pub struct PodTopologySpread {
    defaults: Vec<SpreadConstraint>,
    /// Whether the defaults are upstream's own, under which nodes without the labels take part too.
    lenient: bool,
}

impl Default for PodTopologySpread {
    /// Pods without constraints prefer few of their group on one node (skew 3) and in one zone (skew 5).
    fn default() -> Self {
        let defaults = vec![SpreadConstraint::preferring(3, HOSTNAME), SpreadConstraint::preferring(5, ZONE)];
        Self { defaults, lenient: true }
    }
}

impl PodTopologySpread {
    /// The plugin with these constraints for pods that have none (upstream's `defaultingType: List`); their selectors
    /// are replaced by the pods of a pod's services and owner.
    #[must_use]
    pub fn with_defaults(defaults: Vec<SpreadConstraint>) -> Self {
        Self { defaults, lenient: false }
    }

    /// All constraints that hold for a pod.
    pub(crate) fn spreading(&self, cluster: &ClusterView, pod: &PodView) -> Spreading {
        Spreading {
            hard: self.constraints(cluster, pod, Unsatisfiable::DoNotSchedule),
            soft: self.constraints(cluster, pod, Unsatisfiable::ScheduleAnyway),
            strict: self.is_strict(pod),
        }
    }

    fn is_strict(&self, pod: &PodView) -> bool {
        !pod.rules.spread.is_empty() || !self.lenient
    }

    /// The constraints of one kind that hold for a pod.
    fn constraints(
        &self,
        cluster: &ClusterView,
        pod: &PodView,
        kind: Unsatisfiable,
    ) -> Vec<SpreadConstraint> {
        let own = &pod.rules.spread;
        let of_kind = |list: &[SpreadConstraint]| -> Vec<SpreadConstraint> {
            list.iter().filter(|one| one.unsatisfiable == kind).cloned().collect()
        };
        if !own.is_empty() {
            return of_kind(own);
        }
        let mut defaults = of_kind(&self.defaults);
        if defaults.is_empty() {
            return defaults;
        }
        let selector = group_of(cluster, pod);
        if selector.is_everything() {
            return Vec::new();
        }
        defaults.iter_mut().for_each(|one| one.selector = selector.clone());
        defaults
    }
}

/// The pods that belong with a pod: what its services select by, and what its owner does; everything if it has
/// neither.
fn group_of(cluster: &ClusterView, pod: &PodView) -> LabelSelector {
    let mut labels = Labels::new();
    let near = |service: &&std::sync::Arc<ServiceView>| service.key.namespace == pod.key.namespace;
    for service in cluster.all::<ServiceView>().filter(near).filter(|service| service.selects(&pod.labels)) {
        labels.extend(service.selector.iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    }
    let mut requirements = LabelSelector::from_map(&labels).requirements().to_vec();
    if let Some(owner) = pod.rules.owner.as_ref().and_then(|key| cluster.kept::<OwnerView>(key)) {
        let added = owner.selector.requirements().iter().filter(|one| !requirements.contains(one));
        let added: Vec<_> = added.cloned().collect();
        requirements.extend(added);
    }
    LabelSelector::new(requirements)
}

/// Whether a node has the labels of all constraints.
pub(crate) fn has_all_keys(node: &NodeFacts, constraints: &[SpreadConstraint]) -> bool {
    constraints.iter().all(|one| node.labels.contains_key(&*one.topology_key))
}

/// Whether a constraint counts the pods of a node, going by what the pod could live with.
pub(crate) fn includes(constraint: &SpreadConstraint, pod: &PodView, node: &NodeFacts) -> bool {
    let forbids =
        |taint: &&crate::view::Taint| taint.effect != TaintEffect::PreferNoSchedule && !pod.tolerates(taint);
    (constraint.node_affinity == InclusionPolicy::Ignore || pod.rules.admit(node))
        && (constraint.node_taints == InclusionPolicy::Ignore || node.taints.iter().find(forbids).is_none())
}

/// How many pods of the group are on a node. Terminating pods are on their way out; an empty selector counts nobody.
pub(crate) fn count(constraint: &SpreadConstraint, pod: &PodView, node: &NodeView) -> i64 {
    if constraint.selector.is_everything() {
        return 0;
    }
    let counted = node.pods().iter().filter(|other| {
        !other.terminating
            && other.key.namespace == pod.key.namespace
            && constraint.selector.matches(&*other.labels)
    });
    i64::try_from(counted.count()).unwrap_or(i64::MAX)
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &str {
        "PodTopologySpread"
    }
}

impl Requeue for PodTopologySpread {
    fn hint(&self, _: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        // Only hard constraints reject; those of the configuration are asked of all pods that have none.
        let own = &pod.rules.spread;
        let list = if own.is_empty() { &self.defaults } else { own };
        let hard: Vec<_> =
            list.iter().filter(|one| one.unsatisfiable == Unsatisfiable::DoNotSchedule).cloned().collect();
        let counts = |other: &PodView| {
            other.key.namespace == pod.key.namespace
                && (own.is_empty() || hard.iter().any(|one| one.selector.matches(&*other.labels)))
        };
        let alike = |old: &NodeFacts, new: &NodeFacts| {
            hard.iter().all(|one| old.labels.get(&*one.topology_key) == new.labels.get(&*one.topology_key))
        };
        Hint::when(match event {
            ClusterEvent::AssignedPodAdded(other) | ClusterEvent::AssignedPodDeleted(other) => counts(other),
            ClusterEvent::AssignedPodUpdated { old, new } => {
                old.labels != new.labels && counts(old) != counts(new)
            }
            ClusterEvent::PodUpdated { old, new } => {
                new.uid == pod.uid
                    && old.labels != new.labels
                    && (own.is_empty() || counts(old) != counts(new))
            }
            ClusterEvent::NodeAdded(node) | ClusterEvent::NodeDeleted(node) => has_all_keys(node, &hard),
            ClusterEvent::NodeUpdated { old, new } => {
                match (has_all_keys(old, &hard), has_all_keys(new, &hard)) {
                    (true, true) => !alike(old, new) || old.taints != new.taints,
                    (before, after) => before != after,
                }
            }
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests;
