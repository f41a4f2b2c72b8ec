//! What every queue counts, as `k8s.io/client-go/util/workqueue` does.

use std::fmt;
use std::time::Duration;

use orchestra_metrics::{Histogram, exponential, write};
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

const SECONDS: &[f64] = &exponential::<10>(10e-7, 10.0);

/// What a queue has counted.
#[derive(Debug)]
pub(crate) struct QueueCounts {
    pub(crate) adds: Counter,
    pub(crate) retries: Counter,
    pub(crate) waited: Histogram,
    pub(crate) worked: Histogram,
}

impl Default for QueueCounts {
    fn default() -> Self {
        Self {
            adds: Counter::default(),
            retries: Counter::default(),
            waited: Histogram::new(SECONDS),
            worked: Histogram::new(SECONDS),
        }
    }
}

/// What a queue is busy with at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Working {
    /// Keys that wait.
    pub(crate) depth: usize,
    /// For how long keys have been worked on that still are, all together.
    pub(crate) unfinished: Duration,
    /// For how long the first of them has been.
    pub(crate) longest: Duration,
}

/// A queue that tells what it is busy with.
pub(crate) trait Queued: fmt::Debug + Send + Sync {
    /// As of `now`.
    fn working(&self, now: Instant) -> Working;
}

/// What upstream calls the queue of a controller.
pub(super) fn name_of(controller: &'static str) -> &'static str {
    match controller {
        "endpointslice" => "endpoint_slice",
        "garbage" => "garbage_collector_attempt_to_delete",
        "job-orphan" => "job_orphan_pod",
        "nodelifecycle" => "node_lifecycle_controller",
        "podgc" => "orphaned_pods_nodes",
        "tainteviction" => "noexec_taint_pod",
        "ttl-after-finished" => "ttl_jobs_to_delete",
        "volume" => "volumes",
        same => same,
    }
}

pub(super) fn encode(
    out: &mut DescriptorEncoder<'_>,
    queues: &[(&'static str, &QueueCounts, Working)],
) -> fmt::Result {
    let each = || queues.iter().map(|(name, counts, working)| ([("name", *name)], *counts, working));
    let help = "[BETA] Current depth of workqueue";
    let depths =
        each().map(|(labels, _, working)| (labels, i64::try_from(working.depth).unwrap_or(i64::MAX)));
    write::gauge(out, "workqueue_depth", help, depths)?;
    let help = "[BETA] Total number of adds handled by workqueue";
    let adds = each().map(|(labels, counts, _)| (labels, counts.adds.get()));
    write::counter(out, "workqueue_adds_total", help, adds)?;
    let help = "[BETA] How long in seconds an item stays in workqueue before being requested.";
    let waited = each().map(|(labels, counts, _)| (labels, &counts.waited));
    write::histogram(out, "workqueue_queue_duration_seconds", help, waited)?;
    let help = "[BETA] How long in seconds processing an item from workqueue takes.";
    let worked = each().map(|(labels, counts, _)| (labels, &counts.worked));
    write::histogram(out, "workqueue_work_duration_seconds", help, worked)?;
    let help = "[BETA] How many seconds of work has done that is in progress and hasn't been observed by work_duration. Large values indicate stuck threads. One can deduce the number of stuck threads by observing the rate at which this increases.";
    let unfinished = each().map(|(labels, _, working)| (labels, working.unfinished.as_secs_f64()));
    write::fraction(out, "workqueue_unfinished_work_seconds", help, unfinished)?;
    let help = "[BETA] How many seconds has the longest running processor for workqueue been running.";
    let longest = each().map(|(labels, _, working)| (labels, working.longest.as_secs_f64()));
    write::fraction(out, "workqueue_longest_running_processor_seconds", help, longest)?;
    let help = "[BETA] Total number of retries handled by workqueue";
    let retries = each().map(|(labels, counts, _)| (labels, counts.retries.get()));
    write::counter(out, "workqueue_retries_total", help, retries)
}
