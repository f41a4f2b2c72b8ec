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
    // One more container, under a name of its own, stands before those that are there. The field with a capital letter is
    // unknown, which is only worth a warning.
    let patch = json!({ "spec": { "replicas": 2, "template": { "spec": {
        "TerminationGracePeriodSeconds": 1,
        "containers": [{ "name": "test-ss", "image": "pause" }],
    } } } });
    let patched = kind.strategic("test-ss", patch).await;
    assert_eq!(patched["spec"]["replicas"], 2);
    let containers = &patched["spec"]["template"]["spec"]["containers"];
    assert_eq!((&containers[0]["image"], &containers[1]["image"]), (&json!("pause"), &json!("httpd")));
    kind.eventually("test-ss", |set| {
        set["status"]["readyReplicas"] == 2 && set["status"]["updatedReplicas"] == 2
    })
    .await;
    let selector = "labelSelector=test-ss%3Dpatched";
    assert_eq!(items(&kind.list_everywhere(selector).await).len(), 1);
    let path = format!("{}?{selector}", kind.collection());
    world.delete_with(&path, json!({ "gracePeriodSeconds": 1 })).await;
    assert!(items(&kind.list_everywhere(selector).await).is_empty());
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
