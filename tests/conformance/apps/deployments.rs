//! Deployments, and how they roll out.

use serde_json::{Value, json};

use super::{NEVER_READY, scales, with_a_node};
use crate::kind::{Kind, items, name, version};
use crate::wire::Wire;
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

/// A ReplicaSet that was there before the Deployment, and is choosier about its pods.
fn set(called: &str, label: &str, replicas: u32) -> Value {
    let mut set = deployment(called, label, replicas, "httpd");
    let labels = json!({ "name": label, "pod": "httpd" });
    set["metadata"]["labels"] = labels.clone();
    set["spec"]["selector"]["matchLabels"] = labels.clone();
    set["spec"]["template"]["metadata"]["labels"] = labels;
    set["spec"]["template"]["spec"]["containers"][0]["name"] = "httpd".into();
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
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    let from = version(&pods.list("").await).to_owned();
    let path = format!("{}?watch=true&allowWatchBookmarks=true&resourceVersion={from}", pods.collection());
    let mut watch = world.watch(&path).await;
    let mut made = deployment("test-cleanup-deployment", "cleanup-pod", 1, "agnhost");
    made["spec"]["revisionHistoryLimit"] = 0.into();
    kind.create(made).await;
    kind.eventually("test-cleanup-deployment", is_complete).await;
    sets.gone("test-cleanup-controller").await;
    // Of all that happened to pods until now, one was made, of the new template.
    let marker = json!({ "metadata": { "name": "marker" }, "spec": template("marker", "pause")["spec"] });
    pods.create(marker).await;
    let mut images = Vec::new();
    loop {
        let event = watch.next().await;
        if event["type"] == "ADDED" && name(&event["object"]) == "marker" {
            break;
        }
        if event["type"] == "ADDED" {
            images.push(event["object"]["spec"]["containers"][0]["image"].clone());
        }
    }
    assert_eq!(images, [json!("agnhost")]);
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
    let both = sets.list("labelSelector=name%3Drollover-pod").await;
    assert_eq!(items(&both).len(), 2);
    for set in items(&both) {
        assert_eq!((&set["spec"]["replicas"], &set["status"]["replicas"]), (&json!(1), &json!(1)), "{set}");
    }
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
        let wanted = json!(i32::from(is_new));
        assert_eq!((&set["spec"]["replicas"], &set["status"]["replicas"]), (&wanted, &wanted), "{set}");
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
    let list = kind.list_everywhere(selector).await;
    let path = format!("{}?watch=true&resourceVersion={}&{selector}", kind.collection(), version(&list));
    let mut watch = world.watch(&path).await;
    let labels = json!({ "test-deployment-static": "true" });
    let mut made = deployment("test-deployment", "unused", 2, "agnhost");
    made["metadata"]["labels"] = labels.clone();
    made["spec"]["selector"]["matchLabels"] = labels.clone();
    made["spec"]["template"]["metadata"]["labels"] = labels;
    let created = kind.create(made.clone()).await;
    watch.until(|event| event["type"] == "ADDED").await;
    watch.until(|event| event["object"]["status"]["readyReplicas"] == 2).await;

    let patch = json!({
        "metadata": { "labels": { "test-deployment": "patched" } },
        "spec": { "replicas": 1, "template": { "spec": {
            "terminationGracePeriodSeconds": 2,
            "containers": [{ "name": "main", "image": "pause" }],
        } } },
    });
    kind.strategic("test-deployment", patch).await;
    let scaled = watch.until(|event| are_ready(&event["object"], "pause", 1)).await;
    assert_eq!(scaled["metadata"]["labels"]["test-deployment"], "patched");
    assert_eq!(scaled["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 2);
    assert_eq!(items(&kind.list_everywhere(selector).await).len(), 1);

    // What was first sent, changed, is put in the place of what is there by now: without a uid or a version, and with the
    // empty fields that Go writes of a whole Deployment.
    let mut update = made;
    update["metadata"]["labels"]["test-deployment"] = "updated".into();
    update["metadata"]["creationTimestamp"] = Value::Null;
    update["spec"]["strategy"] = json!({});
    update["spec"]["template"]["metadata"]["creationTimestamp"] = Value::Null;
    update["spec"]["template"]["spec"]["containers"][0]["image"] = "httpd".into();
    update["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({});
    update["status"] = json!({});
    let (status, updated) = world.converse(Wire::Json, "PUT", &kind.path("test-deployment"), update).await;
    assert_eq!(status, 200, "{updated}");
    assert_eq!(updated["metadata"]["uid"], created["metadata"]["uid"]);
    let is_updated = |deployment: &Value| {
        assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], "httpd");
        assert_eq!(deployment["metadata"]["labels"]["test-deployment"], "updated");
    };
    is_updated(&kind.get("test-deployment/status").await);
    watch.until(|event| are_ready(&event["object"], "httpd", 2)).await;

    // The status is patched without its metadata, and put right again.
    let patch = json!({
        "metadata": { "labels": { "test-deployment": "patched-status" } },
        "status": { "readyReplicas": 0, "availableReplicas": 0 },
    });
    let patched = kind.strategic("test-deployment/status", patch).await;
    assert_eq!(patched["status"]["readyReplicas"].as_i64().unwrap_or_default(), 0);
    watch.until(|event| event["type"] == "MODIFIED").await;
    is_updated(&kind.get("test-deployment/status").await);
    watch.until(|event| are_ready(&event["object"], "httpd", 2)).await;
    let path = format!("{}?{selector}", kind.collection());
    world.delete_with(&path, json!({ "gracePeriodSeconds": 1 })).await;
    watch.until(|event| event["type"] == "DELETED").await;
    assert!(items(&kind.list_everywhere(selector).await).is_empty());
    world.end().await;
}

/// Whether so many pods of this image are ready, and none is missing.
fn are_ready(deployment: &Value, image: &str, count: i32) -> bool {
    let status = &deployment["status"];
    status["readyReplicas"] == count
        && status["updatedReplicas"] == count
        && status["unavailableReplicas"].as_i64().unwrap_or_default() == 0
        && deployment["spec"]["template"]["spec"]["containers"][0]["image"] == image
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
