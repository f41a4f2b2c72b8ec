//! Where pods go.

use orchestra::runtime::backend::sim::SimRuntime;
use orchestra::{Cluster, Node};
use serde_json::{Value, json};

use crate::kind::{Kind, items, name};
use crate::world::{STRATEGIC_PATCH, World, with, world};

#[tokio::test]
async fn limitrange_should_list_patch_and_delete_a_limitrange_by_collection() {
    let world = world().await;
    world.make_namespace("other").await;
    let kind = Kind::namespaced(&world, "v1", "LimitRange", "limitranges");
    let elsewhere = Kind::namespaced(&world, "v1", "LimitRange", "limitranges").inside("other");
    let range = || {
        json!({
            "metadata": { "name": "e2e-limitrange", "labels": { "e2e-limitrange": "created" } },
            "spec": { "limits": [{
                "type": "Container",
                "min": resources(["50m", "100Mi", "100Gi"]),
                "max": resources(["500m", "500Mi", "500Gi"]),
                "default": resources(["500m", "500Mi", "500Gi"]),
                "defaultRequest": resources(["100m", "200Mi", "200Gi"]),
            }] },
        })
    };
    kind.create(range()).await;
    elsewhere.create(range()).await;
    let created = "labelSelector=e2e-limitrange%3Dcreated";
    assert_eq!(items(&kind.list_everywhere(created).await).len(), 2);

    let smaller = resources(["9m", "49Mi", "49Gi"]);
    let mut limits = kind.get("e2e-limitrange").await["spec"]["limits"].clone();
    limits[0]["min"] = smaller.clone();
    let patched = kind
        .strategic(
            "e2e-limitrange",
            json!({
                "metadata": { "labels": { "e2e-limitrange": "patched" } },
                "spec": { "limits": limits },
            }),
        )
        .await;
    assert_eq!(patched["metadata"]["labels"]["e2e-limitrange"], "patched");
    assert_eq!(patched["spec"]["limits"][0]["min"], smaller);
    kind.delete_collection("labelSelector=e2e-limitrange%3Dpatched").await;
    kind.emptied("labelSelector=e2e-limitrange%3Dpatched").await;
    let left = kind.list_everywhere(created).await;
    assert_eq!(items(&left).len(), 1);
    assert_eq!(items(&left)[0]["metadata"]["namespace"], "other");
    world.end().await;
}

#[tokio::test]
async fn limitrange_should_create_a_limitrange_with_defaults_and_ensure_pod_has_those_defaults_applied() {
    let world = world().await;
    let kind = Kind::namespaced(&world, "v1", "LimitRange", "limitranges");
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    let selector = "labelSelector=name%3Dfoo";
    let list = kind.list(selector).await;
    let version = crate::kind::version(&list);
    let mut watch =
        world.watch(&format!("{}?watch=true&resourceVersion={version}&{selector}", kind.collection())).await;
    let default = resources(["500m", "500Mi", "500Gi"]);
    let request = resources(["100m", "200Mi", "200Gi"]);
    let range = kind
        .create(json!({
            "metadata": { "name": "limit-range", "labels": { "name": "foo" } },
            "spec": { "limits": [{
                "type": "Container",
                "min": resources(["50m", "100Mi", "100Gi"]),
                "max": resources(["500m", "500Mi", "500Gi"]),
                "default": default,
                "defaultRequest": request,
            }] },
        }))
        .await;
    watch.expect_named("ADDED", "limit-range").await;
    let held = kind.get("limit-range").await;
    assert_eq!(held["spec"], range["spec"]);
    let item = &held["spec"]["limits"][0];
    assert_eq!((&item["default"], &item["defaultRequest"]), (&default, &request));

    pods.create(pod("pod-no-resources", json!({}))).await;
    let given = pods.get("pod-no-resources").await["spec"]["containers"][0]["resources"].clone();
    assert_eq!(given, json!({ "requests": request, "limits": default }));

    // A limit without a request is the request.
    let partial = json!({
        "requests": { "memory": "150Mi", "ephemeral-storage": "150Gi" },
        "limits": { "cpu": "300m" },
    });
    pods.create(pod("pod-partial-resources", partial)).await;
    let given = pods.get("pod-partial-resources").await["spec"]["containers"][0]["resources"].clone();
    let requests = resources(["300m", "150Mi", "150Gi"]);
    let limits = resources(["300m", "500Mi", "500Gi"]);
    assert_eq!(given, json!({ "requests": requests, "limits": limits }));

    let little = json!({ "requests": resources(["10m", "50Mi", "50Gi"]) });
    let much = json!({ "requests": resources(["600m", "600Mi", "600Gi"]) });
    for refused in [&little, &much] {
        let (code, message) = pods.refused(pod("refused", refused.clone())).await;
        assert!(matches!(code, 403 | 422), "{code} {message}");
    }

    let smaller = resources(["9m", "49Mi", "49Gi"]);
    kind.update("limit-range", |range| range["spec"]["limits"][0]["min"] = smaller.clone()).await;
    let seen = watch.expect_named("MODIFIED", "limit-range").await;
    assert_eq!(seen["spec"]["limits"][0]["min"], smaller);
    pods.create(pod("pod-less-than-former-min", little)).await;
    let (code, message) = pods.refused(pod("refused", much.clone())).await;
    assert!(matches!(code, 403 | 422), "{code} {message}");

    kind.delete("limit-range").await;
    watch.expect_named("DELETED", "limit-range").await;
    assert_eq!(kind.count(selector).await, 0);
    pods.create(pod("pod-more-than-former-max", much)).await;
    world.end().await;
}

fn resources([cpu, memory, storage]: [&str; 3]) -> Value {
    json!({ "cpu": cpu, "memory": memory, "ephemeral-storage": storage })
}

fn pod(name: &str, resources: Value) -> Value {
    let container = json!({ "name": "pause", "image": "pause", "resources": resources });
    json!({ "metadata": { "name": name }, "spec": { "containers": [container] } })
}

#[tokio::test]
async fn schedulerpreemption_priorityclass_endpoints_verify_priorityclass_endpoints_can_be_operated_with_different_http_methods()
 {
    let world = world().await;
    let kind = Kind::cluster(&world, "scheduling.k8s.io/v1", "PriorityClass", "priorityclasses");
    for (name, value) in [("p1", 1), ("p2", 2)] {
        kind.create(json!({ "metadata": { "name": name }, "value": value })).await;
    }
    // The value is for ever, however one tries to change it.
    let (patched, _) =
        world.raw("PATCH", &kind.path("p1"), &[("content-type", STRATEGIC_PATCH)], r#"{"value":10}"#).await;
    assert_eq!(patched, 422);
    let mut second = kind.get("p2").await;
    second["value"] = 20.into();
    let (updated, answer) = world.ask("PUT", &kind.path("p2"), second).await;
    assert_eq!((updated, &answer["reason"]), (422, &json!("Invalid")));

    kind.strategic("p1", json!({ "description": "updated description" })).await;
    kind.update("p2", |class| class["description"] = "updated description".into()).await;
    let list = kind.list("").await;
    for (wanted, value) in [("p1", 1), ("p2", 2)] {
        let found = items(&list).iter().find(|class| name(class) == wanted).expect("the class");
        assert_eq!((&found["value"], &found["description"]), (&json!(value), &json!("updated description")));
    }
    for name in ["p1", "p2"] {
        world.delete_with(&kind.path(name), json!({ "gracePeriodSeconds": 0 })).await;
        assert!(!kind.exists(name).await);
    }
    world.end().await;
}

async fn with_a_node() -> World {
    with(Cluster::builder().node(Node::named("node-1").runtime(SimRuntime::default()))).await
}

/// A pod that asks for nothing but a label of its node.
fn choosy(name: &str, label: &str) -> Value {
    let mut pod = pod(name, json!({}));
    pod["spec"]["nodeSelector"] = json!({ label: "42" });
    pod
}

#[tokio::test]
async fn schedulerpredicates_validates_that_nodeselector_is_respected_if_matching() {
    let world = with_a_node().await;
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    let nodes = Kind::cluster(&world, "v1", "Node", "nodes");
    pods.create(pod("without-label", json!({}))).await;
    let found = pods.eventually("without-label", |pod| pod["spec"]["nodeName"].is_string()).await;
    let node = found["spec"]["nodeName"].as_str().expect("a node").to_owned();
    pods.delete("without-label").await;
    let label = "kubernetes.io/e2e-conformance";
    nodes.strategic(&node, json!({ "metadata": { "labels": { label: "42" } } })).await;
    pods.create(choosy("with-labels", label)).await;
    let found = pods.eventually("with-labels", |pod| pod["status"]["phase"] == "Running").await;
    assert_eq!(found["spec"]["nodeName"], node.as_str());
    nodes.strategic(&node, json!({ "metadata": { "labels": { label: null } } })).await;
    world.end().await;
}

#[tokio::test]
async fn schedulerpredicates_validates_that_nodeselector_is_respected_if_not_matching() {
    let world = with_a_node().await;
    let nodes = Kind::cluster(&world, "v1", "Node", "nodes");
    nodes.eventually("node-1", |node| node["status"]["allocatable"]["pods"].is_string()).await;
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    pods.create(choosy("restricted-pod", "label")).await;
    // The scheduler says why.
    let events =
        "/api/v1/namespaces/conformance/events?watch=true&fieldSelector=involvedObject.name%3Drestricted-pod";
    let event =
        world.watch(events).await.until(|event| event["object"]["reason"] == "FailedScheduling").await;
    assert_eq!(event["type"], "Warning");
    let list = pods.list("").await;
    assert_eq!(items(&list).len(), 1);
    assert!(items(&list)[0]["spec"]["nodeName"].is_null(), "{list}");
    world.end().await;
}
