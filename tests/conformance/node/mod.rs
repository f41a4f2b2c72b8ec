//! Pods and what they are made of.

mod pods;
mod runtime_classes;
mod taints;

use serde_json::json;

use crate::kind::{Kind, items, names};
use crate::world::{World, world};

fn configmaps(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "ConfigMap", "configmaps")
}

fn secrets(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "Secret", "secrets")
}

fn templates(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "PodTemplate", "podtemplates")
}

#[tokio::test]
async fn configmap_should_update_configmap_successfully() {
    let world = world().await;
    let kind = configmaps(&world);
    let data = json!({ "data-1": "value-1", "data-2": "value-2", "data-3": "value-3" });
    let mut map = kind.create(json!({ "metadata": { "name": "settings" }, "data": data })).await;
    // As upstream's test: what was made is written back changed, without having been read again.
    map["data"] = json!({ "data": "value" });
    world.put(&kind.path("settings"), map).await;
    assert_eq!(kind.get("settings").await["data"], json!({ "data": "value" }));
    world.end().await;
}

#[tokio::test]
async fn configmap_should_run_through_a_configmap_lifecycle() {
    let world = world().await;
    let kind = configmaps(&world);
    let selector = "labelSelector=test-configmap-static%3Dtrue";
    let labels = json!({ "test-configmap-static": "true" });
    let mut watch = world.watch(&format!("{}?watch=true&{selector}", kind.collection())).await;
    kind.create(
        json!({ "metadata": { "name": "test", "labels": labels }, "data": { "valueName": "value" } }),
    )
    .await;
    watch.expect_named("ADDED", "test").await;
    let found = kind.get("test").await;
    assert_eq!((&found["data"]["valueName"], &found["metadata"]["labels"]), (&json!("value"), &labels));
    kind.strategic(
        "test",
        json!({ "metadata": { "labels": { "test-configmap": "patched" } }, "data": { "valueName": "value1" } }),
    )
    .await;
    let seen = watch.expect_named("MODIFIED", "test").await;
    assert_eq!(seen["data"]["valueName"], "value1");
    let found = kind.get("test").await;
    assert_eq!(found["data"]["valueName"], "value1");
    assert_eq!(found["metadata"]["labels"]["test-configmap"], "patched");
    let everywhere = kind.list_everywhere("labelSelector=test-configmap%3Dpatched").await;
    let listed = &items(&everywhere)[0];
    assert_eq!(listed["metadata"], found["metadata"], "also its namespace and both labels");
    assert_eq!(listed["metadata"]["labels"]["test-configmap-static"], "true");
    assert_eq!(listed["data"], found["data"]);
    kind.delete_collection(selector).await;
    watch.expect_named("DELETED", "test").await;
    assert_eq!(kind.count(selector).await, 0);
    world.end().await;
}

#[tokio::test]
async fn configmap_should_fail_to_create_configmap_with_empty_key() {
    let world = world().await;
    let (code, message) = configmaps(&world)
        .refused(json!({ "metadata": { "name": "empty" }, "data": { "": "value-1" } }))
        .await;
    assert_eq!(code, 422, "{message}");
    world.end().await;
}

#[tokio::test]
async fn secrets_should_fail_to_create_secret_due_to_empty_secret_key() {
    let world = world().await;
    let (code, message) = secrets(&world)
        .refused(json!({ "metadata": { "name": "empty" }, "data": { "": "dmFsdWUtMQ==" } }))
        .await;
    assert_eq!(code, 422, "{message}");
    world.end().await;
}

#[tokio::test]
async fn secrets_should_patch_a_secret() {
    let world = world().await;
    let kind = secrets(&world);
    let constant = "labelSelector=testsecret-constant%3Dtrue";
    kind.create(json!({
        "metadata": { "name": "test-secret", "labels": { "testsecret-constant": "true" } },
        "data": { "key": "dmFsdWU=" },
        "type": "Opaque",
    }))
    .await;
    let everywhere = kind.list_everywhere(constant).await;
    assert_eq!(names(&everywhere), ["test-secret"]);
    assert_eq!(items(&everywhere)[0]["metadata"]["namespace"], world.namespace.as_str());
    kind.strategic(
        "test-secret",
        json!({ "metadata": { "labels": { "testsecret": "true" } }, "data": { "key": "dmFsdWUx" } }),
    )
    .await;
    let found = kind.get("test-secret").await;
    assert_eq!(found["metadata"]["labels"], json!({ "testsecret-constant": "true", "testsecret": "true" }));
    assert_eq!(found["data"]["key"], "dmFsdWUx");
    assert_eq!(found["type"], "Opaque");
    kind.delete_collection("labelSelector=testsecret%3Dtrue").await;
    assert!(items(&kind.list_everywhere(constant).await).is_empty());
    world.end().await;
}

#[tokio::test]
async fn lease_lease_api_should_be_available() {
    let world = world().await;
    let kind = Kind::namespaced(&world, "coordination.k8s.io/v1", "Lease", "leases");
    // Times of the first seconds of all, as upstream's test has them.
    let spec = json!({
        "holderIdentity": "holder",
        "leaseDurationSeconds": 30,
        "acquireTime": "0001-01-01T00:00:02.000000Z",
        "renewTime": "0001-01-01T00:00:05.000000Z",
        "leaseTransitions": 0,
    });
    kind.create(json!({ "metadata": { "name": "lease" }, "spec": spec })).await;
    assert_eq!(kind.get("lease").await["spec"], spec);
    let second = json!({
        "holderIdentity": "holder2",
        "leaseDurationSeconds": 30,
        "acquireTime": "0001-01-01T00:00:20.000000Z",
        "renewTime": "0001-01-01T00:00:50.000000Z",
        "leaseTransitions": 1,
    });
    kind.update("lease", |lease| lease["spec"] = second.clone()).await;
    assert_eq!(kind.get("lease").await["spec"], second);
    let third = json!({
        "holderIdentity": "holder3",
        "leaseDurationSeconds": 60,
        "acquireTime": "0001-01-01T00:00:50.000000Z",
        "renewTime": "0001-01-01T00:01:10.000000Z",
        "leaseTransitions": 2,
    });
    kind.strategic("lease", json!({ "spec": third })).await;
    assert_eq!(kind.get("lease").await["spec"], third);

    kind.create(
        json!({ "metadata": { "name": "lease2", "labels": { "deletecollection": "true" } }, "spec": spec }),
    )
    .await;
    assert_eq!(kind.count("").await, 2);
    kind.delete_collection("labelSelector=deletecollection%3Dtrue").await;
    assert_eq!(kind.count("").await, 1);
    kind.delete("lease").await;
    assert!(!kind.exists("lease").await);
    kind.list_everywhere("").await;
    world.end().await;
}

#[tokio::test]
async fn podtemplates_should_run_the_lifecycle_of_podtemplates() {
    let world = world().await;
    let kind = templates(&world);
    let selector = "labelSelector=podtemplate-static%3Dtrue";
    let before = kind.list_everywhere(selector).await;
    assert!(items(&before).is_empty(), "{before}");
    let version = crate::kind::version(&before);
    let path = format!("{}?watch=true&resourceVersion={version}&{selector}", kind.collection());
    let mut watch = world.watch(&path).await;
    kind.create(template("nginx-pod-template", "podtemplate-static")).await;
    assert_eq!(kind.get("nginx-pod-template").await["metadata"]["name"], "nginx-pod-template");
    let patch = json!({ "metadata": { "labels": { "podtemplate": "patched" } } });
    kind.strategic("nginx-pod-template", patch).await;
    assert_eq!(kind.get("nginx-pod-template").await["metadata"]["labels"]["podtemplate"], "patched");
    kind.delete("nginx-pod-template").await;
    assert!(items(&kind.list_everywhere(selector).await).is_empty());
    for event in ["ADDED", "MODIFIED", "DELETED"] {
        watch.expect_named(event, "nginx-pod-template").await;
    }
    world.end().await;
}

#[tokio::test]
async fn podtemplates_should_delete_a_collection_of_pod_templates() {
    let world = world().await;
    let kind = templates(&world);
    for name in ["test-podtemplate-1", "test-podtemplate-2", "test-podtemplate-3"] {
        kind.create(template(name, "podtemplate-set")).await;
    }
    let selector = "labelSelector=podtemplate-set%3Dtrue";
    assert_eq!(kind.count(selector).await, 3);
    kind.delete_collection(selector).await;
    assert_eq!(kind.count(selector).await, 0);
    world.end().await;
}

#[tokio::test]
async fn podtemplates_should_replace_a_pod_template() {
    let world = world().await;
    let kind = templates(&world);
    kind.create(template("podtemplate-replaced", "podtemplate-static")).await;
    let updated = kind
        .update("podtemplate-replaced", |found| {
            found["metadata"]["annotations"] = json!({ "updated": "podtemplate" });
        })
        .await;
    assert_eq!(updated["metadata"]["annotations"], json!({ "updated": "podtemplate" }));
    world.end().await;
}

fn template(name: &str, label: &str) -> serde_json::Value {
    json!({
        "metadata": { "name": name, "labels": { label: "true" } },
        "template": { "spec": { "containers": [{ "name": "nginx", "image": "nginx" }] } },
    })
}

#[tokio::test]
async fn sysctls_should_reject_invalid_sysctls() {
    let world = world().await;
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    let (code, message) = pods
        .refused(json!({
            "metadata": { "name": "sysctl" },
            "spec": {
                "restartPolicy": "Never",
                "containers": [{ "name": "test-container", "image": "busybox" }],
                "securityContext": { "sysctls": [
                    { "name": "foo-", "value": "bar" },
                    { "name": "kernel.shmmax", "value": "100000000" },
                    { "name": "safe-and-unsafe", "value": "100000000" },
                    { "name": "bar..", "value": "42" },
                ] },
            },
        }))
        .await;
    assert_eq!(code, 422, "{message}");
    assert!(message.contains(r#"Invalid value: "foo-""#), "{message}");
    assert!(message.contains(r#"Invalid value: "bar..""#), "{message}");
    assert!(!message.contains("safe-and-unsafe") && !message.contains("kernel.shmmax"), "{message}");
    world.end().await;
}

#[tokio::test]
async fn node_lifecycle_should_run_through_the_lifecycle_of_a_node() {
    let world = world().await;
    let kind = Kind::cluster(&world, "v1", "Node", "nodes");
    let ready = json!({ "status": "True", "message": "Set from a test", "reason": "E2E", "type": "Ready" });
    let created = kind
        .create(json!({
            "metadata": { "name": "fake-node" },
            "spec": { "unschedulable": true },
            "status": { "phase": "Running", "conditions": [ready] },
        }))
        .await;
    assert_eq!(created["metadata"]["name"], "fake-node");
    assert_eq!(kind.get("fake-node").await["metadata"]["name"], "fake-node");
    kind.gets_a_label(&created).await;
    assert_eq!(kind.count("labelSelector=fake-node%3Dpatched").await, 1);
    let updated =
        kind.update("fake-node", |node| node["metadata"]["labels"]["fake-node"] = "updated".into()).await;
    assert_eq!(updated["metadata"]["labels"]["fake-node"], "updated");
    kind.delete("fake-node").await;
    kind.gone("fake-node").await;
    world.end().await;
}

#[tokio::test]
async fn pods_extended_pods_set_qos_class_should_be_set_on_pods_with_matching_resource_requests_and_limits_for_memory_and_cpu()
 {
    let world = world().await;
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    let resources = json!({ "cpu": "100m", "memory": "100Mi" });
    pods.create(json!({
        "metadata": { "name": "pod-qos-class", "labels": { "name": "foo" } },
        "spec": { "containers": [{
            "name": "agnhost",
            "image": "agnhost",
            "args": ["pause"],
            "resources": { "limits": resources, "requests": resources },
        }] },
    }))
    .await;
    assert_eq!(pods.get("pod-qos-class").await["status"]["qosClass"], "Guaranteed");
    world.end().await;
}
