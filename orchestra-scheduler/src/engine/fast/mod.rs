//! The engine that remembers: the reference engine's answer, without looking at every node for every pod.
//!
//! Pods are sorted into classes that no plugin can tell apart. For each class the engine keeps the total score of
//! every node, asks the plugins again only about nodes that changed since, and finds the winner in a hierarchy of
//! maxima. Nothing is estimated and no plugin is written twice: what is kept is what the plugins said. Pods and
//! profiles for which that is not sound are left to the [`ReferenceEngine`], on the same state of chance and
//! rotation, so the answer is the same either way. `docs/scheduler.md` tells the whole story.

mod class;
mod classes;
mod places;
mod plan;
mod ranking;
mod table;

use super::filter::Filters;
use super::narrow::pre_filter;
use super::reference::ReferenceEngine;
use super::select::{nodes_to_find, winner};
use super::{Engine, Explanation};
use crate::outcome::{Choice, Diagnosis, Outcome};
use crate::plugin::Cycle;
use crate::profile::{Profile, TieBreak};
use crate::view::{ClusterView, NodeName, NodeView, PodView};

use self::class::{Index, Treatment};
use self::classes::Classes;
use self::plan::Plan;
use self::table::Table;

/// The engine that keeps an index.
#[derive(Debug)]
pub struct FastEngine {
    reference: ReferenceEngine,
    table: Table,
    plans: Vec<Planned>,
    tally: Tally,
}

/// How many decisions were made, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By the index, or by looking at the few nodes a pod names.
    pub indexed: u64,
    /// By the reference engine.
    pub scanned: u64,
}

/// A profile once seen.
#[derive(Debug)]
struct Planned {
    plan: Plan,
    classes: Classes,
}

/// Profiles beyond this many make the oldest forgotten.
const KEPT_PLANS: usize = 16;

impl FastEngine {
    /// An engine whose chance comes from `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            reference: ReferenceEngine::seeded(seed),
            table: Table::default(),
            plans: Vec::new(),
            tally: Tally::default(),
        }
    }
}

impl Engine for FastEngine {
    fn place(&mut self, profile: &Profile, cycle: &mut Cycle<'_>, pod: &PodView) -> Outcome {
        match self.indexed(profile, cycle, pod) {
            Some(choice) => {
                self.tally.indexed += 1;
                choice
            }
            None => {
                self.tally.scanned += 1;
                self.reference.place(profile, cycle, pod)
            }
        }
    }
}

impl FastEngine {
    /// How many decisions were made so far, and how.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// What the index holds of every node for `pod`; `None` for a pod that is not placed from the index. Decides
    /// nothing.
    pub fn explain(&mut self, profile: &Profile, cycle: &Cycle<'_>, pod: &PodView) -> Option<Explanation> {
        let (index, cluster) = (self.index(profile, cycle, pod)?, cycle.cluster());
        let feasible = index.ranking.feasible().from(0);
        let named = feasible.filter_map(|position| {
            Some((cluster.node_at(position)?.name().clone(), index.ranking.total(position).into()))
        });
        Some(Explanation { feasible: named.collect() })
    }

    /// The index for `pod`, up to date and without nodes that are promised to others.
    fn index(&mut self, profile: &Profile, cycle: &Cycle<'_>, pod: &PodView) -> Option<&mut Index> {
        let cluster = cycle.cluster();
        let Planned { plan, classes } = planned(&mut self.plans, profile)?;
        self.table.sync(cluster);
        if plan.looks_around(cluster, &self.table, pod) {
            return None;
        }
        let class = classes.of(plan, profile, cluster, pod);
        let index = class.index(plan, profile, cluster, &self.table)?;
        let crowded = crowded(&self.table, profile, cycle, pod, index)?;
        if !crowded.is_empty() {
            index.hide(&crowded);
        }
        index.is_sure().then_some(index)
    }

    /// The outcome, if the index can tell; nothing has been changed if it cannot.
    fn indexed(&mut self, profile: &Profile, cycle: &mut Cycle<'_>, pod: &PodView) -> Option<Outcome> {
        let cluster = cycle.cluster();
        if cluster.node_count() == 0 {
            return None;
        }
        let Planned { plan, classes } = planned(&mut self.plans, profile)?;
        self.table.sync(cluster);
        if plan.looks_around(cluster, &self.table, pod) {
            return None;
        }
        let class = classes.of(plan, profile, cluster, pod);
        if matches!(class.treatment, Treatment::Narrowed) {
            return narrowed(&mut self.reference, &self.table, profile, cycle, pod);
        }
        let index = class.index(plan, profile, cluster, &self.table)?;
        if let Some(name) = cluster.nomination(pod).filter(|name| cluster.node(name).is_some()) {
            return taken_as_nominated(profile, cycle, pod, name, index);
        }
        let crowded = crowded(&self.table, profile, cycle, pod, index)?;
        if !crowded.is_empty() {
            index.hide(&crowded);
        }
        if !index.is_sure() {
            return None;
        }
        choose(&mut self.reference, profile, cluster, index)
    }
}

/// The plan for `profile`, made if there is none; `None` when no plan can be made.
fn planned<'a>(plans: &'a mut Vec<Planned>, profile: &Profile) -> Option<&'a mut Planned> {
    let known = plans.iter().position(|planned| planned.plan.is_for(profile));
    let index = match known {
        Some(index) => index,
        None => {
            let plan = Plan::of(profile)?;
            if plans.len() >= KEPT_PLANS {
                plans.remove(0);
            }
            plans.push(Planned { plan, classes: Classes::default() });
            plans.len() - 1
        }
    };
    plans.get_mut(index)
}

/// Places a pod that names the nodes it can go to: only those are looked at.
fn narrowed(
    reference: &mut ReferenceEngine,
    table: &Table,
    profile: &Profile,
    cycle: &mut Cycle<'_>,
    pod: &PodView,
) -> Option<Outcome> {
    let cluster = cycle.cluster();
    let mut diagnosis = Diagnosis { node_count: cluster.node_count(), ..Diagnosis::default() };
    let narrowed =
        pre_filter(profile, cycle, pod, &mut diagnosis).ok().filter(|narrowed| !narrowed.refused)?;
    let mut positions: Vec<_> =
        narrowed.only.as_ref()?.iter().filter_map(|name| table.position(cluster, name)).collect();
    positions.sort_unstable();
    let listed: Vec<&NodeView> =
        positions.into_iter().filter_map(|position| cluster.node_at(position)).map(AsRef::as_ref).collect();
    let decided = reference.decide(profile, cycle, pod, &narrowed, &listed, diagnosis);
    Some(decided.unwrap_or_else(Outcome::Failed))
}

/// Takes the node the pod is nominated for, if it still fits.
fn taken_as_nominated(
    profile: &Profile,
    cycle: &Cycle<'_>,
    pod: &PodView,
    name: &NodeName,
    index: &Index,
) -> Option<Outcome> {
    let node = cycle.cluster().node(name)?;
    match (Filters { profile, pod, skipped: &index.narrowed().skipped }).run(cycle, node) {
        Ok(None) => Some(Outcome::Chosen(Choice { node: node.name().clone(), evaluated: 1, feasible: 1 })),
        Ok(Some(_)) | Err(_) => None,
    }
}

/// The feasible nodes that would not do beside the pods they are promised to; `None` when a plugin failed.
fn crowded(
    table: &Table,
    profile: &Profile,
    cycle: &Cycle<'_>,
    pod: &PodView,
    index: &Index,
) -> Option<Vec<u32>> {
    let (cluster, mut crowded) = (cycle.cluster(), Vec::new());
    for (name, promised) in cluster.promises() {
        if !promised.iter().any(|other| other.priority >= pod.priority && other.uid != pod.uid) {
            continue;
        }
        let (Some(node), Some(position)) = (cluster.node(name), table.position(cluster, name)) else {
            continue;
        };
        if index.ranking.total(position) == ranking::INFEASIBLE {
            continue;
        }
        let filters = Filters { profile, pod, skipped: &index.narrowed().skipped };
        if filters.run(cycle, node).ok()?.is_some() {
            crowded.push(u32::try_from(position).ok()?);
        }
    }
    Some(crowded)
}

/// Chooses from an index that is up to date; `None` when nothing is feasible.
fn choose(
    reference: &mut ReferenceEngine,
    profile: &Profile,
    cluster: &ClusterView,
    index: &Index,
) -> Option<Outcome> {
    let (nodes, feasible) = (index.ranking.len(), index.ranking.feasible().count());
    let wanted = if profile.score.is_empty() { 1 } else { nodes_to_find(profile.sampling, nodes) };
    let start = reference.next_start % nodes;
    if feasible == 0 {
        return None;
    }
    let (position, found, evaluated) = if feasible <= wanted && profile.tie_break == TieBreak::Heap {
        (index.ranking.winner(start)?, feasible, nodes)
    } else {
        let (sample, evaluated) = sample(index, start, wanted);
        let position = match sample.as_slice() {
            [one] => *one,
            many => {
                let highest = index.highest_among(many);
                let totals: Vec<_> =
                    many.iter().map(|position| index.total_among(*position, &highest)).collect();
                *many.get(winner(&totals, profile.tie_break, &mut reference.random)?)?
            }
        };
        (position, sample.len(), evaluated)
    };
    let node = cluster.node_at(position)?.name().clone();
    reference.next_start = (reference.next_start + evaluated) % nodes;
    Some(Outcome::Chosen(Choice { node, evaluated, feasible: found }))
}

/// The first `wanted` feasible positions from `start` on, around the end, and how many nodes are looked at until it
/// is known that there are more.
fn sample(index: &Index, start: usize, wanted: usize) -> (Vec<usize>, usize) {
    let (nodes, feasible) = (index.ranking.len(), index.ranking.feasible());
    let mut around = feasible.from(start).chain(feasible.from(0).take_while(|position| *position < start));
    let sample: Vec<_> = around.by_ref().take(wanted).collect();
    let evaluated = around.next().map_or(nodes, |next| (next + nodes - start) % nodes);
    (sample, evaluated)
}

#[cfg(test)]
mod tests;
