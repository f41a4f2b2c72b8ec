//! Topology spread constraints: how uneven a pod lets its group become.

use k8s_openapi::api::core::v1 as api;
use orchestra_core::selector::{LabelSelector, Operator};

use super::Labels;
use super::group::read_selector;
use super::peer::with_own_labels;

/// What happens when a constraint cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsatisfiable {
    /// The pod waits.
    DoNotSchedule,
    /// The pod goes where it is violated least.
    ScheduleAnyway,
}

/// Whether something about a node is taken into account when domains are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InclusionPolicy {
    /// It is: nodes the pod cannot be on do not count.
    Honor,
    /// It is not.
    Ignore,
}

/// One constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpreadConstraint {
    /// How many more pods one domain may have than the emptiest.
    pub max_skew: i64,
    /// The node label whose value makes a domain.
    pub topology_key: Box<str>,
    /// What happens otherwise.
    pub unsatisfiable: Unsatisfiable,
    /// The pods that are counted.
    pub selector: LabelSelector,
    /// With fewer domains than this the emptiest counts as having none; at least 1.
    pub min_domains: usize,
    /// Whether nodes that the pod's node affinity rules out are left out.
    pub node_affinity: InclusionPolicy,
    /// Whether nodes with taints that the pod does not tolerate are left out.
    pub node_taints: InclusionPolicy,
}

impl SpreadConstraint {
    /// Reads a constraint of a pod with these labels.
    pub(crate) fn from_api(constraint: &api::TopologySpreadConstraint, labels: &Labels) -> Self {
        let policy = |text: &Option<String>, default| match text.as_deref() {
            Some("Honor") => InclusionPolicy::Honor,
            Some("Ignore") => InclusionPolicy::Ignore,
            _ => default,
        };
        let selector = read_selector(constraint.label_selector.as_ref());
        let keys = constraint
            .match_label_keys
            .as_deref()
            .filter(|keys| keys.iter().any(|key| labels.contains_key(key)));
        Self {
            max_skew: constraint.max_skew.into(),
            topology_key: constraint.topology_key.as_str().into(),
            unsatisfiable: match constraint.when_unsatisfiable.as_str() {
                "ScheduleAnyway" => Unsatisfiable::ScheduleAnyway,
                _ => Unsatisfiable::DoNotSchedule,
            },
            selector: match keys {
                Some(keys) => with_own_labels(&selector, Some(keys), Operator::In, labels),
                None => selector,
            },
            min_domains: constraint
                .min_domains
                .and_then(|least| usize::try_from(least).ok())
                .unwrap_or(1)
                .max(1),
            node_affinity: policy(&constraint.node_affinity_policy, InclusionPolicy::Honor),
            node_taints: policy(&constraint.node_taints_policy, InclusionPolicy::Ignore),
        }
    }

    /// A constraint that every pod gets which names none, over pods still to be selected.
    #[must_use]
    pub fn preferring(max_skew: i64, topology_key: &str) -> Self {
        Self {
            max_skew,
            topology_key: topology_key.into(),
            unsatisfiable: Unsatisfiable::ScheduleAnyway,
            selector: LabelSelector::nothing(),
            min_domains: 1,
            node_affinity: InclusionPolicy::Honor,
            node_taints: InclusionPolicy::Ignore,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(constraint: serde_json::Value) -> SpreadConstraint {
        let labels = Labels::from([("app".into(), "a".into()), ("hash".into(), "1".into())]);
        SpreadConstraint::from_api(&serde_json::from_value(constraint).unwrap(), &labels)
    }

    #[test]
    fn what_a_constraint_leaves_out_gets_upstreams_defaults() {
        let read = read(json!({"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}));
        assert_eq!((read.node_affinity, read.node_taints), (InclusionPolicy::Honor, InclusionPolicy::Ignore));
        assert_eq!((read.min_domains, read.selector), (1, LabelSelector::nothing()));
    }

    #[test]
    fn match_label_keys_add_the_pods_own_values_once() {
        let selector = |labels: serde_json::Value, keys: &[&str]| {
            read(json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": labels, "matchLabelKeys": keys}))
            .selector
            .to_string()
        };
        assert_eq!(selector(json!({"matchLabels": {"app": "a"}}), &["hash", "absent"]), "app=a,hash in (1)");
        let merged = json!({"matchExpressions": [{"key": "hash", "operator": "In", "values": ["1"]}]});
        assert_eq!(selector(merged, &["hash"]), "hash in (1)");
        assert_eq!(selector(json!({"matchLabels": {"app": "a"}}), &["absent"]), "app=a");
    }
}
