//! Who would have to leave a node, and who may stay.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::outcome::Failure;
use crate::plugin::{Refilter, Trial};
use crate::verdict::Rejection;
use crate::view::{BudgetView, NodeName, NodeView, PodView};

/// A node that would do once its victims are gone.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) node: NodeName,
    /// The most important first.
    pub(crate) victims: Vec<Arc<PodView>>,
    /// How many of them a budget protects.
    pub(crate) violations: usize,
}

/// What came of trying a node.
#[derive(Debug)]
pub(crate) enum Tried {
    Fits(Candidate),
    Refused(Rejection),
}

/// The more important pod first: by priority, then by how long it runs; one that has not started is the youngest.
pub(super) fn by_importance(left: &Arc<PodView>, right: &Arc<PodView>) -> Ordering {
    let started = |pod: &PodView| pod.started.map_or((1, None), |time| (0, Some(time)));
    right.priority.cmp(&left.priority).then_with(|| started(left).cmp(&started(right)))
}

/// Tries a node without all pods of lower priority, then puts back as many as it can.
pub(crate) fn try_node(
    filters: &dyn Refilter,
    pod: &PodView,
    node: &NodeView,
    budgets: &[Arc<BudgetView>],
) -> Result<Tried, Failure> {
    let mut lesser: Vec<_> =
        node.pods().iter().filter(|other| other.priority < pod.priority).cloned().collect();
    if lesser.is_empty() {
        let reason = "No preemption victims found for incoming pod";
        return Ok(Tried::Refused(Rejection::unresolvable(reason)));
    }
    let mut trial = filters.trial(node);
    lesser.iter().for_each(|other| trial.remove(&other.uid));
    if let Some(refused) = trial.refusal()? {
        return Ok(Tried::Refused(refused.rejection));
    }
    lesser.sort_by(by_importance);
    let (protected, free) = split_by_budget(lesser, budgets);
    let mixed = !protected.is_empty() && !free.is_empty();
    let mut victims = Vec::new();
    put_back(trial.as_mut(), protected, &mut victims)?;
    let violations = victims.len();
    put_back(trial.as_mut(), free, &mut victims)?;
    if mixed {
        victims.sort_by(by_importance);
    }
    if victims.is_empty() {
        let message = format!("expected at least one victim pod on node {:?}", &**node.name());
        return Err(Failure { plugin: None, message });
    }
    Ok(Tried::Fits(Candidate { node: node.name().clone(), victims, violations }))
}

/// Puts pods back one by one; those with whom the pod at hand does not fit are victims.
fn put_back(
    trial: &mut dyn Trial,
    pods: Vec<Arc<PodView>>,
    victims: &mut Vec<Arc<PodView>>,
) -> Result<(), Failure> {
    for pod in pods {
        trial.add(pod.clone());
        if trial.refusal()?.is_some() {
            trial.remove(&pod.uid);
            victims.push(pod);
        }
    }
    Ok(())
}

/// The pods whose eviction would break a budget, and the others; both in the order given, in which budgets are used
/// up.
fn split_by_budget(
    pods: Vec<Arc<PodView>>,
    budgets: &[Arc<BudgetView>],
) -> (Vec<Arc<PodView>>, Vec<Arc<PodView>>) {
    let mut left: Vec<i32> = budgets.iter().map(|budget| budget.allowed).collect();
    pods.into_iter().partition(|pod| {
        let mut breaks = false;
        for (budget, left) in budgets.iter().zip(&mut left) {
            if budget.protects(pod) {
                *left = left.saturating_sub(1);
                breaks |= *left < 0;
            }
        }
        breaks
    })
}
