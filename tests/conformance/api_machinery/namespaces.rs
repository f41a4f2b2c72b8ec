//! Namespaces.

use orchestra::runtime::backend::sim::SimRuntime;
use orchestra::{Cluster, Node};
use serde_json::{Value, json};

use crate::world::{self, MERGE_PATCH, STRATEGIC_PATCH, World};

const NAMESPACES: &str = "/api/v1/namespaces";
const OURS: &str = "/api/v1/namespaces/conformance";

#[tokio::test]
async fn namespaces_should_patch_a_namespace() {
    let world = world::world().await;
    let patch = json!({"metadata": {"labels": {"testLabel": "testValue"}}});
    world.patch(OURS, STRATEGIC_PATCH, patch).await;
    assert_eq!(world.get(OURS).await["metadata"]["labels"]["testLabel"], "testValue");
    world.end().await;
}

#[tokio::test]
async fn namespaces_should_apply_changes_to_a_namespace_status() {
    let world = world::world().await;
    let status = format!("{OURS}/status");
    assert_eq!(world.get(&status).await["status"]["phase"], "Active");
    let condition = json!({"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched by an e2e test"});
    let patch = json!({
        "metadata": {"annotations": {"e2e-patched-ns-status": "conformance"}},
        "status": {"conditions": [condition]},
    });
    let patched = world.patch(&status, MERGE_PATCH, patch).await;
    assert_eq!(patched["metadata"]["annotations"]["e2e-patched-ns-status"], "conformance");
    let last = patched["status"]["conditions"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["reason"], &last["message"]), (&json!("E2E"), &json!("Patched by an e2e test")));

    let condition = json!({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Updated by an e2e test"});
    let updated = world
        .update(&status, &status, |object| {
            object["status"]["conditions"].as_array_mut().unwrap().push(condition.clone());
        })
        .await;
    let last = updated["status"]["conditions"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["type"], &last["message"]), (&json!("StatusUpdate"), &json!("Updated by an e2e test")));
    world.end().await;
}

#[tokio::test]
async fn namespaces_should_apply_an_update_to_a_namespace() {
    let world = world::world().await;
    let updated = world
        .update(OURS, OURS, |object| object["metadata"]["labels"]["conformance"] = "updated".into())
        .await;
    assert_eq!(updated["metadata"]["labels"]["conformance"], "updated");
    world.end().await;
}

#[tokio::test]
async fn namespaces_should_apply_a_finalizer_to_a_namespace() {
    let world = world::world().await;
    let finalize = format!("{OURS}/finalize");
    let fake = json!("e2e.example.com/fakeFinalizer");
    let with = world
        .update(OURS, &finalize, |object| {
            object["spec"]["finalizers"].as_array_mut().unwrap().push(fake.clone());
        })
        .await;
    assert!(with["spec"]["finalizers"].as_array().unwrap().contains(&fake), "{with}");
    let without = world
        .update(OURS, &finalize, |object| {
            object["spec"]["finalizers"].as_array_mut().unwrap().retain(|finalizer| *finalizer != fake);
        })
        .await;
    assert!(!without["spec"]["finalizers"].as_array().unwrap().contains(&fake), "{without}");
    world.end().await;
}

#[tokio::test]
async fn namespaces_should_ensure_that_all_services_are_removed_when_a_namespace_is_deleted() {
    let world = world::world().await;
    let name = "nsdeletetest";
    let services = format!("{NAMESPACES}/{name}/services");
    world.make_namespace(name).await;
    world.eventually(&format!("{NAMESPACES}/{name}/serviceaccounts"), "default", |_| true).await;
    let service = json!({
        "metadata": {"name": "test-service"},
        "spec": {"selector": {"foo": "bar", "baz": "blah"}, "ports": [{"port": 80, "targetPort": 80}]},
    });
    world.post(&services, service).await;
    world.delete(&format!("{NAMESPACES}/{name}")).await;
    world.gone(NAMESPACES, name).await;
    world.make_namespace(name).await;
    assert_eq!(world.ask("GET", &format!("{services}/test-service"), Value::Null).await.0, 404);
    world.end().await;
}

/// A cluster whose node makes believe, and the namespace that will go, with a pod that runs in it.
async fn with_a_pod(name: &str, finalizers: Value) -> World {
    let builder = Cluster::builder().node(Node::named("node").runtime(SimRuntime::default()));
    let world = world::with(builder).await;
    world.make_namespace(name).await;
    world.eventually(&format!("{NAMESPACES}/{name}/serviceaccounts"), "default", |_| true).await;
    let pod = json!({
        "metadata": {"name": "test-pod", "finalizers": finalizers},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "nginx", "image": "registry.k8s.io/pause:3.10"}],
        },
    });
    let pods = format!("{NAMESPACES}/{name}/pods");
    world.post(&pods, pod).await;
    world.eventually(&pods, "test-pod", |pod| pod["status"]["phase"] == "Running").await;
    world
}

#[tokio::test]
async fn namespaces_should_ensure_that_all_pods_are_removed_when_a_namespace_is_deleted() {
    let name = "nsdeletetest";
    let world = with_a_pod(name, json!([])).await;
    world.delete(&format!("{NAMESPACES}/{name}")).await;
    world.gone(NAMESPACES, name).await;
    world.make_namespace(name).await;
    let pod = format!("{NAMESPACES}/{name}/pods/test-pod");
    assert_eq!(world.ask("GET", &pod, Value::Null).await.0, 404);
    world.end().await;
}

#[tokio::test]
async fn orderednamespacedeletion_namespace_deletion_should_delete_pod_first() {
    let name = "nsdeletetest";
    let world = with_a_pod(name, json!(["e2e.example.com/finalizer"])).await;
    let (maps, pods) = (format!("{NAMESPACES}/{name}/configmaps"), format!("{NAMESPACES}/{name}/pods"));
    world.post(&maps, json!({"metadata": {"name": "test-configmap"}, "data": {"key": "value"}})).await;
    world.delete(&format!("{NAMESPACES}/{name}")).await;
    world
        .eventually(NAMESPACES, name, |namespace| {
            let conditions = namespace["status"]["conditions"].as_array();
            namespace["status"]["phase"] == "Terminating"
                && conditions
                    .is_some_and(|all| all.iter().any(|one| one["type"] == "NamespaceDeletionContentFailure"))
        })
        .await;
    // The pod is on its way, and while it is there nothing else goes.
    world.eventually(&pods, "test-pod", |pod| pod["metadata"].get("deletionTimestamp").is_some()).await;
    world.get(&format!("{maps}/test-configmap")).await;
    let pod = format!("{pods}/test-pod");
    world.update(&pod, &pod, |pod| pod["metadata"]["finalizers"] = json!([])).await;
    world.gone(&pods, "test-pod").await;
    world.gone(NAMESPACES, name).await;
    world.end().await;
}
