//! What is known of pods of one class and one priority where no node will do: why each node refuses them, and whom they
//! could evict there.
//!
//! Both follow from the node, the promises made on it and the budgets alone, so they are kept until one of these
//! changes. What evicting comes to is found out when a node's turn comes, by the same trial that the plugin makes.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::class::Company;
use super::places::Places;
use super::plan::Plan;
use super::table::{Table, Tick};
use crate::engine::filter::{Again, Filters, post_filter_asking};
use crate::engine::narrow::{Skipped, pre_filter};
use crate::engine::reference::ReferenceEngine;
use crate::outcome::{Diagnosis, Failure, Outcome, Refusals};
use crate::plugin::{Cycle, Refilter as _};
use crate::plugins::DefaultPreemption;
use crate::plugins::default_preemption::{
    Candidate, Harm, Tried, in_vain, least_harmful, not_eligible, try_node,
};
use crate::profile::Profile;
use crate::unit::Priority;
use crate::verdict::{Nomination, RejectionKind};
use crate::view::{BudgetView, ClusterView, PodUid, PodView, Stamp};

/// Of so many different reasons at the most, and two for each node, it is remembered that they were given once.
const KEPT_REASONS: usize = 1024;

/// A pod to be refused, and what speaks about it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) plan: &'a Plan,
    pub(super) profile: &'a Profile,
    pub(super) pod: &'a PodView,
    pub(super) skipped: &'a Skipped,
}

/// What trying a node without lesser pods came to.
#[derive(Debug)]
enum Thought {
    Untried,
    InVain,
    Fits(Box<(Harm, Candidate)>),
}

/// What is known of all nodes.
#[derive(Debug)]
pub(super) struct Hopeless {
    /// A pod of the class and priority that nobody promised anything.
    stand_in: Arc<PodView>,
    synced: Option<Tick>,
    catalog: Stamp,
    budgets: Vec<Arc<BudgetView>>,
    refusals: Refusals,
    /// Nodes that evicting pods may open.
    open: Places,
    /// Those of them where it was not tried in vain.
    hopeful: Places,
    thoughts: Vec<Thought>,
    /// Why evicting does not help, where it was tried in vain.
    in_vain: Refusals,
    /// Nodes about which plugins could not tell.
    unsure: BTreeSet<usize>,
    /// Nodes looked at with the eyes of a pod that was promised something there.
    partial: Vec<u32>,
}

impl Hopeless {
    /// For pods like this one, with no node looked at.
    pub(super) fn of(pod: &PodView) -> Self {
        let uid = PodUid::from(format!("stands in for {}", &*pod.uid).as_str());
        Self {
            stand_in: Arc::new(PodView { uid, nominated: None, ..pod.clone() }),
            synced: None,
            catalog: Stamp::fresh(),
            budgets: Vec::new(),
            refusals: Refusals::default(),
            open: Places::default(),
            hopeful: Places::default(),
            thoughts: Vec::new(),
            in_vain: Refusals::default(),
            unsure: BTreeSet::new(),
            partial: Vec::new(),
        }
    }

    /// The priority of the pods it is for.
    pub(super) fn priority(&self) -> Priority {
        self.stand_in.priority
    }

    /// Refuses the pod, with all reasons, and has the plugins help it; `None`, with nothing decided, when this cannot be
    /// told from what is known.
    pub(super) fn refuse(
        &mut self,
        reference: &mut ReferenceEngine,
        asked: Asked<'_>,
        cycle: &mut Cycle<'_>,
        table: &Table,
    ) -> Option<Outcome> {
        let (cluster, nodes) = (cycle.cluster(), table.len());
        self.sync(asked, cluster, table);
        if let Some(name) = cluster.promised(&asked.pod.uid)
            && let Some(position) = table.position(cluster, name)
        {
            // Its own promise does not stand in its way.
            self.look(asked, cluster, position);
            self.partial.push(u32::try_from(position).ok()?);
        }
        if !self.unsure.is_empty() || self.refusals.len() != nodes {
            return None;
        }
        let alone = asked.plan.profile(Company::default());
        let mut diagnosis = Diagnosis { node_count: nodes, ..Diagnosis::default() };
        let narrowed = pre_filter(alone, cycle, asked.pod, &mut diagnosis).ok()?;
        if narrowed.refused || narrowed.only.is_some() {
            return None;
        }
        let start = reference.next_start % nodes;
        reference.next_start = (reference.next_start + nodes) % nodes;
        diagnosis.plugins.extend(self.refusals.alike().map(|(plugin, ..)| plugin.to_owned()));
        diagnosis.nodes = self.refusals.starting_at(start);
        let filters = Filters { profile: alone, pod: asked.pod, skipped: &narrowed.skipped };
        let random = &mut reference.random;
        let helped = post_filter_asking(filters, cycle, diagnosis, random, |plugin, diagnosis, again| {
            match (plugin as &dyn Any).downcast_ref() {
                Some(preemption) => self.preempt(preemption, asked.pod, cycle, start, diagnosis, again),
                None => plugin.post_filter(cycle, asked.pod, diagnosis, again),
            }
        });
        Some(helped.unwrap_or_else(Outcome::Failed))
    }

    /// What [`DefaultPreemption`] does, with what is known of the nodes.
    fn preempt(
        &mut self,
        preemption: &DefaultPreemption,
        pod: &PodView,
        cycle: &Cycle<'_>,
        start: usize,
        diagnosis: &Diagnosis,
        again: &Again<'_>,
    ) -> Nomination {
        if let Some(refused) = not_eligible(cycle, pod, diagnosis) {
            return refused;
        }
        let (cluster, count) = (cycle.cluster(), self.open.count());
        let Self { open, hopeful, thoughts, in_vain: vain, budgets, .. } = self;
        let first = match count {
            0 => 0,
            // Counted from the node that the search began with.
            _ => open.select((open.rank(start) + again.chance(count)) % count).unwrap_or(0),
        };
        // Where it is known to be in vain nothing comes of another trial.
        let in_turn = hopeful.from(first).chain(hopeful.from(0)).take(hopeful.count());
        let mut lost = Vec::new();
        let tried = in_turn.map(|position| {
            let tried = think(position, pod, cluster, again, thoughts, vain, budgets);
            if matches!(thoughts.get(position), Some(Thought::InVain)) {
                lost.push(position);
            }
            tried
        });
        let least = preemption.candidates(count, tried).map(least_harmful);
        lost.into_iter().for_each(|position| hopeful.set(position, false));
        match least {
            Err(nomination) => nomination,
            Ok(None) => in_vain(cluster.node_count(), self.in_vain.clone()),
            Ok(Some(position)) => match self.thoughts.get(position) {
                Some(Thought::Fits(fits)) => {
                    let Candidate { node, victims, .. } = fits.1.clone();
                    Nomination::Preempt { node, victims }
                }
                _ => Nomination::Fail(format!("preemption: no victims at position {position}")),
            },
        }
    }

    /// Brings everything up to date with the table.
    fn sync(&mut self, asked: Asked<'_>, cluster: &ClusterView, table: &Table) {
        if self.catalog != cluster.catalog_stamp() {
            self.catalog = cluster.catalog_stamp();
            let budgets: Vec<_> = cluster.all::<BudgetView>().cloned().collect();
            if budgets != self.budgets {
                self.budgets = budgets;
                self.synced = None;
            }
        }
        let too_many = self.refusals.kinds().max(self.in_vain.kinds()) > KEPT_REASONS + 2 * table.len();
        let changed = self.synced.filter(|_| !too_many).and_then(|tick| table.since(tick));
        self.synced = Some(table.now());
        let Some(mut changed) = changed else {
            self.refusals = Refusals::among(table.names(cluster).clone());
            self.in_vain = self.refusals.clone();
            self.open = Places::of(table.len(), |_| false);
            self.hopeful = self.open.clone();
            self.thoughts = (0..table.len()).map(|_| Thought::Untried).collect();
            self.unsure.clear();
            self.partial.clear();
            return (0..table.len()).for_each(|position| self.look_as_anyone(asked, cluster, position));
        };
        changed.append(&mut self.partial);
        changed.into_iter().for_each(|position| self.look_as_anyone(asked, cluster, position as usize));
    }

    fn look_as_anyone(&mut self, asked: Asked<'_>, cluster: &ClusterView, position: usize) {
        let stand_in = self.stand_in.clone();
        self.look(Asked { pod: &stand_in, ..asked }, cluster, position);
    }

    /// Takes in what a node is like now.
    fn look(&mut self, asked: Asked<'_>, cluster: &ClusterView, position: usize) {
        let Some(node) = cluster.node_at(position) else { return };
        let filters = Filters { profile: asked.profile, pod: asked.pod, skipped: asked.skipped };
        let refused = filters.run(&Cycle::new(cluster), node);
        match &refused {
            Ok(_) if self.unsure.is_empty() => {}
            Ok(_) => drop(self.unsure.remove(&position)),
            Err(_) => drop(self.unsure.insert(position)),
        }
        let refused = refused.unwrap_or(None);
        let opens = refused.as_ref().is_some_and(|one| one.rejection.kind == RejectionKind::Unschedulable);
        self.open.set(position, opens);
        self.hopeful.set(position, opens);
        self.refusals.set(position, refused.as_ref().map(|one| (&*one.plugin, one.rejection.clone())));
        self.in_vain.set(position, None);
        if let Some(thought) = self.thoughts.get_mut(position) {
            *thought = Thought::Untried;
        }
    }
}

/// What trying the node at a position comes to, tried now if it was not before.
fn think(
    position: usize,
    pod: &PodView,
    cluster: &ClusterView,
    again: &Again<'_>,
    thoughts: &mut [Thought],
    in_vain: &mut Refusals,
    budgets: &[Arc<BudgetView>],
) -> Result<Option<(Harm, usize)>, Failure> {
    let (Some(thought), Some(node)) = (thoughts.get_mut(position), cluster.node_at(position)) else {
        return Ok(None);
    };
    if matches!(thought, Thought::Untried) {
        *thought = match try_node(again, pod, node, budgets)? {
            Tried::Fits(candidate) => Thought::Fits(Box::new((candidate.harm(), candidate))),
            Tried::Refused(rejection) => {
                in_vain.set(position, Some(("", rejection)));
                Thought::InVain
            }
        };
    }
    Ok(match thought {
        Thought::Fits(fits) => Some((fits.0, position)),
        Thought::Untried | Thought::InVain => None,
    })
}
