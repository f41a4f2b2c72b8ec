//! The life of pods.

use std::sync::Arc;
use std::time::Duration;

use orchestra::runtime::backend::sim::{Script, SimRuntime};
use orchestra::runtime::clock::SystemClock;
use orchestra::runtime::runtime::ContainerConfig;
use orchestra::{Cluster, Node};
use serde_json::{Value, json};

use crate::kind::{Kind, condition, items, number, version};
use crate::wire::Wire;
use crate::world::{World, with};

async fn with_a_node() -> World {
    with(Cluster::builder().node(Node::named("node-1").runtime(SimRuntime::default()))).await
}

fn pods(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "Pod", "pods")
}

fn pod(name: &str, labels: &Value, image: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": labels },
        "spec": { "containers": [{ "name": name, "image": image }] },
    })
}

async fn running(kind: &Kind<'_>, pod: Value) -> Value {
    let made = kind.create(pod).await;
    kind.eventually(crate::kind::name(&made), |pod| pod["status"]["phase"] == "Running").await
}

/// The selector of the suite's usual label.
fn at(time: &str) -> String {
    format!("labelSelector=time%3D{time}")
}

#[tokio::test]
async fn pods_should_get_a_host_ip() {
    let world = with_a_node().await;
    let found = running(&pods(&world), pod("pod-hostip", &json!({}), "pause")).await;
    let address = found["status"]["hostIP"].as_str().expect("an address");
    assert!(address.parse::<std::net::IpAddr>().is_ok(), "{found}");
    assert_eq!(found["status"]["hostIPs"], json!([{ "ip": address }]));
    world.end().await;
}

#[tokio::test]
async fn pods_should_be_submitted_and_removed() {
    let world = with_a_node().await;
    let kind = pods(&world);
    let list = kind.list(&at("1")).await;
    assert!(items(&list).is_empty());
    let path = format!("{}?watch=true&resourceVersion={}&{}", kind.collection(), version(&list), at("1"));
    let mut watch = world.watch(&path).await;
    kind.create(pod("pod-submit-remove", &json!({ "name": "foo", "time": "1" }), "pause")).await;
    assert_eq!(kind.count(&at("1")).await, 1);
    watch.expect_named("ADDED", "pod-submit-remove").await;
    kind.eventually("pod-submit-remove", |pod| pod["status"]["phase"] == "Running").await;
    world.delete_with(&kind.path("pod-submit-remove"), json!({ "gracePeriodSeconds": 30 })).await;
    let last = watch.until(|event| event["type"] == "DELETED").await;
    assert!(last["metadata"]["deletionTimestamp"].is_string(), "{last}");
    assert_ne!(last["spec"]["terminationGracePeriodSeconds"], 0);
    assert_eq!(kind.count(&at("1")).await, 0);
    world.end().await;
}

#[tokio::test]
async fn pods_should_be_updated() {
    let world = with_a_node().await;
    let kind = pods(&world);
    running(&kind, pod("pod-update", &json!({ "name": "foo", "time": "1" }), "pause")).await;
    assert_eq!(kind.count(&at("1")).await, 1);
    kind.update("pod-update", |pod| pod["metadata"]["labels"]["time"] = "2".into()).await;
    kind.eventually("pod-update", |pod| pod["status"]["phase"] == "Running").await;
    assert_eq!(kind.count(&at("2")).await, 1);
    world.end().await;
}

#[tokio::test]
async fn pods_should_allow_activedeadlineseconds_to_be_updated() {
    let world = with_a_node().await;
    let kind = pods(&world);
    running(&kind, pod("pod-update-deadline", &json!({ "time": "1" }), "pause")).await;
    assert_eq!(kind.count(&at("1")).await, 1);
    kind.update("pod-update-deadline", |pod| pod["spec"]["activeDeadlineSeconds"] = 2.into()).await;
    let failed = kind.eventually("pod-update-deadline", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(failed["status"]["reason"], "DeadlineExceeded");
    world.end().await;
}

#[tokio::test]
async fn pods_should_delete_a_collection_of_pods() {
    let world = with_a_node().await;
    let kind = pods(&world);
    let selector = "labelSelector=type%3DTesting";
    for name in ["test-pod-1", "test-pod-2", "test-pod-3"] {
        let mut made = pod(name, &json!({ "type": "Testing" }), "agnhost");
        made["spec"]["terminationGracePeriodSeconds"] = 1.into();
        made["spec"]["restartPolicy"] = "Never".into();
        running(&kind, made).await;
    }
    let path = format!("{}?{selector}", kind.collection());
    world.delete_with(&path, json!({ "gracePeriodSeconds": 1 })).await;
    kind.emptied(selector).await;
    world.end().await;
}

#[tokio::test]
async fn pods_should_run_through_the_lifecycle_of_pods_and_podstatus() {
    let world = with_a_node().await;
    let kind = pods(&world);
    let selector = "labelSelector=test-pod-static%3Dtrue";
    let list = kind.list_everywhere(selector).await;
    let path = format!("{}?watch=true&resourceVersion={}&{selector}", kind.collection(), version(&list));
    let mut watch = world.watch(&path).await;
    let mut made = pod("pod-test", &json!({ "test-pod-static": "true" }), "agnhost");
    made["spec"]["terminationGracePeriodSeconds"] = 1.into();
    kind.create(made).await;
    watch.until(|event| event["object"]["status"]["phase"] == "Running").await;
    kind.eventually("pod-test", |pod| is(pod, "Ready", "True") && is(pod, "ContainersReady", "True")).await;

    // A patch made from a whole Pod.
    let whole = json!({
        "metadata": { "labels": { "test-pod": "patched" } },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{ "name": "pod-test", "image": "httpd", "resources": {} }],
        },
        "status": {},
    });
    kind.strategic("pod-test", whole).await;
    watch.until(|event| event["object"]["metadata"]["labels"]["test-pod"] == "patched").await;
    let found = kind.get("pod-test").await;
    assert_eq!(found["metadata"]["labels"]["test-pod"], "patched");
    assert_eq!(found["spec"]["containers"][0]["image"], "httpd");

    // The container starts again with the new image.
    kind.eventually("pod-test", |pod| {
        pod["status"]["containerStatuses"][0]["image"] == "httpd"
            && is(pod, "Ready", "True")
            && is(pod, "ContainersReady", "True")
    })
    .await;
    let path = kind.path("pod-test/status");
    let updated = world
        .update(&path, &path, |pod| {
            for one in pod["status"]["conditions"].as_array_mut().expect("conditions") {
                if one["type"] == "Ready" || one["type"] == "ContainersReady" {
                    one["status"] = "False".into();
                }
            }
        })
        .await;
    assert!(is(&updated, "Ready", "False") && is(&updated, "ContainersReady", "False"), "{updated}");
    let path = format!("{}?{selector}", kind.collection());
    world.delete_with(&path, json!({ "gracePeriodSeconds": 1 })).await;
    watch.until(|event| event["type"] == "DELETED").await;
    assert!(!kind.exists("pod-test").await);
    world.end().await;
}

fn is(pod: &Value, type_: &str, status: &str) -> bool {
    condition(pod, type_).is_some_and(|found| found["status"] == status)
}

#[tokio::test]
async fn pods_should_patch_a_pod_status() {
    let world = with_a_node().await;
    let kind = pods(&world);
    running(&kind, pod("pod-e2e", &json!({ "e2e": "pod-e2e" }), "agnhost")).await;
    let patch = json!({
        "metadata": { "annotations": { "patchedstatus": "true" } },
        "status": { "message": "Patched by e2e test", "reason": "E2E" },
    });
    let patched = kind.merge("pod-e2e/status", patch).await;
    let status = &patched["status"];
    assert_eq!((&status["message"], &status["reason"]), (&json!("Patched by e2e test"), &json!("E2E")));
    assert_eq!(status["phase"], "Running");
    world.end().await;
}

/// What a change is called, the change, and whether it makes a new generation.
type Change = (&'static str, fn(&mut Value), bool);

/// Waits until the agent has told of this generation.
async fn observed(kind: &Kind<'_>, name: &str, generation: u64) {
    kind.eventually(name, |pod| pod["status"]["observedGeneration"] == generation).await;
}

#[tokio::test]
async fn pods_extended_pod_generation_pod_generation_pod_generation_should_start_at_1_and_increment_per_update()
 {
    let script = |config: &ContainerConfig| match config.name.as_str() {
        "init-container" => Script::ending(Duration::from_millis(10), 0),
        _ => Script::forever(),
    };
    let runtime = SimRuntime::new(Arc::new(SystemClock), script);
    let world = with(Cluster::builder().node(Node::named("node-1").runtime(runtime))).await;
    let kind = pods(&world);
    let mut made = pod("pod-generation", &json!({}), "agnhost");
    made["spec"]["initContainers"] = json!([{ "name": "init-container", "image": "busybox" }]);
    let made = running(&kind, made).await;
    assert_eq!(made["metadata"]["generation"], 1);
    let changes: [Change; 7] = [
        ("nothing", |_| {}, false),
        (
            "tolerations",
            |pod| {
                let more =
                    json!({ "key": "foo-1", "operator": "Equal", "value": "bar", "effect": "NoSchedule" });
                // Those that every pod has come back by themselves.
                pod["spec"]["tolerations"] = json!([more]);
            },
            true,
        ),
        ("deadline", |pod| pod["spec"]["activeDeadlineSeconds"] = 5000.into(), true),
        ("image", |pod| pod["spec"]["containers"][0]["image"] = "nginx".into(), true),
        ("initial image", |pod| pod["spec"]["initContainers"][0]["image"] = "pause".into(), true),
        ("metadata", |pod| pod["metadata"]["annotations"] = json!({ "key": "value" }), false),
        ("generation", |pod| pod["metadata"]["generation"] = 1.into(), false),
    ];
    let mut wanted = 1;
    for (called, change, is_counted) in changes {
        kind.update("pod-generation", change).await;
        wanted += u64::from(is_counted);
        assert_eq!(kind.get("pod-generation").await["metadata"]["generation"], wanted, "{called}");
        observed(&kind, "pod-generation", wanted).await;
    }
    world.end().await;
}

#[tokio::test]
async fn pods_extended_pod_generation_pod_generation_custom_set_generation_on_new_pods_and_graceful_delete() {
    let world = with_a_node().await;
    let kind = pods(&world);
    let mut made = pod("pod-generation", &json!({ "time": "1" }), "agnhost");
    made["metadata"]["generation"] = 100.into();
    let made = running(&kind, made).await;
    assert_eq!(made["metadata"]["generation"], 1);
    // It is still there to be read when its containers have ended.
    kind.merge("pod-generation", json!({ "metadata": { "finalizers": ["example.com/keep"] } })).await;
    // The grace stands in the address, and there is no body.
    let path = format!("{}?gracePeriodSeconds=60", kind.path("pod-generation"));
    let (status, answer) = world.answer(Wire::Json, "DELETE", &path, "application/json", Vec::new()).await;
    assert_eq!((status, &answer["kind"]), (200, &json!("Pod")), "{answer}");
    assert_eq!(answer["metadata"]["deletionGracePeriodSeconds"], 60);
    assert_eq!(kind.get("pod-generation").await["metadata"]["generation"], 2);
    kind.merge("pod-generation", json!({ "metadata": { "finalizers": null } })).await;
    kind.gone("pod-generation").await;
    world.end().await;
}

#[tokio::test]
async fn pods_extended_pod_generation_pod_generation_issue_500_podspec_updates_and_verify_generation_and_observedgeneration_eventually_converge()
 {
    let world = with_a_node().await;
    let kind = pods(&world);
    let mut made = pod("pod-generation", &json!({ "time": "1" }), "agnhost");
    made["spec"]["activeDeadlineSeconds"] = 5000.into();
    let mut before = number(version(&running(&kind, made).await));
    for _ in 1..500 {
        let updated = kind
            .update("pod-generation", |pod| {
                let seconds = pod["spec"]["activeDeadlineSeconds"].as_u64().expect("a number");
                pod["spec"]["activeDeadlineSeconds"] = (seconds - 1).into();
            })
            .await;
        assert!(number(version(&updated)) > before, "{updated}");
        before = number(version(&updated));
    }
    observed(&kind, "pod-generation", 500).await;
    assert_eq!(kind.get("pod-generation").await["metadata"]["generation"], 500);
    world.end().await;
}
