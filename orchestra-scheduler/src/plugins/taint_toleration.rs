//! TaintToleration: taints keep pods away that do not tolerate them.

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Cycle, Filter, Normalise, Plugin, Requeue, Score};
use crate::plugins::normalise::{Best, by_highest};
use crate::profile::Version;
use crate::unit::Points;
use crate::verdict::Verdict;
use crate::view::{ClusterView, NodeFacts, NodeView, PodView, Taint, TaintEffect};

/// Filters by `NoSchedule` and `NoExecute` taints, scores by `PreferNoSchedule` taints.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaintToleration {
    version: Version,
}

impl TaintToleration {
    /// The plugin as of one Kubernetes version; the wording of the refusal changed in 1.35.
    #[must_use]
    pub fn for_version(version: Version) -> Self {
        Self { version }
    }
}

fn forbidding<'a>(pod: &PodView, node: &'a NodeFacts) -> Option<&'a Taint> {
    node.taints.iter().find(|taint| taint.effect != TaintEffect::PreferNoSchedule && !pod.tolerates(taint))
}

impl Plugin for TaintToleration {
    fn name(&self) -> &str {
        "TaintToleration"
    }
}

impl Filter for TaintToleration {
    fn filter(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        match forbidding(pod, node.facts()) {
            None => Verdict::Pass,
            Some(taint) if self.version < Version::V1_35 => Verdict::unresolvable(format!(
                "node(s) had untolerated taint {{{}: {}}}",
                taint.key, taint.value
            )),
            Some(_) => Verdict::unresolvable("node(s) had untolerated taint(s)"),
        }
    }
}

impl Score for TaintToleration {
    fn score(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        let relevant =
            |effect: Option<TaintEffect>| effect.is_none_or(|effect| effect == TaintEffect::PreferNoSchedule);
        let tolerations = || pod.rules.tolerations.iter().filter(|toleration| relevant(toleration.effect));
        let disliked = node.facts().taints.iter().filter(|taint| {
            taint.effect == TaintEffect::PreferNoSchedule
                && !tolerations().any(|toleration| toleration.tolerates(taint))
        });
        Points(i64::try_from(disliked.count()).unwrap_or(i64::MAX))
    }
}

impl Normalise for TaintToleration {
    fn normalise(&self, _: &Cycle<'_>, _: &PodView, _: &[&NodeView], scores: &mut [Points]) {
        by_highest(scores, Best::Lowest);
    }
}

impl Requeue for TaintToleration {
    fn hint(&self, _: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        Hint::when(match event {
            ClusterEvent::NodeAdded(node) => forbidding(pod, node).is_none(),
            ClusterEvent::NodeUpdated { old, new } => {
                forbidding(pod, old).is_some() && forbidding(pod, new).is_none()
            }
            ClusterEvent::PodUpdated { old, new } => {
                new.uid == pod.uid && old.rules.tolerations != new.rules.tolerations
            }
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cluster, pod};
    use serde_json::{Value, json};

    fn tainted(taints: Value) -> ClusterView {
        cluster([json!({"spec": {"taints": taints}})])
    }

    #[test]
    fn first_untolerated_no_schedule_or_no_execute_taint_is_unresolvable() {
        for (effect, expected) in [
            ("NoSchedule", Verdict::unresolvable("node(s) had untolerated taint(s)")),
            ("NoExecute", Verdict::unresolvable("node(s) had untolerated taint(s)")),
            ("PreferNoSchedule", Verdict::Pass),
        ] {
            let cluster = tainted(json!([{"key": "k", "value": "v", "effect": effect}]));
            let node = cluster.node("node").unwrap();
            let verdict = |pod: &PodView| TaintToleration::default().filter(&Cycle::new(&cluster), pod, node);
            assert_eq!(verdict(&pod(json!({}))), expected);
            let tolerant = pod(json!({"spec": {"tolerations": [{"key": "k", "value": "v"}]}}));
            assert_eq!(verdict(&tolerant), Verdict::Pass);
        }
    }

    #[test]
    fn until_1_34_the_refusal_names_the_taint() {
        let cluster = tainted(json!([{"key": "k", "value": "v", "effect": "NoSchedule"}]));
        let plugin = TaintToleration::for_version(Version::V1_34);
        let verdict = plugin.filter(&Cycle::new(&cluster), &pod(json!({})), cluster.node("node").unwrap());
        assert_eq!(verdict, Verdict::unresolvable("node(s) had untolerated taint {k: v}"));
    }

    #[test]
    fn score_counts_untolerated_preferences_with_tolerations_of_that_or_any_effect() {
        let cluster = tainted(json!([
            {"key": "a", "effect": "PreferNoSchedule"},
            {"key": "b", "effect": "PreferNoSchedule"},
            {"key": "c", "effect": "NoSchedule"},
        ]));
        for (tolerations, expected) in [
            (json!([]), 2),
            (json!([{"key": "a", "operator": "Exists"}]), 1),
            (json!([{"key": "a", "operator": "Exists", "effect": "PreferNoSchedule"}]), 1),
            (json!([{"key": "a", "operator": "Exists", "effect": "NoSchedule"}]), 2),
        ] {
            let pod = pod(json!({"spec": {"tolerations": tolerations}}));
            let node = cluster.node("node").unwrap();
            assert_eq!(TaintToleration::default().score(&Cycle::new(&cluster), &pod, node), Points(expected));
        }
    }

    #[test]
    fn the_fewest_dislikes_are_best_and_without_any_all_nodes_get_the_most() {
        let cluster = tainted(json!([]));
        for (raw, expected) in [([0, 1, 2], [100, 50, 0]), ([0, 0, 0], [100, 100, 100])] {
            let mut scores = raw.map(Points);
            TaintToleration::default().normalise(&Cycle::new(&cluster), &pod(json!({})), &[], &mut scores);
            assert_eq!(scores, expected.map(Points));
        }
    }
}
