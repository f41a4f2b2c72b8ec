//! Counting: which pods that ended are counted now, and the two statuses between which their finalizers go.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan::{End, Facts};
use super::policy::judge;
use super::spec::{has_failed, has_succeeded, holds, index, indexed, is_tracked};
use crate::family::Known;
use crate::pod::unless_zero;

/// A status holds no more uncounted pods than this, as upstream.
const MAX_UNCOUNTED: usize = 500;

/// One round of counting.
#[derive(Debug)]
pub(super) struct Round {
    /// Names what is about to be counted, and the end if there is one.
    pub(super) before: JobStatus,
    /// The pods whose finalizers then go.
    pub(super) release: Vec<Arc<Pod>>,
    /// Counts them, and closes the Job if nothing is left.
    pub(super) after: JobStatus,
}

/// Counts what ended. `before` is the status with all that is not about counting.
pub(super) fn count(facts: &Facts<'_>, mut before: JobStatus, end: Option<&End>, now: Timestamp) -> Round {
    let tracked: BTreeSet<&str> =
        facts.pods.iter().filter(|pod| is_tracked(pod)).map(|pod| pod.uid()).collect();
    settle(&mut before, &tracked);
    let mut uncounted = before.uncounted_terminated_pods.take().unwrap_or_default();
    let mut done = facts.succeeded_before.clone();
    let completions = indexed(facts.spec);
    let (mut release, mut new, mut is_full) = (Vec::new(), 0, false);
    for pod in facts.pods.iter().filter(|pod| is_tracked(pod)) {
        let failed = has_failed(pod, facts.spec);
        if !may_go(facts, pod, failed, end) {
            continue;
        }
        release.push(pod.clone());
        let listed_failed = lists(&uncounted.failed, pod);
        let index = completions.map(|completions| index(pod, completions));
        if has_succeeded(pod) && !listed_failed {
            match index {
                Some(Some(index)) if !done.contains(index) => {
                    done.insert(index);
                    new += 1;
                }
                None if !lists(&uncounted.succeeded, pod) => {
                    uncounted.succeeded.get_or_insert_default().push(pod.uid().to_owned());
                }
                _ => {}
            }
        } else if (failed || matches!(end, Some(End::Failed(_))))
            && !listed_failed
            && index != Some(None)
            && judge(facts.spec, pod).counts()
        {
            uncounted.failed.get_or_insert_default().push(pod.uid().to_owned());
        }
        let listed = |uids: &Option<Vec<String>>| uids.as_ref().map_or(0, Vec::len);
        if new + listed(&uncounted.succeeded) + listed(&uncounted.failed) >= MAX_UNCOUNTED {
            is_full = true;
            break;
        }
    }
    if completions.is_some() {
        before.succeeded = unless_zero(i32::try_from(done.len()).unwrap_or(i32::MAX));
        let done = done.to_string();
        before.completed_indexes = (!done.is_empty()).then_some(done);
        before.failed_indexes = facts.failed_indexes.as_ref().map(ToString::to_string);
    }
    before.uncounted_terminated_pods = Some(uncounted);
    if let Some(end) = end {
        announce(&mut before, end, now);
    }
    let mut after = before.clone();
    let released: BTreeSet<&str> = release.iter().map(|pod| pod.uid()).collect();
    settle(&mut after, &tracked.difference(&released).copied().collect());
    if let Some(end) = end.filter(|_| !is_full) {
        close(&mut after, end, now);
    }
    Round { before, release, after }
}

/// Whether a pod's finalizer may go. It must stay on a failed one that its successor has yet to learn its failures from.
fn may_go(facts: &Facts<'_>, pod: &Arc<Pod>, failed: bool, end: Option<&End>) -> bool {
    if facts.job.metadata.deletion_timestamp.is_some() || end.is_some() || has_succeeded(pod) {
        return true;
    }
    failed && !facts.awaiting.values().any(|awaiting| awaiting.uid() == pod.uid())
}

fn lists(uids: &Option<Vec<String>>, pod: &Pod) -> bool {
    uids.iter().flatten().any(|uid| uid == pod.uid())
}

/// Uncounted pods whose finalizers are gone become numbers.
fn settle(status: &mut JobStatus, tracked: &BTreeSet<&str>) {
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    let counted = |uids: &mut Option<Vec<String>>, number: &mut Option<i32>| {
        let Some(list) = uids else { return };
        let before = list.len();
        list.retain(|uid| tracked.contains(uid.as_str()));
        let gone = i32::try_from(before - list.len()).unwrap_or(i32::MAX);
        *number = unless_zero(number.unwrap_or(0).saturating_add(gone));
        if list.is_empty() {
            *uids = None;
        }
    };
    counted(&mut uncounted.succeeded, &mut status.succeeded);
    counted(&mut uncounted.failed, &mut status.failed);
}

/// Says how the Job is going to end, before its pods are let go.
fn announce(status: &mut JobStatus, end: &End, now: Timestamp) {
    let (type_, verdict) = match end {
        End::Succeeded(verdict) => ("SuccessCriteriaMet", verdict),
        End::Failed(verdict) => ("FailureTarget", verdict),
    };
    set_condition(status, type_, true, &verdict.reason, &verdict.message, now);
}

/// Ends the Job, unless pods are still to be counted or to be gone.
fn close(status: &mut JobStatus, end: &End, now: Timestamp) {
    let nothing = UncountedTerminatedPods::default();
    let counted = status.uncounted_terminated_pods.as_ref().is_none_or(|uncounted| *uncounted == nothing);
    if !counted || status.terminating.unwrap_or(0) > 0 {
        return;
    }
    let (type_, verdict) = match end {
        End::Succeeded(verdict) => ("Complete", verdict),
        End::Failed(verdict) => ("Failed", verdict),
    };
    set_condition(status, type_, true, &verdict.reason, &verdict.message, now);
    if holds(status, "Complete").is_some() {
        status.completion_time = Some(Time(now));
    }
}

/// Lets a condition say so; tells whether it said otherwise before. One that never was true is not said to be false.
pub(super) fn set_condition(
    status: &mut JobStatus,
    type_: &str,
    is_true: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> bool {
    let conditions = status.conditions.get_or_insert_default();
    let word = if is_true { "True" } else { "False" };
    let said = JobCondition {
        type_: type_.into(),
        status: word.into(),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
        reason: Some(reason.into()),
        message: Some(message.into()),
    };
    let changed = match conditions.iter_mut().find(|held| held.type_ == type_) {
        Some(held) if held.status == word => false,
        Some(held) => {
            *held = said;
            true
        }
        None if is_true => {
            conditions.push(said);
            true
        }
        None => false,
    };
    if conditions.is_empty() {
        status.conditions = None;
    }
    changed
}
