//! Classes of runtimes, and what pods that ask for one get.

use orchestra::runtime::backend::sim::SimRuntime;
use orchestra::{Cluster, Node};
use serde_json::{Value, json};

use crate::kind::{Kind, items, name};
use crate::world::{World, with, world};

const SELECTOR: &str = "labelSelector=special-label%3Dconformance";

fn classes(world: &World) -> Kind<'_> {
    Kind::cluster(world, "node.k8s.io/v1", "RuntimeClass", "runtimeclasses")
}

fn pods(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "Pod", "pods")
}

fn pod(class: &str) -> Value {
    json!({
        "metadata": { "generateName": format!("test-runtimeclass-{class}-") },
        "spec": {
            "runtimeClassName": class,
            "containers": [{ "name": "test", "image": "busybox", "command": ["true"] }],
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
        },
    })
}

#[tokio::test]
async fn runtimeclass_should_support_runtimeclasses_api_operations() {
    let world = world().await;
    let kind = Kind::cluster(&world, "node.k8s.io/v1", "RuntimeClass", "runtimeclasses");
    kind.is_discovered(&[]).await;
    let class = |name: &str| {
        json!({
            "metadata": { "name": name, "labels": { "special-label": "conformance" } },
            "handler": "handler",
        })
    };
    let created = kind.operations([class("one"), class("two"), class("three")], SELECTOR).await;
    let (code, message) = kind.refused(class("one")).await;
    assert_eq!(code, 409, "{message}");
    kind.removal(crate::kind::name(&created), SELECTOR).await;
    world.end().await;
}

#[tokio::test]
async fn runtimeclass_should_reject_a_pod_requesting_a_non_existent_runtimeclass() {
    let world = world().await;
    let (code, message) = pods(&world).refused(pod("conformance-nonexistent")).await;
    assert_eq!(code, 403, "{message}");
    world.end().await;
}

#[tokio::test]
async fn runtimeclass_should_reject_a_pod_requesting_a_deleted_runtimeclass() {
    let world = world().await;
    let kind = classes(&world);
    kind.create(json!({ "metadata": { "name": "conformance-delete-me" }, "handler": "runc" })).await;
    kind.delete("conformance-delete-me").await;
    assert!(!kind.exists("conformance-delete-me").await);
    let (code, message) = pods(&world).refused(pod("conformance-delete-me")).await;
    assert_eq!(code, 403, "{message}");
    world.end().await;
}

/// The pod of a class with this overhead, once it has a node.
async fn scheduled(world: &World, overhead: Value) -> Value {
    let class = json!({
        "metadata": { "name": "conformance-preconfigured-handler" }, "handler": "test-handler", "overhead": overhead,
    });
    classes(world).create(class).await;
    let made = pods(world).create(pod("conformance-preconfigured-handler")).await;
    pods(world).eventually(name(&made), |pod| pod["spec"]["nodeName"].is_string()).await;
    let list = pods(world).list("").await;
    assert_eq!((items(&list).len(), name(&items(&list)[0])), (1, name(&made)));
    items(&list)[0].clone()
}

async fn with_a_node() -> World {
    with(Cluster::builder().node(Node::named("node-1").runtime(SimRuntime::default()))).await
}

#[tokio::test]
async fn runtimeclass_should_schedule_a_pod_requesting_a_runtimeclass_without_podoverhead() {
    let world = with_a_node().await;
    let pod = scheduled(&world, Value::Null).await;
    assert!(pod["spec"]["overhead"].as_object().is_none_or(serde_json::Map::is_empty), "{pod}");
    world.end().await;
}

#[tokio::test]
async fn runtimeclass_should_schedule_a_pod_requesting_a_runtimeclass_and_initialize_its_overhead() {
    let world = with_a_node().await;
    let overhead = json!({ "cpu": "10m", "memory": "1Mi" });
    let pod = scheduled(&world, json!({ "podFixed": overhead })).await;
    assert_eq!(pod["spec"]["overhead"], overhead);
    world.end().await;
}
