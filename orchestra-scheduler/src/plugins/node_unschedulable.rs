//! NodeUnschedulable: cordoned nodes take no new pods.

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Cycle, Filter, Plugin, Requeue};
use crate::verdict::Verdict;
use crate::view::{ClusterView, NodeView, PodView, Taint, TaintEffect};

/// Rules out nodes with `spec.unschedulable`, unless the pod tolerates the taint that goes with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeUnschedulable;

fn tolerates_cordon(pod: &PodView) -> bool {
    pod.tolerates(&Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        value: "".into(),
        effect: TaintEffect::NoSchedule,
    })
}

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &str {
        "NodeUnschedulable"
    }
}

impl Filter for NodeUnschedulable {
    fn filter(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        if !node.facts().unschedulable || tolerates_cordon(pod) {
            return Verdict::Pass;
        }
        Verdict::unresolvable("node(s) were unschedulable")
    }
}

impl Requeue for NodeUnschedulable {
    fn hint(&self, _: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        Hint::when(match event {
            ClusterEvent::NodeAdded(node) => !node.unschedulable,
            ClusterEvent::NodeUpdated { old, new } => old.unschedulable && !new.unschedulable,
            ClusterEvent::PodUpdated { new, .. } => new.uid == pod.uid && tolerates_cordon(new),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cluster, pod};
    use serde_json::json;

    #[test]
    fn cordon_blocks_unless_its_taint_is_tolerated() {
        let cluster = cluster([json!({"spec": {"unschedulable": true}})]);
        let verdict = |tolerations| {
            let pod = pod(json!({"spec": {"tolerations": tolerations}}));
            NodeUnschedulable.filter(&Cycle::new(&cluster), &pod, cluster.node("node").unwrap())
        };
        assert_eq!(verdict(json!([])), Verdict::unresolvable("node(s) were unschedulable"));
        assert_eq!(verdict(json!([{"operator": "Exists"}])), Verdict::Pass);
        let exact = json!([{"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]);
        assert_eq!(verdict(exact), Verdict::Pass);
    }
}
