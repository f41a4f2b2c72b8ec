//! An autoscaler against the real API server; what pods use comes from a server of metrics in front of it.

use http::{Response, StatusCode};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use kube::client::Body;
use kube::{Api, Client};
use orchestra_controllers::{Controller, Controllers};
use serde_json::{Value, json};
use tower::BoxError;

use crate::cluster::{TestCluster, until_within};
use crate::deployment::{rolled_out, web};
use crate::world::Controlled;

/// Answers for `metrics.k8s.io`: each pod uses 200 MiB. Everything else goes to the API server.
fn metered(server: Client) -> Client {
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let server = server.clone();
        async move {
            if request.uri().path() != "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods" {
                return Ok(server.send(request).await?);
            }
            assert_eq!(request.uri().query(), Some("labelSelector=app%3Dweb"));
            let pods = Api::<Pod>::default_namespaced(server).list(&ListParams::default()).await?;
            let of_pod = |pod: &Pod| {
                json!({"metadata": {"name": pod.metadata.name}, "timestamp": "2026-01-01T01:00:00Z", "window": "15s",
                    "containers": [{"name": "c", "usage": {"cpu": "1m", "memory": "200Mi"}}]})
            };
            let list = json!({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {},
                "items": pods.items.iter().map(of_pod).collect::<Vec<_>>()});
            let answer =
                Response::builder().status(StatusCode::OK).header("content-type", "application/json");
            Ok::<_, BoxError>(answer.body(Body::from(list.to_string().into_bytes()))?)
        }
    });
    Client::new(service, "default")
}

fn autoscaler(target: &str) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {"minReplicas": 1, "maxReplicas": 10,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "metrics": [{"type": "Resource", "resource": {"name": "memory",
                "target": {"type": "AverageValue", "averageValue": target}}}]},
    })
}

#[tokio::test]
async fn a_deployment_grows_with_what_its_pods_use() {
    let cluster = TestCluster::with(Controllers::all().without(Controller::HorizontalPodAutoscaler)).await;
    cluster.create::<Deployment>(web(2, "a")).await;
    rolled_out(&cluster.api(), 2).await;
    cluster.create::<HorizontalPodAutoscaler>(autoscaler("100Mi")).await;
    let only = Controllers::only([Controller::HorizontalPodAutoscaler]);
    let autoscalers = Controlled::beside(metered(cluster.client.clone()), only);
    let patience = std::time::Duration::from_secs(20);
    let grown = |held: &[Deployment]| {
        held.iter().any(|one| one.spec.as_ref().and_then(|spec| spec.replicas) == Some(4))
    };
    until_within(patience, &cluster.api::<Deployment>(), "four replicas", grown).await;
    let told = |held: &[HorizontalPodAutoscaler]| {
        let status = held.first().and_then(|one| one.status.as_ref());
        status.is_some_and(|status| {
            let metric = status.current_metrics.as_ref().and_then(|metrics| metrics[0].resource.as_ref());
            let value = metric.and_then(|metric| metric.current.average_value.as_ref());
            (status.current_replicas, status.desired_replicas) == (Some(2), 4)
                && value.is_some_and(|value| value.0 == "209715200")
        })
    };
    until_within(patience, &cluster.api::<HorizontalPodAutoscaler>(), "the status", told).await;
    let recorded = |held: &[Event]| {
        let wanted = "New size: 4; reason: memory resource above target";
        held.iter().any(|event| {
            event.reason.as_deref() == Some("SuccessfulRescale") && event.message.as_deref() == Some(wanted)
        })
    };
    until_within(patience, &cluster.api::<Event>(), "the event", recorded).await;
    autoscalers.stop().await;
}

#[tokio::test]
async fn without_a_server_of_metrics_an_autoscaler_says_so_and_scales_nothing() {
    let cluster = TestCluster::start().await;
    cluster.create::<Deployment>(web(2, "a")).await;
    rolled_out(&cluster.api(), 2).await;
    cluster.create::<HorizontalPodAutoscaler>(autoscaler("100Mi")).await;
    let told = |held: &[HorizontalPodAutoscaler]| {
        let conditions = held.first().and_then(|one| one.status.as_ref()?.conditions.as_ref());
        conditions.into_iter().flatten().any(|condition| {
            let message = condition.message.as_deref().unwrap_or_default();
            condition.type_ == "ScalingActive"
                && condition.reason.as_deref() == Some("FailedGetResourceMetric")
                && message.contains("unable to fetch metrics from resource metrics API")
        })
    };
    until_within(std::time::Duration::from_secs(20), &cluster.api(), "the condition", told).await;
    let deployment = cluster.api::<Deployment>().get("web").await.unwrap();
    assert_eq!(deployment.spec.unwrap().replicas, Some(2));
}
