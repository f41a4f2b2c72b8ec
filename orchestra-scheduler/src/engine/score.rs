//! `PreScore`, `Score` and `NormalizeScore`: what each node is worth.

use std::collections::BTreeSet;

use crate::guard::{failure, guarded};
use crate::outcome::Failure;
use crate::plugin::Cycle;
use crate::profile::Profile;
use crate::unit::Points;
use crate::verdict::PreScored;
use crate::view::{NodeView, PodView};

/// Hears what scorers say. Who hears nothing costs nothing: the calls are to empty functions that the compiler sees.
pub(super) trait Hear {
    /// The scores of the scorer at this place of the profile, as it gave them.
    fn raw(&mut self, _scorer: usize, _points: &[Points]) {}
    /// The same once they were normalised.
    fn normalised(&mut self, _scorer: usize, _points: Vec<Points>) {}
}

impl Hear for () {}

/// The weighted sum of all scores for each feasible node.
pub(super) fn score(
    profile: &Profile,
    cycle: &mut Cycle<'_>,
    pod: &PodView,
    nodes: &[&NodeView],
) -> Result<Vec<i64>, Failure> {
    score_heard(profile, cycle, pod, nodes, &mut ())
}

/// The same, with someone who hears what each plugin said.
pub(super) fn score_heard(
    profile: &Profile,
    cycle: &mut Cycle<'_>,
    pod: &PodView,
    nodes: &[&NodeView],
    hear: &mut impl Hear,
) -> Result<Vec<i64>, Failure> {
    let mut skipped = BTreeSet::new();
    for plugin in &profile.pre_score {
        let name = plugin.name();
        match guarded(name, "PreScore", || plugin.pre_score(cycle, pod, nodes))? {
            PreScored::Score => {}
            PreScored::Skip => {
                skipped.insert(name);
            }
            PreScored::Fail(error) => {
                return Err(failure(name, format!("running PreScore plugin {name:?}: {error}")));
            }
        }
    }
    let mut totals = vec![0_i64; nodes.len()];
    let asked = profile.score.iter().enumerate();
    for (place, scorer) in asked.filter(|(_, scorer)| !skipped.contains(scorer.plugin.name())) {
        let name = scorer.plugin.name();
        let mut points = Vec::with_capacity(nodes.len());
        for node in nodes {
            points.push(guarded(name, "Score", || scorer.plugin.score(cycle, pod, node))?);
        }
        hear.raw(place, &points);
        if let Some(plugin) = &scorer.normalise {
            guarded(name, "NormalizeScore", || plugin.normalise(cycle, pod, nodes, &mut points))?;
        }
        for (total, points) in totals.iter_mut().zip(&points) {
            if !(Points::MIN..=Points::MAX).contains(points) {
                return Err(failure(
                    name,
                    format!(
                        "plugin {name:?} returns an invalid score {}, it should in the range of [{}, {}] after normalizing",
                        points.0,
                        Points::MIN.0,
                        Points::MAX.0
                    ),
                ));
            }
            *total = total.saturating_add(points.0.saturating_mul(i64::from(scorer.weight)));
        }
        hear.normalised(place, points);
    }
    Ok(totals)
}
