//! Workloads.

mod budgets;
mod completions;
mod daemons;
mod deployments;
mod jobs;
mod replication;
mod sets;

use orchestra::runtime::backend::sim::SimRuntime;
use orchestra::{Cluster, Node};

use serde_json::{Value, json};

use crate::kind::{Kind, condition, version};
use crate::world::{World, with};

/// How many of its first starts fail, of a simulated container: with many, it never runs.
const NEVER_READY: &str = "sim.orchestra.dev/fail-starts";

/// A world with a node whose containers live as their annotations say.
async fn with_a_node() -> World {
    with(Cluster::builder().node(Node::named("node-1").runtime(SimRuntime::default()))).await
}

/// Reads the scale of one, writes two, patches four, and sees each done.
async fn scales(kind: &Kind<'_>, name: &str) {
    kind.eventually(name, |object| object["status"]["readyReplicas"] == 1).await;
    let path = format!("{name}/scale");
    let scale = kind.get(&path).await;
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["replicas"]), (&json!(1), &json!(1)));
    // Without a version: whatever the scale is by now.
    let mut wanted = scale;
    wanted["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
    wanted["spec"]["replicas"] = 2.into();
    assert_eq!(kind.put(&path, wanted).await["spec"]["replicas"], 2);
    assert_eq!(kind.get(name).await["spec"]["replicas"], 2);
    kind.eventually(name, |object| object["status"]["readyReplicas"] == 2).await;
    // A patch made from a whole Scale says how many there are, which nobody takes its word for.
    let whole = json!({ "metadata": {}, "spec": { "replicas": 4 }, "status": { "replicas": 0 } });
    kind.strategic(&path, whole).await;
    assert_eq!(kind.get(name).await["spec"]["replicas"], 4);
    kind.eventually(name, |object| object["status"]["readyReplicas"] == 4).await;
}

/// Reads the status of an object below its own path, updates it, patches it, and sees both.
async fn status_endpoints(world: &World, kind: &Kind<'_>, name: &str) {
    let seen = kind.get(&format!("{name}/status")).await;
    assert_eq!(crate::kind::name(&seen), name);
    let path = format!("{}?watch=true&resourceVersion={}", kind.collection(), version(&seen));
    let mut watch = world.watch(&path).await;
    let has = |type_: &'static str| move |event: &Value| condition(&event["object"], type_).is_some();
    let said = |type_: &str, from: &str| json!({ "type": type_, "status": "True", "reason": "E2E", "message": format!("Set from e2e test {from}") });
    let updated = kind
        .update_status(name, |object| {
            let conditions = &mut object["status"]["conditions"];
            if !conditions.is_array() {
                *conditions = json!([]);
            }
            conditions.as_array_mut().expect("conditions").push(said("StatusUpdate", "update"));
        })
        .await;
    assert!(condition(&updated, "StatusUpdate").is_some(), "{updated}");
    watch.until(has("StatusUpdate")).await;
    let patch = json!({ "status": { "conditions": [said("StatusPatched", "patch")] } });
    let patched = kind.merge(&format!("{name}/status"), patch).await;
    assert!(condition(&patched, "StatusPatched").is_some(), "{patched}");
    watch.until(has("StatusPatched")).await;
}
