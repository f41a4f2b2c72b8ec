//! Asks the plugins about one node after the other.

use super::by_load::{Asked, ByLoad};
use super::plan::Plan;
use crate::engine::filter::Filters;
use crate::engine::narrow::Skipped;
use crate::guard::guarded;
use crate::plugin::Cycle;
use crate::profile::Profile;
use crate::unit::Points;
use crate::view::{NodeView, PodView};

/// Which plugins of a profile are asked about a node, by their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Questions {
    /// Filters that are not asked.
    pub(super) skipped: Skipped,
    /// Scorers that do not normalise.
    pub(super) plain: Vec<usize>,
    /// Those that do.
    pub(super) scaled: Vec<usize>,
}

/// What the plugins say about one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It will not do.
    None,
    /// The plugins did not agree to answer, or not within their range.
    Unsure,
    /// It will do; the weighted sum of final scores, without those that have to be normalised.
    Points(i32),
}

/// The plugins, ready to speak about nodes for one class.
pub(super) struct Judge<'a> {
    pub(super) plan: &'a Plan,
    pub(super) profile: &'a Profile,
    pub(super) cycle: Cycle<'a>,
    pub(super) pod: &'a PodView,
}

impl Judge<'_> {
    /// What they say about the node at `position`; a raw score for each scorer that normalises goes to `raws`.
    pub(super) fn worth(&self, questions: &Questions, position: usize, raws: &mut [i32]) -> Worth {
        let Some(node) = self.cycle.cluster().node_at(position) else { return Worth::None };
        let filters = Filters { profile: self.profile, pod: self.pod, skipped: &questions.skipped };
        match filters.run_as_is(&self.cycle, node) {
            Ok(None) => self.points(questions, node, raws).unwrap_or(Worth::Unsure),
            Ok(Some(_)) => Worth::None,
            Err(_) => Worth::Unsure,
        }
    }

    fn points(&self, questions: &Questions, node: &NodeView, raws: &mut [i32]) -> Option<Worth> {
        let mut sum = 0;
        for scorer in &questions.plain {
            let points = self.score(*scorer, node)?;
            if !(Points::MIN..=Points::MAX).contains(&points) {
                return None;
            }
            sum += i32::try_from(points.0).ok()? * self.plan.scorers.get(*scorer)?.weight;
        }
        for (raw, scorer) in raws.iter_mut().zip(&questions.scaled) {
            let points = self.score(*scorer, node)?;
            *raw = i32::try_from(points.0).ok().filter(|raw| *raw >= 0)?;
        }
        Some(Worth::Points(sum))
    }

    /// Those to be asked about the load.
    pub(super) fn asked(&self, by_load: ByLoad) -> Asked<'_> {
        Asked::of(by_load, self.profile, &self.plan.scorers, self.pod)
    }

    fn score(&self, scorer: usize, node: &NodeView) -> Option<Points> {
        let plugin = &self.profile.score.get(scorer)?.plugin;
        guarded(plugin.name(), "Score", || plugin.score(&self.cycle, self.pod, node)).ok()
    }
}
