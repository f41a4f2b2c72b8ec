//! What the node lifecycle controller knows of zones.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use orchestra_metrics::write;
use prometheus_client::encoding::DescriptorEncoder;

/// Zones are what nodes say of themselves; whoever says ever new ones must not fill the memory.
const MOST_ZONES: usize = 1000;

/// Nodes of one zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Zone {
    size: usize,
    unhealthy: usize,
    evictions: u64,
}

/// Nodes by zone, up and down, and nodes that were given up. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeMetrics(Arc<Mutex<BTreeMap<String, Zone>>>);

impl NodeMetrics {
    /// The zones are now as these say: their names, all nodes, and those that are not ready. A zone that has no node any more
    /// is shown only while it has evictions to tell of.
    pub(crate) fn zones(&self, now: impl Iterator<Item = (String, usize, usize)>) {
        let mut zones = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for zone in zones.values_mut() {
            (zone.size, zone.unhealthy) = (0, 0);
        }
        for (name, size, unhealthy) in now {
            let zone = zones.entry(name).or_default();
            (zone.size, zone.unhealthy) = (size, unhealthy);
        }
        zones.retain(|_, zone| zone.size > 0 || zone.evictions > 0);
    }

    /// A node of the zone was given up.
    pub(crate) fn evicted(&self, zone: String) {
        let mut zones = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if zones.len() < MOST_ZONES || zones.contains_key(&zone) {
            zones.entry(zone).or_default().evictions += 1;
        }
    }

    pub(super) fn encode(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let zones = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let each = || zones.iter().map(|(name, zone)| ([("zone", name.as_str())], *zone));
        let help = "[STABLE] Number of Node evictions that happened since current instance of NodeController started.";
        let evictions = each().map(|(labels, zone)| (labels, zone.evictions));
        write::counter(out, "node_collector_evictions_total", help, evictions)?;
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let help = "[ALPHA] Gauge measuring number of not Ready Nodes per zones.";
        let unhealthy = each().map(|(labels, zone)| (labels, whole(zone.unhealthy)));
        write::gauge(out, "node_collector_unhealthy_nodes_in_zone", help, unhealthy)?;
        let help = "[ALPHA] Gauge measuring percentage of healthy nodes per zone.";
        let health = each().map(|(labels, zone)| {
            let healthy = zone.size.saturating_sub(zone.unhealthy);
            (labels, if zone.size == 0 { 0.0 } else { 100.0 * healthy as f64 / zone.size as f64 })
        });
        write::fraction(out, "node_collector_zone_health", help, health)?;
        let help = "[ALPHA] Gauge measuring number of registered Nodes per zones.";
        let sizes = each().map(|(labels, zone)| (labels, whole(zone.size)));
        write::gauge(out, "node_collector_zone_size", help, sizes)
    }
}
