//! NodeDeclaredFeatures: a pod that needs a feature of its node goes to nodes that declare it.

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Cycle, Filter, Plugin, PreFilter, Requeue};
use crate::verdict::{PreFiltered, Verdict};
use crate::view::{ClusterView, NodeFacts, NodeView, PodView};

/// Filters by `status.declaredFeatures` of nodes; a default plugin from 1.36 on.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeDeclaredFeatures;

fn declares_all(pod: &PodView, node: &NodeFacts) -> bool {
    pod.rules.features.iter().all(|needed| node.declared_features.contains(*needed))
}

impl Plugin for NodeDeclaredFeatures {
    fn name(&self) -> &str {
        "NodeDeclaredFeatures"
    }
}

impl PreFilter for NodeDeclaredFeatures {
    fn pre_filter(&self, _: &mut Cycle<'_>, pod: &PodView) -> PreFiltered {
        if pod.rules.features.is_empty() { PreFiltered::Skip } else { PreFiltered::All }
    }
}

impl Filter for NodeDeclaredFeatures {
    fn filter(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        if declares_all(pod, node.facts()) {
            return Verdict::Pass;
        }
        Verdict::unresolvable("node(s) didn't match Pod's required features")
    }
}

impl Requeue for NodeDeclaredFeatures {
    fn hint(&self, _: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        Hint::when(match event {
            ClusterEvent::NodeAdded(node) => declares_all(pod, node),
            ClusterEvent::NodeUpdated { old, new } => !declares_all(pod, old) && declares_all(pod, new),
            ClusterEvent::PodUpdated { old, new } => {
                new.uid == pod.uid && old.rules.features != new.rules.features
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

    fn verdict(spec: Value, declared: Value) -> Option<Verdict> {
        let cluster = cluster([json!({"status": {"declaredFeatures": declared}})]);
        let (pod, mut cycle) = (pod(json!({"spec": spec})), Cycle::new(&cluster));
        match NodeDeclaredFeatures.pre_filter(&mut cycle, &pod) {
            PreFiltered::Skip => None,
            _ => Some(NodeDeclaredFeatures.filter(&cycle, &pod, cluster.node("node").unwrap())),
        }
    }

    #[test]
    fn needed_features_are_read_from_the_pod_and_have_to_be_declared() {
        let restarting = json!({"containers": [{"name": "c", "restartPolicyRules": [
            {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}]}]});
        let hosted = json!({"hostNetwork": true, "hostUsers": false});
        let refused = Some(Verdict::unresolvable("node(s) didn't match Pod's required features"));
        for (spec, declared, expected) in [
            (json!({}), json!([]), None),
            (json!({"hostNetwork": true}), json!([]), None),
            (hosted.clone(), json!([]), refused.clone()),
            (hosted, json!(["Unheard", "UserNamespacesHostNetworkSupport"]), Some(Verdict::Pass)),
            (restarting.clone(), json!(["UserNamespacesHostNetworkSupport"]), refused),
            (restarting, json!(["RestartAllContainersOnContainerExits"]), Some(Verdict::Pass)),
        ] {
            assert_eq!(verdict(spec.clone(), declared.clone()), expected, "{spec} {declared}");
        }
    }
}
