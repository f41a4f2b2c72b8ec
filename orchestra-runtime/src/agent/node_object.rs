//! The Node an agent registers, as a function of what the agent knows.
//!
//! What others wrote to the Node (labels, taints, annotations, conditions of their own) is never part of it: the
//! agent adds its own and leaves the rest alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus,
    NodeSystemInfo, Taint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use orchestra_core::quantity;

use super::machine::SystemInfo;
use crate::runtime::Version;

/// The version the agent reports: the Kubernetes it behaves like, and whose it is.
const KUBELET_VERSION: &str = "v1.36.0+orchestra";

/// What an agent knows about its node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeFacts {
    /// The node's name, and its host name.
    pub name: String,
    /// Addresses others reach it under, the preferred one first.
    pub addresses: Vec<IpAddr>,
    /// Labels to register with, beside the usual ones. A Node that is there already keeps the labels it has.
    pub labels: BTreeMap<String, String>,
    /// Taints to register with. A Node that is there already keeps the taints it has.
    pub taints: Vec<Taint>,
    /// How much it has of each resource, in the API's notation.
    pub capacity: BTreeMap<String, String>,
    /// What the machine is.
    pub info: SystemInfo,
    /// What runs its containers.
    pub runtime: Version,
    /// The port the agent listens on; `None` when it is reached in process.
    pub port: Option<u16>,
    /// Why the node cannot run pods now; `None` when it can.
    pub problem: Option<String>,
}

/// The Node to create.
pub(super) fn node(facts: &NodeFacts, now: Timestamp) -> Node {
    let mut labels = facts.labels.clone();
    labels.extend(own_labels(facts));
    Node {
        metadata: ObjectMeta { name: Some(facts.name.clone()), labels: Some(labels), ..Default::default() },
        spec: Some(NodeSpec {
            taints: Some(facts.taints.clone()).filter(|taints| !taints.is_empty()),
            ..Default::default()
        }),
        status: Some(status(facts, now, None)),
    }
}

/// The labels the agent keeps as they should be, also on a Node it found.
fn own_labels(facts: &NodeFacts) -> impl Iterator<Item = (String, String)> {
    let info = &facts.info;
    [
        ("kubernetes.io/hostname", &facts.name),
        ("kubernetes.io/os", &info.operating_system),
        ("kubernetes.io/arch", &info.architecture),
        ("beta.kubernetes.io/os", &info.operating_system),
        ("beta.kubernetes.io/arch", &info.architecture),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.clone()))
}

/// The labels a Node that was found lacks, or has otherwise.
pub(super) fn labels_to_correct(found: &Node, facts: &NodeFacts) -> BTreeMap<String, String> {
    let has = |key: &String| found.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    own_labels(facts).filter(|(key, value)| has(key) != Some(value)).collect()
}

/// The agent's part of the status. `before` is what the Node says now: moments of change are taken over from it.
pub(super) fn status(facts: &NodeFacts, now: Timestamp, before: Option<&NodeStatus>) -> NodeStatus {
    let resources = resources(&facts.capacity);
    NodeStatus {
        addresses: Some(addresses(facts)),
        allocatable: Some(resources.clone()),
        capacity: Some(resources),
        conditions: Some(conditions(facts, now, before)),
        daemon_endpoints: facts
            .port
            .map(|port| NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: port.into() }) }),
        node_info: Some(node_info(facts)),
        ..Default::default()
    }
}

/// Whether a Node's status says something else than `wanted`, but for the moments of heartbeats. What the agent does
/// not write is not looked at.
pub(super) fn differs(found: Option<&NodeStatus>, wanted: &NodeStatus) -> bool {
    let Some(found) = found else { return true };
    let contains = |have: &Option<BTreeMap<String, Quantity>>, want: &Option<BTreeMap<String, Quantity>>| {
        want.iter().flatten().all(|(key, value)| have.as_ref().and_then(|have| have.get(key)) == Some(value))
    };
    let same_conditions = wanted.conditions.iter().flatten().all(|want| {
        condition(Some(found), &want.type_).is_some_and(|have| {
            (&have.status, &have.reason, &have.message) == (&want.status, &want.reason, &want.message)
        })
    });
    !(same_conditions
        && contains(&found.capacity, &wanted.capacity)
        && contains(&found.allocatable, &wanted.allocatable)
        && found.addresses == wanted.addresses
        && found.node_info == wanted.node_info
        && (wanted.daemon_endpoints.is_none() || found.daemon_endpoints == wanted.daemon_endpoints))
}

/// Quantities in the form the API server keeps them: another form would look like a change for ever.
fn resources(capacity: &BTreeMap<String, String>) -> BTreeMap<String, Quantity> {
    // What is no quantity is left to the server to refuse, by name.
    let canonical = |text: &String| quantity::Quantity::rewrite(text).unwrap_or_else(|_| text.clone());
    capacity.iter().map(|(name, amount)| (name.clone(), Quantity(canonical(amount)))).collect()
}

fn addresses(facts: &NodeFacts) -> Vec<NodeAddress> {
    let internal = facts
        .addresses
        .iter()
        .map(|address| NodeAddress { type_: "InternalIP".to_owned(), address: address.to_string() });
    let host = NodeAddress { type_: "Hostname".to_owned(), address: facts.name.clone() };
    internal.chain([host]).collect()
}

fn node_info(facts: &NodeFacts) -> NodeSystemInfo {
    let info = facts.info.clone();
    NodeSystemInfo {
        architecture: info.architecture,
        boot_id: info.boot_id,
        container_runtime_version: format!("{}://{}", facts.runtime.name, facts.runtime.version),
        kernel_version: info.kernel_version,
        // Deprecated: upstream leaves it empty.
        kube_proxy_version: String::new(),
        kubelet_version: KUBELET_VERSION.to_owned(),
        machine_id: info.machine_id,
        operating_system: info.operating_system,
        os_image: info.os_image,
        swap: None,
        system_uuid: info.system_uuid,
    }
}

/// The kubelet's four conditions, in its order and words.
fn conditions(facts: &NodeFacts, now: Timestamp, before: Option<&NodeStatus>) -> Vec<NodeCondition> {
    let ready = match &facts.problem {
        None => ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        Some(problem) => ("Ready", "False", "KubeletNotReady", problem.as_str()),
    };
    [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ready,
    ]
    .into_iter()
    .map(|(type_, status, reason, message)| {
        let since = condition(before, type_)
            .filter(|old| old.status == status)
            .and_then(|old| old.last_transition_time.clone());
        NodeCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: since.or(Some(Time(now))),
        }
    })
    .collect()
}

fn condition<'a>(status: Option<&'a NodeStatus>, type_: &str) -> Option<&'a NodeCondition> {
    status?.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::agent::machine::Capacity;

    pub(in crate::agent) fn facts(name: &str) -> NodeFacts {
        NodeFacts {
            name: name.to_owned(),
            addresses: vec![IpAddr::from([10, 0, 0, 1])],
            labels: BTreeMap::from([("tier".to_owned(), "edge".to_owned())]),
            taints: Vec::new(),
            capacity: Capacity { milli_cpu: 2000, memory: 4 << 30, ephemeral_storage: 1 << 30, pods: 110 }
                .resources(),
            info: SystemInfo {
                operating_system: "linux".to_owned(),
                architecture: "amd64".to_owned(),
                kernel_version: "6.0".to_owned(),
                ..Default::default()
            },
            runtime: Version { name: "process".to_owned(), version: "0.1.0".to_owned() },
            port: None,
            problem: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready(status: &NodeStatus) -> &NodeCondition {
        condition(Some(status), "Ready").unwrap()
    }

    #[test]
    fn a_new_node_is_ready_and_says_what_it_is() {
        let node = node(&facts("n"), at(0));
        let status = node.status.unwrap();
        assert_eq!(ready(&status).reason.as_deref(), Some("KubeletReady"));
        assert_eq!(status.capacity.as_ref().unwrap()["memory"].0, "4Gi");
        assert_eq!(status.node_info.unwrap().container_runtime_version, "process://0.1.0");
        let labels = node.metadata.labels.unwrap();
        assert_eq!((labels["kubernetes.io/arch"].as_str(), labels["tier"].as_str()), ("amd64", "edge"));
    }

    #[test]
    fn a_heartbeat_alone_is_no_difference_and_no_transition() {
        let old = status(&facts("n"), at(0), None);
        let new = status(&facts("n"), at(60), Some(&old));
        assert!(!differs(Some(&old), &new));
        assert_eq!(ready(&new).last_transition_time, Some(Time(at(0))));
        assert_eq!(ready(&new).last_heartbeat_time, Some(Time(at(60))));
    }

    #[test]
    fn a_problem_is_a_transition() {
        let old = status(&facts("n"), at(0), None);
        let broken = NodeFacts { problem: Some("container runtime is down".to_owned()), ..facts("n") };
        let new = status(&broken, at(60), Some(&old));
        assert!(differs(Some(&old), &new));
        assert_eq!(ready(&new).last_transition_time, Some(Time(at(60))));
        assert_eq!(ready(&new).message.as_deref(), Some("container runtime is down"));
    }

    #[test]
    fn what_others_wrote_is_no_difference() {
        let wanted = status(&facts("n"), at(0), None);
        let mut found = wanted.clone();
        found.capacity.as_mut().unwrap().insert("example.com/gpu".to_owned(), Quantity("4".to_owned()));
        found
            .conditions
            .as_mut()
            .unwrap()
            .push(NodeCondition { type_: "KernelDeadlock".to_owned(), ..Default::default() });
        assert!(!differs(Some(&found), &wanted));
    }

    #[test]
    fn only_wrong_labels_of_its_own_are_corrected() {
        let mut found = node(&facts("n"), at(0));
        assert!(labels_to_correct(&found, &facts("n")).is_empty());
        let labels = found.metadata.labels.as_mut().unwrap();
        labels.insert("tier".to_owned(), "changed".to_owned());
        labels.insert("kubernetes.io/arch".to_owned(), "wrong".to_owned());
        let corrected = labels_to_correct(&found, &facts("n"));
        assert_eq!(corrected.into_keys().collect::<Vec<_>>(), ["kubernetes.io/arch"]);
    }
}
