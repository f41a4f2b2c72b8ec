//! Daemon sets and their revisions.

use orchestra::runtime::backend::sim::SimRuntime;
use orchestra::{Cluster, Node};
use serde_json::{Value, json};

use super::{NEVER_READY, status_endpoints};
use crate::kind::{Kind, items, name};
use crate::world::{World, with};

const NODES: usize = 3;
const SELECTOR: &str = "labelSelector=daemonset-name%3Ddaemon-set";

/// A world with several nodes.
async fn with_nodes() -> World {
    let mut builder = Cluster::builder();
    for number in 1..=NODES {
        builder = builder.node(Node::named(format!("node-{number}")).runtime(SimRuntime::default()));
    }
    let world = with(builder).await;
    let nodes = nodes(&world);
    for number in 1..=NODES {
        nodes
            .eventually(&format!("node-{number}"), |node| {
                crate::kind::condition(node, "Ready").is_some_and(|ready| ready["status"] == "True")
            })
            .await;
    }
    world
}

fn nodes(world: &World) -> Kind<'_> {
    Kind::cluster(world, "v1", "Node", "nodes")
}

fn pods(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "Pod", "pods")
}

fn sets(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "apps/v1", "DaemonSet", "daemonsets")
}

fn daemon(image: &str) -> Value {
    let labels = json!({ "daemonset-name": "daemon-set" });
    json!({
        "metadata": { "name": "daemon-set", "labels": labels },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "terminationGracePeriodSeconds": 0, "containers": [{ "name": "app", "image": image }] },
            },
        },
    })
}

/// Whether a pod of the newest template is available on so many nodes, and nothing else is there.
fn runs_on(count: usize) -> impl Fn(&Value) -> bool {
    move |set| {
        let (status, meta) = (&set["status"], &set["metadata"]);
        let number = |field: &str| status[field].as_u64().unwrap_or_default();
        let wanted = count as u64;
        status["observedGeneration"] == meta["generation"]
            && number("desiredNumberScheduled") == wanted
            && number("numberMisscheduled") == 0
            && ["numberAvailable", "updatedNumberScheduled", "currentNumberScheduled"]
                .iter()
                .all(|field| number(field) == wanted)
    }
}

/// The set's pods that are not on their way out.
async fn living(world: &World) -> Vec<Value> {
    let list = pods(world).list(SELECTOR).await;
    let lives = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
    items(&list).iter().filter(lives).cloned().collect()
}

async fn running(world: &World) -> Value {
    let kind = sets(world);
    kind.create(daemon("httpd:1")).await;
    kind.eventually("daemon-set", runs_on(NODES)).await
}

#[tokio::test]
async fn daemon_set_should_run_and_stop_simple_daemon() {
    let world = with_nodes().await;
    running(&world).await;
    let before = living(&world).await;
    let mut on: Vec<&str> = before.iter().map(|pod| pod["spec"]["nodeName"].as_str().unwrap()).collect();
    on.sort_unstable();
    assert_eq!(on, ["node-1", "node-2", "node-3"]);
    let victim = &before[0];
    pods(&world).delete(name(victim)).await;
    pods(&world).gone(name(victim)).await;
    sets(&world).eventually("daemon-set", runs_on(NODES)).await;
    let after = living(&world).await;
    assert!(after.len() == NODES && after.iter().all(|pod| name(pod) != name(victim)));
    world.end().await;
}

#[tokio::test]
async fn daemon_set_should_run_and_stop_complex_daemon() {
    let world = with_nodes().await;
    let (kind, nodes) = (sets(&world), nodes(&world));
    let mut blue = daemon("httpd:1");
    blue["spec"]["template"]["spec"]["nodeSelector"] = json!({ "daemonset-color": "blue" });
    kind.create(blue).await;
    kind.eventually("daemon-set", runs_on(0)).await;
    assert!(living(&world).await.is_empty());
    let paint = async |colour: Value| {
        nodes.strategic("node-2", json!({ "metadata": { "labels": { "daemonset-color": colour } } })).await;
    };
    paint("blue".into()).await;
    kind.eventually("daemon-set", runs_on(1)).await;
    assert_eq!(living(&world).await[0]["spec"]["nodeName"], "node-2");
    paint("green".into()).await;
    kind.eventually("daemon-set", runs_on(0)).await;
    pods(&world).emptied(SELECTOR).await;
    kind.update("daemon-set", |set| {
        set["spec"]["template"]["spec"]["nodeSelector"] = json!({ "daemonset-color": "green" });
        set["spec"]["updateStrategy"] = json!({ "type": "RollingUpdate" });
    })
    .await;
    kind.eventually("daemon-set", runs_on(1)).await;
    world.end().await;
}

#[tokio::test]
async fn daemon_set_should_retry_creating_failed_daemon_pods() {
    let world = with_nodes().await;
    running(&world).await;
    let victim = living(&world).await.swap_remove(0);
    pods(&world)
        .update_status(name(&victim), |pod| {
            pod["status"]["phase"] = "Failed".into();
        })
        .await;
    pods(&world).gone(name(&victim)).await;
    sets(&world).eventually("daemon-set", runs_on(NODES)).await;
    world.end().await;
}

#[tokio::test]
async fn daemon_set_should_update_pod_when_spec_was_updated_and_update_strategy_is_rollingupdate() {
    let world = with_nodes().await;
    let kind = sets(&world);
    running(&world).await;
    let revisions = Kind::namespaced(&world, "apps/v1", "ControllerRevision", "controllerrevisions");
    assert_eq!(revisions.count(SELECTOR).await, 1);
    kind.strategic(
        "daemon-set",
        json!({ "spec": { "template": { "spec": { "containers": [{ "name": "app", "image": "agnhost:2" }] } } } }),
    )
    .await;
    let is_new = |set: &Value| set["metadata"]["generation"] == 2 && runs_on(NODES)(set);
    kind.eventually("daemon-set", is_new).await;
    let list = revisions.list(SELECTOR).await;
    let newest = items(&list).iter().max_by_key(|revision| revision["revision"].as_u64()).expect("one");
    assert_eq!((items(&list).len(), &newest["revision"]), (2, &json!(2)));
    let hash = &newest["metadata"]["labels"]["controller-revision-hash"];
    for pod in living(&world).await {
        assert_eq!(pod["spec"]["containers"][0]["image"], "agnhost:2");
        assert_eq!(&pod["metadata"]["labels"]["controller-revision-hash"], hash);
    }
    world.end().await;
}

#[tokio::test]
async fn daemon_set_should_rollback_without_unnecessary_restarts() {
    let world = with_nodes().await;
    let kind = sets(&world);
    running(&world).await;
    let before: Vec<Value> = living(&world).await.iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
    kind.update("daemon-set", |set| {
        set["spec"]["template"]["spec"]["containers"][0]["image"] = "foo:non-existent".into();
        set["spec"]["template"]["metadata"]["annotations"] = json!({ NEVER_READY: "1000" });
    })
    .await;
    // One is replaced, and the others wait until it is there.
    kind.eventually("daemon-set", |set| {
        set["status"]["updatedNumberScheduled"] == 1 && set["status"]["numberUnavailable"] == 1
    })
    .await;
    let bad: Vec<Value> = living(&world).await;
    let kept = |pods: &[Value]| pods.iter().filter(|pod| before.contains(&pod["metadata"]["uid"])).count();
    assert_eq!(kept(&bad), NODES - 1);
    kind.update("daemon-set", |set| {
        set["spec"]["template"]["spec"]["containers"][0]["image"] = "httpd:1".into();
        set["spec"]["template"]["metadata"]["annotations"] = Value::Null;
    })
    .await;
    let is_back = |set: &Value| set["metadata"]["generation"] == 3 && runs_on(NODES)(set);
    kind.eventually("daemon-set", is_back).await;
    let after = living(&world).await;
    assert_eq!((after.len(), kept(&after)), (NODES, NODES - 1));
    world.end().await;
}

#[tokio::test]
async fn daemon_set_should_list_and_delete_a_collection_of_daemonsets() {
    let world = with_nodes().await;
    let kind = sets(&world);
    running(&world).await;
    assert_eq!(items(&kind.list_everywhere(SELECTOR).await).len(), 1);
    let path = format!("{}?{SELECTOR}", kind.collection());
    world.delete_with(&path, json!({ "gracePeriodSeconds": 1 })).await;
    assert!(items(&kind.list_everywhere(SELECTOR).await).is_empty());
    world.end().await;
}

#[tokio::test]
async fn daemon_set_should_verify_changes_to_a_daemon_set_status() {
    let world = with_nodes().await;
    running(&world).await;
    let kind = sets(&world);
    status_endpoints(&world, &kind, "daemon-set").await;
    // A patch made from a whole DaemonSet takes away all that its type writes as null, which at this path is nothing.
    let whole = json!({
        "metadata": {},
        "spec": {
            "selector": null,
            "template": { "metadata": {}, "spec": { "containers": null } },
            "updateStrategy": {},
        },
        "status": {
            "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
            "conditions": [{ "type": "StatusWholly", "status": "True", "lastTransitionTime": null }],
        },
    });
    let before = kind.get("daemon-set").await;
    let patched = kind.merge("daemon-set/status", whole).await;
    assert!(crate::kind::condition(&patched, "StatusWholly").is_some(), "{patched}");
    assert_eq!(patched["spec"], before["spec"]);
    world.end().await;
}

#[tokio::test]
async fn controllerrevision_should_manage_the_lifecycle_of_a_controllerrevision() {
    let world = with_nodes().await;
    let kind = Kind::namespaced(&world, "apps/v1", "ControllerRevision", "controllerrevisions");
    let set = running(&world).await;
    let list = kind.list_everywhere(SELECTOR).await;
    assert_eq!(items(&list).len(), 1, "{list}");
    let first = items(&list)[0].clone();
    assert_eq!(first["metadata"]["ownerReferences"][0]["uid"], set["metadata"]["uid"]);
    kind.gets_a_label(&kind.get(name(&first)).await).await;

    let mut second = json!({
        "metadata": {
            "name": "e2e-second", "labels": first["metadata"]["labels"],
            "ownerReferences": first["metadata"]["ownerReferences"],
        },
        "data": first["data"],
    });
    second["revision"] = (first["revision"].as_u64().unwrap() + 1).into();
    kind.create(second).await;
    assert_eq!(kind.count(SELECTOR).await, 2);
    kind.delete(name(&first)).await;
    kind.gone(name(&first)).await;
    assert_eq!(kind.count(SELECTOR).await, 1);
    let updated = kind
        .update("e2e-second", |revision| revision["metadata"]["labels"]["e2e-second"] = "updated".into())
        .await;
    assert_eq!(updated["metadata"]["labels"]["e2e-second"], "updated");

    sets(&world)
        .strategic(
            "daemon-set",
            // The strategy stands in the wrong place, which is only worth a warning.
            json!({
                "spec": { "template": { "spec": { "terminationGracePeriodSeconds": 1 } } },
                "updateStrategy": { "type": "RollingUpdate" },
            }),
        )
        .await;
    let is_new = |set: &Value| set["metadata"]["generation"] == 2 && runs_on(NODES)(set);
    sets(&world).eventually("daemon-set", is_new).await;
    assert_eq!(kind.count(SELECTOR).await, 2);
    kind.delete_collection("labelSelector=e2e-second%3Dupdated").await;
    kind.emptied("labelSelector=e2e-second%3Dupdated").await;
    let left = kind.list("").await;
    assert_eq!((items(&left).len(), &items(&left)[0]["revision"]), (1, &json!(3)));
    world.end().await;
}
