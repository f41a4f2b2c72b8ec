//! What the store says of itself, and how many objects lie in it: looked up when the metrics are read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use orchestra_metrics::write;
use orchestra_store::{RangeOptions, Store};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::catalog::Catalog;
use crate::status::GroupResource;

/// Counting objects looks at every key, so it is not done more often; upstream does it once a minute.
const COUNT_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct StorageMetrics {
    shown: Shown,
    counted: Mutex<Option<Instant>>,
}

/// What was found when it was last looked.
#[derive(Clone, Debug, Default)]
struct Shown {
    up: Gauge,
    revision: Gauge,
    compacted: Gauge,
    keys: Gauge,
    leases: Gauge,
    bytes: Gauge,
    objects: Arc<std::sync::Mutex<BTreeMap<GroupResource, i64>>>,
}

impl Collector for Shown {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let one = |gauge: &Gauge| [([], gauge.get())];
        let help = "Whether the store answers and takes writes: 1 or 0";
        write::gauge(out, "orchestra_store_up", help, one(&self.up))?;
        write::gauge(out, "orchestra_store_revision", "Revision of the store", one(&self.revision))?;
        let help = "Revision up to which the past of the store is gone";
        write::gauge(out, "orchestra_store_compacted_revision", help, one(&self.compacted))?;
        write::gauge(out, "orchestra_store_keys", "Keys in the store", one(&self.keys))?;
        write::gauge(out, "orchestra_store_leases", "Leases in the store", one(&self.leases))?;
        let help = "[STABLE] Size of the storage database file physically allocated in bytes.";
        let bytes = [([("storage_cluster_id", "etcd-0")], self.bytes.get())];
        write::gauge(out, "apiserver_storage_size_bytes", help, bytes)?;
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // The name that upstream is giving up, and the one that takes its place.
        let names: Vec<String> = objects.keys().map(GroupResource::to_string).collect();
        let help = "[STABLE] (Deprecated since 1.34.0) [DEPRECATED, consider using apiserver_resource_objects instead] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.";
        let named = names.iter().zip(objects.values());
        let named = named.map(|(name, count)| ([("resource", name.as_str())], *count));
        write::gauge(out, "apiserver_storage_objects", help, named)?;
        let help = "[ALPHA] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.";
        let counts = objects
            .iter()
            .map(|(gr, count)| ([("group", gr.group.as_str()), ("resource", gr.resource.as_str())], *count));
        write::gauge(out, "apiserver_resource_objects", help, counts)
    }
}

impl StorageMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.shown.clone()));
    }

    /// Brings everything up to date.
    pub(super) async fn look(&self, store: &dyn Store, catalog: &Catalog) {
        match store.status().await {
            Ok(status) => {
                self.shown.up.set(1);
                self.shown.revision.set(whole(status.revision.0));
                self.shown.compacted.set(whole(status.compacted.0));
                self.shown.keys.set(whole(status.keys));
                self.shown.leases.set(whole(status.leases));
                self.shown.bytes.set(whole(status.disk_bytes));
            }
            Err(error) => {
                self.shown.up.set(0);
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
        let mut objects = BTreeMap::new();
        for resource in resources.values() {
            let page = store.range(resource.range(None), RangeOptions::new().limit(1)).await;
            let count = page.map_or(-1, |page| whole(page.value.remaining + page.value.entries.len() as u64));
            objects.insert(resource.gr.clone(), count);
        }
        *self.shown.objects.lock().unwrap_or_else(PoisonError::into_inner) = objects;
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
