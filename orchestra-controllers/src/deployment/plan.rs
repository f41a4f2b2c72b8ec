//! What a Deployment needs done: the pure part.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

use super::facts::Facts;
use super::scale;
use super::set::{REVISION, Set, split};
use super::status::{Conditions, PROGRESSING, counted, is_complete, next_deadline, note_pause, of_rollout};
use crate::ownership::controller_reference;
use crate::pod;

/// What is known when a Deployment is planned.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The Deployment.
    pub deployment: &'a Deployment,
    /// The ReplicaSets it controls.
    pub sets: &'a [Arc<ReplicaSet>],
    /// The pods of those ReplicaSets; only looked at for the strategy `Recreate`.
    pub pods: &'a [Arc<Pod>],
    /// Whether everything ordered earlier has arrived.
    pub settled: bool,
    /// The present moment.
    pub now: Timestamp,
}

/// How a ReplicaSet shall change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetChange {
    /// Its new size.
    pub replicas: Option<i32>,
    /// Annotations to add or replace.
    pub annotations: BTreeMap<String, String>,
    /// Its new `minReadySeconds`.
    pub min_ready_seconds: Option<i32>,
}

/// One thing to do for a Deployment.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create this ReplicaSet.
    CreateSet(Box<ReplicaSet>),
    /// Change this ReplicaSet.
    ChangeSet(Arc<ReplicaSet>, SetChange),
    /// Delete this ReplicaSet, which is history no longer kept.
    DeleteSet(Arc<ReplicaSet>),
    /// Write this status, and the revision as an annotation.
    SetStatus {
        /// The new status.
        status: Box<DeploymentStatus>,
        /// The value of `deployment.kubernetes.io/revision`, if it changes.
        revision: Option<String>,
    },
    /// Look again after this long, when the rollout may have timed out. Comes first: time goes by even if what follows fails.
    LookAgain(Duration),
}

/// What to do for a Deployment now. Converged, it is nothing.
pub fn plan(observed: &Observed<'_>) -> Vec<Action> {
    let Some(facts) = Facts::of(observed.deployment) else { return Vec::new() };
    if !observed.settled {
        return Vec::new();
    }
    let (new, old) = split(&facts, observed.sets);
    let mut work = Work { facts, conditions: Conditions::of(&facts, observed.now), new, old, revision: None };
    if observed.deployment.metadata.deletion_timestamp.is_some() {
        let status = counted(&facts, work.new.as_ref(), &work.old, work.conditions.clone());
        return work.actions(status, Vec::new(), observed.now);
    }
    note_pause(&facts, &mut work.conditions);
    let resized = scale::is_resized(&facts, work.old.iter().chain(&work.new));
    if facts.is_paused() || resized {
        work.make_current(false);
        scale::resize(&facts, work.new.as_mut(), &mut work.old);
        let doomed = if facts.is_paused() { work.history() } else { Vec::new() };
        let status = counted(&facts, work.new.as_ref(), &work.old, work.conditions.clone());
        return work.actions(status, doomed, observed.now);
    }
    if facts.recreates() {
        work.recreate(observed.pods)
    } else {
        work.roll()
    }
    let status = of_rollout(&facts, work.new.as_ref(), &work.old, work.conditions.clone());
    let doomed = if is_complete(&facts, &status) { work.history() } else { Vec::new() };
    work.actions(status, doomed, observed.now)
}

struct Work<'a> {
    facts: Facts<'a>,
    conditions: Conditions,
    new: Option<Set>,
    old: Vec<Set>,
    revision: Option<String>,
}

impl Work<'_> {
    /// Marks the set of the current template as such, after making it if `create` says so.
    fn make_current(&mut self, create: bool) {
        if self.new.is_none() && create {
            let mut set = Set::missing(&self.facts, controller_reference(self.facts.deployment));
            set.note_whole(&self.facts);
            self.new = Some(set);
        }
        let Some(new) = &mut self.new else { return };
        let highest_old = self.old.iter().map(Set::revision).max().unwrap_or(0);
        new.make_current(&self.facts, highest_old);
        let revision = new.revision().to_string();
        let held = self.facts.deployment.metadata.annotations.as_ref().and_then(|held| held.get(REVISION));
        self.revision = Some(revision).filter(|revision| Some(revision) != held);
        if self.facts.progress_deadline().is_none() {
            return;
        }
        if !new.exists {
            let message = format!("Created new replica set \"{}\"", new.name());
            self.conditions.set(PROGRESSING, "True", "NewReplicaSetCreated", message);
        } else if self.conditions.get(PROGRESSING).is_none() {
            let message = format!("Found new replica set \"{}\"", new.name());
            self.conditions.set(PROGRESSING, "True", "FoundNewReplicaSet", message);
        }
    }

    fn roll(&mut self) {
        self.make_current(true);
        if let Some(new) = &mut self.new {
            scale::roll(&self.facts, new, &mut self.old);
        }
    }

    /// Old pods must be gone, and not only told to go, before the first new one starts.
    fn recreate(&mut self, pods: &[Arc<Pod>]) {
        self.make_current(false);
        if scale::empty_old(&self.facts, &mut self.old) || self.old_pods_remain(pods) {
            return;
        }
        self.make_current(true);
        if let Some(new) = &mut self.new {
            scale::grow_new(&self.facts, new, &self.old);
        }
    }

    /// A set whose controller has not answered its last change may be getting pods that nobody has seen yet. Upstream goes by the
    /// pods and the counts alone (`oldPodsRunning`), and then both versions can run side by side for a moment.
    fn old_pods_remain(&self, pods: &[Arc<Pod>]) -> bool {
        let of_old = |pod: &Pod| {
            let controls =
                |set: &Set| crate::ownership::is_controlled_by(&pod.metadata, &set.object.metadata);
            self.old.iter().any(controls)
        };
        self.old.iter().any(|set| set.running() > 0 || !set.is_observed())
            || pods.iter().any(|pod| !pod::is_finished(pod) && of_old(pod))
    }

    /// The oldest of the empty old sets, beyond the number to be kept.
    fn history(&self) -> Vec<Arc<ReplicaSet>> {
        let Some(limit) = self.facts.history_limit() else { return Vec::new() };
        let mut old: Vec<&Set> =
            self.old.iter().filter(|set| set.object.metadata.deletion_timestamp.is_none()).collect();
        let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        old.sort_by_key(|set| (set.revision(), set.age()));
        let idle = |set: &&&Set| {
            set.running() == 0 && set.replicas == 0 && set.held_replicas() == 0 && set.is_observed()
        };
        old.iter().take(surplus).filter(idle).map(|set| set.object.clone()).collect()
    }

    fn actions(self, status: DeploymentStatus, doomed: Vec<Arc<ReplicaSet>>, now: Timestamp) -> Vec<Action> {
        let mut actions: Vec<Action> = self.new.iter().chain(&self.old).filter_map(write).collect();
        actions.extend(doomed.into_iter().map(Action::DeleteSet));
        let deadline = next_deadline(&self.facts, &status, now);
        if Some(&status) != self.facts.deployment.status.as_ref() || self.revision.is_some() {
            actions.push(Action::SetStatus { status: Box::new(status), revision: self.revision });
        }
        let again = deadline.map(Action::LookAgain);
        again.into_iter().chain(actions).collect()
    }
}

/// The write that makes a ReplicaSet what it shall be.
fn write(set: &Set) -> Option<Action> {
    if !set.exists {
        let mut object = ReplicaSet::clone(&set.object);
        object.metadata.annotations = Some(set.annotations.clone());
        object.spec.get_or_insert_default().replicas = Some(set.replicas);
        return Some(Action::CreateSet(Box::new(object)));
    }
    let held = set.object.metadata.annotations.as_ref();
    let differs = |key: &String, value: &String| held.and_then(|held| held.get(key)) != Some(value);
    let annotations = set.annotations.iter().filter(|(key, value)| differs(key, value));
    let held_min_ready = set.object.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let change = SetChange {
        replicas: (set.replicas != set.held_replicas()).then_some(set.replicas),
        annotations: annotations.map(|(key, value)| (key.clone(), value.clone())).collect(),
        min_ready_seconds: (set.min_ready != held_min_ready).then_some(set.min_ready),
    };
    (change != SetChange::default()).then(|| Action::ChangeSet(set.object.clone(), change))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
