//! What is preferred: points for every domain, from both sides.

use super::{ByDomain, InterPodAffinity, NO_LABELS, domain, resolved};
use crate::plugin::{Cycle, Normalise, PreScore, Score};
use crate::unit::Points;
use crate::verdict::PreScored;
use crate::view::{Labels, NodeFacts, NodeView, PodAffinity, PodTerm, PodView, WeightedPodTerm};

/// The points of each domain.
#[derive(Clone, Debug)]
struct Sympathies(ByDomain);

/// The two sides of every meeting.
struct Meeting<'a> {
    plugin: &'a InterPodAffinity,
    pod: &'a PodView,
    own: PodAffinity,
    namespace: &'a Labels,
}

impl Meeting<'_> {
    /// What a placed pod means for the incoming one.
    fn count(&self, other: &PodView, node: &NodeFacts, points: &mut ByDomain) {
        let mut give = |term: &PodTerm, weight: i64| {
            if let Some(domain) = domain(node, &term.topology_key) {
                let sum = points.entry(domain).or_default();
                *sum = sum.saturating_add(weight);
            }
        };
        let wants = |one: &&WeightedPodTerm| one.term.matches(other, &NO_LABELS);
        self.own.preferred.iter().filter(wants).for_each(|one| give(&one.term, one.weight));
        self.own.preferred_anti.iter().filter(wants).for_each(|one| give(&one.term, -one.weight));
        if self.plugin.hard_weight > 0 {
            let wanted = other.affinity.required.iter().filter(|term| term.matches(self.pod, self.namespace));
            wanted.for_each(|term| give(term, self.plugin.hard_weight));
        }
        let wanted = |one: &&WeightedPodTerm| one.term.matches(self.pod, self.namespace);
        other.affinity.preferred.iter().filter(wanted).for_each(|one| give(&one.term, one.weight));
        other.affinity.preferred_anti.iter().filter(wanted).for_each(|one| give(&one.term, -one.weight));
    }
}

impl PreScore for InterPodAffinity {
    fn pre_score(&self, cycle: &mut Cycle<'_>, pod: &PodView, _: &[&NodeView]) -> PreScored {
        let prefers = pod.affinity.prefers();
        if self.ignore_preferences_of_existing && !prefers {
            return PreScored::Skip;
        }
        let cluster = cycle.cluster();
        let meeting = Meeting {
            plugin: self,
            pod,
            own: resolved(cluster, &pod.affinity),
            namespace: cluster.namespace_labels(&pod.key.namespace),
        };
        let mut points = ByDomain::new();
        for node in cluster.nodes() {
            let others = if prefers { node.pods() } else { node.pods_with_affinity() };
            for other in others {
                meeting.count(other, node.facts(), &mut points);
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

impl Normalise for InterPodAffinity {
    fn normalise(&self, _: &Cycle<'_>, _: &PodView, _: &[&NodeView], scores: &mut [Points]) {
        let least = scores.iter().map(|points| points.0).min().unwrap_or(0);
        let most = scores.iter().map(|points| points.0).max().unwrap_or(0);
        let range = most.saturating_sub(least);
        for points in scores {
            // The quotient first, as upstream: 29 of 100 becomes 28.
            let share = points.0.saturating_sub(least) as f64 / range as f64;
            points.0 = if range > 0 { (Points::MAX.0 as f64 * share) as i64 } else { 0 };
        }
    }
}
