//! What is preferred: points for every domain, from both sides.

use super::{ByDomain, InterPodAffinity, Newcomer, domain};
use crate::plugin::{Cycle, Normalise, PreScore, Score};
use crate::unit::Points;
use crate::verdict::PreScored;
use crate::view::{NodeView, PodView};

/// The points of each domain.
#[derive(Clone, Debug)]
struct Sympathies(ByDomain);

impl PreScore for InterPodAffinity {
    fn pre_score(&self, cycle: &mut Cycle<'_>, pod: &PodView, _: &[&NodeView]) -> PreScored {
        if !self.scores(pod) {
            return PreScored::Skip;
        }
        let cluster = cycle.cluster();
        let newcomer = Newcomer::of(cluster, pod);
        let mut points = ByDomain::new();
        for node in cluster.nodes() {
            let others = if pod.affinity.prefers() { node.pods() } else { node.pods_with_affinity() };
            for other in others {
                newcomer.points(self, pod, other, |key, weight| {
                    if let Some(domain) = domain(node.facts(), key) {
                        let sum = points.entry(domain).or_default();
                        *sum = sum.saturating_add(weight);
                    }
                });
            }
        }
        if points.is_empty() {
            return PreScored::Skip;
        }
        cycle.note(Sympathies(points));
        PreScored::Score
    }
}

impl Score for InterPodAffinity {
    fn score(&self, cycle: &Cycle<'_>, _: &PodView, node: &NodeView) -> Points {
        let Some(Sympathies(points)) = cycle.noted::<Sympathies>() else { return Points(0) };
        let here = points.iter().filter(|((key, value), _)| node.facts().labels.get(&**key) == Some(value));
        Points(here.fold(0, |sum, (_, points)| sum.saturating_add(*points)))
    }
}

/// What raw points become between the least and the most there are.
pub(crate) fn share(raw: i64, least: i64, most: i64) -> i64 {
    let range = most.saturating_sub(least);
    // The quotient first, as upstream: 29 of 100 becomes 28.
    let share = raw.saturating_sub(least) as f64 / range as f64;
    if range > 0 { (Points::MAX.0 as f64 * share) as i64 } else { 0 }
}

impl Normalise for InterPodAffinity {
    fn normalise(&self, _: &Cycle<'_>, _: &PodView, _: &[&NodeView], scores: &mut [Points]) {
        let least = scores.iter().map(|points| points.0).min().unwrap_or(0);
        let most = scores.iter().map(|points| points.0).max().unwrap_or(0);
        for points in scores {
            points.0 = share(points.0, least, most);
        }
    }
}
