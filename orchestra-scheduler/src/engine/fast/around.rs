//! What placed pods mean for a class of pods: how its group is spread, and whom it wants near or away.
//!
//! A node that changed changes a sum or two; nothing else has to be counted again. How each node stands is worked out
//! for every decision from these sums, in one pass, because one more pod in a zone changes the standing of all nodes
//! of that zone.

use super::class::Company;
use super::near::Near;
use super::plan::Plan;
use super::spreads::{Spreads, Standings};
use crate::view::{ClusterView, NodeView, PodView};

/// The sums for one class.
#[derive(Debug)]
pub(super) struct Around {
    spreads: Option<Spreads>,
    near: Option<Near>,
}

impl Around {
    /// The sums of a class in this company, with no node looked at; `None` if the profile asks the plugins concerned
    /// in a way that is not known.
    pub(super) fn of(plan: &Plan, cluster: &ClusterView, pod: &PodView, company: Company) -> Option<Self> {
        let spreads = match company.spread {
            true => Some(Spreads::of(plan.spread()?, cluster, pod)),
            false => None,
        };
        let near = match company.near {
            true => Some(Near::of(plan.affinity()?, cluster, pod)),
            false => None,
        };
        Some(Self { spreads, near })
    }

    /// Whether the same rules still hold, whatever else the cluster keeps now.
    pub(super) fn still_holds(&mut self, plan: &Plan, cluster: &ClusterView, pod: &PodView) -> bool {
        let mut spreads = self.spreads.iter_mut();
        spreads.all(|spreads| plan.spread().is_some_and(|plugin| spreads.still_holds(plugin, cluster, pod)))
            && self.near.iter_mut().all(|near| near.still_holds(cluster, pod))
    }

    /// Takes the rules as they are now; all nodes have to be looked at again.
    pub(super) fn resolve(&mut self, plan: &Plan, cluster: &ClusterView, pod: &PodView) {
        if let (Some(spreads), Some(plugin)) = (&mut self.spreads, plan.spread()) {
            *spreads = Spreads::of(plugin, cluster, pod);
        }
        if let (Some(near), Some(plugin)) = (&mut self.near, plan.affinity()) {
            *near = Near::of(plugin, cluster, pod);
        }
    }

    /// Forgets all nodes and makes room for this many.
    pub(super) fn start_over(&mut self, nodes: usize) {
        self.spreads.iter_mut().for_each(|spreads| spreads.start_over(nodes));
        self.near.iter_mut().for_each(|near| near.start_over(nodes));
    }

    /// Takes in what a node is like now.
    pub(super) fn look(&mut self, cluster: &ClusterView, pod: &PodView, position: usize, node: &NodeView) {
        self.spreads.iter_mut().for_each(|spreads| spreads.look(pod, position, node));
        self.near.iter_mut().for_each(|near| near.look(cluster, pod, position, node));
    }

    /// Takes note whether the node at a position would do but for what other pods mean.
    pub(super) fn set_open(&mut self, position: usize, open: bool) {
        self.spreads.iter_mut().for_each(|spreads| spreads.set_open(position, open));
    }

    /// How all nodes stand, if that is only a matter of how the group is spread and not too many differ.
    pub(super) fn standings(&self) -> Option<Standings<'_>> {
        let alone = self.near.as_ref().is_none_or(Near::is_indifferent);
        self.spreads.as_ref().filter(|_| alone)?.standings()
    }

    /// Whether the sums are complete.
    pub(super) fn is_sure(&self) -> bool {
        self.near.as_ref().is_none_or(Near::is_sure)
    }

    /// Whether nothing here tells one node from another.
    pub(super) fn is_indifferent(&self) -> bool {
        self.spreads.is_none() && self.near.as_ref().is_none_or(Near::is_indifferent)
    }

    /// Whether some nodes may be refused.
    pub(super) fn admits_some_only(&self) -> bool {
        self.spreads.as_ref().is_some_and(Spreads::admits_some_only)
            || self.near.as_ref().is_some_and(Near::admits_some_only)
    }

    /// Whether the pod is let onto nodes, position by position.
    pub(super) fn admits(&self) -> impl Fn(usize) -> bool {
        let spreads = self.spreads.as_ref().map(Spreads::admits);
        let near = self.near.as_ref().map(Near::admits);
        move |position| {
            spreads.as_ref().is_none_or(|admits| admits(position))
                && near.as_ref().is_none_or(|admits| admits(position))
        }
    }

    /// Adds to the totals of these nodes, the only ones in question.
    pub(super) fn add_scores(&self, plan: &Plan, positions: &[usize], totals: &mut [i64]) {
        let mut add = |scores: Option<Vec<i64>>, weight: i64| {
            let scores = scores.into_iter().flatten();
            totals.iter_mut().zip(scores).for_each(|(total, score)| *total += score * weight);
        };
        add(self.spreads.as_ref().and_then(|spreads| spreads.scores(positions)), plan.spread_weight());
        add(self.near.as_ref().and_then(|near| near.scores(positions)), plan.affinity_weight());
    }
}
