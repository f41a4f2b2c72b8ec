//! What the store says of itself, and how many objects lie in it: looked up when the metrics are read.

use std::collections::BTreeMap;
use std::time::Duration;

use orchestra_store::{RangeOptions, Store};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::catalog::Catalog;

/// Counting objects looks at every key, so it is not done more often; upstream does it once a minute.
const COUNT_EVERY: Duration = Duration::from_secs(30);

type Labels = Vec<(&'static str, String)>;

#[derive(Debug, Default)]
pub(super) struct StorageMetrics {
    up: Gauge,
    revision: Gauge,
    compacted: Gauge,
    keys: Gauge,
    leases: Gauge,
    size: Family<Labels, Gauge>,
    /// The name that upstream is giving up, and the one that takes its place.
    storage_objects: Family<Labels, Gauge>,
    resource_objects: Family<Labels, Gauge>,
    counted: Mutex<Option<Instant>>,
}

impl StorageMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Whether the store answers and takes writes: 1 or 0";
        registry.register("orchestra_store_up", help, self.up.clone());
        registry.register("orchestra_store_revision", "Revision of the store", self.revision.clone());
        let help = "Revision up to which the past of the store is gone";
        registry.register("orchestra_store_compacted_revision", help, self.compacted.clone());
        registry.register("orchestra_store_keys", "Keys in the store", self.keys.clone());
        registry.register("orchestra_store_leases", "Leases in the store", self.leases.clone());
        registry.register("apiserver_storage_size_bytes", "Size of the store on disk", self.size.clone());
        let help = "Stored objects at the last count, by resource; -1 when they could not be counted";
        registry.register("apiserver_storage_objects", help, self.storage_objects.clone());
        registry.register("apiserver_resource_objects", help, self.resource_objects.clone());
    }

    /// Brings everything up to date.
    pub(super) async fn look(&self, store: &dyn Store, catalog: &Catalog) {
        match store.status().await {
            Ok(status) => {
                self.up.set(1);
                self.revision.set(whole(status.revision.0));
                self.compacted.set(whole(status.compacted.0));
                self.keys.set(whole(status.keys));
                self.leases.set(whole(status.leases));
                let cluster = vec![("storage_cluster_id", "etcd-0".to_owned())];
                self.size.get_or_create(&cluster).set(whole(status.disk_bytes));
            }
            Err(error) => {
                self.up.set(0);
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the store tells no status for its metrics"
                );
            }
        }
        let mut counted = self.counted.lock().await;
        if counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY) {
            self.count(store, catalog).await;
            *counted = Some(Instant::now());
        }
    }

    async fn count(&self, store: &dyn Store, catalog: &Catalog) {
        // A resource may be served in several versions, and under several names; its objects are counted once.
        let resources: BTreeMap<String, _> =
            catalog.iter().rev().map(|resource| (resource.prefix().to_owned(), resource)).collect();
        for resource in resources.values() {
            let page = store.range(resource.range(None), RangeOptions::new().limit(1)).await;
            let objects =
                page.map_or(-1, |page| whole(page.value.remaining + page.value.entries.len() as u64));
            let (group, plural) = (resource.gr.group.to_string(), resource.gr.resource.to_string());
            let name = if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") };
            self.storage_objects.get_or_create(&vec![("resource", name)]).set(objects);
            self.resource_objects.get_or_create(&vec![("group", group), ("resource", plural)]).set(objects);
        }
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
