//! Plugins whose answers follow from a node's load: asked again whenever pods come or go, which is most of the work
//! where classes are many. All others look at what the node says about itself, and that seldom changes.
//!
//! The formulas are the plugins' own ([`NodeResourcesFit::score_load`] and its like, in short [`FitByLoad`] and
//! [`BalancedByLoad`]); here is only who is asked, in which place.

use std::any::Any;

use super::judge::Worth;
use super::plan::ScorerPlan;
use crate::plugins::resources_balanced::BalancedByLoad;
use crate::plugins::resources_fit::FitByLoad;
use crate::plugins::{NodeResourcesBalancedAllocation, NodeResourcesFit};
use crate::profile::Profile;
use crate::unit::Points;
use crate::view::{Brief, Load, PodView};

/// Where a profile asks plugins whose answers follow from the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ByLoad {
    /// The place of NodeResourcesFit among the filters.
    pub(super) filter: Option<usize>,
    /// Its place among the scorers.
    pub(super) fit: Option<usize>,
    /// The place of NodeResourcesBalancedAllocation.
    pub(super) balanced: Option<usize>,
}

impl ByLoad {
    /// The places in a profile of known plugins, none of them there twice.
    pub(super) fn of(profile: &Profile) -> Option<Self> {
        let filters = profile.filter.iter().map(|plugin| (&**plugin as &dyn Any).is::<NodeResourcesFit>());
        let scorers = |is: fn(&dyn Any) -> bool| {
            once(profile.score.iter().map(move |scorer| is(&*scorer.plugin as &dyn Any)))
        };
        Some(Self {
            filter: once(filters)?,
            fit: scorers(|plugin| plugin.is::<NodeResourcesFit>())?,
            balanced: scorers(|plugin| plugin.is::<NodeResourcesBalancedAllocation>())?,
        })
    }

    /// The same for pods like this one, of whose scorers these speak; `None` when more than the load matters to them.
    pub(super) fn for_class(self, profile: &Profile, pod: &PodView, active: &[bool]) -> Option<Self> {
        let speaks = |place: &usize| active.get(*place).copied().unwrap_or(false);
        let class = Self {
            filter: self.filter,
            fit: self.fit.filter(speaks),
            balanced: self.balanced.filter(speaks),
        };
        let asked = Plugins::of(class, profile, &[]);
        let follows = pod.demand.host_ports.is_empty()
            && asked.filter.is_none_or(|fit| fit.filters_by_load(pod))
            && asked.fit.is_none_or(|(fit, _)| fit.scores_by_load(pod))
            && asked.balanced.is_none_or(|(balanced, _)| balanced.scores_by_load(pod));
        follows.then_some(class)
    }

    /// Whether the scorer at this place is one of them.
    pub(super) fn scores(self, place: usize) -> bool {
        self.fit == Some(place) || self.balanced == Some(place)
    }
}

/// The one place where something holds, if any; nothing when there are several.
fn once(holds: impl Iterator<Item = bool>) -> Option<Option<usize>> {
    let mut places = holds.enumerate().filter(|(_, holds)| *holds).map(|(place, _)| place);
    let first = places.next();
    places.next().is_none().then_some(first)
}

/// The plugins themselves, with their weights.
#[derive(Clone, Copy)]
struct Plugins<'a> {
    filter: Option<&'a NodeResourcesFit>,
    fit: Option<(&'a NodeResourcesFit, i32)>,
    balanced: Option<(&'a NodeResourcesBalancedAllocation, i32)>,
}

impl<'a> Plugins<'a> {
    fn of(places: ByLoad, profile: &'a Profile, scorers: &[ScorerPlan]) -> Self {
        let scorer = |place: Option<usize>| {
            let place = place?;
            let weight = scorers.get(place).map_or(0, |scorer| scorer.weight);
            Some((&*profile.score.get(place)?.plugin as &dyn Any, weight))
        };
        let filter = places.filter.and_then(|place| profile.filter.get(place));
        Self {
            filter: filter.and_then(|plugin| (&**plugin as &dyn Any).downcast_ref()),
            fit: scorer(places.fit).and_then(|(plugin, weight)| Some((plugin.downcast_ref()?, weight))),
            balanced: scorer(places.balanced)
                .and_then(|(plugin, weight)| Some((plugin.downcast_ref()?, weight))),
        }
    }
}

/// The plugins, asked for one pod about many nodes.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pod: &'a PodView,
    plugins: Plugins<'a>,
    /// All three, where what they say of this pod follows from few numbers.
    quick: Option<Quick>,
}

/// What all three say where numbers are exact.
#[derive(Clone, Copy)]
struct Quick {
    fit: FitByLoad,
    fit_weight: i32,
    balanced: BalancedByLoad,
    balanced_weight: i32,
}

impl<'a> Asked<'a> {
    pub(super) fn of(places: ByLoad, profile: &'a Profile, scorers: &[ScorerPlan], pod: &'a PodView) -> Self {
        let plugins = Plugins::of(places, profile, scorers);
        let quick = plugins.fit.zip(plugins.balanced).and_then(|((fit, fit_weight), (balanced, other))| {
            // In brief the pod is asked whether it fits, too.
            plugins.filter?;
            let (fit, balanced) = (FitByLoad::of(fit, pod)?, BalancedByLoad::of(balanced, pod)?);
            Some(Quick { fit, fit_weight, balanced, balanced_weight: other })
        });
        Self { pod, plugins, quick }
    }

    /// What they say of a node: whether the pod fits, and the weighted sum of their scores.
    #[inline(always)]
    pub(super) fn worth(&self, brief: &Brief, load: &Load) -> Worth {
        match &self.quick {
            Some(quick) if brief.holds => match quick.fit.fits(brief) {
                true => Worth::Points(
                    quick.fit.score(brief) * quick.fit_weight
                        + quick.balanced.score(brief) * quick.balanced_weight,
                ),
                false => Worth::None,
            },
            _ => self.worth_at_length(load),
        }
    }

    /// The same where numbers are not exact, or plugins have more to say.
    #[cold]
    #[inline(never)]
    fn worth_at_length(&self, load: &Load) -> Worth {
        let Plugins { filter, fit, balanced } = self.plugins;
        if filter.is_some_and(|fit| !fit.fits_load(self.pod, load)) {
            return Worth::None;
        }
        let fit = fit.map(|(plugin, weight)| (plugin.score_load(self.pod, load), weight));
        let balanced = balanced.map(|(plugin, weight)| (plugin.score_load(self.pod, load), weight));
        let mut weighted = fit.into_iter().chain(balanced);
        let sum = weighted.try_fold(0, |sum, (points, weight)| Some(sum + in_range(points)? * weight));
        sum.map_or(Worth::Unsure, Worth::Points)
    }
}

/// The points, if a plugin may give so many.
#[inline]
fn in_range(points: Points) -> Option<i32> {
    if (Points::MIN..=Points::MAX).contains(&points) { i32::try_from(points.0).ok() } else { None }
}
