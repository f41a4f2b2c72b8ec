//! The plain reading of upstream's scheduling cycle: look at one node after the other, then score what is left.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::filter::{Filters, post_filter};
use super::narrow::{Narrowed, pre_filter};
use super::score::score;
use super::select::{nodes_to_find, winner};
use super::{Engine, Explanation};
use crate::extender;
use crate::outcome::{Choice, Diagnosis, Exclusion, Failure, NodeRejection, Outcome, Refusals};
use crate::plugin::Cycle;
use crate::profile::{Profile, TieBreak};
use crate::view::{ClusterView, NodeView, PodView};

/// The engine that scans.
#[derive(Debug)]
pub struct ReferenceEngine {
    pub(super) next_start: usize,
    pub(super) random: SmallRng,
}

impl ReferenceEngine {
    /// An engine whose chance comes from `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { next_start: 0, random: SmallRng::seed_from_u64(seed) }
    }
}

impl Engine for ReferenceEngine {
    fn explain<'a>(
        &self,
        profile: &'a Profile,
        cluster: &'a ClusterView,
        pod: &'a PodView,
    ) -> Explanation<'a> {
        // A second engine in the same state, so that this one's does not move.
        let mut like_this = Self { next_start: self.next_start, random: self.random.clone() };
        like_this.look(profile, cluster, pod)
    }

    fn place(&mut self, profile: &Profile, cycle: &mut Cycle<'_>, pod: &PodView) -> Outcome {
        match self.attempt(profile, cycle, pod) {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

/// What a search among nodes came to.
pub(super) struct Searched<'a> {
    /// The nodes that passed, in the order they were found.
    pub(super) feasible: Vec<&'a NodeView>,
    /// How many were looked at, one after the other from the place `start` on, and from the first after the last.
    pub(super) looked_at: usize,
    pub(super) start: usize,
}

impl ReferenceEngine {
    fn attempt(
        &mut self,
        profile: &Profile,
        cycle: &mut Cycle<'_>,
        pod: &PodView,
    ) -> Result<Outcome, Failure> {
        if cycle.cluster().node_count() == 0 {
            return Ok(Outcome::NoNodes);
        }
        let mut diagnosis = Diagnosis { node_count: cycle.cluster().node_count(), ..Diagnosis::default() };
        let narrowed = pre_filter(profile, cycle, pod, &mut diagnosis)?;
        let filters = Filters { profile, pod, skipped: &narrowed.skipped };
        if narrowed.refused {
            return post_filter(filters, cycle, diagnosis, &mut self.random);
        }
        let listed: Vec<&NodeView> = cycle
            .cluster()
            .nodes()
            .map(Arc::as_ref)
            .filter(|node| narrowed.only.as_ref().is_none_or(|only| only.contains(node.name())))
            .collect();
        self.decide(profile, cycle, pod, &narrowed, &listed, diagnosis)
    }

    /// Searches the nodes that are left after `PreFilter`, in their order, and chooses.
    pub(super) fn decide<'a>(
        &mut self,
        profile: &Profile,
        cycle: &mut Cycle<'a>,
        pod: &PodView,
        narrowed: &Narrowed,
        listed: &[&'a NodeView],
        mut diagnosis: Diagnosis,
    ) -> Result<Outcome, Failure> {
        let filters = Filters { profile, pod, skipped: &narrowed.skipped };
        let mut refusals = Refusals::default();
        let searched = self.search(filters, cycle, listed, |refusal| refusals.push(refusal))?;
        let evaluated = searched.feasible.len() + refusals.len();
        if searched.feasible.is_empty() {
            diagnosis.plugins.extend(refusals.alike().map(|(plugin, ..)| plugin.to_owned()));
            diagnosis.nodes = refusals;
            if narrowed.only.is_some() {
                diagnosis.plugins.extend(narrowed.narrowing.iter().cloned());
                diagnosis.excluded = Some(Box::new(Exclusion {
                    count: diagnosis.node_count - listed.len(),
                    reason: format!("node(s) didn't satisfy plugin(s) [{}]", narrowed.narrowing.join(" ")),
                }));
            }
            return post_filter(filters, cycle, diagnosis, &mut self.random);
        }
        let index = match searched.feasible.len() {
            1 => Some(0),
            _ => {
                let mut totals = score(profile, cycle, pod, &searched.feasible)?;
                self.winner(profile, pod, &searched.feasible, &mut totals)
            }
        };
        let chosen = index.and_then(|index| searched.feasible.get(index)).copied();
        let chosen =
            chosen.ok_or_else(|| Failure { plugin: None, message: "no node was selected".to_owned() })?;
        let feasible = searched.feasible.len();
        Ok(Outcome::Chosen(Choice { node: chosen.name().clone(), evaluated, feasible }))
    }

    /// Looks for nodes that would do, and tells of those that would not.
    pub(super) fn search<'a>(
        &mut self,
        filters: Filters<'_>,
        cycle: &Cycle<'a>,
        listed: &[&'a NodeView],
        mut refused: impl FnMut(NodeRejection),
    ) -> Result<Searched<'a>, Failure> {
        let (cluster, profile) = (cycle.cluster(), filters.profile);
        let start = if listed.is_empty() { 0 } else { self.next_start % listed.len() };
        let mut searched = Searched { feasible: Vec::new(), looked_at: 0, start };
        let mut nominated = None;
        if let Some(node) = cluster.nomination(filters.pod).and_then(|name| cluster.node(name)) {
            match filters.run(cycle, node)? {
                None => {
                    searched.feasible = self.extended(profile, filters.pod, vec![node], &mut refused)?;
                    if !searched.feasible.is_empty() {
                        return Ok(searched);
                    }
                }
                Some(rejected) => nominated = Some(rejected),
            }
        }
        let others_filter = profile.extenders.iter().any(|extender| extender.options().filters);
        let wanted = if profile.score.is_empty() && !others_filter {
            1
        } else {
            nodes_to_find(profile.sampling, listed.len())
        };
        for node in listed.iter().cycle().skip(start).take(listed.len()) {
            match filters.run(cycle, node)? {
                Some(refusal) => {
                    nominated.take_if(|nominated| nominated.node == refusal.node);
                    refused(refusal);
                }
                None if searched.feasible.len() == wanted => break,
                None => searched.feasible.push(node),
            }
            searched.looked_at += 1;
        }
        let beside = usize::from(nominated.is_some());
        nominated.into_iter().for_each(&mut refused);
        self.next_start = (self.next_start + searched.looked_at + beside) % cluster.node_count().max(1);
        searched.feasible = self.extended(profile, filters.pod, searched.feasible, &mut refused)?;
        Ok(searched)
    }

    /// What the profile's extenders leave of the nodes.
    fn extended<'a>(
        &self,
        profile: &Profile,
        pod: &PodView,
        nodes: Vec<&'a NodeView>,
        refused: impl FnMut(NodeRejection),
    ) -> Result<Vec<&'a NodeView>, Failure> {
        if profile.extenders.is_empty() {
            return Ok(nodes);
        }
        extender::filter(&profile.extenders, pod, nodes, refused)
    }

    /// The place of the winner, once extenders have had their say.
    pub(super) fn winner(
        &mut self,
        profile: &Profile,
        pod: &PodView,
        nodes: &[&NodeView],
        totals: &mut [i64],
    ) -> Option<usize> {
        let places = match profile.extenders.is_empty() {
            true => None,
            false => extender::prioritize(&profile.extenders, pod, nodes, totals, &mut self.random),
        };
        match places.filter(|_| profile.tie_break == TieBreak::Heap) {
            Some(places) => winner(&places, profile.tie_break, &mut self.random),
            None => winner(totals, profile.tie_break, &mut self.random),
        }
    }
}

#[cfg(test)]
mod tests;
