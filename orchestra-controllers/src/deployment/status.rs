//! The status of a Deployment: its numbers, and the conditions that `kubectl rollout status` reads.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::facts::Facts;
use super::set::Set;
use crate::pod::unless_zero;

pub(super) const AVAILABLE: &str = "Available";
pub(super) const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// The conditions of a Deployment, in the making.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    pub(super) list: Vec<DeploymentCondition>,
    now: Timestamp,
}

impl Conditions {
    pub(super) fn of(facts: &Facts<'_>, now: Timestamp) -> Self {
        let held = facts.deployment.status.as_ref().and_then(|status| status.conditions.clone());
        Self { list: held.unwrap_or_default(), now }
    }

    pub(super) fn get(&self, type_: &str) -> Option<&DeploymentCondition> {
        self.list.iter().find(|condition| condition.type_ == type_)
    }

    fn reason(&self, type_: &str) -> Option<&str> {
        self.get(type_)?.reason.as_deref()
    }

    fn remove(&mut self, type_: &str) {
        self.list.retain(|condition| condition.type_ != type_);
    }

    /// Sets a condition. If status and reason stay, nothing changes; if the status stays, so does its time.
    pub(super) fn set(&mut self, type_: &str, status: &str, reason: &str, message: String) {
        let held = self.get(type_);
        if held.is_some_and(|held| held.status == status && held.reason.as_deref() == Some(reason)) {
            return;
        }
        let since =
            held.filter(|held| held.status == status).and_then(|held| held.last_transition_time.clone());
        self.replace(type_, status, reason, message, since);
    }

    /// Sets a condition anew, even if only its time of update changes.
    fn renew(&mut self, type_: &str, status: &str, reason: &str, message: String) {
        let held = self.get(type_).filter(|held| held.status == status);
        let since = held.and_then(|held| held.last_transition_time.clone());
        self.replace(type_, status, reason, message, since);
    }

    fn replace(&mut self, type_: &str, status: &str, reason: &str, message: String, since: Option<Time>) {
        self.remove(type_);
        self.list.push(DeploymentCondition {
            type_: type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_update_time: Some(Time(self.now)),
            last_transition_time: Some(since.unwrap_or(Time(self.now))),
        });
    }
}

/// Notes a pause or its end, if progress is watched at all.
pub(super) fn note_pause(facts: &Facts<'_>, conditions: &mut Conditions) {
    let reason = conditions.reason(PROGRESSING);
    if facts.progress_deadline().is_none() || reason == Some(TIMED_OUT) {
        return;
    }
    let was = reason == Some(PAUSED);
    if facts.is_paused() && !was {
        conditions.set(PROGRESSING, "Unknown", PAUSED, "Deployment is paused".into());
    } else if !facts.is_paused() && was {
        conditions.set(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".into());
    }
}

/// The numbers, and whether the Deployment is available.
pub(super) fn counted(
    facts: &Facts<'_>,
    new: Option<&Set>,
    old: &[Set],
    mut conditions: Conditions,
) -> DeploymentStatus {
    let all = || old.iter().chain(new);
    let available: i32 = all().map(Set::available).sum();
    let wanted: i32 = all().map(|set| set.replicas).sum();
    if available >= facts.replicas() - facts.max_unavailable() {
        let message = "Deployment has minimum availability.".into();
        conditions.set(AVAILABLE, "True", "MinimumReplicasAvailable", message);
    } else {
        let message = "Deployment does not have minimum availability.".into();
        conditions.set(AVAILABLE, "False", "MinimumReplicasUnavailable", message);
    }
    DeploymentStatus {
        observed_generation: facts.deployment.metadata.generation,
        replicas: unless_zero(all().map(Set::running).sum()),
        updated_replicas: unless_zero(new.map_or(0, Set::running)),
        ready_replicas: unless_zero(all().map(Set::ready).sum()),
        available_replicas: unless_zero(available),
        unavailable_replicas: unless_zero((wanted - available).max(0)),
        terminating_replicas: all().map(Set::terminating).sum(),
        collision_count: facts.collisions(),
        conditions: (!conditions.list.is_empty()).then_some(conditions.list),
    }
}

/// The full status of a rollout that is not paused: how far it is, whether it hangs, whether pods cannot be made.
pub(super) fn of_rollout(
    facts: &Facts<'_>,
    new: Option<&Set>,
    old: &[Set],
    conditions: Conditions,
) -> DeploymentStatus {
    let now = conditions.now;
    let mut status = counted(facts, new, old, conditions);
    let mut conditions = Conditions { list: status.conditions.take().unwrap_or_default(), now };
    progress(facts, new, &status, &mut conditions);
    conditions.remove(REPLICA_FAILURE);
    if let Some(failure) = new.into_iter().chain(old).find_map(failure) {
        conditions.list.push(failure);
    }
    status.conditions = (!conditions.list.is_empty()).then_some(conditions.list);
    status
}

fn progress(facts: &Facts<'_>, new: Option<&Set>, status: &DeploymentStatus, conditions: &mut Conditions) {
    let Some(deadline) = facts.progress_deadline() else { return conditions.remove(PROGRESSING) };
    let what = match new {
        Some(set) => format!("ReplicaSet \"{}\"", set.name()),
        None => format!("Deployment \"{}\"", facts.name()),
    };
    let success = format!("{what} has successfully progressed.");
    // Upstream compares the reason alone. Whoever sees a rollout and its undoing only when both are done would leave
    // the name of the set in between; ours is the set that is there.
    let is_said = |held: &DeploymentCondition| {
        held.reason.as_deref() == Some(COMPLETE) && held.message.as_ref() == Some(&success)
    };
    if conditions.get(PROGRESSING).is_some_and(is_said) && status.replicas == status.updated_replicas {
        return;
    }
    if is_complete(facts, status) {
        conditions.renew(PROGRESSING, "True", COMPLETE, success);
    } else if has_moved(facts, status) {
        conditions.renew(PROGRESSING, "True", "ReplicaSetUpdated", format!("{what} is progressing."));
    } else if has_timed_out(conditions, deadline) {
        conditions.set(PROGRESSING, "False", TIMED_OUT, format!("{what} has timed out progressing."));
    }
}

/// Whether every replica is of the new template and available, and nothing else is left.
pub(super) fn is_complete(facts: &Facts<'_>, status: &DeploymentStatus) -> bool {
    let wanted = unless_zero(facts.replicas());
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= facts.deployment.metadata.generation
}

fn has_moved(facts: &Facts<'_>, status: &DeploymentStatus) -> bool {
    let before = facts.deployment.status.clone().unwrap_or_default();
    let old = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    status.updated_replicas > before.updated_replicas
        || old(status) < old(&before)
        || status.ready_replicas > before.ready_replicas
        || status.available_replicas > before.available_replicas
}

fn has_timed_out(conditions: &Conditions, deadline: i32) -> bool {
    let Some(held) = conditions.get(PROGRESSING) else { return false };
    match held.reason.as_deref() {
        Some(COMPLETE) => false,
        Some(TIMED_OUT) => true,
        _ => deadline_of(held, deadline).is_some_and(|deadline| deadline < conditions.now),
    }
}

fn deadline_of(condition: &DeploymentCondition, seconds: i32) -> Option<Timestamp> {
    let from = condition.last_update_time.as_ref()?.0;
    from.saturating_add(SignedDuration::from_secs(i64::from(seconds))).ok()
}

fn failure(set: &Set) -> Option<DeploymentCondition> {
    let conditions = set.object.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions.iter().find(|condition| condition.type_ == REPLICA_FAILURE)?;
    Some(DeploymentCondition {
        type_: failure.type_.clone(),
        status: failure.status.clone(),
        reason: failure.reason.clone(),
        message: failure.message.clone(),
        last_update_time: failure.last_transition_time.clone(),
        last_transition_time: failure.last_transition_time.clone(),
    })
}

/// When to look whether the rollout has timed out.
pub(super) fn next_deadline(
    facts: &Facts<'_>,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = facts.progress_deadline()?;
    let held = status.conditions.iter().flatten().find(|condition| condition.type_ == PROGRESSING)?;
    if is_complete(facts, status) || matches!(held.reason.as_deref(), Some(COMPLETE | TIMED_OUT | PAUSED)) {
        return None;
    }
    // A second later, because the stamp in the condition has no fractions.
    let left = deadline_of(held, deadline)?.duration_since(now) + SignedDuration::from_secs(1);
    Some(Duration::try_from(left).unwrap_or(Duration::ZERO).max(Duration::from_secs(1)))
}
