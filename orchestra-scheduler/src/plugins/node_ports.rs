//! NodePorts: no two pods share a host port.

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Cycle, Filter, Plugin, PreFilter, Requeue};
use crate::verdict::{PreFiltered, Verdict};
use crate::view::{ClusterView, HostPort, NodeView, PodView};

/// Rules out nodes where a wanted host port is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodePorts;

fn conflict(wanted: &[HostPort], taken: &[HostPort]) -> bool {
    wanted.iter().any(|want| taken.iter().any(|port| port.conflicts_with(want)))
}

impl Plugin for NodePorts {
    fn name(&self) -> &str {
        "NodePorts"
    }
}

impl PreFilter for NodePorts {
    fn pre_filter(&self, _: &mut Cycle<'_>, pod: &PodView) -> PreFiltered {
        if pod.demand.host_ports.is_empty() { PreFiltered::Skip } else { PreFiltered::All }
    }
}

impl Filter for NodePorts {
    fn filter(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        if node.pods().iter().any(|other| conflict(&pod.demand.host_ports, &other.demand.host_ports)) {
            return Verdict::unschedulable("node(s) didn't have free ports for the requested pod ports");
        }
        Verdict::Pass
    }
}

impl Requeue for NodePorts {
    fn hint(&self, _: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        Hint::when(match event {
            ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::AssignedPodDeleted(gone) => {
                conflict(&pod.demand.host_ports, &gone.demand.host_ports)
            }
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod;
    use serde_json::{Value, json};

    fn ports(list: Value) -> Box<[HostPort]> {
        pod(json!({"spec": {"containers": [{"name": "c", "ports": list}]}})).demand.host_ports.clone()
    }

    #[test]
    fn a_port_conflicts_with_itself_and_with_every_address() {
        let any = json!([{"containerPort": 80, "hostPort": 80}]);
        let one = json!([{"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1"}]);
        let two = json!([{"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.2"}]);
        let udp = json!([{"containerPort": 80, "hostPort": 80, "protocol": "UDP"}]);
        let zeros = json!([{"containerPort": 80, "hostPort": 80, "hostIP": "0.0.0.0"}]);
        for (left, right, expected) in [
            (&any, &any, true),
            (&any, &one, true),
            (&one, &one, true),
            (&one, &two, false),
            (&any, &udp, false),
            (&zeros, &two, true),
        ] {
            assert_eq!(conflict(&ports(left.clone()), &ports(right.clone())), expected, "{left} {right}");
        }
    }

    #[test]
    fn sidecar_ports_count_and_ordinary_init_ports_do_not() {
        let port = |number: u16| json!([{"containerPort": number, "hostPort": number}]);
        let pod = pod(json!({"spec": {"containers": [{"name": "c"}], "initContainers": [
            {"name": "init", "ports": port(1)}, {"name": "side", "restartPolicy": "Always", "ports": port(2)}]}}));
        assert_eq!(pod.demand.host_ports.iter().map(|port| port.port).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_port_that_is_taken_can_be_had_by_evicting() {
        let wanting = |name: &str| {
            pod(json!({"metadata": {"name": name}, "spec": {"containers": [
                {"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]}}))
        };
        let mut cluster = crate::testing::cluster([json!({})]);
        let verdict = |cluster: &ClusterView| {
            NodePorts.filter(&Cycle::new(cluster), &wanting("new"), cluster.node("node").unwrap())
        };
        assert_eq!(verdict(&cluster), Verdict::Pass);
        cluster.place(wanting("old"), &crate::view::NodeName::from("node"));
        let taken = "node(s) didn't have free ports for the requested pod ports";
        assert_eq!(verdict(&cluster), Verdict::unschedulable(taken));
    }
}
