//! Deployments, and how they roll out.

use serde_json::{Value, json};

use super::{NEVER_READY, scales, with_a_node};
use crate::kind::{Kind, condition, items, name, version};
use crate::world::World;

fn deployments(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "apps/v1", "Deployment", "deployments")
}

fn sets(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "apps/v1", "ReplicaSet", "replicasets")
}

const REVISION: &str = "deployment.kubernetes.io/revision";

fn template(label: &str, image: &str) -> Value {
    json!({
        "metadata": { "labels": { "name": label } },
        "spec": { "terminationGracePeriodSeconds": 0, "containers": [{ "name": "main", "image": image }] },
    })
}

fn deployment(called: &str, label: &str, replicas: u32, image: &str) -> Value {
    json!({
        "metadata": { "name": called, "labels": { "name": label } },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "name": label } },
            "template": template(label, image),
        },
    })
}

/// A ReplicaSet that was there before the Deployment.
fn set(called: &str, label: &str, replicas: u32) -> Value {
    let mut set = deployment(called, label, replicas, "httpd");
    set["spec"]["template"] = template(label, "httpd");
    set
}

/// Whether the controller has seen the newest template and all replicas are of it and available.
fn is_complete(deployment: &Value) -> bool {
    let (status, wanted) = (&deployment["status"], &deployment["spec"]["replicas"]);
    status["observedGeneration"].as_i64() >= deployment["metadata"]["generation"].as_i64()
        && ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|count| status[count] == *wanted)
}

fn is_owned_by(object: &Value, owner: &Value) -> bool {
    object["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
}

#[tokio::test]
async fn deployment_recreatedeployment_should_delete_old_pods_and_create_new_ones() {
    let world = with_a_node().await;
    let kind = deployments(&world);
    let mut recreated = deployment("test-recreate-deployment", "sample-pod-3", 1, "agnhost");
    recreated["spec"]["strategy"] = json!({ "type": "Recreate" });
    kind.create(recreated).await;
    kind.eventually("test-recreate-deployment", |d| {
        is_complete(d) && d["metadata"]["annotations"][REVISION] == "1"
    })
    .await;
    let changed = kind
        .update("test-recreate-deployment", |d| d["spec"]["template"] = template("sample-pod-3", "httpd"))
        .await;
    let path = format!("{}?watch=true&resourceVersion={}", kind.collection(), version(&changed));
    let mut watch = world.watch(&path).await;
    watch
        .until(|event| {
            let status = &event["object"]["status"];
            let count = |field: &str| status[field].as_i64().unwrap_or_default();
            assert!(
                count("updatedReplicas") == 0 || count("replicas") == count("updatedReplicas"),
                "{status}"
            );
            is_complete(&event["object"])
        })
        .await;
    world.end().await;
}

#[tokio::test]
async fn deployment_rollingupdatedeployment_should_delete_old_pods_and_create_new_ones() {
    let world = with_a_node().await;
    let (kind, sets) = (deployments(&world), sets(&world));
    let mut before = set("test-rolling-update-controller", "sample-pod", 1);
    before["metadata"]["annotations"] = json!({ REVISION: "3546343826724305832" });
    let before = sets.create(before).await;
    sets.eventually(name(&before), |set| set["status"]["readyReplicas"] == 1).await;
    let made = kind.create(deployment("test-rolling-update-deployment", "sample-pod", 1, "agnhost")).await;
    kind.eventually(name(&made), |d| {
        is_complete(d) && d["metadata"]["annotations"][REVISION] == "3546343826724305833"
    })
    .await;
    let old = sets.eventually(name(&before), |set| set["status"]["replicas"] == 0).await;
    assert!(is_owned_by(&old, &made) && old["spec"]["replicas"] == 0, "{old}");
    let all = sets.list("labelSelector=name%3Dsample-pod").await;
    assert_eq!(items(&all).len(), 2, "{all}");
    world.end().await;
}

#[tokio::test]
async fn deployment_deployment_should_delete_old_replica_sets() {
    let world = with_a_node().await;
    let (kind, sets) = (deployments(&world), sets(&world));
    let before = sets.create(set("test-cleanup-controller", "cleanup-pod", 1)).await;
    sets.eventually(name(&before), |set| set["status"]["readyReplicas"] == 1).await;
    let mut made = deployment("test-cleanup-deployment", "cleanup-pod", 1, "agnhost");
    made["spec"]["revisionHistoryLimit"] = 0.into();
    kind.create(made).await;
    kind.eventually("test-cleanup-deployment", is_complete).await;
    sets.gone("test-cleanup-controller").await;
    world.end().await;
}

#[tokio::test]
async fn deployment_deployment_should_support_rollover() {
    let world = with_a_node().await;
    let (kind, sets) = (deployments(&world), sets(&world));
    let before = sets.create(set("test-rollover-controller", "rollover-pod", 1)).await;
    sets.eventually(name(&before), |set| set["status"]["readyReplicas"] == 1).await;
    let mut made = deployment("test-rollover-deployment", "rollover-pod", 1, "redis-slave");
    made["spec"]["minReadySeconds"] = 1.into();
    made["spec"]["strategy"] =
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } });
    made["spec"]["template"]["metadata"]["annotations"] = json!({ NEVER_READY: "1000" });
    let made = kind.create(made).await;
    let first = kind
        .eventually("test-rollover-deployment", |d| {
            d["metadata"]["annotations"][REVISION] == "1" && d["status"]["updatedReplicas"] == 1
        })
        .await;
    assert_eq!(first["status"]["availableReplicas"], 1, "the old pod stays until a new one is there");
    kind.update("test-rollover-deployment", |d| d["spec"]["template"] = template("rollover-pod", "agnhost"))
        .await;
    kind.eventually("test-rollover-deployment", |d| {
        is_complete(d) && d["metadata"]["annotations"][REVISION] == "2"
    })
    .await;
    let all = sets.list("labelSelector=name%3Drollover-pod").await;
    assert_eq!(items(&all).len(), 3);
    for set in items(&all) {
        assert!(is_owned_by(set, &made));
        let is_new = set["spec"]["template"]["spec"]["containers"][0]["image"] == "agnhost";
        assert_eq!(set["spec"]["replicas"], i32::from(is_new), "{set}");
    }
    world.end().await;
}

#[tokio::test]
async fn deployment_deployment_should_support_proportional_scaling() {
    let world = with_a_node().await;
    let (kind, sets) = (deployments(&world), sets(&world));
    let mut made = deployment("webserver-deployment", "httpd", 10, "httpd");
    made["spec"]["strategy"] =
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 3, "maxUnavailable": 2 } });
    kind.create(made).await;
    kind.eventually("webserver-deployment", is_complete).await;
    let first = items(&sets.list("").await)[0].clone();
    kind.update("webserver-deployment", |d| {
        d["spec"]["template"] = template("httpd", "webserver:404");
        d["spec"]["template"]["metadata"]["annotations"] = json!({ NEVER_READY: "1000" });
    })
    .await;
    kind.eventually("webserver-deployment", |d| d["status"]["updatedReplicas"] == 5).await;
    let replicas = |count: u32| move |set: &Value| set["spec"]["replicas"] == count;
    sets.eventually(name(&first), |set| replicas(8)(set) && set["status"]["availableReplicas"] == 8).await;
    let all = sets.list("").await;
    let second = items(&all).iter().find(|set| name(set) != name(&first)).expect("a second").clone();
    assert!(replicas(5)(&second), "{second}");
    kind.update("webserver-deployment", |d| d["spec"]["replicas"] = 30.into()).await;
    sets.eventually(name(&first), replicas(20)).await;
    sets.eventually(name(&second), replicas(13)).await;
    world.end().await;
}

#[tokio::test]
async fn deployment_deployment_should_have_a_working_scale_subresource() {
    let world = with_a_node().await;
    let kind = deployments(&world);
    kind.create(deployment("test-new-deployment", "httpd", 1, "httpd")).await;
    scales(&kind, "test-new-deployment").await;
    world.end().await;
}

#[tokio::test]
async fn deployment_should_run_the_lifecycle_of_a_deployment() {
    let world = with_a_node().await;
    let kind = deployments(&world);
    let selector = "labelSelector=test-deployment-static%3Dtrue";
    let list = kind.list(selector).await;
    let path = format!("{}?watch=true&resourceVersion={}&{selector}", kind.collection(), version(&list));
    let mut watch = world.watch(&path).await;
    let mut made = deployment("test-deployment", "lifecycle", 2, "agnhost");
    made["metadata"]["labels"] = json!({ "test-deployment-static": "true" });
    kind.create(made).await;
    watch.until(|event| event["type"] == "ADDED").await;
    watch.until(|event| event["object"]["status"]["readyReplicas"] == 2).await;

    let patch = json!({
        "metadata": { "labels": { "test-deployment": "patched" } },
        "spec": { "replicas": 1, "template": { "spec": {
            "containers": [{ "name": "main", "image": "pause" }],
        } } },
    });
    kind.strategic("test-deployment", patch).await;
    watch
        .until(|event| {
            let d = &event["object"];
            d["metadata"]["labels"]["test-deployment"] == "patched" && is_complete(d)
        })
        .await;
    let everywhere = kind.list_everywhere(selector).await;
    assert_eq!(items(&everywhere)[0]["spec"]["template"]["spec"]["containers"][0]["image"], "pause");
    assert_eq!(kind.get("test-deployment").await["spec"]["replicas"], 1);

    let message = json!({ "conditions": [{ "type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "patched" }] });
    let patched = kind.strategic("test-deployment/status", json!({ "status": message })).await;
    assert!(condition(&patched, "StatusUpdate").is_some());
    watch.until(|event| condition(&event["object"], "StatusUpdate").is_some()).await;
    assert_eq!(kind.get("test-deployment/status").await["kind"], "Deployment");
    let updated =
        kind.update_status("test-deployment", |d| d["status"]["availableReplicas"] = 0.into()).await;
    assert_eq!(updated["metadata"]["name"], "test-deployment");
    kind.eventually("test-deployment", is_complete).await;
    kind.update("test-deployment", |d| d["metadata"]["annotations"]["updated"] = "true".into()).await;
    watch.until(|event| event["object"]["metadata"]["annotations"]["updated"] == "true").await;
    kind.delete_collection(selector).await;
    watch.until(|event| event["type"] == "DELETED").await;
    assert!(items(&kind.list_everywhere(selector).await).is_empty());
    world.end().await;
}

#[tokio::test]
async fn deployment_should_validate_deployment_status_endpoints() {
    let world = with_a_node().await;
    let kind = deployments(&world);
    kind.create(deployment("test-deployment-status", "e2e", 1, "httpd")).await;
    kind.eventually("test-deployment-status", is_complete).await;
    super::status_endpoints(&world, &kind, "test-deployment-status").await;
    world.end().await;
}
