//! NodeAffinity: node selectors and node affinity, demanded and preferred.

use std::collections::BTreeSet;

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Cycle, Filter, Normalise, Plugin, PreFilter, PreScore, Requeue, Score};
use crate::plugins::normalise::{Best, by_highest};
use crate::unit::Points;
use crate::verdict::{PreFiltered, PreScored, Verdict};
use crate::view::{
    ClusterView, NodeFacts, NodeName, NodeSelector, NodeView, PodView, PreferredTerm, SelectorOperator,
};

/// Filters and scores by `spec.nodeSelector`, `spec.affinity.nodeAffinity`, and the affinity its own
/// configuration adds to every pod.
#[derive(Clone, Debug, Default)]
pub struct NodeAffinity {
    added_required: Option<NodeSelector>,
    added_preferred: Vec<PreferredTerm>,
}

impl NodeAffinity {
    /// Adds an affinity to that of every pod (upstream's `addedAffinity`).
    #[must_use]
    pub fn adding(required: Option<NodeSelector>, preferred: Vec<PreferredTerm>) -> Self {
        Self { added_required: required, added_preferred: preferred }
    }

    fn preferred<'a>(&'a self, pod: &'a PodView) -> impl Iterator<Item = &'a PreferredTerm> {
        self.added_preferred.iter().chain(&pod.rules.preferred_affinity)
    }
}

/// The nodes that the terms name through `metadata.name`; `None` when some term names none.
fn named_nodes(selector: &NodeSelector) -> Option<BTreeSet<NodeName>> {
    let mut all = BTreeSet::new();
    for term in &selector.terms {
        let mut of_term: Option<BTreeSet<NodeName>> = None;
        for field in term.as_ref()?.fields.iter().filter(|field| field.operator == SelectorOperator::In) {
            let named: BTreeSet<_> = field.values.iter().map(|name| NodeName::from(&**name)).collect();
            of_term = Some(match of_term {
                Some(names) => names.intersection(&named).cloned().collect(),
                None => named,
            });
        }
        all.extend(of_term?);
    }
    Some(all)
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &str {
        "NodeAffinity"
    }
}

impl PreFilter for NodeAffinity {
    fn pre_filter(&self, _: &mut Cycle<'_>, pod: &PodView) -> PreFiltered {
        let rules = &pod.rules;
        let Some(required) = &rules.required_affinity else {
            let nothing = rules.node_selector.is_empty() && self.added_required.is_none();
            return if nothing { PreFiltered::Skip } else { PreFiltered::All };
        };
        match named_nodes(required) {
            _ if required.terms.is_empty() => PreFiltered::All,
            None => PreFiltered::All,
            Some(names) if names.is_empty() => {
                PreFiltered::Reject(crate::verdict::Rejection::unresolvable("pod affinity terms conflict"))
            }
            Some(names) => PreFiltered::Only(names),
        }
    }
}

impl Filter for NodeAffinity {
    fn filter(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        let facts = node.facts();
        if !self.added_required.as_ref().is_none_or(|selector| selector.matches(&facts.labels, &facts.name)) {
            return Verdict::unresolvable("node(s) didn't match scheduler-enforced node affinity");
        }
        if !pod.rules.admit(facts) {
            return Verdict::unresolvable("node(s) didn't match Pod's node affinity/selector");
        }
        Verdict::Pass
    }
}

impl PreScore for NodeAffinity {
    fn pre_score(&self, _: &mut Cycle<'_>, pod: &PodView, _: &[&NodeView]) -> PreScored {
        if self.preferred(pod).next().is_none() { PreScored::Skip } else { PreScored::Score }
    }
}

impl Score for NodeAffinity {
    fn score(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        let facts = node.facts();
        let matching = self.preferred(pod).filter(|one| one.term.matches(&facts.labels, &facts.name));
        Points(matching.map(|one| i64::from(one.weight)).sum())
    }
}

impl Normalise for NodeAffinity {
    fn normalise(&self, _: &Cycle<'_>, _: &PodView, _: &[&NodeView], scores: &mut [Points]) {
        by_highest(scores, Best::Highest);
    }
}

impl Requeue for NodeAffinity {
    fn hint(&self, _: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        let fits = |node: &NodeFacts| {
            self.added_required.as_ref().is_none_or(|added| added.matches(&node.labels, &node.name))
                && pod.rules.admit(node)
        };
        Hint::when(match event {
            ClusterEvent::NodeAdded(node) => fits(node),
            ClusterEvent::NodeUpdated { old, new } => !fits(old) && fits(new),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cluster, pod};
    use serde_json::{Value, json};

    const MISMATCH: &str = "node(s) didn't match Pod's node affinity/selector";

    fn requiring(terms: Value) -> std::sync::Arc<PodView> {
        pod(json!({"spec": {"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}}))
    }

    fn named(names: &[&str]) -> Value {
        let fields: Vec<_> = names
            .iter()
            .map(|name| json!({"key": "metadata.name", "operator": "In", "values": [name]}))
            .collect();
        json!({"matchFields": fields})
    }

    #[test]
    fn node_selector_and_required_terms_must_both_match() {
        let cluster = cluster([json!({"metadata": {"name": "n", "labels": {"disk": "ssd", "arch": "arm"}}})]);
        let node = cluster.node("n").unwrap();
        let arch = |value: &str| {
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "arch", "operator": "In", "values": [value]}]}]}}})
        };
        for (selector, affinity, passes) in [
            (json!({"disk": "ssd"}), arch("arm"), true),
            (json!({"disk": "hdd"}), arch("arm"), false),
            (json!({"disk": "ssd"}), arch("x86"), false),
        ] {
            let pod = pod(json!({"spec": {"nodeSelector": selector, "affinity": affinity}}));
            let verdict = NodeAffinity::default().filter(&Cycle::new(&cluster), &pod, node);
            assert_eq!(verdict, if passes { Verdict::Pass } else { Verdict::unresolvable(MISMATCH) });
        }
    }

    #[test]
    fn required_with_zero_terms_matches_nothing() {
        let cluster = cluster([json!({})]);
        let verdict = NodeAffinity::default().filter(
            &Cycle::new(&cluster),
            &requiring(json!([])),
            cluster.node("node").unwrap(),
        );
        assert_eq!(verdict, Verdict::unresolvable(MISMATCH));
    }

    #[test]
    fn match_fields_narrow_by_intersection_in_a_term_and_union_across_terms() {
        let cluster = cluster([json!({})]);
        let narrowed =
            |terms| NodeAffinity::default().pre_filter(&mut Cycle::new(&cluster), &requiring(terms));
        let only =
            |names: &[&str]| PreFiltered::Only(names.iter().map(|name| NodeName::from(*name)).collect());
        assert_eq!(narrowed(json!([named(&["a"]), named(&["b"])])), only(&["a", "b"]));
        assert_eq!(narrowed(json!([named(&["a", "b"]), named(&["c"])])), only(&["c"]));
        let expression = json!({"matchExpressions": [{"key": "k", "operator": "Exists"}]});
        assert_eq!(narrowed(json!([named(&["a"]), expression])), PreFiltered::All);
        assert_eq!(
            narrowed(json!([named(&["a", "b"])])),
            PreFiltered::Reject(crate::verdict::Rejection::unresolvable("pod affinity terms conflict"))
        );
    }

    #[test]
    fn score_sums_the_weights_of_matching_preferences_and_skips_without_any() {
        let cluster = cluster([json!({"metadata": {"name": "n", "labels": {"a": "1", "b": "1"}}})]);
        let preference = |weight: i32, key: &str| json!({"weight": weight, "preference": {"matchExpressions": [{"key": key, "operator": "Exists"}]}});
        let pod = pod(json!({"spec": {"affinity": {"nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                preference(10, "a"), preference(5, "b"), preference(80, "c"), {"weight": 9, "preference": {}}]}}}}));
        let plugin = NodeAffinity::default();
        assert_eq!(plugin.score(&Cycle::new(&cluster), &pod, cluster.node("n").unwrap()), Points(15));
        assert_eq!(
            plugin.pre_score(&mut Cycle::new(&cluster), &crate::testing::pod(json!({})), &[]),
            PreScored::Skip
        );
    }

    #[test]
    fn added_affinity_is_demanded_of_every_pod() {
        let cluster = cluster([json!({})]);
        let plugin = NodeAffinity::adding(Some(NodeSelector::default()), Vec::new());
        let verdict = plugin.filter(&Cycle::new(&cluster), &pod(json!({})), cluster.node("node").unwrap());
        assert_eq!(verdict, Verdict::unresolvable("node(s) didn't match scheduler-enforced node affinity"));
    }

    fn having(key: &str) -> Value {
        json!({"matchExpressions": [{"key": key, "operator": "Exists"}]})
    }

    #[test]
    fn what_is_added_comes_on_top_of_what_the_pod_says() {
        let cluster = cluster([json!({"metadata": {"name": "n", "labels": {"a": "1"}}})]);
        let (node, cycle) = (cluster.node("n").unwrap(), Cycle::new(&cluster));
        let selector = |key: &str| {
            NodeSelector::from_api(
                &serde_json::from_value(json!({"nodeSelectorTerms": [having(key)]})).unwrap(),
            )
        };
        let preference = json!({"weight": 7, "preference": having("a")});
        let preferred = PreferredTerm::from_api(&serde_json::from_value(preference).unwrap()).unwrap();
        let plugin = NodeAffinity::adding(Some(selector("a")), vec![preferred]);
        assert_eq!(plugin.filter(&cycle, &requiring(json!([having("a")])), node), Verdict::Pass);
        let unmet = requiring(json!([having("b")]));
        assert_eq!(plugin.filter(&cycle, &unmet, node), Verdict::unresolvable(MISMATCH));
        assert_eq!(plugin.pre_score(&mut Cycle::new(&cluster), &pod(json!({})), &[]), PreScored::Score);
        assert_eq!(plugin.score(&cycle, &pod(json!({})), node), Points(7));
    }

    #[test]
    fn the_most_preferred_node_gets_100_and_the_others_their_share() {
        let cluster = cluster([json!({})]);
        for (raw, expected) in [([15, 5, 0], [100, 33, 0]), ([0, 0, 0], [0, 0, 0])] {
            let mut scores = raw.map(Points);
            NodeAffinity::default().normalise(&Cycle::new(&cluster), &pod(json!({})), &[], &mut scores);
            assert_eq!(scores, expected.map(Points));
        }
    }
}
