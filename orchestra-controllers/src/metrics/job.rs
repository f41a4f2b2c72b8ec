//! What the Job controller counts.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use orchestra_metrics::{Family, Histogram, exponential, write};
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;

const SECONDS: &[f64] = &exponential::<15>(0.001, 2.0);
/// Reasons come from this controller and from success policies; there are about a dozen.
const MOST_REASONS: usize = 100;

/// How a Job counts its completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Mode {
    Indexed,
    NonIndexed,
}

impl Mode {
    /// That of a Job.
    pub(crate) fn of(job: &Job) -> Self {
        let mode = job.spec.as_ref().and_then(|spec| spec.completion_mode.as_deref());
        if mode == Some("Indexed") { Self::Indexed } else { Self::NonIndexed }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Indexed => "Indexed",
            Self::NonIndexed => "NonIndexed",
        }
    }
}

/// What a look at a Job led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Sync {
    Reconciling,
    Tracking,
    PodsCreated,
    PodsDeleted,
}

impl Sync {
    fn as_str(self) -> &'static str {
        match self {
            Self::Reconciling => "reconciling",
            Self::Tracking => "tracking",
            Self::PodsCreated => "pods_created",
            Self::PodsDeleted => "pods_deleted",
        }
    }
}

type SyncLabels = (Sync, Mode, &'static str);
type EndLabels = (Mode, String, &'static str);

/// Looks at Jobs, and their ends. Clones count the same.
#[derive(Clone, Debug)]
pub(crate) struct JobMetrics {
    syncs: Family<SyncLabels, Histogram>,
    ends: Family<EndLabels, Counter>,
}

impl Default for JobMetrics {
    fn default() -> Self {
        let rest = (Mode::NonIndexed, String::new(), "failed");
        Self {
            // As many as there are.
            syncs: Family::new(16, (Sync::Reconciling, Mode::NonIndexed, "error"), || {
                Histogram::new(SECONDS)
            }),
            ends: Family::new(MOST_REASONS, rest, Counter::default),
        }
    }
}

impl JobMetrics {
    /// A Job was looked at, which took so long and went well or not.
    pub(crate) fn synced<T, E>(&self, sync: Sync, mode: Mode, outcome: &Result<T, E>, took: Duration) {
        let result = if outcome.is_ok() { "success" } else { "error" };
        self.syncs.of(&(sync, mode, result)).observe_duration(took);
    }

    /// A Job has completed.
    pub(crate) fn completed(&self, mode: Mode) {
        self.ends.of(&(mode, String::new(), "succeeded")).inc();
    }

    /// A Job has failed.
    pub(crate) fn failed(&self, mode: Mode, reason: &str) {
        self.ends.of(&(mode, reason.to_owned(), "failed")).inc();
    }

    pub(super) fn encode(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let syncs = self.syncs.all();
        let each = || {
            syncs.iter().map(|((sync, mode, result), took)| {
                let mode = ("completion_mode", mode.as_str());
                ([("action", sync.as_str()), mode, ("result", *result)], &**took)
            })
        };
        let help = "[STABLE] The time it took to sync a job";
        write::histogram(out, "job_controller_job_sync_duration_seconds", help, each())?;
        let help = "[STABLE] The number of job syncs";
        let counts = each().map(|(labels, took)| (labels, took.count()));
        write::counter(out, "job_controller_job_syncs_total", help, counts)?;
        let ends = self.ends.all();
        let help = "[STABLE] The number of finished jobs";
        let ends = ends.iter().map(|((mode, reason, result), count)| {
            let mode = ("completion_mode", mode.as_str());
            ([mode, ("reason", reason.as_str()), ("result", *result)], count.get())
        });
        write::counter(out, "job_controller_jobs_finished_total", help, ends)
    }
}
