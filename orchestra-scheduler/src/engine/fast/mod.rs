//! The engine that remembers: the reference engine's answer, without looking at every node for every pod.
//!
//! Pods are sorted into classes that no plugin can tell apart. For each class the engine keeps the total score of
//! every node, asks the plugins again only about nodes that changed since, and finds the winner in a hierarchy of
//! maxima. Nothing is estimated: what is kept is what the plugins said. Pods and profiles for which that is not sound
//! are left to the [`ReferenceEngine`], on the same state of chance and rotation, so the answer is the same either way.
//! `docs/scheduler.md` tells the whole story.

mod answers;
mod around;
mod buckets;
mod by_load;
mod choose;
mod class;
mod classes;
mod hopeless;
mod index;
mod judge;
mod mounted;
mod near;
mod places;
mod plan;
mod ranking;
mod reaches;
mod scale;
mod shortlist;
mod spreads;
mod table;

use super::filter::Filters;
use super::narrow::pre_filter;
use super::reference::ReferenceEngine;
use super::{Engine, Explanation};
use crate::outcome::{Choice, Diagnosis, Outcome};
use crate::plugin::Cycle;
use crate::profile::{Profile, Sampling};
use crate::view::{ClusterView, NodeName, NodeView, PodView};

use self::choose::{choose, choose_without, sample, totals};
use self::class::{is_tractable, wants_devices};
use self::classes::Classes;
use self::hopeless::Asked;
use self::index::Index;
use self::mounted::Mounted;
use self::plan::Plan;
use self::reaches::Reaches;
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
    reaches: Reaches,
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

    fn explain<'a>(
        &self,
        profile: &'a Profile,
        cluster: &'a ClusterView,
        pod: &'a PodView,
    ) -> Explanation<'a> {
        // The index keeps sums and not what each plugin said; the plugins are asked again, on the state of chance and
        // rotation that both engines share.
        self.reference.explain(profile, cluster, pod)
    }
}

impl FastEngine {
    /// How many decisions were made so far, and how.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The nodes that would do and their totals, as the index holds them; `None` for a pod that is not placed from the
    /// index. Decides nothing.
    pub fn held(
        &mut self,
        profile: &Profile,
        cycle: &Cycle<'_>,
        pod: &PodView,
    ) -> Option<Vec<(NodeName, i64)>> {
        let (cluster, table) = (cycle.cluster(), &mut self.table);
        if wants_devices(cluster, pod) {
            return None;
        }
        let Planned { plan, classes, reaches } = planned(&mut self.plans, profile)?;
        table.sync(cluster);
        let company = plan.company(cluster, table, pod);
        let index = classes.index(plan, profile, cluster, table, pod, company)?;
        let mounted = match Mounted::concerns(pod) {
            true => Some(Mounted::of(plan, profile, cluster, pod, &index.narrowed().skipped)?),
            false => None,
        };
        if !keep_promises(table, mounted.as_ref(), profile, cycle, pod, index) {
            return None;
        }
        if let Some(mounted) = &mounted {
            index.hide_all(&mounted.refused(reaches, table, index)?);
        }
        let (positions, _) = sample(index, 0, usize::MAX);
        let names = positions.iter().filter_map(|position| Some(cluster.node_at(*position)?.name().clone()));
        Some(names.zip(totals(plan, index, &positions)).collect())
    }

    /// The outcome, if the index can tell; nothing has been changed if it cannot.
    fn indexed(&mut self, profile: &Profile, cycle: &mut Cycle<'_>, pod: &PodView) -> Option<Outcome> {
        let (cluster, table) = (cycle.cluster(), &mut self.table);
        if cluster.node_count() == 0 || wants_devices(cluster, pod) {
            return None;
        }
        let Planned { plan, classes, reaches } = planned(&mut self.plans, profile)?;
        table.sync(cluster);
        let company = plan.company(cluster, table, pod);
        // Before a class is looked for: most pods that name their node are the only ones that name it.
        if pod.rules.name_nodes() {
            return if is_tractable(pod) {
                narrowed(&mut self.reference, table, plan.profile(company), cycle, pod)
            } else {
                None
            };
        }
        let index = classes.index(plan, profile, cluster, table, pod, company)?;
        let mounted = match Mounted::concerns(pod) {
            true => Some(Mounted::of(plan, profile, cluster, pod, &index.narrowed().skipped)?),
            false => None,
        };
        if let Some(name) = cluster.nomination(pod).filter(|name| cluster.node(name).is_some()) {
            match taken_as_nominated(mounted.as_ref(), profile, cycle, pod, name, index)? {
                Some(choice) => return Some(Outcome::Chosen(choice)),
                // Whether a sample of nodes has the one promised among them is not known here.
                None if profile.sampling != Sampling::All || profile.score.is_empty() => return None,
                None => {}
            }
        }
        if !keep_promises(table, mounted.as_ref(), profile, cycle, pod, index) {
            return None;
        }
        if let Some(mounted) = &mounted {
            let refused = mounted.refused(reaches, table, index)?;
            if refused.count() == index.ranking.feasible().count() {
                return None;
            }
            if refused.count() > 0 {
                let chosen = choose_without(&mut self.reference, profile, cluster, index, &refused);
                if let Some(chosen) = chosen {
                    return Some(Outcome::Chosen(chosen));
                }
                index.hide_all(&refused);
            }
        }
        if index.ranking.feasible().count() > 0 {
            return choose(&mut self.reference, plan, profile, cluster, index).map(Outcome::Chosen);
        }
        if !company.is_alone() || mounted.is_some() {
            return None;
        }
        let (narrowed, hopeless) = index.hopeless(pod);
        let asked = Asked { plan, profile, pod, skipped: &narrowed.skipped };
        hopeless.refuse(&mut self.reference, asked, cycle, table)
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
            plans.push(Planned { plan, classes: Classes::default(), reaches: Reaches::default() });
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

/// The node the pod is nominated for, if it still fits; nothing when that cannot be told.
fn taken_as_nominated(
    mounted: Option<&Mounted<'_>>,
    profile: &Profile,
    cycle: &Cycle<'_>,
    pod: &PodView,
    name: &NodeName,
    index: &Index,
) -> Option<Option<Choice>> {
    if index.around.is_some() {
        return None;
    }
    let node = cycle.cluster().node(name)?;
    let refused = run(mounted, profile, cycle, pod, index, node)?;
    let choice = || Choice { node: node.name().clone(), evaluated: 1, feasible: 1 };
    Some((!refused).then(choice))
}

/// Whether all filters together refuse the node; `None` when a plugin failed.
fn run(
    mounted: Option<&Mounted<'_>>,
    profile: &Profile,
    cycle: &Cycle<'_>,
    pod: &PodView,
    index: &Index,
    node: &NodeView,
) -> Option<bool> {
    let refused = match mounted.map(Mounted::inquiry) {
        Some((filters, cycle)) => filters.run(cycle, node),
        None => Filters { profile, pod, skipped: &index.narrowed().skipped }.run(cycle, node),
    };
    Some(refused.ok()?.is_some())
}

/// Takes nodes out of the index that would not do beside the pods they are promised to; whether the index can be used.
fn keep_promises(
    table: &Table,
    mounted: Option<&Mounted<'_>>,
    profile: &Profile,
    cycle: &Cycle<'_>,
    pod: &PodView,
    index: &mut Index,
) -> bool {
    let Some(crowded) = crowded(table, mounted, profile, cycle, pod, index) else { return false };
    if !crowded.is_empty() {
        index.hide(&crowded);
    }
    index.is_sure()
}

/// The feasible nodes that would not do beside the pods they are promised to; `None` when a plugin failed, or when
/// promised pods would change what others mean for the pod.
fn crowded(
    table: &Table,
    mounted: Option<&Mounted<'_>>,
    profile: &Profile,
    cycle: &Cycle<'_>,
    pod: &PodView,
    index: &Index,
) -> Option<Vec<u32>> {
    let (cluster, mut crowded) = (cycle.cluster(), Vec::new());
    if index.around.is_none() && index.ranking.feasible().count() == 0 {
        return Some(crowded);
    }
    for (name, promised) in cluster.promises() {
        if !promised.iter().any(|other| other.priority >= pod.priority && other.uid != pod.uid) {
            continue;
        }
        if index.around.is_some() {
            return None;
        }
        let (Some(node), Some(position)) = (cluster.node(name), table.position(cluster, name)) else {
            continue;
        };
        if index.ranking.total(position) == ranking::INFEASIBLE {
            continue;
        }
        if run(mounted, profile, cycle, pod, index, node)? {
            crowded.push(u32::try_from(position).ok()?);
        }
    }
    Some(crowded)
}

#[cfg(test)]
mod tests;
