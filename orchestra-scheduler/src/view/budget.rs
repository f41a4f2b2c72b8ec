//! Disruption budgets: how many pods of a group may be evicted.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use orchestra_core::selector::LabelSelector;

use super::catalog::{Catalog, shelf};
use super::group::read_selector;
use super::kept::{Kept, Shelf};
use super::{NamespacedName, PodView};
use crate::event::ClusterEvent;

/// A PodDisruptionBudget, reduced to what preemption needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetView {
    /// Namespace and name.
    pub key: NamespacedName,
    /// The pods it protects.
    pub selector: LabelSelector,
    /// How many of them may go now.
    pub allowed: i32,
    /// Pods that are on their way out already and were counted for it.
    pub disrupted: BTreeSet<Box<str>>,
}

impl BudgetView {
    /// Reads a budget of the API.
    #[must_use]
    pub fn from_api(budget: &PodDisruptionBudget) -> Self {
        let status = budget.status.as_ref();
        let disrupted = status.and_then(|status| status.disrupted_pods.as_ref());
        Self {
            key: NamespacedName::of(&budget.metadata),
            selector: read_selector(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref())),
            allowed: status.and_then(|status| status.disruptions_allowed).unwrap_or(0),
            disrupted: disrupted.into_iter().flatten().map(|(name, _)| name.as_str().into()).collect(),
        }
    }

    /// Whether evicting the pod would use the budget up; an empty selector protects nobody.
    #[must_use]
    pub fn protects(&self, pod: &PodView) -> bool {
        self.key.namespace == pod.key.namespace
            && !pod.labels.is_empty()
            && !self.selector.is_everything()
            && self.selector.matches(&*pod.labels)
            && !self.disrupted.contains(&*pod.key.name)
    }
}

impl Kept for BudgetView {
    type Key = NamespacedName;
    shelf!(budgets);

    fn key(&self) -> NamespacedName {
        self.key.clone()
    }

    fn applied(_: Option<Arc<Self>>, _: Arc<Self>) -> Option<ClusterEvent> {
        None
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        None
    }
}
