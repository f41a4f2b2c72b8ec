//! Pods that mount volumes: placed like pods of their class that mount none, on the nodes that the volume plugins leave them.
//!
//! Volumes only ever take nodes away, and hardly two pods have the same ones; so classes do not mind them. The volume
//! plugins are asked for each pod about the nodes that would do otherwise, and where their answer follows from what nodes say about
//! themselves it is kept for pods whose volumes can be reached from the same nodes.

use std::any::Any;

use super::index::Index;
use super::places::Places;
use super::plan::Plan;
use super::reaches::{Question, Reaches};
use super::table::Table;
use crate::engine::filter::Filters;
use crate::engine::narrow::Skipped;
use crate::guard::guarded;
use crate::plugin::Cycle;
use crate::plugins::volume_binding::Wanted;
use crate::plugins::volume_zone::Demanded;
use crate::plugins::{NodeVolumeLimits, VolumeBinding, VolumeRestrictions, VolumeZone};
use crate::profile::Profile;
use crate::verdict::PreFiltered;
use crate::view::{ClusterView, Mounts, PodView};

/// A pod with volumes, and what the volume plugins noted about it.
pub(super) struct Mounted<'a> {
    profile: &'a Profile,
    pod: &'a PodView,
    cycle: Cycle<'a>,
    /// All plugins that have nothing to say about the pod.
    skipped: Skipped,
}

/// Whether a plugin looks at nothing but volumes.
pub(super) fn is_about_volumes(plugin: &dyn Any) -> bool {
    looks_at_facts(plugin) || plugin.is::<VolumeRestrictions>() || plugin.is::<NodeVolumeLimits>()
}

/// Whether its answer follows from what the node says about itself.
fn looks_at_facts(plugin: &dyn Any) -> bool {
    plugin.is::<VolumeBinding>() || plugin.is::<VolumeZone>()
}

impl<'a> Mounted<'a> {
    /// Whether there is anything to ask about.
    pub(super) fn concerns(pod: &PodView) -> bool {
        *pod.mounts != Mounts::default()
    }

    /// Begins for a pod of a class about whose pods these plugins have nothing to say; `None` if they refuse it, send it to
    /// some nodes or fail before any node is looked at.
    pub(super) fn of(
        plan: &Plan,
        profile: &'a Profile,
        cluster: &'a ClusterView,
        pod: &'a PodView,
        class: &Skipped,
    ) -> Option<Self> {
        if !plan.takes_mounts() {
            return None;
        }
        let (mut cycle, mut skipped) = (Cycle::new(cluster), class.clone());
        for plugin in profile.pre_filter.iter().filter(|plugin| is_about_volumes(&***plugin)) {
            match guarded(plugin.name(), "PreFilter", || plugin.pre_filter(&mut cycle, pod)).ok()? {
                PreFiltered::All => skipped.set(profile, plugin.name(), false),
                PreFiltered::Skip => {}
                PreFiltered::Only(_) | PreFiltered::Reject(_) | PreFiltered::Fail(_) => return None,
            }
        }
        Some(Self { profile, pod, cycle, skipped })
    }

    /// To ask everybody about a node, with the notes to look at.
    pub(super) fn inquiry(&self) -> (Filters<'_>, &Cycle<'a>) {
        (Filters { profile: self.profile, pod: self.pod, skipped: &self.skipped }, &self.cycle)
    }

    /// The feasible nodes that the pod's volumes rule out; `None` when a plugin failed.
    pub(super) fn refused(&self, reaches: &mut Reaches, table: &Table, index: &Index) -> Option<Places> {
        let feasible = index.ranking.feasible();
        let mut left = feasible.clone();
        if let Some(asked) = self.only(looks_at_facts) {
            match self.question(&asked) {
                Some(question) => {
                    let nodes = reaches.nodes(question, table, |position| self.passes(&asked, position))?;
                    let both = left.words().iter().zip(nodes).map(|(one, other)| one & other);
                    left = Places::of_words(both.collect());
                }
                None => self.strike(&mut left, &asked, |_| true)?,
            }
        }
        if let Some(asked) = self.only(|plugin| plugin.is::<VolumeRestrictions>()) {
            self.strike(&mut left, &asked, |_| true)?;
        }
        if let Some(asked) = self.only(|plugin| plugin.is::<NodeVolumeLimits>()) {
            let rooms = reaches.rooms(self.cycle.cluster(), table);
            let wanted = i64::try_from(self.pod.mounts.claims.len()).ok()?;
            self.strike(&mut left, &asked, |position| rooms.get(position).is_none_or(|room| *room < wanted))?;
        }
        let refused = feasible.words().iter().zip(left.words()).map(|(all, left)| all & !left);
        Some(Places::of_words(refused.collect()))
    }

    /// All but the plugins of a kind; nothing if none of these has something to say.
    fn only(&self, kind: impl Fn(&dyn Any) -> bool) -> Option<Skipped> {
        let mut others = self.skipped.clone();
        for (skip, plugin) in others.filters.iter_mut().zip(&self.profile.filter) {
            *skip |= !kind(&**plugin);
        }
        others.filters.contains(&false).then_some(others)
    }

    /// On what the answer of those asked depends, if it is not on too much.
    fn question(&self, asked: &Skipped) -> Option<Question> {
        let mut question = Question { whereabouts: None, demanded: None };
        let all = self.profile.filter.iter().zip(&asked.filters).filter(|(_, skip)| !**skip);
        for plugin in all.map(|(plugin, _)| &**plugin as &dyn Any) {
            if plugin.is::<VolumeBinding>() {
                question.whereabouts = Some(self.cycle.noted::<Wanted>()?.whereabouts()?);
            } else {
                question.demanded = Some(self.cycle.noted::<Demanded>()?.clone());
            }
        }
        Some(question)
    }

    /// Takes out the nodes that those asked refuse, of those in doubt.
    fn strike(&self, left: &mut Places, asked: &Skipped, in_doubt: impl Fn(usize) -> bool) -> Option<()> {
        let mut refused = Vec::new();
        for position in left.from(0).filter(|position| in_doubt(*position)) {
            if !self.passes(asked, position)? {
                refused.push(position);
            }
        }
        refused.into_iter().for_each(|position| left.remove(position));
        Some(())
    }

    /// Whether those asked let the pod onto a node; `None` when one of them failed.
    fn passes(&self, asked: &Skipped, position: usize) -> Option<bool> {
        let node = self.cycle.cluster().node_at(position)?;
        let filters = Filters { profile: self.profile, pod: self.pod, skipped: asked };
        Some(filters.run_as_is(&self.cycle, node).ok()?.is_none())
    }
}
