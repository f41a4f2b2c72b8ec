//! Replication controllers.

use serde_json::json;

use crate::kind::{Kind, condition};
use crate::world::world;

#[tokio::test]
async fn replicationcontroller_should_surface_a_failure_condition_on_a_common_issue_like_exceeded_quota() {
    let world = world().await;
    let quotas = Kind::namespaced(&world, "v1", "ResourceQuota", "resourcequotas");
    quotas
        .create(json!({ "metadata": { "name": "condition-test" }, "spec": { "hard": { "pods": "2" } } }))
        .await;
    quotas.eventually("condition-test", |quota| quota["status"]["hard"]["pods"] == "2").await;
    let kind = Kind::namespaced(&world, "v1", "ReplicationController", "replicationcontrollers");
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
