//! What a node needs done: the pure part.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};

use super::health::{READY, condition, silent, silent_in};
use super::taints::{Eviction, begins_eviction, wanted};
use super::zones::Pace;
use crate::pod;

/// What is known when a node is planned.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The node.
    pub node: &'a Node,
    /// Its pods.
    pub pods: &'a [Arc<Pod>],
    /// When it was last heard of, by this controller's clock.
    pub heard: Timestamp,
    /// Whether no node of the cluster is up.
    pub all_down: bool,
    /// When pods may be driven from it; asked only if the plan needs to know.
    pub pace: Pace,
    /// The present moment.
    pub now: Timestamp,
}

/// One thing to do for a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Let it say that nobody knows how it is.
    SetConditions(Vec<NodeCondition>),
    /// Give it these taints.
    SetTaints(Vec<Taint>),
    /// Let these pods be not ready.
    MarkPods(Vec<Arc<Pod>>),
    /// Look again after this long. Comes first: time goes by even if what follows fails.
    LookAgain(Duration),
}

/// Whether giving the node its taints means to begin driving pods out, for which the zone is to be asked.
pub(super) fn asks_pace(node: &Node, all_down: bool) -> bool {
    !all_down && begins_eviction(node)
}

/// What to do for a node now. One that is well, and heard of in time, needs nothing.
///
/// Once the conditions of a silent node are written, their change brings the rest about.
pub fn plan(observed: &Observed<'_>) -> Vec<Action> {
    let (node, now) = (observed.node, observed.now);
    if node.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let left = silent_in(node, observed.heard, now);
    if let Some(conditions) = silent(node, now).filter(|_| left.is_zero()) {
        return vec![Action::SetConditions(conditions)];
    }
    let mut actions = Vec::new();
    let mut again = (!left.is_zero()).then_some(left);
    let eviction = match observed.pace {
        _ if observed.all_down => Eviction::Forbidden,
        Pace::Now => Eviction::Allowed,
        Pace::After(wait) => {
            again = Some(again.map_or(wait, |again| again.min(wait)));
            Eviction::Withheld
        }
        Pace::Never => Eviction::Withheld,
    };
    actions.extend(wanted(node, eviction, now).map(Action::SetTaints));
    let misled: Vec<_> = observed.pods.iter().filter(|pod| is_misled(node, pod)).cloned().collect();
    if !misled.is_empty() {
        actions.push(Action::MarkPods(misled));
    }
    let again = again.map(Action::LookAgain);
    again.into_iter().chain(actions).collect()
}

/// Whether a pod says that it is ready though its node cannot vouch for it. An agent that is in trouble but alive may
/// still say so, later than it reported the trouble; then it knows better.
fn is_misled(node: &Node, pod: &Pod) -> bool {
    let Some(ready) = condition(node, READY).filter(|ready| ready.status != "True") else { return false };
    if !pod::is_ready(pod) {
        return false;
    }
    let troubled = ready.last_transition_time.as_ref().map(|time| time.0);
    ready.status == "Unknown" || pod::ready_since(pod) < troubled
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
