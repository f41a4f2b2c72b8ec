use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use serde_json::json;

use crate::cluster::{TestCluster, fingerprint};
use crate::deployment::{rolled_out, web};

/// Nothing is written while nothing happens. The wait gives wrong writes time to show; a right cluster passes however
/// long it is.
#[tokio::test]
async fn a_converged_cluster_writes_nothing() {
    let cluster = TestCluster::start().await;
    cluster.create::<Deployment>(web(3, "a")).await;
    let port = json!([{"port": 80}]);
    cluster
        .create::<Service>(
            json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": port}}),
        )
        .await;
    rolled_out(&cluster.api(), 3).await;
    let mut before = fingerprint(&cluster.client).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let after = fingerprint(&cluster.client).await;
        if after == before {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert_eq!(fingerprint(&cluster.client).await, after);
            return;
        }
        before = after;
    }
    panic!("never comes to rest: {before:#?}");
}
