//! Device classes: which devices a request may mean, and how they are set up.

use std::sync::Arc;

use k8s_openapi::api::resource::v1::{DeviceClass, DeviceClassSpec};

use super::catalog::{Catalog, shelf};
use super::kept::{Kept, Shelf};
use crate::event::ClusterEvent;

/// A DeviceClass.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DeviceClassView {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// Selectors and configuration.
    pub spec: DeviceClassSpec,
}

impl DeviceClassView {
    /// Reads a device class of the API.
    #[must_use]
    pub fn from_api(class: &DeviceClass) -> Self {
        Self { name: class.metadata.name.as_deref().unwrap_or_default().into(), spec: class.spec.clone() }
    }
}

impl Kept for DeviceClassView {
    type Key = Arc<str>;
    shelf!(device_classes);

    fn key(&self) -> Arc<str> {
        self.name.clone()
    }

    fn applied(_: Option<Arc<Self>>, _: Arc<Self>) -> Option<ClusterEvent> {
        Some(ClusterEvent::DevicesChanged)
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        None
    }
}
