use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use serde_json::json;

use crate::cluster::{TestCluster, until};

#[tokio::test(start_paused = true)]
async fn pods_of_a_deleted_node_go_after_a_while() {
    let cluster = TestCluster::start().await;
    cluster.create_node("n1").await;
    cluster
        .create::<Pod>(json!({"metadata": {"name": "p"}, "spec": {
            "nodeName": "n1", "containers": [{"name": "c", "image": "a"}]}}))
        .await;
    let pods = cluster.api::<Pod>();
    let running =
        |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
    until(&pods, "a running pod", |pods| pods.iter().any(running)).await;
    let start = tokio::time::Instant::now();
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    nodes.delete("n1", &Default::default()).await.unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(300), async {
        while !pods.list(&Default::default()).await.unwrap().items.is_empty() {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    })
    .await
    .unwrap();
    assert!(start.elapsed().as_secs() >= 40);
}
