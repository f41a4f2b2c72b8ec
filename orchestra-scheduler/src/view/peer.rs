//! Affinity and anti-affinity between pods, as pods carry it: before and after they have a node.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::core::v1 as api;
use orchestra_core::selector::{LabelSelector, Operator, Requirement};

use super::group::read_selector;
use super::{Labels, PodView};

/// One term: pods that some nodes do or should have, and what makes nodes alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTerm {
    /// The node label whose value makes a domain.
    pub topology_key: Box<str>,
    /// The pods that are meant.
    pub selector: LabelSelector,
    /// The namespaces they are in; the pod's own if the term names none and selects none.
    pub namespaces: BTreeSet<Arc<str>>,
    /// The namespaces they are in, by label.
    pub namespace_selector: LabelSelector,
}

impl PodTerm {
    fn from_api(term: &api::PodAffinityTerm, namespace: &Arc<str>, labels: &Labels) -> Self {
        let listed = term.namespaces.iter().flatten().map(|name| Arc::from(name.as_str()));
        let mut namespaces: BTreeSet<Arc<str>> = listed.collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace.clone());
        }
        let mut selector = read_selector(term.label_selector.as_ref());
        if !selector.is_nothing() {
            selector = with_own_labels(&selector, term.match_label_keys.as_deref(), Operator::In, labels);
            selector =
                with_own_labels(&selector, term.mismatch_label_keys.as_deref(), Operator::NotIn, labels);
        }
        Self {
            topology_key: term.topology_key.as_str().into(),
            selector,
            namespaces,
            namespace_selector: read_selector(term.namespace_selector.as_ref()),
        }
    }

    /// Whether `pod` is meant; `namespace` are the labels of its namespace.
    #[must_use]
    pub fn matches(&self, pod: &PodView, namespace: &Labels) -> bool {
        (self.namespaces.contains(&pod.key.namespace) || self.namespace_selector.matches(namespace))
            && self.selector.matches(&*pod.labels)
    }
}

/// A term that earns points instead of admitting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedPodTerm {
    /// What a match is worth.
    pub weight: i64,
    /// The term.
    pub term: PodTerm,
}

/// `spec.affinity.podAffinity` and `podAntiAffinity`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodAffinity {
    /// Pods that have to be near.
    pub required: Vec<PodTerm>,
    /// Pods that must not be near.
    pub required_anti: Vec<PodTerm>,
    /// Pods that should be near.
    pub preferred: Vec<WeightedPodTerm>,
    /// Pods that should not be near.
    pub preferred_anti: Vec<WeightedPodTerm>,
}

static NONE: LazyLock<Arc<PodAffinity>> = LazyLock::new(Arc::default);

impl PodAffinity {
    pub(super) fn from_api(
        affinity: Option<&api::Affinity>,
        namespace: &Arc<str>,
        labels: &Labels,
    ) -> Arc<Self> {
        let near = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
        let far = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
        if near.is_none() && far.is_none() {
            return NONE.clone();
        }
        let required = |terms: Option<&Vec<api::PodAffinityTerm>>| {
            terms.into_iter().flatten().map(|term| PodTerm::from_api(term, namespace, labels)).collect()
        };
        let preferred = |terms: Option<&Vec<api::WeightedPodAffinityTerm>>| {
            let weighted = terms.into_iter().flatten().map(|one| WeightedPodTerm {
                weight: one.weight.into(),
                term: PodTerm::from_api(&one.pod_affinity_term, namespace, labels),
            });
            weighted.collect()
        };
        Arc::new(Self {
            required: required(
                near.and_then(|near| near.required_during_scheduling_ignored_during_execution.as_ref()),
            ),
            required_anti: required(
                far.and_then(|far| far.required_during_scheduling_ignored_during_execution.as_ref()),
            ),
            preferred: preferred(
                near.and_then(|near| near.preferred_during_scheduling_ignored_during_execution.as_ref()),
            ),
            preferred_anti: preferred(
                far.and_then(|far| far.preferred_during_scheduling_ignored_during_execution.as_ref()),
            ),
        })
    }

    /// Whether there is any term at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.required.is_empty()
            && self.required_anti.is_empty()
            && self.preferred.is_empty()
            && self.preferred_anti.is_empty()
    }

    /// Whether there is a preferred term.
    #[must_use]
    pub fn prefers(&self) -> bool {
        !self.preferred.is_empty() || !self.preferred_anti.is_empty()
    }
}

/// Adds to a selector that each of `keys` has (or has not) the value it has among `labels`, as `matchLabelKeys` and
/// `mismatchLabelKeys` ask. The API server does so when a pod is made; a key it has dealt with is left alone.
pub(super) fn with_own_labels(
    selector: &LabelSelector,
    keys: Option<&[String]>,
    operator: Operator,
    labels: &Labels,
) -> LabelSelector {
    let mut requirements = selector.requirements().to_vec();
    for key in keys.into_iter().flatten() {
        let Some(value) = labels.get(key) else { continue };
        let merged = |one: &Requirement| {
            one.key() == key && one.operator() == operator && one.values() == std::slice::from_ref(value)
        };
        if !requirements.iter().any(merged) {
            requirements.extend(Requirement::new(key, operator, vec![value.clone()]).ok());
        }
    }
    LabelSelector::new(requirements)
}
