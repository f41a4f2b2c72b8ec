//! Views from the JSON a person would write, for the tests of this crate.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::view::{ClusterView, DeviceClassView, NodeFacts, PodView};

/// The pod this JSON stands for; name, uid and an app container are filled in where absent.
pub(crate) fn pod(mut object: Value) -> Arc<PodView> {
    let name = object["metadata"]["name"].as_str().unwrap_or("pod").to_owned();
    fill(&mut object["metadata"], "name", json!(name));
    fill(&mut object["metadata"], "uid", json!(name));
    fill(&mut object["metadata"], "namespace", json!("default"));
    fill(&mut object["spec"], "containers", json!([{"name": "app"}]));
    Arc::new(PodView::from_api(&serde_json::from_value(object).unwrap()).unwrap())
}

/// The node this JSON stands for; 4 CPUs, 8 GiB and 110 pods where nothing is said.
pub(crate) fn node(mut object: Value) -> Arc<NodeFacts> {
    fill(&mut object["metadata"], "name", json!("node"));
    fill(&mut object["status"], "allocatable", json!({"cpu": "4", "memory": "8Gi", "pods": "110"}));
    Arc::new(NodeFacts::from_api(&serde_json::from_value(object).unwrap()).unwrap())
}

/// The device class this JSON stands for.
pub(crate) fn device_class(object: Value) -> Arc<DeviceClassView> {
    Arc::new(DeviceClassView::from_api(&serde_json::from_value(object).unwrap()))
}

/// A cluster of these nodes.
pub(crate) fn cluster(nodes: impl IntoIterator<Item = Value>) -> ClusterView {
    let mut cluster = ClusterView::default();
    for object in nodes {
        cluster.set_node(node(object));
    }
    cluster
}

/// A pod that asks for this much.
pub(crate) fn asking(name: &str, cpu: &str, memory: &str) -> Arc<PodView> {
    pod(json!({"metadata": {"name": name}, "spec": {"containers": [
        {"name": "app", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]}}))
}

fn fill(object: &mut Value, key: &str, value: Value) {
    if object.get(key).is_none() {
        object[key] = value;
    }
}
