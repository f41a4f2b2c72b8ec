use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{TestCluster, until};

pub(crate) fn agent() -> Value {
    json!({"metadata": {"name": "agent"}, "spec": {
        "selector": {"matchLabels": {"app": "agent"}},
        "template": {"metadata": {"labels": {"app": "agent"}},
                     "spec": {"containers": [{"name": "c", "image": "a"}]}}}})
}

pub(crate) async fn on_every_node(sets: &Api<DaemonSet>, nodes: i32) {
    until(sets, "a pod on every node", |all| {
        all.iter().any(|set| {
            let status = set.status.clone().unwrap_or_default();
            status.observed_generation == set.metadata.generation
                && status.desired_number_scheduled == nodes
                && status.updated_number_scheduled == Some(nodes)
                && status.number_available == Some(nodes)
        })
    })
    .await;
}

#[tokio::test]
async fn every_node_has_a_pod_and_an_update_renews_them() {
    let cluster = TestCluster::start().await;
    cluster.create_node("n1").await;
    cluster.create_node("n2").await;
    cluster.create::<DaemonSet>(agent()).await;
    on_every_node(&cluster.api(), 2).await;
    cluster.create_node("n3").await;
    on_every_node(&cluster.api(), 3).await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "b"}]}}}});
    let sets = cluster.api::<DaemonSet>();
    sets.patch("agent", &PatchParams::default(), &Patch::Merge(image)).await.unwrap();
    on_every_node(&cluster.api(), 3).await;
    until(&cluster.api::<Pod>(), "three new pods", |pods| {
        let image = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.containers[0].image.clone());
        pods.len() == 3 && pods.iter().all(|pod| image(pod).as_deref() == Some("b"))
    })
    .await;
}
