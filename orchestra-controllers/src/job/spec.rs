//! What a Job asks for and what is known of its pods, each read in one place.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;

use crate::pod;

/// Held by every pod of a Job until it is counted.
pub(crate) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// The annotation and label that tell a pod its completion index.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// How often pods of the same index have failed before this one.
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// How often they failed in ways that the failure policy ignores.
pub(super) const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
/// The value of `managedBy` that means this controller.
const OURSELVES: &str = "kubernetes.io/job-controller";

/// Whether another controller than this takes care of the Job.
pub(super) fn is_foreign(spec: &JobSpec) -> bool {
    spec.managed_by.as_deref().is_some_and(|by| by != OURSELVES)
}

pub(super) fn is_suspended(spec: &JobSpec) -> bool {
    spec.suspend == Some(true)
}

/// The number of completions, if the Job is an indexed one.
pub(super) fn indexed(spec: &JobSpec) -> Option<u32> {
    let is_indexed = spec.completion_mode.as_deref() == Some("Indexed");
    spec.completions.filter(|_| is_indexed).map(|completions| u32::try_from(completions).unwrap_or(0))
}

/// Whether a pod must have failed, and not only be going, before another takes its place.
pub(super) fn replaces_failed_only(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
}

/// The condition of this type that is true.
pub(super) fn holds<'a>(status: &'a JobStatus, type_: &str) -> Option<&'a JobCondition> {
    let conditions = status.conditions.iter().flatten();
    conditions.into_iter().find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// The condition by which a Job has completed or failed.
pub(crate) fn finished_condition(job: &Job) -> Option<&JobCondition> {
    let status = job.status.as_ref()?;
    holds(status, "Complete").or_else(|| holds(status, "Failed"))
}

/// When a Job completed.
pub(crate) fn ending(job: &Job) -> Option<Timestamp> {
    job.status.as_ref()?.completion_time.as_ref().map(|time| time.0)
}

pub(super) fn is_finished(job: &Job) -> bool {
    finished_condition(job).is_some()
}

/// The pod's completion index, if it has one below `completions`.
pub(super) fn index(pod: &Pod, completions: u32) -> Option<u32> {
    let text = pod.metadata.annotations.as_ref()?.get(INDEX)?;
    text.parse().ok().filter(|index| *index < completions)
}

/// Whether the pod has not been counted yet.
pub(super) fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

pub(super) fn has_succeeded(pod: &Pod) -> bool {
    pod::phase(pod) == "Succeeded"
}

/// Whether the pod counts as failed. Deleted ones do, since they may never reach that phase; unless replacements wait
/// for it.
pub(super) fn has_failed(pod: &Pod, spec: &JobSpec) -> bool {
    pod::phase(pod) == "Failed"
        || (pod::is_terminating(pod) && !has_succeeded(pod) && !replaces_failed_only(spec))
}

/// Whether the pod has been told to end and has not ended.
pub(super) fn is_going(pod: &Pod) -> bool {
    pod::is_terminating(pod) && !pod::is_finished(pod)
}

pub(super) fn number(pod: &Pod, annotation: &str) -> i32 {
    let text = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(annotation));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}
