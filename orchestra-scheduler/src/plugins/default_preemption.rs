//! DefaultPreemption: makes room for a pod that no node can take by evicting less important ones.
//!
//! Every node on which evicting could help is tried in thought: without all pods of lower priority, then putting back
//! as many as still fit, those protected by a budget first and the important ones before others. Of the nodes tried,
//! the one is taken where evicting hurts least.

mod choice;
mod victims;

use crate::event::{ClusterEvent, Hint};
use crate::extender::{self, Proposal};
use crate::outcome::{Diagnosis, Exclusion, Failure, NodeRejection, Refusals};
use crate::plugin::{Cycle, Plugin, PostFilter, Refilter, Requeue};
use crate::verdict::{Nomination, RejectionKind};
use crate::view::{BudgetView, ClusterView, NodeView, PodView};

pub(crate) use self::choice::Harm;
pub(crate) use self::victims::{Candidate, Tried, try_node};

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

/// What is said to a pod that may not take room from others, if it may not.
pub(crate) fn not_eligible(cycle: &Cycle<'_>, pod: &PodView, diagnosis: &Diagnosis) -> Option<Nomination> {
    let nothing = |reason: &str| Some(Nomination::Nothing(vec![format!("preemption: {reason}").into()]));
    if pod.rules.never_preempts {
        return nothing("not eligible due to preemptionPolicy=Never.");
    }
    let node = cycle.cluster().node(cycle.cluster().nomination(pod)?)?;
    if !could_help(diagnosis, node) {
        // What was promised there cannot be had any more; look elsewhere.
        return None;
    }
    let leaving = |other: &PodView| other.priority < pod.priority && other.terminating && other.preempted;
    if !node.pods().iter().any(|other| leaving(other)) {
        return None;
    }
    nothing("not eligible due to a terminating pod on the nominated node.")
}

/// Whether a node's refusal is one that removing pods may lift.
fn could_help(diagnosis: &Diagnosis, node: &NodeView) -> bool {
    match &diagnosis.pre_filter {
        Some(rejection) => rejection.kind == RejectionKind::Unschedulable,
        None => diagnosis.nodes.iter().any(|refused| {
            *refused.node == *node.name() && refused.rejection.kind == RejectionKind::Unschedulable
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
            resolvable.filter_map(|one| cluster.node(one.node)).map(AsRef::as_ref).collect()
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
        if let Some(refused) = not_eligible(cycle, pod, diagnosis) {
            return refused;
        }
        let nodes = potential(cycle, diagnosis);
        let budgets: Vec<_> = cycle.cluster().all::<BudgetView>().cloned().collect();
        let mut refused = Refusals::default();
        let in_turn = nodes.iter().cycle().skip(filters.chance(nodes.len())).take(nodes.len());
        let tried = in_turn.map(|node| match try_node(filters, pod, node, &budgets)? {
            Tried::Fits(candidate) => Ok(Some((candidate.harm(), candidate))),
            Tried::Refused(rejection) => {
                let (node, plugin) = (node.name().clone(), String::new());
                refused.push(NodeRejection { node, plugin, rejection });
                Ok(None)
            }
        });
        let mut candidates = self.candidates(nodes.len(), tried);
        if !filters.extenders().is_empty() {
            candidates = candidates.and_then(|found| extended(filters, cycle, pod, found));
        }
        match candidates.map(least_harmful) {
            Err(nomination) => nomination,
            Ok(Some(Candidate { node, victims, .. })) => Nomination::Preempt { node, victims },
            Ok(None) => in_vain(cycle.cluster().node_count(), refused),
        }
    }
}

/// What extenders leave of the candidates.
fn extended(
    filters: &dyn Refilter,
    cycle: &Cycle<'_>,
    pod: &PodView,
    candidates: Vec<(Harm, Candidate)>,
) -> Result<Vec<(Harm, Candidate)>, Nomination> {
    let proposals = candidates.into_iter().map(|(_, Candidate { node, victims, violations })| Proposal {
        node,
        victims,
        violations,
    });
    let agreed = extender::preempt(filters.extenders(), cycle.cluster(), pod, proposals.collect())
        .map_err(|error| Nomination::Fail(format!("preemption: {error}")))?;
    let candidates = agreed.into_iter().map(|Proposal { node, victims, violations }| {
        let candidate = Candidate { node, victims, violations };
        (candidate.harm(), candidate)
    });
    Ok(candidates.collect())
}

impl DefaultPreemption {
    /// Of what came of trying `nodes` nodes, one after the other until enough were found: the candidates, those first whose
    /// eviction breaks no budget.
    pub(crate) fn candidates<T>(
        &self,
        nodes: usize,
        mut tried: impl Iterator<Item = Result<Option<(Harm, T)>, Failure>>,
    ) -> Result<Vec<(Harm, T)>, Nomination> {
        let wanted = self.wanted(nodes);
        let mut harmless = Vec::with_capacity(wanted.min(nodes));
        let (mut violating, mut errors) = (Vec::new(), Vec::new());
        while harmless.is_empty() || harmless.len() + violating.len() < wanted {
            match tried.next() {
                None => break,
                Some(Ok(None)) => {}
                Some(Err(failure)) => errors.push(failure.message),
                Some(Ok(Some(found))) if found.0.breaks_no_budget() => harmless.push(found),
                Some(Ok(Some(found))) => violating.push(found),
            }
        }
        harmless.append(&mut violating);
        if harmless.is_empty() && !errors.is_empty() {
            return Err(Nomination::Fail(format!("preemption: {}", errors.join(", "))));
        }
        Ok(harmless)
    }
}

/// The candidate where evicting hurts least; of equals the first.
pub(crate) fn least_harmful<T>(candidates: Vec<(Harm, T)>) -> Option<T> {
    candidates.into_iter().min_by(|(left, _), (right, _)| left.cmp(right)).map(|(_, candidate)| candidate)
}

/// What is told when evicting helps nowhere, where some nodes were tried.
pub(crate) fn in_vain(node_count: usize, tried: Refusals) -> Nomination {
    let untried =
        Exclusion { count: node_count - tried.len().min(node_count), reason: NOT_HELPFUL.to_owned() };
    let diagnosis =
        Diagnosis { node_count, nodes: tried, excluded: Some(Box::new(untried)), ..Diagnosis::default() };
    Nomination::Void(vec![format!("preemption: {}", diagnosis.message()).into()])
}

impl Requeue for DefaultPreemption {
    fn hint(&self, _: &ClusterView, _: &PodView, event: &ClusterEvent) -> Hint {
        Hint::when(matches!(event, ClusterEvent::AssignedPodDeleted(_)))
    }
}

#[cfg(test)]
mod tests;
