//! Ports of the node itself that pods have. A pod that names one which another has is not taken in, as upstream's kubelet does it
//! (`GeneralPredicates`, `NodePorts`): a scheduler would not have put it here, but whoever names the node asks none.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;

use super::spec::{Role, members};

/// The reason of a pod that was not taken in, and of the event that tells so.
pub(crate) const REASON: &str = "NodePorts";
/// Why, in upstream's words.
pub(crate) const MESSAGE: &str =
    "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";

/// A port of the node, at one of its addresses or at all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NodePort {
    number: i32,
    protocol: String,
    /// Empty for all.
    address: String,
}

impl NodePort {
    fn meets(&self, other: &Self) -> bool {
        let is_everywhere = self.address.is_empty() || other.address.is_empty();
        self.number == other.number
            && self.protocol == other.protocol
            && (is_everywhere || self.address == other.address)
    }
}

/// The ports that a pod wants of its node.
fn wanted(pod: &Pod) -> Vec<NodePort> {
    let lasting = members(pod).into_iter().filter(|member| matches!(member.role, Role::Main | Role::Sidecar));
    let mut out = Vec::new();
    for member in lasting {
        for port in member.container.ports.iter().flatten() {
            let Some(number) = port.host_port.filter(|number| *number > 0) else { continue };
            let address = port.host_ip.clone().filter(|address| address != "0.0.0.0").unwrap_or_default();
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            out.push(NodePort { number, protocol, address });
        }
    }
    out
}

/// Which pod has which ports, by uid.
#[derive(Debug, Default)]
pub(crate) struct Ports(Mutex<HashMap<String, Vec<NodePort>>>);

impl Ports {
    fn held(&self) -> MutexGuard<'_, HashMap<String, Vec<NodePort>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a pod what it wants, or nothing if another has some of it. Whether it got it.
    pub(crate) fn take(&self, uid: &str, pod: &Pod) -> bool {
        let wanted = wanted(pod);
        if wanted.is_empty() {
            return true;
        }
        let mut held = self.held();
        let mut others = held.iter().filter(|(other, _)| *other != uid).flat_map(|(_, ports)| ports);
        if others.any(|port| wanted.iter().any(|own| own.meets(port))) {
            return false;
        }
        held.insert(uid.to_owned(), wanted);
        true
    }

    /// The pod is over.
    pub(crate) fn release(&self, uid: &str) {
        self.held().remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(ports: Value) -> Pod {
        let spec = json!({"containers": [{"name": "c", "ports": ports}]});
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_port_is_one_pods_at_a_time() {
        let ports = Ports::default();
        let web = pod(json!([{"containerPort": 80, "hostPort": 8080}]));
        assert!(ports.take("a", &web) && ports.take("a", &web));
        assert!(!ports.take("b", &web));
        assert!(ports.take("b", &pod(json!([{"containerPort": 80}]))), "what no pod wants nobody has");
        ports.release("a");
        assert!(ports.take("b", &web));
    }

    #[test]
    fn protocols_and_addresses_tell_ports_apart() {
        let one = |protocol: &str, address: &str| {
            pod(json!([{"containerPort": 80, "hostPort": 53, "protocol": protocol, "hostIP": address}]))
        };
        let ports = Ports::default();
        assert!(ports.take("tcp", &one("TCP", "10.0.0.1")));
        assert!(ports.take("udp", &one("UDP", "10.0.0.1")));
        assert!(ports.take("other", &one("TCP", "10.0.0.2")));
        assert!(!ports.take("same", &one("TCP", "10.0.0.2")));
        assert!(!ports.take("all", &one("TCP", "0.0.0.0")) && !ports.take("any", &one("UDP", "")));
    }
}
