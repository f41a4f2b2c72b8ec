//! What the node agent counts, under the kubelet's names.

mod counted;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use orchestra_metrics::{Family, Histogram, write};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub(crate) use counted::Counted;

const START_SECONDS: &[f64] = &[
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0,
    480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0,
];
const ROUND_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const OPERATION_SECONDS: &[f64] = &[
    0.005,
    0.0125,
    0.03125,
    0.078125,
    0.1953125,
    0.48828125,
    1.220703125,
    3.0517578125,
    7.62939453125,
    19.073486328125,
    47.6837158203125,
    119.20928955078125,
    298.0232238769531,
    745.0580596923828,
];

/// More than the methods of a runtime.
const MOST_OPERATIONS: usize = 32;

/// What a round of a pod's worker is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// The first.
    Create = 0,
    /// One after the pod changed in the API.
    Update = 1,
    /// Any other.
    Sync = 2,
}

const ROUNDS: [&str; 3] = ["create", "update", "sync"];

/// Which sort of container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Container = 0,
    Init = 1,
    Ephemeral = 2,
}

const SORTS: [&str; 3] = ["container", "init_container", "ephemeral_container"];

/// What a node agent counts. Clones count the same: agents of one process may share one, which then shows what all of them
/// do together. Given to [`crate::agent::NodeAgentBuilder::metrics`], and shown by the registry it is registered with.
#[derive(Clone, Debug)]
pub struct NodeMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    operations: Family<&'static str, Operation>,
    running_pods: Gauge,
    running_containers: Gauge,
    started_pods: Counter,
    failed_pods: Counter,
    started_containers: [Counter; SORTS.len()],
    pod_start: Histogram,
    rounds: [Histogram; ROUNDS.len()],
}

/// Of one method of the runtime.
#[derive(Debug)]
struct Operation {
    took: Histogram,
    errors: Counter,
}

impl Default for NodeMetrics {
    fn default() -> Self {
        Self(Arc::new(Inner {
            operations: Family::new(MOST_OPERATIONS, "other", || Operation {
                took: Histogram::new(OPERATION_SECONDS),
                errors: Counter::default(),
            }),
            running_pods: Gauge::default(),
            running_containers: Gauge::default(),
            started_pods: Counter::default(),
            failed_pods: Counter::default(),
            started_containers: Default::default(),
            pod_start: Histogram::new(START_SECONDS),
            rounds: ROUNDS.map(|_| Histogram::new(ROUND_SECONDS)),
        }))
    }
}

impl NodeMetrics {
    /// Shows them in `registry`, under the kubelet's names.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// All of them, as the kubelet answers at `/metrics`.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        self.register(&mut registry);
        orchestra_metrics::text::classic(&registry)
    }

    /// The runtime was asked for something, which took so long and went well or not.
    fn asked(&self, operation: &'static str, is_well: bool, took: Duration) {
        let counts = self.0.operations.of(&operation);
        counts.took.observe_duration(took);
        if !is_well {
            counts.errors.inc();
        }
    }

    /// The sandbox of a pod is made, or could not be.
    fn sandbox_tried(&self, is_well: bool) {
        self.0.started_pods.inc();
        if !is_well {
            self.0.failed_pods.inc();
        }
    }

    /// A container is about to be started.
    pub(crate) fn container_starts(&self, sort: Sort) {
        self.0.started_containers[sort as usize].inc();
    }

    /// All containers of a pod run for the first time, so long after it was first seen.
    pub(crate) fn pod_runs(&self, since_seen: Duration) {
        self.0.pod_start.observe_duration(since_seen);
    }

    /// A pod's worker has looked what there is to do.
    pub(crate) fn looked(&self, round: Round, took: Duration) {
        self.0.rounds[round as usize].observe_duration(took);
    }
}

impl Collector for NodeMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let (out, inner) = (&mut out, &*self.0);
        let help = "[BETA] Number of pods that have a running pod sandbox";
        write::gauge(out, "kubelet_running_pods", help, [([], inner.running_pods.get())])?;
        let help = "[BETA] Number of containers currently running";
        let running = [([("container_state", "running")], inner.running_containers.get())];
        write::gauge(out, "kubelet_running_containers", help, running)?;
        let help = "[BETA] Cumulative number of pods started";
        write::counter(out, "kubelet_started_pods_total", help, [([], inner.started_pods.get())])?;
        let help = "[BETA] Cumulative number of errors when starting pods";
        write::counter(out, "kubelet_started_pods_errors_total", help, [([], inner.failed_pods.get())])?;
        let help = "[BETA] Cumulative number of containers started";
        let started = SORTS.into_iter().zip(&inner.started_containers);
        let started = started.map(|(sort, count)| ([("container_type", sort)], count.get()));
        write::counter(
            out,
            "kubelet_started_containers_total",
            help,
            started.filter(|(_, count)| *count > 0),
        )?;
        let help = "[BETA] Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run";
        write::histogram(out, "kubelet_pod_start_duration_seconds", help, [([], &inner.pod_start)])?;
        let help = "[BETA] Duration in seconds to sync a single pod. Broken down by operation type: create, update, or sync";
        let rounds = ROUNDS.into_iter().zip(&inner.rounds);
        let rounds = rounds.map(|(round, took)| ([("operation_type", round)], took));
        let rounds = rounds.filter(|(_, took)| took.count() > 0);
        write::histogram(out, "kubelet_pod_worker_duration_seconds", help, rounds)?;
        let operations = inner.operations.all();
        let each = || operations.iter().map(|(name, counts)| ([("operation_type", *name)], &**counts));
        let help = "[BETA] Cumulative number of runtime operations by operation type.";
        let asked = each().map(|(labels, counts)| (labels, counts.took.count()));
        write::counter(out, "kubelet_runtime_operations_total", help, asked)?;
        let help = "[BETA] Duration in seconds of runtime operations. Broken down by operation type.";
        let took = each().map(|(labels, counts)| (labels, &counts.took));
        write::histogram(out, "kubelet_runtime_operations_duration_seconds", help, took)?;
        let help = "[BETA] Cumulative number of runtime operation errors by operation type.";
        let failed = each().map(|(labels, counts)| (labels, counts.errors.get()));
        write::counter(out, "kubelet_runtime_operations_errors_total", help, failed.filter(|(_, n)| *n > 0))
    }
}
