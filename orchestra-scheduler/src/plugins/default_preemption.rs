//! DefaultPreemption: makes room for a pod that no node can take by evicting less important ones.
//!
//! Every node on which evicting could help is tried in thought: without all pods of lower priority, then putting back
//! as many as still fit, those protected by a budget first and the important ones before others. Of the nodes tried,
//! the one is taken where evicting hurts least.

mod choice;
mod victims;

use crate::event::{ClusterEvent, Hint};
use crate::extender::{self, Proposal};
use crate::outcome::{Diagnosis, Exclusion, NodeRejection};
use crate::plugin::{Cycle, Plugin, PostFilter, Refilter, Requeue};
use crate::verdict::{Nomination, Rejection, RejectionKind};
use crate::view::{BudgetView, NodeView, PodView};

use self::choice::least_harmful;
use self::victims::{Candidate, Tried, try_node};

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";

/// Evicts pods of lower priority.
#[derive(Clone, Copy, Debug)]
pub struct DefaultPreemption {
    percent: usize,
    least: usize,
}

impl Default for DefaultPreemption {
    fn default() -> Self {
        Self::trying(10, 100)
    }
}

impl DefaultPreemption {
    /// The plugin, content with candidates on this share of the nodes (`minCandidateNodesPercentage`), but on at least
    /// this many (`minCandidateNodesAbsolute`).
    #[must_use]
    pub fn trying(percent: u8, least: usize) -> Self {
        Self { percent: percent.into(), least }
    }

    fn wanted(&self, nodes: usize) -> usize {
        (nodes * self.percent / 100).max(self.least).min(nodes)
    }
}

/// Why a pod may not take room from others, if it may not.
fn not_eligible(cycle: &Cycle<'_>, pod: &PodView, diagnosis: &Diagnosis) -> Option<&'static str> {
    if pod.rules.never_preempts {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let node = cycle.cluster().node(cycle.cluster().nomination(pod)?)?;
    if !could_help(diagnosis, node) {
        // What was promised there cannot be had any more; look elsewhere.
        return None;
    }
    let leaving = |other: &PodView| other.priority < pod.priority && other.terminating && other.preempted;
    let waits = node.pods().iter().any(|other| leaving(other));
    waits.then_some("not eligible due to a terminating pod on the nominated node.")
}

/// Whether a node's refusal is one that removing pods may lift.
fn could_help(diagnosis: &Diagnosis, node: &NodeView) -> bool {
    match &diagnosis.pre_filter {
        Some(rejection) => rejection.kind == RejectionKind::Unschedulable,
        None => diagnosis.nodes.iter().any(|refused| {
            refused.node == *node.name() && refused.rejection.kind == RejectionKind::Unschedulable
        }),
    }
}

/// The nodes that evicting could help on.
fn potential<'a>(cycle: &Cycle<'a>, diagnosis: &Diagnosis) -> Vec<&'a NodeView> {
    let cluster = cycle.cluster();
    match &diagnosis.pre_filter {
        Some(rejection) if rejection.kind == RejectionKind::Unresolvable => Vec::new(),
        Some(_) => cluster.nodes().map(AsRef::as_ref).collect(),
        None => {
            let resolvable =
                diagnosis.nodes.iter().filter(|one| one.rejection.kind == RejectionKind::Unschedulable);
            resolvable.filter_map(|one| cluster.node(&one.node)).map(AsRef::as_ref).collect()
        }
    }
}

impl Plugin for DefaultPreemption {
    fn name(&self) -> &str {
        "DefaultPreemption"
    }
}

impl PostFilter for DefaultPreemption {
    fn post_filter(
        &self,
        cycle: &Cycle<'_>,
        pod: &PodView,
        diagnosis: &Diagnosis,
        filters: &dyn Refilter,
    ) -> Nomination {
        if let Some(reason) = not_eligible(cycle, pod, diagnosis) {
            return Nomination::Nothing(vec![format!("preemption: {reason}").into()]);
        }
        let nodes = potential(cycle, diagnosis);
        let budgets: Vec<&BudgetView> = cycle.cluster().all::<BudgetView>().map(AsRef::as_ref).collect();
        let (start, wanted) = (filters.chance(nodes.len()), self.wanted(nodes.len()));
        let (mut harmless, mut violating): (Vec<Candidate>, Vec<Candidate>) = (Vec::new(), Vec::new());
        let (mut refused, mut errors) = (Vec::new(), Vec::new());
        for node in nodes.iter().cycle().skip(start).take(nodes.len()) {
            if !harmless.is_empty() && harmless.len() + violating.len() >= wanted {
                break;
            }
            match try_node(filters, pod, node, &budgets) {
                Ok(Tried::Fits(candidate)) if candidate.violations == 0 => harmless.push(candidate),
                Ok(Tried::Fits(candidate)) => violating.push(candidate),
                Ok(Tried::Refused(rejection)) => refused.push((*node, rejection)),
                Err(failure) => errors.push(failure.message),
            }
        }
        harmless.append(&mut violating);
        if harmless.is_empty() && !errors.is_empty() {
            return Nomination::Fail(format!("preemption: {}", errors.join(", ")));
        }
        if !filters.extenders().is_empty() {
            harmless = match extended(filters, cycle, pod, harmless) {
                Ok(agreed) => agreed,
                Err(error) => return Nomination::Fail(format!("preemption: {error}")),
            };
        }
        match least_harmful(harmless) {
            Some(Candidate { node, victims, .. }) => Nomination::Preempt { node, victims },
            None => {
                let text = in_vain(cycle.cluster().node_count(), refused);
                Nomination::Void(vec![format!("preemption: {text}").into()])
            }
        }
    }
}

/// What extenders leave of the candidates.
fn extended(
    filters: &dyn Refilter,
    cycle: &Cycle<'_>,
    pod: &PodView,
    candidates: Vec<Candidate>,
) -> Result<Vec<Candidate>, String> {
    let proposals = candidates.into_iter().map(|Candidate { node, victims, violations }| Proposal {
        node,
        victims,
        violations,
    });
    let agreed = extender::preempt(filters.extenders(), cycle.cluster(), pod, proposals.collect())?;
    let candidates = agreed.into_iter().map(|Proposal { node, victims, violations }| Candidate {
        node,
        victims,
        violations,
    });
    Ok(candidates.collect())
}

/// What is told when evicting helps nowhere.
fn in_vain(node_count: usize, refused: Vec<(&NodeView, Rejection)>) -> String {
    let untried =
        Exclusion { count: node_count - refused.len().min(node_count), reason: NOT_HELPFUL.to_owned() };
    let nodes = refused.into_iter().map(|(node, rejection)| NodeRejection {
        node: node.name().clone(),
        plugin: String::new(),
        rejection,
    });
    Diagnosis { node_count, nodes: nodes.collect(), excluded: Some(untried), ..Diagnosis::default() }
        .message()
}

impl Requeue for DefaultPreemption {
    fn hint(&self, _: &PodView, event: &ClusterEvent) -> Hint {
        Hint::when(matches!(event, ClusterEvent::AssignedPodDeleted(_)))
    }
}

#[cfg(test)]
mod tests;
