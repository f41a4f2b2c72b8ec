//! Taints that drive pods off their node.

use orchestra::runtime::backend::sim::SimRuntime;
use orchestra::{Cluster, Node};
use serde_json::{Value, json};

use crate::kind::Kind;
use crate::world::{World, with};

const KEY: &str = "kubernetes.io/e2e-evict-taint-key";
/// Another, which stays longer.
const WITNESS: &str = "kubernetes.io/e2e-evict-witness";

fn pods(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "Pod", "pods")
}

/// A pod that bears a taint of this key for so long, and the suite's others for ever.
fn bearing(name: &str, key: &str, seconds: u32) -> Value {
    let others: Vec<Value> = [KEY, WITNESS]
        .iter()
        .filter(|other| **other != key)
        .map(|other| json!({ "key": other, "operator": "Exists", "effect": "NoExecute" }))
        .collect();
    let mut tolerations = json!([{
        "key": key, "value": "evictTaintVal", "effect": "NoExecute", "tolerationSeconds": seconds,
    }]);
    tolerations.as_array_mut().expect("a list").extend(others);
    json!({
        "metadata": { "name": name, "labels": { "group": "taint-eviction" } },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "tolerations": tolerations,
            "containers": [{ "name": "pause", "image": "pause" }],
        },
    })
}

/// A world with a node on which these run.
async fn running(all: &[Value]) -> World {
    let world = with(Cluster::builder().node(Node::named("node-1").runtime(SimRuntime::default()))).await;
    for pod in all {
        pods(&world).create(pod.clone()).await;
    }
    for pod in all {
        let name = crate::kind::name(pod);
        pods(&world).eventually(name, |pod| pod["status"]["phase"] == "Running").await;
    }
    world
}

/// Puts taints of these keys on the node, and takes all others of the suite off.
async fn taint(world: &World, keys: &[&str]) {
    let taints: Vec<Value> = keys
        .iter()
        .map(|key| json!({ "key": key, "value": "evictTaintVal", "effect": "NoExecute" }))
        .collect();
    let nodes = Kind::cluster(world, "v1", "Node", "nodes");
    nodes.update("node-1", |node| node["spec"]["taints"] = taints.clone().into()).await;
}

#[tokio::test]
async fn noexecutetaintmanager_multiple_pods_evicts_pods_with_mintolerationseconds() {
    let world = running(&[bearing("taint-eviction-b1", KEY, 1), bearing("taint-eviction-b2", KEY, 2)]).await;
    taint(&world, &[KEY]).await;
    for name in ["taint-eviction-b1", "taint-eviction-b2"] {
        pods(&world).gone(name).await;
    }
    taint(&world, &[]).await;
    world.end().await;
}

/// A second pod whose longer time runs out beside shows that the first one's has.
#[tokio::test]
async fn noexecutetaintmanager_single_pod_removing_taint_cancels_eviction() {
    let world = running(&[bearing("taint-eviction-4", KEY, 3), bearing("witness", WITNESS, 4)]).await;
    taint(&world, &[KEY, WITNESS]).await;
    taint(&world, &[WITNESS]).await;
    pods(&world).gone("witness").await;
    let pod = pods(&world).get("taint-eviction-4").await;
    assert!(pod["metadata"]["deletionTimestamp"].is_null(), "{pod}");
    assert!(crate::kind::condition(&pod, "DisruptionTarget").is_none(), "{pod}");
    world.end().await;
}
