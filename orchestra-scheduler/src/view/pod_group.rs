//! Pod groups: pods that run together or not at all.

use std::sync::Arc;

use k8s_openapi::api::scheduling::v1alpha2::PodGroup;

use super::NamespacedName;
use super::catalog::{Catalog, shelf};
use super::kept::{Kept, Shelf};
use crate::event::ClusterEvent;

/// A PodGroup, reduced to what scheduling needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PodGroupView {
    /// Namespace and name.
    pub key: NamespacedName,
    /// How many of its pods have to have a node before any is bound; 1 unless it is a gang.
    pub min_count: usize,
}

impl PodGroupView {
    /// Reads a pod group of the API.
    #[must_use]
    pub fn from_api(group: &PodGroup) -> Self {
        let gang = group.spec.scheduling_policy.gang.as_ref();
        Self {
            key: NamespacedName::of(&group.metadata),
            min_count: gang.and_then(|gang| usize::try_from(gang.min_count).ok()).unwrap_or(1),
        }
    }
}

impl Kept for PodGroupView {
    type Key = NamespacedName;
    shelf!(pod_groups);

    fn key(&self) -> NamespacedName {
        self.key.clone()
    }

    fn applied(_: Option<Arc<Self>>, now: Arc<Self>) -> Option<ClusterEvent> {
        Some(ClusterEvent::PodGroupChanged(now))
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        None
    }
}
