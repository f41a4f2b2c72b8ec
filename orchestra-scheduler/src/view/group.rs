//! What gathers pods: namespaces, services, and the controllers that own them.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector as ApiSelector, ObjectMeta};
use orchestra_core::selector::LabelSelector;

use super::Labels;
use super::catalog::{Catalog, shelf};
use super::kept::{Kept, Shelf};
use crate::event::ClusterEvent;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedName {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl NamespacedName {
    /// The key of `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        Self::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// A Namespace: its labels, which namespace selectors look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceView {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: Labels,
}

impl NamespaceView {
    /// Reads a namespace of the API.
    #[must_use]
    pub fn from_api(namespace: &api::Namespace) -> Self {
        Self {
            name: namespace.metadata.name.as_deref().unwrap_or_default().into(),
            labels: namespace.metadata.labels.clone().unwrap_or_default(),
        }
    }
}

impl Kept for NamespaceView {
    type Key = Arc<str>;
    shelf!(namespaces);

    fn key(&self) -> Arc<str> {
        self.name.clone()
    }

    fn applied(_: Option<Arc<Self>>, _: Arc<Self>) -> Option<ClusterEvent> {
        None
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        None
    }
}

/// A Service: whom it selects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceView {
    /// Namespace and name.
    pub key: NamespacedName,
    /// The labels it selects by; `None` selects nobody.
    pub selector: Option<Labels>,
}

impl ServiceView {
    /// Reads a service of the API.
    #[must_use]
    pub fn from_api(service: &api::Service) -> Self {
        Self {
            key: NamespacedName::of(&service.metadata),
            selector: service.spec.as_ref().and_then(|spec| spec.selector.clone()),
        }
    }

    /// Whether the service selects pods with these labels.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        let all = |selector: &Labels| selector.iter().all(|(key, value)| labels.get(key) == Some(value));
        self.selector.as_ref().is_some_and(all)
    }
}

impl Kept for ServiceView {
    type Key = NamespacedName;
    shelf!(services);

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

/// The kinds of owners whose selectors tell which pods belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerKind {
    /// `v1` ReplicationController.
    ReplicationController,
    /// `apps/v1` ReplicaSet.
    ReplicaSet,
    /// `apps/v1` StatefulSet.
    StatefulSet,
}

/// Which owner is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerKey {
    /// Its kind.
    pub kind: OwnerKind,
    /// Namespace and name.
    pub name: NamespacedName,
}

/// The owner of pods: whom it selects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnerView {
    /// Kind, namespace and name.
    pub key: OwnerKey,
    /// Its selector.
    pub selector: LabelSelector,
}

impl OwnerView {
    /// Reads a ReplicationController.
    #[must_use]
    pub fn from_replication_controller(owner: &api::ReplicationController) -> Self {
        let labels = owner.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        Self {
            key: OwnerKey {
                kind: OwnerKind::ReplicationController,
                name: NamespacedName::of(&owner.metadata),
            },
            selector: labels.map_or(LabelSelector::everything(), LabelSelector::from_map),
        }
    }

    /// Reads a ReplicaSet.
    #[must_use]
    pub fn from_replica_set(owner: &ReplicaSet) -> Self {
        let selector = owner.spec.as_ref().map(|spec| &spec.selector);
        Self::selecting(OwnerKind::ReplicaSet, &owner.metadata, selector)
    }

    /// Reads a StatefulSet.
    #[must_use]
    pub fn from_stateful_set(owner: &StatefulSet) -> Self {
        let selector = owner.spec.as_ref().map(|spec| &spec.selector);
        Self::selecting(OwnerKind::StatefulSet, &owner.metadata, selector)
    }

    fn selecting(kind: OwnerKind, meta: &ObjectMeta, selector: Option<&ApiSelector>) -> Self {
        Self { key: OwnerKey { kind, name: NamespacedName::of(meta) }, selector: read_selector(selector) }
    }
}

impl Kept for OwnerView {
    type Key = OwnerKey;
    shelf!(owners);

    fn key(&self) -> OwnerKey {
        self.key.clone()
    }

    fn applied(_: Option<Arc<Self>>, _: Arc<Self>) -> Option<ClusterEvent> {
        None
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        None
    }
}

/// Reads a selector; one that the API server would have refused selects nothing.
pub(super) fn read_selector(selector: Option<&ApiSelector>) -> LabelSelector {
    LabelSelector::from_typed(selector).unwrap_or(LabelSelector::nothing())
}
