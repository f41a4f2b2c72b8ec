use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;

use crate::cluster::{TestCluster, until};
use crate::deployment::{rolled_out, web};

pub(crate) fn ready(slices: &[EndpointSlice]) -> usize {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    endpoints.filter(|endpoint| endpoint.conditions.as_ref().is_some_and(|c| c.ready == Some(true))).count()
}

#[tokio::test]
async fn slices_follow_the_pods_of_a_service() {
    let cluster = TestCluster::start().await;
    let slices = cluster.api::<EndpointSlice>();
    let port = json!([{"port": 80, "targetPort": 8080}]);
    cluster
        .create::<Service>(
            json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": port}}),
        )
        .await;
    let web_slices = |all: &[EndpointSlice]| -> Vec<EndpointSlice> {
        let of_web = |slice: &&EndpointSlice| {
            slice
                .metadata
                .labels
                .as_ref()
                .is_some_and(|l| l.get("kubernetes.io/service-name").is_some_and(|n| n == "web"))
        };
        all.iter().filter(of_web).cloned().collect()
    };
    until(&slices, "an empty slice", |all| web_slices(all).len() == 1).await;
    cluster.create::<Deployment>(web(3, "a")).await;
    rolled_out(&cluster.api(), 3).await;
    let held = until(&slices, "three endpoints", |all| ready(&web_slices(all)) == 3).await;
    assert_eq!(web_slices(&held).len(), 1);
    cluster.api::<Service>().delete("web", &Default::default()).await.unwrap();
    until(&slices, "no slices", |all| web_slices(all).is_empty()).await;
}
