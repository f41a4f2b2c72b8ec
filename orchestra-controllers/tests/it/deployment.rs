use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{TestCluster, until};

pub(crate) fn web(replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": {"labels": {"app": "web"}},
                              "spec": {"containers": [{"name": "c", "image": image}]}}},
    })
}

pub(crate) async fn rolled_out(deployments: &Api<Deployment>, replicas: i32) {
    until(deployments, "rollout", |all| {
        all.iter().any(|deployment| {
            let status = deployment.status.clone().unwrap_or_default();
            let zero = |number: Option<i32>| number.unwrap_or(0);
            status.observed_generation == deployment.metadata.generation
                && zero(status.updated_replicas) == replicas
                && zero(status.replicas) == replicas
                && zero(status.available_replicas) == replicas
        })
    })
    .await;
}

async fn patch(cluster: &TestCluster, patch: Value) {
    cluster.api::<Deployment>().patch("web", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

pub(crate) fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}})
}

fn sizes(sets: &[ReplicaSet]) -> Vec<i32> {
    let mut sizes: Vec<_> = sets.iter().filter_map(|set| set.spec.as_ref()?.replicas).collect();
    sizes.sort_unstable();
    sizes
}

#[tokio::test]
async fn a_deployment_becomes_available_and_scales() {
    let cluster = TestCluster::start().await;
    cluster.create::<Deployment>(web(3, "a")).await;
    rolled_out(&cluster.api(), 3).await;
    patch(&cluster, json!({"spec": {"replicas": 5}})).await;
    rolled_out(&cluster.api(), 5).await;
    patch(&cluster, json!({"spec": {"replicas": 1}})).await;
    rolled_out(&cluster.api(), 1).await;
    until(&cluster.api::<Pod>(), "one pod", |pods| pods.len() == 1).await;
    let events: Api<Event> = cluster.api();
    until(&events, "the scaling event", |events| {
        events.iter().any(|event| {
            event.reason.as_deref() == Some("ScalingReplicaSet")
                && event.message.as_ref().is_some_and(|m| {
                    m.starts_with("Scaled up replica set web-") && m.ends_with("from 0 to 3")
                })
        })
    })
    .await;
}

#[tokio::test]
async fn a_new_image_rolls_out_and_undo_goes_back_to_the_old_set() {
    let cluster = TestCluster::start().await;
    cluster.create::<Deployment>(web(3, "a")).await;
    rolled_out(&cluster.api(), 3).await;
    patch(&cluster, image("b")).await;
    rolled_out(&cluster.api(), 3).await;
    let sets = until(&cluster.api::<ReplicaSet>(), "two sets", |sets| sizes(sets) == [0, 3]).await;
    patch(&cluster, image("a")).await;
    rolled_out(&cluster.api(), 3).await;
    let after = until(&cluster.api::<ReplicaSet>(), "two sets", |sets| sizes(sets) == [0, 3]).await;
    assert_eq!(sets.len(), after.len());
    let revision = "deployment.kubernetes.io/revision";
    let deployment = cluster.api::<Deployment>().get("web").await.unwrap();
    assert_eq!(deployment.metadata.annotations.unwrap()[revision], "3");
    let current = after.iter().find(|set| set.spec.as_ref().unwrap().replicas == Some(3)).unwrap();
    assert_eq!(current.metadata.annotations.as_ref().unwrap()[revision], "3");
}

#[tokio::test]
async fn a_deleted_pod_is_replaced() {
    let cluster = TestCluster::start().await;
    cluster.create::<Deployment>(web(2, "a")).await;
    rolled_out(&cluster.api(), 2).await;
    let pods: Api<Pod> = cluster.api();
    let victim = pods.list(&Default::default()).await.unwrap().items.remove(0).metadata.name.unwrap();
    pods.delete(&victim, &Default::default()).await.unwrap();
    until(&pods, "a replacement", |pods| {
        pods.len() == 2 && pods.iter().all(|pod| pod.metadata.name.as_ref() != Some(&victim))
    })
    .await;
    rolled_out(&cluster.api(), 2).await;
}
