//! InterPodAffinity: pods that want to be near others, or away from them.
//!
//! What counts as near is up to each term: nodes with the same value of a label. Terms of pods that are placed already
//! bind those that come, and earn or cost them points.

mod filter;
pub(crate) mod score;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Plugin, Requeue};
use crate::profile::Version;
use crate::view::{
    ClusterView, Labels, NamespaceView, NodeFacts, PodAffinity, PodTerm, PodView, WeightedPodTerm,
};

/// Filters and scores by `spec.affinity.podAffinity` and `podAntiAffinity`.
#[derive(Clone, Copy, Debug)]
pub struct InterPodAffinity {
    version: Version,
    hard_weight: i64,
    ignore_preferences_of_existing: bool,
}

impl InterPodAffinity {
    /// The plugin as of one Kubernetes version.
    #[must_use]
    pub fn for_version(version: Version) -> Self {
        Self { version, hard_weight: 1, ignore_preferences_of_existing: false }
    }

    /// What the required affinity of a placed pod is worth to a pod it wants near (`hardPodAffinityWeight`).
    #[must_use]
    pub fn weighing_required(mut self, weight: u32) -> Self {
        self.hard_weight = weight.into();
        self
    }

    /// Whether it scores nodes for `pod` at all.
    pub(crate) fn scores(&self, pod: &PodView) -> bool {
        pod.affinity.prefers() || !self.ignore_preferences_of_existing
    }

    /// Leaves the preferences of placed pods out when the incoming pod has none itself
    /// (`ignorePreferredTermsOfExistingPods`).
    #[must_use]
    pub fn ignoring_preferences_of_existing(mut self, ignore: bool) -> Self {
        self.ignore_preferences_of_existing = ignore;
        self
    }
}

/// How many pods, or points, there are for each value of each label.
type ByDomain = BTreeMap<(Box<str>, String), i64>;

/// The domain a node is in by a label.
fn domain(node: &NodeFacts, key: &str) -> Option<(Box<str>, String)> {
    Some((key.into(), node.labels.get(key)?.clone()))
}

/// The terms of an incoming pod, with the namespaces their selectors stand for.
///
/// As upstream in all versions up to 1.36, the selectors themselves stay in force beside the namespaces they were
/// resolved to, and are then asked about no labels at all: one that absent labels satisfy, such as `NotIn`, means
/// every namespace.
fn resolved(cluster: &ClusterView, affinity: &PodAffinity) -> PodAffinity {
    let resolve = |term: &PodTerm| {
        let mut term = term.clone();
        if !term.namespace_selector.is_everything() {
            let selected =
                cluster.all::<NamespaceView>().filter(|one| term.namespace_selector.matches(&one.labels));
            let selected: Vec<Arc<str>> = selected.map(|one| one.name.clone()).collect();
            term.namespaces.extend(selected);
        }
        term
    };
    let weighted = |one: &WeightedPodTerm| WeightedPodTerm { weight: one.weight, term: resolve(&one.term) };
    PodAffinity {
        required: affinity.required.iter().map(resolve).collect(),
        required_anti: affinity.required_anti.iter().map(resolve).collect(),
        preferred: affinity.preferred.iter().map(weighted).collect(),
        preferred_anti: affinity.preferred_anti.iter().map(weighted).collect(),
    }
}

/// The labels that the namespaces of resolved terms are matched against.
static NO_LABELS: Labels = Labels::new();

/// What a placed pod is to one that comes, by the required terms of either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bond {
    /// It wants the newcomer away.
    Averse,
    /// The newcomer wants it near; it is meant by all its terms.
    Friend,
    /// The newcomer wants it away.
    Foe,
}

/// The side of the incoming pod in every meeting with one that is placed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Newcomer {
    /// Its terms, resolved.
    pub(crate) own: PodAffinity,
    /// The labels of its namespace.
    namespace: Labels,
}

impl Newcomer {
    /// The pod, in a cluster whose namespaces tell what its terms mean.
    pub(crate) fn of(cluster: &ClusterView, pod: &PodView) -> Self {
        let namespace = cluster.namespace_labels(&pod.key.namespace).clone();
        Self { own: resolved(cluster, &pod.affinity), namespace }
    }

    /// Whether pods that have no terms themselves mean nothing to it.
    pub(crate) fn minds_only_terms_of_others(&self) -> bool {
        self.own.is_empty()
    }

    /// Whether it is one of those it wants near.
    pub(crate) fn is_a_friend_of_its_own(&self, pod: &PodView) -> bool {
        all_match(&self.own.required, pod)
    }

    /// Tells what `other` is to `pod` by required terms, and within which label's domains.
    pub(crate) fn bonds(&self, pod: &PodView, other: &PodView, mut each: impl FnMut(Bond, &str)) {
        for term in &other.affinity.required_anti {
            if term.matches(pod, &self.namespace) {
                each(Bond::Averse, &term.topology_key);
            }
        }
        if all_match(&self.own.required, other) {
            self.own.required.iter().for_each(|term| each(Bond::Friend, &term.topology_key));
        }
        for term in &self.own.required_anti {
            if term.matches(other, &NO_LABELS) {
                each(Bond::Foe, &term.topology_key);
            }
        }
    }

    /// Tells what `other` is worth to `pod`, and within which label's domains.
    pub(crate) fn points(
        &self,
        plugin: &InterPodAffinity,
        pod: &PodView,
        other: &PodView,
        mut each: impl FnMut(&str, i64),
    ) {
        let mut give = |term: &PodTerm, weight: i64| each(&term.topology_key, weight);
        let wants = |one: &&WeightedPodTerm| one.term.matches(other, &NO_LABELS);
        self.own.preferred.iter().filter(wants).for_each(|one| give(&one.term, one.weight));
        self.own.preferred_anti.iter().filter(wants).for_each(|one| give(&one.term, -one.weight));
        if plugin.hard_weight > 0 {
            let wanted = other.affinity.required.iter().filter(|term| term.matches(pod, &self.namespace));
            wanted.for_each(|term| give(term, plugin.hard_weight));
        }
        let wanted = |one: &&WeightedPodTerm| one.term.matches(pod, &self.namespace);
        other.affinity.preferred.iter().filter(wanted).for_each(|one| give(&one.term, one.weight));
        other.affinity.preferred_anti.iter().filter(wanted).for_each(|one| give(&one.term, -one.weight));
    }
}

/// Whether a pod is meant by all of these resolved terms; by none if there are none.
fn all_match(terms: &[PodTerm], pod: &PodView) -> bool {
    !terms.is_empty() && terms.iter().all(|term| term.matches(pod, &NO_LABELS))
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &str {
        "InterPodAffinity"
    }
}

impl Requeue for InterPodAffinity {
    fn hint(&self, _: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        let own = &pod.affinity;
        let keys = |terms: &[PodTerm], node: &NodeFacts| {
            terms.iter().map(|term| node.labels.get(&*term.topology_key).cloned()).collect::<Vec<_>>()
        };
        Hint::when(match event {
            // Whether namespaces are selected is not known here; a term that selects any may mean any pod.
            ClusterEvent::AssignedPodAdded(other) => all_may_mean(&own.required, other),
            ClusterEvent::AssignedPodUpdated { old, new } => {
                (!all_may_mean(&own.required, old) && all_may_mean(&own.required, new))
                    || (any_may_mean(&own.required_anti, old) && !any_may_mean(&own.required_anti, new))
            }
            ClusterEvent::AssignedPodDeleted(other) => {
                any_may_mean(&own.required_anti, other)
                    || (self.version >= Version::V1_36 && any_may_mean(&other.affinity.required_anti, pod))
            }
            ClusterEvent::PodUpdated { old, new } => {
                self.version >= Version::V1_36 && new.uid == pod.uid && old.labels != new.labels
            }
            ClusterEvent::NodeAdded(node) => {
                own.required.iter().all(|term| node.labels.contains_key(&*term.topology_key))
            }
            ClusterEvent::NodeUpdated { old, new } => {
                // A node that leaves a domain may leave its pods' anti-affinity behind as well.
                old.labels != new.labels
                    && (own.required.is_empty()
                        || keys(&own.required, old) != keys(&own.required, new)
                        || keys(&own.required_anti, old) != keys(&own.required_anti, new))
            }
            _ => false,
        })
    }
}

/// Whether a term may mean a pod, the labels of whose namespace are not known.
fn may_mean(term: &PodTerm, pod: &PodView) -> bool {
    (term.namespaces.contains(&pod.key.namespace) || !term.namespace_selector.is_nothing())
        && term.selector.matches(&*pod.labels)
}

fn any_may_mean(terms: &[PodTerm], pod: &PodView) -> bool {
    terms.iter().any(|term| may_mean(term, pod))
}

fn all_may_mean(terms: &[PodTerm], pod: &PodView) -> bool {
    !terms.is_empty() && terms.iter().all(|term| may_mean(term, pod))
}

#[cfg(test)]
mod tests;
