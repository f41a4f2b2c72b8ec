//! Stateful sets.

use serde_json::{Value, json};

use super::{scales, status_endpoints, with_a_node};
use crate::kind::{Kind, items};
use crate::world::World;

fn sets(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "apps/v1", "StatefulSet", "statefulsets")
}

/// A port of the node that only one pod can have.
fn conflict() -> Value {
    json!({ "hostPort": 21017, "containerPort": 21017, "name": "conflict" })
}

#[tokio::test]
async fn statefulset_basic_statefulset_functionality_should_recreate_evicted_statefulset() {
    let world = with_a_node().await;
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    let webserver = json!({ "name": "webserver", "image": "httpd", "ports": [conflict()] });
    let spec = json!({ "nodeName": "node-1", "containers": [webserver] });
    pods.create(json!({ "metadata": { "name": "test-pod" }, "spec": spec })).await;
    pods.eventually("test-pod", |pod| pod["status"]["phase"] == "Running").await;

    let path = format!("{}?watch=true&fieldSelector=metadata.name%3Dss-0", pods.collection());
    let mut watch = world.watch(&path).await;
    let mut conflicting = set("ss", 1);
    let spec = &mut conflicting["spec"]["template"]["spec"];
    spec["nodeName"] = "node-1".into();
    spec["containers"][0]["ports"] = json!([conflict()]);
    sets(&world).create(conflicting).await;
    let failed = watch.until(|event| event["object"]["status"]["phase"] == "Failed").await;
    assert_eq!(failed["status"]["reason"], "NodePorts");
    let removed = watch.until(|event| event["type"] == "DELETED").await;
    assert_eq!(
        removed["metadata"]["uid"], failed["metadata"]["uid"],
        "the node refused it, the set took it away"
    );

    world.delete_with(&pods.path("test-pod"), json!({ "gracePeriodSeconds": 0 })).await;
    let running = pods.eventually("ss-0", |pod| pod["status"]["phase"] == "Running").await;
    assert_ne!(running["metadata"]["uid"], failed["metadata"]["uid"]);
    world.end().await;
}

fn set(name: &str, replicas: u32) -> Value {
    let labels = json!({ "e2e": name });
    json!({
        "metadata": { "name": name, "labels": labels },
        "spec": {
            "serviceName": "test",
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{ "name": "webserver", "image": "httpd" }],
                },
            },
        },
    })
}

#[tokio::test]
async fn statefulset_basic_statefulset_functionality_should_have_a_working_scale_subresource() {
    let world = with_a_node().await;
    let kind = sets(&world);
    kind.create(set("ss", 1)).await;
    scales(&kind, "ss").await;
    world.end().await;
}

#[tokio::test]
async fn statefulset_basic_statefulset_functionality_should_list_patch_and_delete_a_collection_of_statefulsets()
 {
    let world = with_a_node().await;
    let kind = sets(&world);
    let made = kind.create(set("test-ss", 1)).await;
    kind.eventually("test-ss", |set| set["status"]["readyReplicas"] == 1).await;
    kind.gets_a_label(&made).await;
    let patch = json!({ "spec": { "replicas": 2, "template": { "spec": {
        "containers": [{ "name": "webserver", "image": "agnhost" }],
    } } } });
    kind.strategic("test-ss", patch).await;
    let patched = kind
        .eventually("test-ss", |set| {
            set["status"]["readyReplicas"] == 2 && set["status"]["updatedReplicas"] == 2
        })
        .await;
    assert_eq!(patched["spec"]["template"]["spec"]["containers"][0]["image"], "agnhost");
    let selector = "labelSelector=test-ss%3Dpatched";
    assert_eq!(items(&kind.list_everywhere(selector).await).len(), 1);
    kind.delete_collection(selector).await;
    kind.emptied(selector).await;
    world.end().await;
}

#[tokio::test]
async fn statefulset_basic_statefulset_functionality_should_validate_statefulset_status_endpoints() {
    let world = with_a_node().await;
    let kind = sets(&world);
    kind.create(set("ss", 1)).await;
    kind.eventually("ss", |set| set["status"]["readyReplicas"] == 1).await;
    status_endpoints(&world, &kind, "ss").await;
    world.end().await;
}
