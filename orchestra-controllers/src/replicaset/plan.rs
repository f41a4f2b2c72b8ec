//! What a ReplicaSet needs done: the pure part.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::rank::sort_for_deletion;
use crate::pod::{self, count, unless_zero};

/// No more pods than this are created or deleted at a time, as upstream.
const BURST: usize = 500;

/// How many pods there are for each millisecond of [`rest`].
const PODS_FOR_A_REST: usize = 100;
const LONGEST_REST: Duration = Duration::from_millis(250);

/// What is known when a ReplicaSet is planned.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The ReplicaSet.
    pub set: &'a ReplicaSet,
    /// The pods it controls.
    pub pods: &'a [Arc<Pod>],
    /// The pods of all ReplicaSets of the same Deployment, itself included: shrinking spares nodes that have few.
    pub related: &'a [Arc<Pod>],
    /// Whether everything ordered earlier has arrived.
    pub settled: bool,
    /// The present moment.
    pub now: Timestamp,
}

/// One thing to do for a ReplicaSet.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create so many pods from the template.
    Create(usize),
    /// Delete these pods.
    Delete(Vec<Arc<Pod>>),
    /// Write this status.
    SetStatus(Box<ReplicaSetStatus>),
    /// Look again after this long, when a ready pod becomes available. Comes first: time goes by even if what follows fails.
    LookAgain(Duration),
}

/// What to do for a ReplicaSet now. Converged, it is nothing.
///
/// When pods are created or deleted, the status waits for them to be seen; this saves a write for each step.
pub fn plan(observed: &Observed<'_>) -> Vec<Action> {
    let set = observed.set;
    if !observed.settled {
        return Vec::new();
    }
    let mut actions = Vec::new();
    if set.metadata.deletion_timestamp.is_none() {
        actions.extend(replicas(observed));
    }
    if actions.is_empty() {
        let status = status(observed, None);
        if Some(&status) != set.status.as_ref() {
            actions.push(Action::SetStatus(Box::new(status)));
        }
    }
    let again = next_available(observed).map(Action::LookAgain);
    again.into_iter().chain(actions).collect()
}

/// Creation or deletion of pods, if their number is wrong.
fn replicas(observed: &Observed<'_>) -> Option<Action> {
    let wanted = usize::try_from(wanted(observed.set)).unwrap_or(0);
    let mut active: Vec<_> = observed.pods.iter().filter(|pod| pod::is_active(pod)).cloned().collect();
    if active.len() < wanted {
        return Some(Action::Create((wanted - active.len()).min(BURST)));
    }
    if active.len() == wanted {
        return None;
    }
    let surplus = (active.len() - wanted).min(BURST);
    if wanted > 0 {
        sort_for_deletion(&mut active, observed.related, observed.now);
    }
    active.truncate(surplus);
    Some(Action::Delete(active))
}

/// How many more pods there are than wanted.
pub(super) fn surplus(set: &ReplicaSet, pods: &[Arc<Pod>]) -> usize {
    let active = pods.iter().filter(|pod| pod::is_active(pod)).count();
    active.saturating_sub(usize::try_from(wanted(set)).unwrap_or(0))
}

/// For how long changes of pods are gathered after all of so many were looked at. A look takes longer the more there are, and
/// each of them changes a few times: looked at after every change, ten thousand would be a hundred times the work.
pub(super) fn rest(pods: usize) -> Duration {
    let milliseconds = u64::try_from(pods / PODS_FOR_A_REST).unwrap_or(u64::MAX);
    Duration::from_millis(milliseconds).min(LONGEST_REST)
}

fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn min_ready(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
}

/// A refusal that stands in the conditions of a ReplicaSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// `FailedCreate` or `FailedDelete`.
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// The status that fits what is seen.
pub(super) fn status(observed: &Observed<'_>, failure: Option<&Failure>) -> ReplicaSetStatus {
    let set = observed.set;
    let active = || observed.pods.iter().filter(|pod| pod::is_active(pod));
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let labels = template.and_then(|template| template.metadata.as_ref()?.labels.as_ref());
    let fully_labeled = active().filter(|pod| {
        let has =
            |(key, value)| pod.metadata.labels.as_ref().is_some_and(|held| held.get(key) == Some(value));
        labels.is_none_or(|labels| labels.iter().all(has))
    });
    let ready = active().filter(|pod| pod::is_ready(pod));
    let available = active().filter(|pod| pod::is_available(pod, min_ready(set), observed.now));
    let terminating = observed.pods.iter().filter(|pod| pod::is_terminating(pod) && !pod::is_finished(pod));
    ReplicaSetStatus {
        replicas: count(active().count()),
        fully_labeled_replicas: unless_zero(count(fully_labeled.count())),
        ready_replicas: unless_zero(count(ready.count())),
        available_replicas: unless_zero(count(available.count())),
        terminating_replicas: Some(count(terminating.count())),
        observed_generation: set.metadata.generation,
        conditions: conditions(observed, failure),
    }
}

fn conditions(observed: &Observed<'_>, failure: Option<&Failure>) -> Option<Vec<ReplicaSetCondition>> {
    let held = observed.set.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let mut conditions: Vec<_> = held.iter().filter(|held| held.type_ != "ReplicaFailure").cloned().collect();
    if let Some(failure) = failure {
        let before = held.into_iter().find(|held| held.type_ == "ReplicaFailure");
        conditions.push(before.unwrap_or_else(|| ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some(failure.reason.into()),
            message: Some(failure.message.clone()),
            last_transition_time: Some(Time(observed.now)),
        }));
    }
    (!conditions.is_empty()).then_some(conditions)
}

/// When the next ready pod becomes available.
fn next_available(observed: &Observed<'_>) -> Option<Duration> {
    let min_ready = min_ready(observed.set);
    if min_ready <= 0 {
        return None;
    }
    let active = observed.pods.iter().filter(|pod| pod::is_active(pod));
    active
        .filter_map(|pod| pod::available_in(pod, min_ready, observed.now))
        .filter(|left| !left.is_zero())
        .min()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
