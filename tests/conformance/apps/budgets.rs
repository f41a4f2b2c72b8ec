//! Disruption budgets.

use serde_json::{Value, json};

use super::with_a_node;
use crate::kind::{Kind, names};
use crate::world::{World, world};

fn budgets(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
}

fn budget(name: &str, least: Value, labels: &Value) -> Value {
    json!({
        "metadata": { "name": name, "labels": labels },
        "spec": { "selector": { "matchLabels": labels }, "minAvailable": least },
    })
}

/// Until the controller has counted for the first time.
async fn processed(kind: &Kind<'_>, name: &str) -> Value {
    kind.eventually(name, |budget| {
        budget["status"]["observedGeneration"].as_i64() >= budget["metadata"]["generation"].as_i64()
            && budget["metadata"]["generation"].is_i64()
    })
    .await
}

#[tokio::test]
async fn disruptioncontroller_should_create_a_poddisruptionbudget() {
    let world = world().await;
    let kind = budgets(&world);
    kind.create(budget("foo", json!("1%"), &json!({ "foo": "bar" }))).await;
    processed(&kind, "foo").await;
    let updated = kind.update("foo", |budget| budget["spec"]["minAvailable"] = "2%".into()).await;
    assert_eq!(updated["spec"]["minAvailable"], "2%");
    processed(&kind, "foo").await;
    let patched = kind.merge("foo", json!({ "spec": { "minAvailable": "3%" } })).await;
    assert_eq!(patched["spec"]["minAvailable"], "3%");
    processed(&kind, "foo").await;
    kind.delete("foo").await;
    kind.gone("foo").await;
    world.end().await;
}

#[tokio::test]
async fn disruptioncontroller_listing_poddisruptionbudgets_for_all_namespaces_should_list_and_delete_a_collection_of_poddisruptionbudgets()
 {
    let world = world().await;
    world.make_namespace("other").await;
    let kind = budgets(&world);
    let elsewhere = budgets(&world).inside("other");
    let labels = json!({ "foo_pdb": "bar_pdb" });
    kind.create(budget("foo", json!(2), &labels)).await;
    kind.create(budget("foo2", json!("1%"), &labels)).await;
    elsewhere.create(budget("foo3", json!(2), &labels)).await;
    processed(&kind, "foo").await;
    processed(&kind, "foo2").await;
    processed(&elsewhere, "foo3").await;
    let selector = "labelSelector=foo_pdb%3Dbar_pdb";
    assert_eq!(names(&kind.list_everywhere(selector).await), ["foo", "foo2", "foo3"]);
    assert_eq!(names(&kind.list(selector).await), ["foo", "foo2"]);
    kind.delete_collection("").await;
    kind.emptied("").await;
    assert_eq!(names(&kind.list_everywhere(selector).await), ["foo3"]);
    world.end().await;
}

#[tokio::test]
async fn disruptioncontroller_should_update_patch_poddisruptionbudget_status() {
    let world = with_a_node().await;
    let kind = budgets(&world);
    kind.create(budget("foo", json!(1), &json!({ "foo": "bar" }))).await;
    processed(&kind, "foo").await;
    // The controller takes out pods that are not there.
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    let pod = pods
        .create(json!({
            "metadata": { "generateName": "pod-", "labels": { "foo": "bar" } },
            "spec": { "containers": [{ "name": "donothing", "image": "pause" }], "restartPolicy": "Always" },
        }))
        .await;
    let pod = crate::kind::name(&pod);
    pods.eventually(pod, |pod| pod["status"]["phase"] == "Running").await;
    let now = pods.get(pod).await["metadata"]["creationTimestamp"].clone();
    kind.update_status("foo", |budget| budget["status"]["disruptedPods"] = json!({ pod: now })).await;
    let found = kind.get("foo/status").await;
    assert!(found["status"]["disruptedPods"][pod].is_string(), "{found}");
    let patched = kind.merge("foo/status", json!({ "status": { "disruptedPods": null } })).await;
    let left = patched["status"]["disruptedPods"].as_object();
    assert!(left.is_none_or(serde_json::Map::is_empty), "{patched}");
    world.end().await;
}

/// So many pods that the budget is about, running.
async fn running(pods: &Kind<'_>, count: usize) {
    for _ in 0..count {
        let pod = pods
            .create(json!({
                "metadata": { "generateName": "pod-", "labels": { "foo": "bar" } },
                "spec": { "containers": [{ "name": "donothing", "image": "pause" }], "restartPolicy": "Always" },
            }))
            .await;
        pods.eventually(crate::kind::name(&pod), |pod| pod["status"]["phase"] == "Running").await;
    }
}

#[tokio::test]
async fn disruptioncontroller_should_observe_poddisruptionbudget_status_updated() {
    let world = with_a_node().await;
    let kind = budgets(&world);
    kind.create(budget("foo", json!(1), &json!({ "foo": "bar" }))).await;
    processed(&kind, "foo").await;
    running(&Kind::namespaced(&world, "v1", "Pod", "pods"), 3).await;
    kind.eventually("foo", |budget| budget["status"]["disruptionsAllowed"].as_i64() > Some(0)).await;
    world.end().await;
}

/// Asks for a pod's eviction and returns the answer's code and its cause.
async fn evict(world: &World, name: &str) -> (u16, Value) {
    let path = format!("/api/v1/namespaces/conformance/pods/{name}/eviction");
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": { "name": name, "namespace": "conformance" },
    });
    let (status, answer) = world.ask("POST", &path, eviction).await;
    (status, answer["details"]["causes"][0]["reason"].clone())
}

/// The name of a pod that runs and stays, once so many of them do.
async fn one_of(world: &World, count: usize) -> String {
    let pods = Kind::namespaced(world, "v1", "Pod", "pods");
    let mut watch = world.watch(&format!("{}?watch=true", pods.collection())).await;
    loop {
        let list = pods.list("labelSelector=foo%3Dbar").await;
        let stays = |pod: &&Value| {
            pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null()
        };
        let stay: Vec<&Value> = crate::kind::items(&list).iter().filter(stays).collect();
        if stay.len() == count {
            return crate::kind::name(stay[0]).to_owned();
        }
        watch.next().await;
    }
}

#[tokio::test]
async fn disruptioncontroller_should_block_an_eviction_until_the_pdb_is_updated_to_allow_it() {
    let world = with_a_node().await;
    let kind = budgets(&world);
    let labels = json!({ "foo": "bar" });
    kind.create(budget("foo", json!(3), &labels)).await;
    processed(&kind, "foo").await;
    let sets = Kind::namespaced(&world, "apps/v1", "ReplicaSet", "replicasets");
    sets.create(json!({
        "metadata": { "name": "rs" },
        "spec": {
            "replicas": 3,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "donothing", "image": "pause" }] },
            },
        },
    }))
    .await;
    let refused = (429, json!("DisruptionBudget"));
    let pod = one_of(&world, 3).await;
    assert_eq!(evict(&world, &pod).await, refused);
    kind.update("foo", |budget| budget["spec"]["minAvailable"] = 2.into()).await;
    kind.eventually("foo", |budget| {
        let status = &budget["status"];
        status["currentHealthy"] == 3 && status["desiredHealthy"] == 2 && status["disruptionsAllowed"] == 1
    })
    .await;
    assert_eq!(evict(&world, &pod).await.0, 201);

    kind.merge("foo", json!({ "spec": { "minAvailable": null, "maxUnavailable": 0 } })).await;
    processed(&kind, "foo").await;
    let pod = one_of(&world, 3).await;
    assert_eq!(evict(&world, &pod).await, refused);
    kind.delete("foo").await;
    kind.gone("foo").await;
    assert_eq!(evict(&world, &pod).await.0, 201);
    world.end().await;
}
