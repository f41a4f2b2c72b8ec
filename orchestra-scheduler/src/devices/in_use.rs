//! What is had already.

use std::collections::{BTreeMap, HashMap, HashSet};

use k8s_openapi::api::resource::v1::DeviceRequestAllocationResult;
use orchestra_core::quantity::Quantity;

use crate::view::{ClusterView, DeviceClaimView};

/// A device, as messages name it. Neither drivers nor devices have a slash in their names, so it names one only.
pub(super) fn id(driver: &str, pool: &str, device: &str) -> Box<str> {
    format!("{driver}/{pool}/{device}").into()
}

/// How much of each capacity, by its qualified name.
pub(super) type Consumed = BTreeMap<Box<str>, Quantity>;

/// The devices that claims have or are going to have.
#[derive(Debug, Default)]
pub(crate) struct InUse {
    /// Devices that are one claim's.
    devices: HashSet<Box<str>>,
    /// Devices that claims share, and what they use of them.
    shares: HashMap<Box<str>, Consumed>,
}

impl InUse {
    /// What is in use in a cluster.
    pub(crate) fn of(cluster: &ClusterView) -> Self {
        let mut in_use = Self::default();
        for allocation in cluster.all::<DeviceClaimView>().filter_map(|claim| claim.allocation.as_ref()) {
            allocation.devices().for_each(|device| in_use.count(device));
        }
        for (claim, _, allocation) in cluster.promised_devices() {
            // Written already, and so counted.
            let written =
                cluster.kept::<DeviceClaimView>(claim).is_some_and(|claim| claim.allocation.is_some());
            if !written {
                allocation.devices().for_each(|device| in_use.count(device));
            }
        }
        for promise in cluster.promised_resources() {
            let seen = promise.made.as_ref().and_then(|made| cluster.kept::<DeviceClaimView>(made));
            if seen.is_none_or(|claim| claim.allocation.is_none()) {
                promise.allocation.devices().for_each(|device| in_use.count(device));
            }
        }
        in_use
    }

    fn count(&mut self, device: &DeviceRequestAllocationResult) {
        // Who only looks after a device does not take it from others.
        if device.admin_access == Some(true) {
            return;
        }
        let id = id(&device.driver, &device.pool, &device.device);
        if device.share_id.is_none() {
            self.devices.insert(id);
            return;
        }
        let consumed = self.shares.entry(id).or_default();
        for (name, amount) in device.consumed_capacity.iter().flatten() {
            let (domain, name) = super::selector::qualified(name, &device.driver);
            let sum = consumed.entry(format!("{domain}/{name}").into()).or_default();
            *sum += Quantity::parse(&amount.0).unwrap_or(Quantity::MAX);
        }
    }

    /// Whether some claim has the device for itself.
    pub(super) fn has(&self, id: &str) -> bool {
        self.devices.contains(id)
    }

    /// What claims use of a device that they share; `None` if none has a share.
    pub(super) fn shared(&self, id: &str) -> Option<&Consumed> {
        self.shares.get(id)
    }

    /// Whether any claim has any of the device.
    pub(super) fn touches(&self, id: &str) -> bool {
        self.devices.contains(id) || self.shares.contains_key(id)
    }
}
