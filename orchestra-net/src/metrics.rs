//! What the service proxy and the ingress count.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use orchestra_metrics::{Histogram, exponential, write};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

const SECONDS: &[f64] = &exponential::<15>(0.001, 2.0);

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Rounds of the service proxy, and requests at the ingress. Clones count the same; a cluster has one, given to
/// [`crate::driver::NetworkDriver::metrics`] and shown by the registry it is registered with.
#[derive(Clone, Debug)]
pub struct NetworkMetrics {
    synced: Histogram,
    /// When the last round ended, in thousandths of a second since 1970.
    last: Arc<AtomicU64>,
    requests: [Counter; CLASSES.len()],
}

impl Default for NetworkMetrics {
    fn default() -> Self {
        Self { synced: Histogram::new(SECONDS), last: Arc::default(), requests: Default::default() }
    }
}

impl NetworkMetrics {
    /// Shows them in `registry`: the proxy's under upstream's names, the ingress's under ours.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// The proxy is in step with the cluster again, after so long.
    pub(crate) fn synced(&self, took: Duration) {
        self.synced.observe_duration(took);
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
        self.last.store(now, Ordering::Relaxed);
    }

    /// A request at the ingress was answered. Codes are a pod's to choose, so they are told apart by their first digit only.
    pub(crate) fn answered(&self, code: u16) {
        if let Some(count) = usize::from(code / 100).checked_sub(1).and_then(|class| self.requests.get(class))
        {
            count.inc();
        }
    }
}

impl Collector for NetworkMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let help = "[ALPHA] SyncProxyRules latency in seconds";
        let name = "kubeproxy_sync_proxy_rules_duration_seconds";
        write::histogram(out, name, help, [([], &self.synced)])?;
        let help = "[ALPHA] The last time proxy rules were successfully synced";
        let last = self.last.load(Ordering::Relaxed) as f64 / 1e3;
        write::fraction(out, "kubeproxy_sync_proxy_rules_last_timestamp_seconds", help, [([], last)])?;
        let help = "Requests at the ingress, by the class of the answer's code";
        let requests = CLASSES.into_iter().zip(&self.requests);
        let requests = requests.map(|(class, count)| ([("code", class)], count.get()));
        write::counter(out, "orchestra_ingress_requests_total", help, requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_class_whatever_a_pod_answers() {
        let metrics = NetworkMetrics::default();
        [200, 204, 404, 599, 0, 999].into_iter().for_each(|code| metrics.answered(code));
        metrics.synced(Duration::from_millis(3));
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let text = orchestra_metrics::text::classic(&registry).unwrap();
        for line in [
            r#"orchestra_ingress_requests_total{code="2xx"} 2"#,
            r#"orchestra_ingress_requests_total{code="4xx"} 1"#,
            r#"orchestra_ingress_requests_total{code="5xx"} 1"#,
            r#"kubeproxy_sync_proxy_rules_duration_seconds_bucket{le="0.004"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }
}
