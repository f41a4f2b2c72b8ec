//! NodeName: a pod that names its node runs nowhere else.

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Cycle, Filter, Plugin, Requeue};
use crate::verdict::Verdict;
use crate::view::{ClusterView, NodeView, PodView};

/// Passes only the node in `spec.nodeName`, if the pod has one.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &str {
        "NodeName"
    }
}

impl Filter for NodeName {
    fn filter(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        if pod.node.as_ref().is_none_or(|wanted| wanted == node.name()) {
            return Verdict::Pass;
        }
        Verdict::unresolvable("node(s) didn't match the requested node name")
    }
}

impl Requeue for NodeName {
    fn hint(&self, _: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        Hint::when(
            matches!(event, ClusterEvent::NodeAdded(node) if pod.node.as_ref().is_none_or(|name| *name == node.name)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cluster, pod};
    use serde_json::json;

    #[test]
    fn node_name_is_an_exact_match_and_unresolvable() {
        let cluster = cluster([json!({"metadata": {"name": "a"}}), json!({"metadata": {"name": "ab"}})]);
        let pod = pod(json!({"spec": {"nodeName": "a"}}));
        let verdict = |node| NodeName.filter(&Cycle::new(&cluster), &pod, cluster.node(node).unwrap());
        assert_eq!(verdict("a"), Verdict::Pass);
        assert_eq!(verdict("ab"), Verdict::unresolvable("node(s) didn't match the requested node name"));
    }
}
