//! The kubelet's `/metrics/resource`, which metrics-server and Prometheus read.

use std::fmt;

use orchestra_metrics::write;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use super::summary::{ContainerUsage, CpuUsage, MemoryUsage, PodUsage, Summary};

/// The text of one answer.
pub(super) fn text(summary: Summary) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Shown(summary)));
    orchestra_metrics::text::classic(&registry)
}

#[derive(Debug)]
struct Shown(Summary);

fn seconds(cpu: Option<&CpuUsage>) -> Option<f64> {
    // A fraction of a second more or less is nothing in what a program used over days.
    #[allow(clippy::cast_precision_loss, reason = "whole nanoseconds are exact for a hundred days")]
    cpu?.usage_core_nano_seconds.map(|nanos| nanos as f64 / 1e9)
}

fn bytes(memory: Option<&MemoryUsage>) -> Option<i64> {
    memory?.working_set_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn whose(pod: &PodUsage) -> [write::Label<'_>; 2] {
    [("namespace", pod.pod_ref.namespace.as_str()), ("pod", pod.pod_ref.name.as_str())]
}

fn which<'a>(container: &'a ContainerUsage, pod: &'a PodUsage) -> [write::Label<'a>; 3] {
    let [namespace, pod] = whose(pod);
    [("container", container.name.as_str()), namespace, pod]
}

impl Collector for Shown {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let (out, Summary { node, pods }) = (&mut out, &self.0);
        let containers = || pods.iter().flat_map(|pod| pod.containers.iter().map(move |c| (c, pod)));
        let help = "[STABLE] Cumulative cpu time consumed by the container in core-seconds";
        let used = containers().filter_map(|(c, pod)| Some((which(c, pod), seconds(c.cpu.as_ref())?)));
        write::seconds(out, "container_cpu_usage_seconds_total", help, used)?;
        let help = "[STABLE] Current working set of the container in bytes";
        let used = containers().filter_map(|(c, pod)| Some((which(c, pod), bytes(c.memory.as_ref())?)));
        write::gauge(out, "container_memory_working_set_bytes", help, used)?;
        let help = "[STABLE] Start time of the container since unix epoch in seconds";
        let started =
            containers().map(|(c, pod)| (which(c, pod), c.start_time.0.as_duration().as_secs_f64()));
        write::fraction(out, "container_start_time_seconds", help, started)?;
        let help = "[STABLE] Cumulative cpu time consumed by the node in core-seconds";
        let used = seconds(node.cpu.as_ref()).map(|seconds| ([], seconds));
        write::seconds(out, "node_cpu_usage_seconds_total", help, used)?;
        let help = "[STABLE] Current working set of the node in bytes";
        let used = bytes(node.memory.as_ref()).map(|bytes| ([], bytes));
        write::gauge(out, "node_memory_working_set_bytes", help, used)?;
        let help = "[STABLE] Cumulative cpu time consumed by the pod in core-seconds";
        let used = pods.iter().filter_map(|pod| Some((whose(pod), seconds(pod.cpu.as_ref())?)));
        write::seconds(out, "pod_cpu_usage_seconds_total", help, used)?;
        let help = "[STABLE] Current working set of the pod in bytes";
        let used = pods.iter().filter_map(|pod| Some((whose(pod), bytes(pod.memory.as_ref())?)));
        write::gauge(out, "pod_memory_working_set_bytes", help, used)?;
        let help = "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise";
        write::gauge(out, "resource_scrape_error", help, [([], 0)])
    }
}
