//! What a StatefulSet needs done: the pure part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec};

use super::identity::{claims, missing_labels, new_pod, ordinal, revision};
use super::status::{on_delete, status};
use crate::history::{self, Step, name_of};
use crate::ownership::controller_reference;
use crate::pod;

/// What is known when a StatefulSet is planned.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The StatefulSet.
    pub set: &'a StatefulSet,
    /// The pods it controls.
    pub pods: &'a [Arc<Pod>],
    /// The revisions it controls.
    pub revisions: &'a [Arc<ControllerRevision>],
    /// The claims of its namespace, by name.
    pub claims: &'a BTreeMap<String, Arc<PersistentVolumeClaim>>,
    /// Whether everything ordered earlier has arrived.
    pub settled: bool,
    /// The present moment.
    pub now: Timestamp,
}

/// One thing to do for a StatefulSet.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create this revision of the template.
    CreateRevision(Box<ControllerRevision>),
    /// Make this revision the latest again, with this number.
    RaiseRevision(Arc<ControllerRevision>, i64),
    /// Delete this revision, which nobody uses any more.
    DeleteRevision(Arc<ControllerRevision>),
    /// Create these claims, then this pod.
    Create(Vec<PersistentVolumeClaim>, Box<Pod>),
    /// Create these claims of a pod that waits for them.
    CreateClaims(Vec<PersistentVolumeClaim>),
    /// Give a pod the labels of its identity.
    Label(Arc<Pod>, BTreeMap<String, String>),
    /// Delete this pod.
    Delete(Arc<Pod>),
    /// Delete this claim, as the retention policy wishes when its pod is scaled away.
    DeleteClaim(Arc<PersistentVolumeClaim>),
    /// Let the set own this claim (or no longer), so that it goes (or not) when the set does.
    OwnClaim(Arc<PersistentVolumeClaim>, Ownership),
    /// Write this status.
    SetStatus(Box<StatefulSetStatus>),
    /// Look again after this long, when a ready pod becomes available. Comes first: time goes by even if what follows fails.
    LookAgain(Duration),
}

/// Whether a StatefulSet owns a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It does: the claim goes with it.
    Owned,
    /// It does not: the claim stays.
    Free,
}

/// What to do for a StatefulSet now. Converged, it is nothing.
pub fn plan(observed: &Observed<'_>) -> Vec<Action> {
    let set = observed.set;
    let Some(spec) = &set.spec else { return Vec::new() };
    if !observed.settled {
        return Vec::new();
    }
    let collisions = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let reference = controller_reference(set);
    let update =
        match history::current(&set.metadata, reference, &spec.template, collisions, observed.revisions) {
            Ok(update) => update,
            Err(_) if set.metadata.deletion_timestamp.is_some() => return Vec::new(),
            Err(Step::Create(revision)) => return vec![Action::CreateRevision(revision)],
            Err(Step::Raise(revision, number)) => return vec![Action::RaiseRevision(revision, number)],
        };
    let current_name = set.status.as_ref().and_then(|status| status.current_revision.as_deref());
    let current = observed.revisions.iter().find(|revision| Some(name_of(revision)) == current_name);
    let current = current.unwrap_or(&update);
    let mut work = Work::new(observed, current, &update);
    if set.metadata.deletion_timestamp.is_none() {
        work.converge();
    }
    let mut actions = work.actions;
    let status = status(set, observed.pods, name_of(current), name_of(&update), observed.now);
    let acted = actions.iter().any(|action| matches!(action, Action::Create(..) | Action::Delete(_)));
    // What was just ordered will be seen; the status waits for it.
    if !acted && Some(&status) != set.status.as_ref() {
        actions.push(Action::SetStatus(Box::new(status)));
    }
    let mut used: BTreeSet<&str> = observed.pods.iter().map(|pod| revision(pod)).collect();
    used.extend([name_of(current), name_of(&update)]);
    let limit = spec.revision_history_limit.unwrap_or(10);
    let surplus = history::surplus(observed.revisions, &used, limit);
    actions.extend(surplus.into_iter().map(Action::DeleteRevision));
    let again = next_available(observed).map(Action::LookAgain);
    again.into_iter().chain(actions).collect()
}

fn next_available(observed: &Observed<'_>) -> Option<Duration> {
    let min_ready = observed.set.spec.as_ref()?.min_ready_seconds.filter(|seconds| *seconds > 0)?;
    let left = observed.pods.iter().filter_map(|pod| pod::available_in(pod, min_ready, observed.now));
    left.filter(|left| !left.is_zero()).min()
}

struct Work<'a> {
    observed: &'a Observed<'a>,
    current: &'a ControllerRevision,
    update: &'a ControllerRevision,
    start: i32,
    wanted: i32,
    /// One at a time and in order.
    ordered: bool,
    by_ordinal: BTreeMap<i32, &'a Arc<Pod>>,
    actions: Vec<Action>,
}

impl<'a> Work<'a> {
    fn new(
        observed: &'a Observed<'a>,
        current: &'a ControllerRevision,
        update: &'a ControllerRevision,
    ) -> Self {
        let spec = observed.set.spec.as_ref();
        let numbered = observed.pods.iter().filter_map(|pod| Some((ordinal(observed.set, pod)?, pod)));
        Self {
            observed,
            current,
            update,
            start: spec.and_then(|spec| spec.ordinals.as_ref()?.start).unwrap_or(0),
            wanted: spec.and_then(|spec| spec.replicas).unwrap_or(1),
            ordered: spec.and_then(|spec| spec.pod_management_policy.as_deref()) != Some("Parallel"),
            by_ordinal: numbered.collect(),
            actions: Vec::new(),
        }
    }

    fn end(&self) -> i32 {
        self.start.saturating_add(self.wanted)
    }

    fn is_healthy(&self, pod: &Pod) -> bool {
        let min_ready = self.observed.set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        pod::phase(pod) == "Running"
            && !pod::is_terminating(pod)
            && pod::is_available(pod, min_ready, self.observed.now)
    }

    fn converge(&mut self) {
        self.keep_claims_owned();
        if self.fill().is_break() || self.shrink().is_break() || on_delete(self.observed.set) {
            return;
        }
        self.roll();
    }

    /// Every number has its pod; in order, each one healthy before the next is begun.
    fn fill(&mut self) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};
        let mut acted = false;
        for number in self.start..self.end() {
            let Some(pod) = self.by_ordinal.get(&number).copied() else {
                self.create(number);
                acted = true;
                if self.ordered {
                    return Break(());
                }
                continue;
            };
            if pod::is_finished(pod) && !pod::is_terminating(pod) {
                self.actions.push(Action::Delete(pod.clone()));
                acted = true;
                if self.ordered {
                    return Break(());
                }
                continue;
            }
            if pod::phase(pod) == "Pending" {
                let missing = self.missing_claims(number);
                if !missing.is_empty() {
                    self.actions.push(Action::CreateClaims(missing));
                }
            }
            if self.ordered && !self.is_healthy(pod) {
                return Break(());
            }
            let labels = missing_labels(pod, number);
            if !labels.is_empty() && !pod::is_terminating(pod) {
                self.actions.push(Action::Label(pod.clone(), labels));
            }
        }
        if acted { Break(()) } else { Continue(()) }
    }

    fn create(&mut self, number: i32) {
        let set = self.observed.set;
        let revision = if self.needs_current(number) { self.current } else { self.update };
        let fallback = || set.spec.as_ref().map(|spec| spec.template.clone());
        let template: PodTemplateSpec = history::template(revision).or_else(fallback).unwrap_or_default();
        let pod = new_pod(set, &template, name_of(revision), number);
        self.actions.push(Action::Create(self.missing_claims(number), Box::new(pod)));
    }

    /// Below the partition, and while an update has not begun, pods keep to the current revision.
    fn needs_current(&self, number: i32) -> bool {
        if on_delete(self.observed.set) {
            return false;
        }
        let place = number - self.start;
        match self.partition() {
            Some(partition) => place < partition,
            None => {
                let status = self.observed.set.status.as_ref();
                place < status.and_then(|status| status.current_replicas).unwrap_or(0)
            }
        }
    }

    fn partition(&self) -> Option<i32> {
        self.observed.set.spec.as_ref()?.update_strategy.as_ref()?.rolling_update.as_ref()?.partition
    }

    fn missing_claims(&self, number: i32) -> Vec<PersistentVolumeClaim> {
        let mut missing = claims(self.observed.set, number);
        missing.retain(|claim| {
            let name = claim.metadata.name.as_deref().unwrap_or_default();
            !self.observed.claims.contains_key(name)
        });
        if self.policy().0 == Ownership::Owned {
            let reference = controller_reference(self.observed.set);
            for claim in &mut missing {
                claim.metadata.owner_references = Some(vec![reference.clone()]);
            }
        }
        missing
    }

    /// The highest number goes first; in order, only while all others are healthy.
    fn shrink(&mut self) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};
        let inside = self.start..self.end();
        let condemned: Vec<_> = self
            .by_ordinal
            .iter()
            .rev()
            .filter(|(number, _)| !inside.contains(number))
            .map(|(n, p)| (*n, *p))
            .collect();
        let first_unhealthy =
            self.by_ordinal.iter().find(|(_, pod)| !self.is_healthy(pod)).map(|(number, _)| *number);
        let mut acted = false;
        for (number, pod) in condemned {
            if pod::is_terminating(pod) {
                if self.ordered {
                    return Break(());
                }
                continue;
            }
            if self.ordered && !self.is_healthy(pod) && first_unhealthy != Some(number) {
                return Break(());
            }
            self.actions.push(Action::Delete(pod.clone()));
            acted = true;
            if self.ordered {
                return Break(());
            }
        }
        self.drop_scaled_claims();
        if acted { Break(()) } else { Continue(()) }
    }

    /// Pods of an old revision are replaced from the highest number down to the partition, one at a time.
    fn roll(&mut self) {
        let lowest = self.start.saturating_add(self.partition().unwrap_or(0).max(0));
        for number in (lowest..self.end()).rev() {
            let Some(pod) = self.by_ordinal.get(&number).copied() else { return };
            if revision(pod) != name_of(self.update) && !pod::is_terminating(pod) {
                self.actions.push(Action::Delete(pod.clone()));
                return;
            }
            if !self.is_healthy(pod) {
                return;
            }
        }
    }

    /// What becomes of claims when the set is deleted, and whether they are deleted when it shrinks.
    fn policy(&self) -> (Ownership, bool) {
        let spec = self.observed.set.spec.as_ref();
        let policy = spec.and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
        let deleted = policy.and_then(|policy| policy.when_deleted.as_deref()) == Some("Delete");
        let scaled = policy.and_then(|policy| policy.when_scaled.as_deref()) == Some("Delete");
        (if deleted { Ownership::Owned } else { Ownership::Free }, scaled)
    }

    fn keep_claims_owned(&mut self) {
        let (wish, _) = self.policy();
        for number in self.by_ordinal.keys() {
            for claim in claims(self.observed.set, *number) {
                let name = claim.metadata.name.as_deref().unwrap_or_default();
                let Some(held) = self.observed.claims.get(name) else { continue };
                let owned = held.metadata.owner_references.iter().flatten();
                let mut owned =
                    owned.filter(|owner| Some(&owner.uid) == self.observed.set.metadata.uid.as_ref());
                if owned.next().is_some() != (wish == Ownership::Owned)
                    && held.metadata.deletion_timestamp.is_none()
                {
                    self.actions.push(Action::OwnClaim(held.clone(), wish));
                }
            }
        }
    }

    /// With `whenScaled: Delete`, claims beyond the replicas go once their pod is gone.
    fn drop_scaled_claims(&mut self) {
        let set = self.observed.set;
        if !self.policy().1 {
            return;
        }
        let inside = self.start..self.end();
        for template in set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten()) {
            let prefix = format!(
                "{}-{}-",
                template.metadata.name.as_deref().unwrap_or_default(),
                super::identity::set_name(set)
            );
            for (name, claim) in self.observed.claims.range(prefix.clone()..) {
                let Some(rest) = name.strip_prefix(&prefix) else { break };
                let Ok(number) = rest.parse::<i32>() else { continue };
                let unused = !inside.contains(&number) && !self.by_ordinal.contains_key(&number);
                if unused && claim.metadata.deletion_timestamp.is_none() {
                    self.actions.push(Action::DeleteClaim(claim.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
