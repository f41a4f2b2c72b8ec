//! Replication controllers and replica sets.

use serde_json::{Value, json};

use super::{scales, status_endpoints, with_a_node};
use crate::kind::{Kind, condition, items, name, version};
use crate::world::{World, world};

fn pods(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "Pod", "pods")
}

fn controllers(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "ReplicationController", "replicationcontrollers")
}

fn sets(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "apps/v1", "ReplicaSet", "replicasets")
}

/// Pods called after their label.
fn template(label: &str) -> Value {
    json!({
        "metadata": { "labels": { "name": label } },
        "spec": { "containers": [{ "name": label, "image": "pause" }] },
    })
}

fn is_controlled_by(pod: &Value, owner: &Value) -> bool {
    let owners = pod["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|owners| {
        owners.iter().any(|found| found["controller"] == true && found["uid"] == owner["metadata"]["uid"])
    })
}

/// Makes a pod that nobody owns, running, then its owner, who takes it.
async fn adopts(world: &World, kind: &Kind<'_>, owner: Value) -> Value {
    let mut pod = template("pod-adoption");
    pod["metadata"]["name"] = "pod-adoption".into();
    pods(world).create(pod).await;
    pods(world).eventually("pod-adoption", |pod| pod["status"]["phase"] == "Running").await;
    let owner = kind.create(owner).await;
    pods(world).eventually("pod-adoption", |pod| is_controlled_by(pod, &owner)).await;
    owner
}

#[tokio::test]
async fn replicationcontroller_should_adopt_matching_pods_on_creation() {
    let world = with_a_node().await;
    let owner = json!({
        "metadata": { "name": "pod-adoption" },
        "spec": {
            "replicas": 1,
            "selector": { "name": "pod-adoption" },
            "template": template("pod-adoption"),
        },
    });
    adopts(&world, &controllers(&world), owner).await;
    world.end().await;
}

#[tokio::test]
async fn replicationcontroller_should_release_no_longer_matching_pods() {
    let world = with_a_node().await;
    let owner = controllers(&world)
        .create(json!({
            "metadata": { "name": "pod-release" },
            "spec": {
                "replicas": 1,
                "selector": { "name": "pod-release" },
                "template": template("pod-release"),
            },
        }))
        .await;
    let selector = "labelSelector=name%3Dpod-release";
    let mut watch = world.watch(&format!("{}?watch=true&{selector}", pods(&world).collection())).await;
    let pod = watch.until(|event| event["type"] == "ADDED").await;
    pods(&world)
        .update(name(&pod), |pod| pod["metadata"]["labels"] = json!({ "name": "not-matching-name" }))
        .await;
    pods(&world).eventually(name(&pod), |pod| !is_controlled_by(pod, &owner)).await;
    world.end().await;
}

#[tokio::test]
async fn replicaset_should_adopt_matching_pods_on_creation_and_release_no_longer_matching_pods() {
    let world = with_a_node().await;
    let owner = json!({
        "metadata": { "name": "pod-adoption-release" },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "name": "pod-adoption" } },
            "template": template("pod-adoption"),
        },
    });
    let owner = adopts(&world, &sets(&world), owner).await;
    let released = |pod: &mut Value| pod["metadata"]["labels"] = json!({ "name": "not-matching-name" });
    pods(&world).update("pod-adoption", released).await;
    pods(&world).eventually("pod-adoption", |pod| !is_controlled_by(pod, &owner)).await;
    world.end().await;
}

#[tokio::test]
async fn replicaset_replicaset_should_have_a_working_scale_subresource() {
    let world = with_a_node().await;
    let kind = sets(&world);
    kind.create(json!({
        "metadata": { "name": "test-rs" },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "name": "sample-pod" } },
            "template": template("sample-pod"),
        },
    }))
    .await;
    scales(&kind, "test-rs").await;
    world.end().await;
}

#[tokio::test]
async fn replicationcontroller_should_get_and_update_a_replicationcontroller_scale() {
    let world = with_a_node().await;
    let kind = controllers(&world);
    kind.create(json!({
        "metadata": { "name": "e2e-rc" },
        "spec": { "replicas": 1, "selector": { "name": "e2e-rc" }, "template": template("e2e-rc") },
    }))
    .await;
    scales(&kind, "e2e-rc").await;
    world.end().await;
}

#[tokio::test]
async fn replicaset_should_list_and_delete_a_collection_of_replicasets() {
    let world = with_a_node().await;
    let kind = sets(&world);
    let labels = json!({ "e2e": "test-rs" });
    kind.create(json!({
        "metadata": { "name": "test-rs", "labels": labels },
        "spec": {
            "replicas": 3,
            "selector": { "matchLabels": { "name": "test-rs" } },
            "template": template("test-rs"),
        },
    }))
    .await;
    kind.eventually("test-rs", |set| set["status"]["readyReplicas"] == 3).await;
    let selector = "labelSelector=e2e%3Dtest-rs";
    assert_eq!(items(&kind.list_everywhere(selector).await).len(), 1);
    let path = format!("{}?{selector}", kind.collection());
    world.delete_with(&path, json!({ "gracePeriodSeconds": 1 })).await;
    assert_eq!(items(&kind.list_everywhere(selector).await).len(), 0);
    world.end().await;
}

#[tokio::test]
async fn replicationcontroller_should_surface_a_failure_condition_on_a_common_issue_like_exceeded_quota() {
    let world = world().await;
    let quotas = Kind::namespaced(&world, "v1", "ResourceQuota", "resourcequotas");
    quotas
        .create(json!({ "metadata": { "name": "condition-test" }, "spec": { "hard": { "pods": "2" } } }))
        .await;
    quotas.eventually("condition-test", |quota| quota["status"]["hard"]["pods"] == "2").await;
    let kind = controllers(&world);
    let labels = json!({ "name": "condition-test" });
    let created = kind
        .create(json!({
            "metadata": { "name": "condition-test" },
            "spec": {
                "replicas": 3,
                "selector": labels,
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{ "name": "condition-test", "image": "agnhost" }] },
                },
            },
        }))
        .await;
    let generation = created["metadata"]["generation"].as_i64().expect("a generation");
    let failed = kind
        .eventually("condition-test", |controller| {
            controller["status"]["observedGeneration"].as_i64() >= Some(generation)
                && condition(controller, "ReplicaFailure").is_some()
        })
        .await;
    assert_eq!(condition(&failed, "ReplicaFailure").expect("failed")["reason"], "FailedCreate");
    let scaled = kind.update("condition-test", |controller| controller["spec"]["replicas"] = 2.into()).await;
    let generation = scaled["metadata"]["generation"].as_i64().expect("a generation");
    kind.eventually("condition-test", |controller| {
        controller["status"]["observedGeneration"].as_i64() >= Some(generation)
            && condition(controller, "ReplicaFailure").is_none()
    })
    .await;
    world.end().await;
}

#[tokio::test]
async fn replicaset_should_validate_replicaset_status_endpoints() {
    let world = with_a_node().await;
    let kind = sets(&world);
    kind.create(json!({
        "metadata": { "name": "test-rs" },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "name": "sample-pod" } },
            "template": template("sample-pod"),
        },
    }))
    .await;
    kind.eventually("test-rs", |set| set["status"]["readyReplicas"] == 1).await;
    status_endpoints(&world, &kind, "test-rs").await;
    world.end().await;
}

#[tokio::test]
async fn replicaset_replace_and_patch_tests() {
    let world = with_a_node().await;
    let kind = sets(&world);
    kind.create(json!({
        "metadata": { "name": "test-rs", "labels": { "name": "sample-pod" } },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "name": "sample-pod" } },
            "template": template("sample-pod"),
        },
    }))
    .await;
    let ready = |count: i32| move |set: &Value| set["status"]["readyReplicas"] == count;
    kind.eventually("test-rs", ready(1)).await;
    kind.update("test-rs", |set| set["spec"]["replicas"] = 2.into()).await;
    kind.eventually("test-rs", ready(2)).await;
    let patch = json!({
        "metadata": { "labels": { "test-rs": "patched" } },
        "spec": { "replicas": 3, "template": { "spec": {
            "terminationGracePeriodSeconds": 0,
            // One more, which comes to stand first.
            "containers": [{ "name": "test-rs", "image": "agnhost" }],
        } } },
    });
    kind.strategic("test-rs", patch).await;
    let patched =
        kind.eventually("test-rs", |set| ready(3)(set) && set["status"]["availableReplicas"] == 3).await;
    assert_eq!(patched["metadata"]["labels"]["test-rs"], "patched");
    let spec = &patched["spec"]["template"]["spec"];
    assert_eq!(spec["containers"][0]["image"], "agnhost");
    assert_eq!(spec["containers"].as_array().map(Vec::len), Some(2));
    assert_eq!(spec["terminationGracePeriodSeconds"], 0);
    world.end().await;
}

#[tokio::test]
async fn replicationcontroller_should_test_the_lifecycle_of_a_replicationcontroller() {
    let world = with_a_node().await;
    let kind = controllers(&world);
    let selector = "labelSelector=test-rc-static%3Dtrue";
    let list = kind.list(selector).await;
    let path = format!("{}?watch=true&resourceVersion={}&{selector}", kind.collection(), version(&list));
    let mut watch = world.watch(&path).await;
    // One label for all of it; the template names the pod it will never make.
    let labels = json!({ "test-rc-static": "true" });
    let mut template = template("rc-test");
    template["metadata"] = json!({ "name": "rc-test", "labels": labels });
    kind.create(json!({
        "metadata": { "name": "rc-test", "labels": labels },
        "spec": { "replicas": 1, "selector": labels, "template": template },
    }))
    .await;
    watch.until(|event| event["type"] == "ADDED").await;
    watch.until(|event| event["object"]["status"]["readyReplicas"] == 1).await;
    // A patch made from a whole ReplicationController says that nothing runs.
    let whole = json!({
        "metadata": { "labels": { "test-rc": "patched" } },
        "spec": {},
        "status": { "replicas": 0 },
    });
    let patched = kind.strategic("rc-test", whole).await;
    assert_eq!(patched["metadata"]["labels"]["test-rc"], "patched");
    assert_eq!(patched["status"]["replicas"], 1, "the status is not touched");
    watch.until(|event| event["object"]["metadata"]["labels"]["test-rc"] == "patched").await;
    // What is not so is put right again.
    let patched = kind
        .strategic("rc-test/status", json!({ "status": { "readyReplicas": 0, "availableReplicas": 0 } }))
        .await;
    assert!(patched["status"]["readyReplicas"].as_i64().unwrap_or_default() == 0, "{patched}");
    watch.until(|event| event["object"]["status"]["readyReplicas"] == 1).await;
    assert_eq!(kind.get("rc-test/status").await["kind"], "ReplicationController");
    let whole = json!({ "metadata": {}, "spec": { "replicas": 2 }, "status": { "replicas": 0 } });
    kind.strategic("rc-test/scale", whole).await;
    watch.until(|event| event["object"]["status"]["readyReplicas"] == 2).await;
    assert_eq!(kind.get("rc-test").await["metadata"]["labels"]["test-rc"], "patched");
    let updated = kind
        .update_status("rc-test", |controller| {
            controller["status"]["availableReplicas"] = 1.into();
            controller["status"]["readyReplicas"] = 1.into();
        })
        .await;
    assert_eq!(updated["status"]["readyReplicas"], 1);
    watch.until(|event| event["object"]["status"]["readyReplicas"] == 2).await;
    let everywhere = kind.list_everywhere(selector).await;
    assert_eq!((items(&everywhere).len(), name(&items(&everywhere)[0])), (1, "rc-test"));
    kind.update("rc-test", |controller| controller["spec"]["replicas"] = 1.into()).await;
    watch.until(|event| event["object"]["status"]["replicas"] == 1).await;
    kind.delete_collection(selector).await;
    watch.until(|event| event["type"] == "DELETED").await;
    assert!(items(&kind.list_everywhere(selector).await).is_empty());
    world.end().await;
}
