//! Makes explanations: goes the way of the reference engine and keeps what it met.

use std::sync::Arc;

use super::{
    Explanation, FilterVerdict, NodeExplanation, NodeScore, PreFilterSaid, PreFilterVerdict, Reached,
};
use crate::engine::ReferenceEngine;
use crate::engine::filter::Filters;
use crate::engine::narrow::{Narrowed, pre_filter, pre_filter_heard};
use crate::engine::score::{Hear, score, score_heard};
use crate::outcome::{Diagnosis, Failure};
use crate::plugin::Cycle;
use crate::profile::Profile;
use crate::unit::Points;
use crate::verdict::PreFiltered;
use crate::view::{ClusterView, NodeName, NodeView, PodView};

/// What was met.
#[derive(Debug)]
pub(super) struct Looked<'a> {
    cycle: Cycle<'a>,
    pub(super) pre_filters: Vec<PreFilterVerdict<'a>>,
    /// What the filters were told to leave out; `None` when no node was filtered.
    narrowed: Option<Narrowed>,
    /// By the position in the cluster.
    places: Vec<Place>,
    /// By the place of the scorer in the profile.
    pub(super) columns: Vec<Column>,
    /// Whether nodes were compared: several would do, and nothing failed.
    scored: bool,
    pub(super) chosen: Option<NodeName>,
    pub(super) failure: Option<Failure>,
}

/// What became of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LeftOut,
    NotLookedAt,
    Refused,
    /// One that would do: its row in the columns.
    Found(u32),
}

/// The scores of one scorer, a row for each node that was scored; none if it did not score.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    raw: Vec<Points>,
    pub(super) normalised: Vec<Points>,
}

struct Columns<'c>(&'c mut [Column]);

impl Hear for Columns<'_> {
    fn raw(&mut self, scorer: usize, points: &[Points]) {
        if let Some(column) = self.0.get_mut(scorer) {
            column.raw = points.to_vec();
        }
    }

    fn normalised(&mut self, scorer: usize, points: Vec<Points>) {
        if let Some(column) = self.0.get_mut(scorer) {
            column.normalised = points;
        }
    }
}

impl ReferenceEngine {
    /// Decides on the pod as [`Engine::place`](super::super::Engine::place) does, but for preemption, and keeps what it met.
    pub(in crate::engine) fn look<'a>(
        &mut self,
        profile: &'a Profile,
        cluster: &'a ClusterView,
        pod: &'a PodView,
    ) -> Explanation<'a> {
        let mut looked = Looked {
            cycle: Cycle::new(cluster),
            pre_filters: Vec::new(),
            narrowed: None,
            places: vec![Place::LeftOut; cluster.node_count()],
            columns: vec![Column::default(); profile.score.len()],
            scored: false,
            chosen: None,
            failure: None,
        };
        if let Err(failure) = self.try_look(profile, pod, &mut looked) {
            looked.failure = Some(failure);
        }
        Explanation { pod, profile, looked }
    }

    fn try_look<'a>(
        &mut self,
        profile: &'a Profile,
        pod: &'a PodView,
        looked: &mut Looked<'a>,
    ) -> Result<(), Failure> {
        let said = &mut looked.pre_filters;
        let hear = |plugin, answer: &PreFiltered| {
            let answer = match answer {
                PreFiltered::All => PreFilterSaid::Passed,
                PreFiltered::Only(nodes) => PreFilterSaid::Narrowed(nodes.len()),
                PreFiltered::Skip => PreFilterSaid::Skipped,
                PreFiltered::Reject(rejection) => PreFilterSaid::Refused(rejection.clone()),
                PreFiltered::Fail(error) => PreFilterSaid::Failed(error.clone()),
            };
            said.push(PreFilterVerdict { plugin, said: answer });
        };
        let (cycle, mut unheard) = (&mut looked.cycle, Diagnosis::default());
        let narrowed = pre_filter_heard(profile, cycle, pod, &mut unheard, |_| true, hear)?;
        let (cluster, refused) = (looked.cycle.cluster(), narrowed.refused);
        let comes_in = |node: &NodeView| {
            !refused && narrowed.only.as_ref().is_none_or(|only| only.contains(node.name()))
        };
        // The nodes that come into question, each with its position in the cluster.
        let (mut positions, mut listed) = (Vec::new(), Vec::<&'a NodeView>::new());
        for (position, node) in cluster.nodes().enumerate() {
            if comes_in(node) {
                positions.push(position);
                listed.push(node);
            }
        }
        if refused {
            return Ok(());
        }
        positions.iter().for_each(|position| looked.places[*position] = Place::NotLookedAt);
        let narrowed = looked.narrowed.insert(narrowed);
        let filters = Filters { profile, pod, skipped: &narrowed.skipped };
        let searched = self.search(filters, &looked.cycle, &listed, drop)?;
        let mut found = (0_u32..).zip(&searched.feasible).peekable();
        for turn in 0..searched.looked_at {
            let place = (searched.start + turn) % listed.len();
            looked.places[positions[place]] =
                match found.next_if(|(_, node)| std::ptr::eq::<NodeView>(**node, listed[place])) {
                    Some((row, _)) => Place::Found(row),
                    None => Place::Refused,
                };
        }
        // The node that was promised to the pod is found without a turn.
        for (row, node) in found {
            let position = cluster.nodes().position(|other| other.name() == node.name());
            position.into_iter().for_each(|position| looked.places[position] = Place::Found(row));
        }
        let index = match searched.feasible.len() {
            0 | 1 => Some(0),
            _ => {
                let mut columns = Columns(&mut looked.columns);
                let mut totals =
                    score_heard(profile, &mut looked.cycle, pod, &searched.feasible, &mut columns)?;
                looked.scored = true;
                self.winner(profile, pod, &searched.feasible, &mut totals)
            }
        };
        let chosen = index.and_then(|index| searched.feasible.get(index));
        looked.chosen = chosen.map(|node| node.name().clone());
        Ok(())
    }

    /// The nodes that would do and their totals, were all nodes looked at and scored. Decides nothing.
    ///
    /// # Errors
    /// When a plugin fails.
    pub fn seen(
        profile: &Profile,
        cycle: &mut Cycle<'_>,
        pod: &PodView,
    ) -> Result<Vec<(NodeName, i64)>, Failure> {
        let narrowed = pre_filter(profile, cycle, pod, &mut Diagnosis::default())?;
        if narrowed.refused {
            return Ok(Vec::new());
        }
        let filters = Filters { profile, pod, skipped: &narrowed.skipped };
        let mut nodes: Vec<&NodeView> = Vec::new();
        for node in cycle.cluster().nodes() {
            let listed = narrowed.only.as_ref().is_none_or(|only| only.contains(node.name()));
            if listed && filters.run(cycle, node)?.is_none() {
                nodes.push(node);
            }
        }
        let totals = score(profile, cycle, pod, &nodes)?;
        Ok(nodes.into_iter().map(|node| node.name().clone()).zip(totals).collect())
    }
}

impl<'a> Looked<'a> {
    /// How much memory is held for nodes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let points = self.columns.iter().map(|column| column.raw.capacity() + column.normalised.capacity());
        size_of_val(&*self.places) + points.sum::<usize>() * size_of::<Points>()
    }

    pub(super) fn nodes<'e>(
        &'e self,
        profile: &'e Profile,
        pod: &'e PodView,
    ) -> impl Iterator<Item = NodeExplanation<'e>> {
        let nodes = self.cycle.cluster().nodes().zip(&self.places);
        nodes.map(move |(node, place)| self.tell(profile, pod, node, *place))
    }

    pub(super) fn node<'e>(
        &'e self,
        profile: &'e Profile,
        pod: &'e PodView,
        name: &str,
    ) -> Option<NodeExplanation<'e>> {
        let mut nodes = self.cycle.cluster().nodes().zip(&self.places);
        let (node, place) = nodes.find(|(node, _)| &**node.name() == name)?;
        Some(self.tell(profile, pod, node, *place))
    }

    fn tell<'e>(
        &'e self,
        profile: &'e Profile,
        pod: &'e PodView,
        node: &'e Arc<NodeView>,
        place: Place,
    ) -> NodeExplanation<'e> {
        let filters: Vec<FilterVerdict<'e>> = match (&self.narrowed, place) {
            (None, _) | (_, Place::LeftOut) => Vec::new(),
            (Some(narrowed), _) => {
                Filters { profile, pod, skipped: &narrowed.skipped }.verdicts(&self.cycle, node)
            }
        };
        let scores: Vec<NodeScore<'e>> = match place {
            Place::Found(row) => self.row(profile, row as usize).collect(),
            _ => Vec::new(),
        };
        let scored = self.scored && matches!(place, Place::Found(_));
        let reached = match place {
            Place::LeftOut => Reached::PreFilter,
            Place::NotLookedAt => Reached::NotLookedAt,
            Place::Refused => Reached::Filter,
            Place::Found(_) if scored => Reached::Scored,
            Place::Found(_) => Reached::Feasible,
        };
        NodeExplanation {
            node,
            reached,
            total: scored.then(|| scores.iter().map(NodeScore::weighted).fold(0, i64::saturating_add)),
            filters,
            scores,
            chosen: self.chosen.as_ref() == Some(node.name()),
        }
    }

    fn row<'e>(&'e self, profile: &'e Profile, row: usize) -> impl Iterator<Item = NodeScore<'e>> {
        profile.score.iter().zip(&self.columns).filter_map(move |(scorer, column)| {
            let (raw, normalised) = (*column.raw.get(row)?, *column.normalised.get(row)?);
            Some(NodeScore { plugin: scorer.plugin.name(), raw, normalised, weight: scorer.weight })
        })
    }
}
