//! What placed pods mean for a class of pods: how its group is spread, and whom it wants near or away.
//!
//! A node that changed changes a sum or two; nothing else has to be counted again. How nodes stand is worked out for
//! every decision from these sums, because one more pod in a zone changes the standing of all nodes of that zone: for
//! all nodes at once that are alike, or one by one where too many differ.

use super::buckets::{Buckets, Marks};
use super::class::Company;
use super::near::{Near, Restless};
use super::plan::Plan;
use super::ranking::Ranking;
use super::shortlist::Shortlist;
use super::spreads::Spreads;
use crate::profile::TieBreak;
use crate::view::{ClusterView, NodeView, PodView};

/// The sums for one class.
#[derive(Debug)]
pub(super) struct Around {
    spreads: Option<Spreads>,
    near: Option<Near>,
    buckets: Buckets,
    shortlist: Shortlist,
    /// Positions that were looked at and are not in the right bucket yet.
    unsorted: Vec<u32>,
}

/// Where nodes are of more kinds than this, and than a part of their number, each is looked at on its own.
const MOST_BUCKETS: usize = 64;
const NODES_FOR_BUCKET: usize = 8;

/// What other pods make of nodes, bucket by bucket.
#[derive(Debug)]
pub(super) struct Standings<'a> {
    /// The bucket of each node, by position.
    pub(super) of: &'a [u32],
    /// What the nodes of each bucket have beside their totals; `None` if they are refused.
    pub(super) bonuses: Vec<Option<i32>>,
    /// How many of the nodes that would do otherwise are let in.
    pub(super) admitted: usize,
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
        let (buckets, shortlist) = (Buckets::default(), Shortlist::default());
        Some(Self { spreads, near, buckets, shortlist, unsorted: Vec::new() })
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
        self.buckets = Buckets::sized(nodes);
        self.shortlist = Shortlist::sized(nodes);
        self.unsorted.clear();
    }

    /// Takes in what a node is like now.
    pub(super) fn look(&mut self, cluster: &ClusterView, pod: &PodView, position: usize, node: &NodeView) {
        self.spreads.iter_mut().for_each(|spreads| spreads.look(pod, position, node));
        self.near.iter_mut().for_each(|near| near.look(cluster, pod, position, node));
        self.unsorted.push(position as u32);
    }

    /// Puts nodes where they belong, once all that changed were looked at.
    pub(super) fn sort(&mut self) {
        let mut unsorted = std::mem::take(&mut self.unsorted);
        match self.near.as_mut().map(Near::restless) {
            Some(Restless::All) => {
                unsorted.clear();
                (0..self.buckets.nodes()).for_each(|position| self.put(position));
            }
            Some(Restless::These(more)) => unsorted.extend(more),
            None => {}
        }
        unsorted.sort_unstable();
        unsorted.dedup();
        unsorted.drain(..).for_each(|position| self.put(position as usize));
        self.unsorted = unsorted;
    }

    fn put(&mut self, position: usize) {
        let mut marks = Marks::default();
        self.spreads.iter().for_each(|spreads| spreads.mark(position, &mut marks));
        self.near.iter().for_each(|near| near.mark(position, &mut marks));
        self.buckets.put(position, marks);
        self.shortlist.touch(position);
    }

    /// Takes note whether the node at a position would do but for what other pods mean.
    pub(super) fn set_open(&mut self, position: usize, open: bool) {
        self.buckets.set_open(position, open);
        self.shortlist.touch(position);
    }

    /// All nodes have other totals.
    pub(super) fn rescaled(&mut self) {
        self.shortlist.touch_all();
    }

    /// Takes note of the totals as they are now.
    pub(super) fn ranked(&mut self, ranking: &Ranking) {
        self.shortlist.refresh(ranking.totals(), self.buckets.of_nodes());
    }

    /// The position that wins with these standings, as they were told last, when nodes are listed from `start` on.
    pub(super) fn winner(
        &self,
        ranking: &Ranking,
        standings: &Standings<'_>,
        start: usize,
        rule: TieBreak,
    ) -> Option<usize> {
        self.shortlist.winner(ranking, standings, start, rule)
    }

    /// How all nodes stand, if not too many differ.
    pub(super) fn standings(&self, plan: &Plan) -> Option<Standings<'_>> {
        if self.buckets.count() > MOST_BUCKETS.max(self.buckets.nodes() / NODES_FOR_BUCKET) {
            return None;
        }
        let spreads = self.spreads.as_ref().map(Spreads::lets_into);
        let near = self.near.as_ref().map(Near::lets_into);
        let lets_in = |marks: &Marks| {
            spreads.as_ref().is_none_or(|lets_in| lets_in(marks))
                && near.as_ref().is_none_or(|lets_in| lets_in(marks))
        };
        let in_question: Vec<bool> =
            self.buckets.iter().map(|bucket| bucket.open > 0 && lets_in(&bucket.marks)).collect();
        let mut bonuses = vec![0; in_question.len()];
        let mut add = |scores: Option<Vec<i64>>, weight: i64| {
            let scores = scores.into_iter().flatten();
            bonuses.iter_mut().zip(scores).for_each(|(bonus, score)| *bonus += score * weight);
        };
        let spreads = self.spreads.as_ref();
        add(spreads.and_then(|one| one.standings(&self.buckets, &in_question)), plan.spread_weight());
        let near = self.near.as_ref();
        add(near.and_then(|one| one.standings(&self.buckets, &in_question)), plan.affinity_weight());
        let admitted = self.buckets.iter().zip(&in_question).filter(|(_, in_question)| **in_question);
        Some(Standings {
            of: self.buckets.of_nodes(),
            admitted: admitted.map(|(bucket, _)| bucket.open).sum(),
            bonuses: in_question
                .iter()
                .zip(bonuses)
                .map(|(admitted, bonus)| i32::try_from(bonus).ok().filter(|_| *admitted))
                .collect(),
        })
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
