//! Device classes: which devices a request may mean, and how they are set up.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::resource::v1::{DeviceClass, DeviceClassSpec};

use super::ClusterView;
use super::catalog::Catalog;
use super::kept::{Kept, Shelf};
use crate::event::ClusterEvent;
use crate::view::NodeName;

/// A DeviceClass.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DeviceClassView {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// Selectors and configuration, and the extended resource that it stands for.
    pub spec: DeviceClassSpec,
}

impl DeviceClassView {
    /// Reads a device class of the API.
    #[must_use]
    pub fn from_api(class: &DeviceClass) -> Self {
        let meta = &class.metadata;
        Self {
            name: meta.name.as_deref().unwrap_or_default().into(),
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            spec: class.spec.clone(),
        }
    }
}

impl Kept for DeviceClassView {
    type Key = Arc<str>;

    fn shelf(catalog: &Catalog) -> &Shelf<Self::Key, Self> {
        &catalog.device_classes
    }

    fn shelf_mut(catalog: &mut Catalog) -> &mut Shelf<Self::Key, Self> {
        // Whoever takes it changes it.
        catalog.standing.take();
        &mut catalog.device_classes
    }

    fn node(&self) -> Option<&NodeName> {
        None
    }

    fn key(&self) -> Arc<str> {
        self.name.clone()
    }

    fn applied(before: Option<Arc<Self>>, now: Arc<Self>) -> Option<ClusterEvent> {
        Some(ClusterEvent::DeviceClassChanged { old: before, new: now })
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        None
    }
}

impl ClusterView {
    /// The device class that stands for an extended resource, if one does.
    #[must_use]
    pub fn class_for(&self, resource: &str) -> Option<&Arc<DeviceClassView>> {
        self.catalog().standing().get(resource)
    }
}
