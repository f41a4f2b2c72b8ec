//! Nodes and pods for the tests of strategies.

use std::sync::Arc;

use orchestra_scheduler::view::{ClusterView, NodeFacts, PodView};
use orchestra_scheduler::{Placement, Strategy};
use serde_json::{Value, json};

/// A cluster of nodes: name, processors, gibibytes, labels.
pub(super) fn cluster(nodes: &[(&str, &str, u32, Value)]) -> ClusterView {
    let mut cluster = ClusterView::default();
    for (name, cpu, memory, labels) in nodes {
        let node = json!({"metadata": {"name": name, "labels": labels}, "status": {"allocatable": {
            "cpu": cpu, "memory": format!("{memory}Gi"), "pods": "110"}}});
        cluster.set_node(Arc::new(NodeFacts::from_api(&serde_json::from_value(node).unwrap()).unwrap()));
    }
    cluster
}

/// A pod: namespace and name, processors, gibibytes, and what else its spec says.
pub(super) fn pod(key: &str, cpu: &str, memory: u32, mut spec: Value) -> Arc<PodView> {
    let (namespace, name) = key.split_once('/').unwrap();
    spec["containers"] = json!([{"name": "c", "resources": {"requests": {
        "cpu": cpu, "memory": format!("{memory}Gi")}}}]);
    let pod = json!({"metadata": {"namespace": namespace, "name": name, "uid": key}, "spec": spec});
    Arc::new(PodView::from_api(&serde_json::from_value(pod).unwrap()).unwrap())
}

/// A pod of a group.
pub(super) fn member(key: &str, group: &str, cpu: &str) -> Arc<PodView> {
    pod(key, cpu, 1, json!({"schedulingGroup": {"podGroupName": group}}))
}

/// What a strategy answers, in words, after it was held to its contract.
pub(super) fn answer(strategy: &dyn Strategy, cluster: &ClusterView, queue: &[Arc<PodView>]) -> Vec<String> {
    let answer = strategy.place(cluster, queue);
    let mut fork = cluster.clone();
    for Placement { pod, node } in &answer {
        let pod = queue.iter().find(|one| one.uid == *pod).expect("only pods of the queue are placed");
        assert_eq!(fork.node_of(&pod.uid), None, "{} is placed once", pod.key);
        assert_eq!(fork.node(node).unwrap().lacks(pod), None, "{} on {node}", pod.key);
        fork.place(pod.clone(), node);
    }
    assert_eq!(strategy.place(cluster, queue), answer, "the same arguments give the same answer");
    answer.iter().map(|one| format!("{} on {}", one.pod.rsplit('/').next().unwrap(), one.node)).collect()
}
