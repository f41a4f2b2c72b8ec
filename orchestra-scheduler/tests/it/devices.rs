//! Claims get their devices through the API.

use k8s_openapi::api::core::v1::{Pod, PodExtendedResourceClaimStatus};
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceSlice};
use kube::Resource;
use kube::api::{Api, DeleteParams, PostParams};
use orchestra_scheduler::{Profile, Scheduler, SchedulerMetrics, Version};
use prometheus_client::registry::Registry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::{Cluster, node_of, pod_scheduled};

async fn create<K>(api: Api<K>, object: Value)
where
    K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// What the class of the device stands for.
pub(crate) const RESOURCE: &str = "example.com/gpu";

/// A cluster of two nodes with one device on the second.
pub(crate) async fn with_one_device() -> Cluster {
    with_device(json!({"name": "gpu-0"})).await
}

async fn with_device(device: Value) -> Cluster {
    let cluster = Cluster::with_nodes(&["bare", "rich"]).await;
    let class = json!({"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": RESOURCE, "selectors": [
        {"cel": {"expression": "device.driver == 'd.example.com'"}}]}});
    create::<DeviceClass>(Api::all(cluster.client()), class).await;
    let slice = json!({"metadata": {"name": "s"}, "spec": {"driver": "d.example.com", "nodeName": "rich",
        "pool": {"name": "rich", "generation": 1, "resourceSliceCount": 1}, "devices": [device]}});
    create::<ResourceSlice>(Api::all(cluster.client()), slice).await;
    for name in ["first", "second"] {
        let claim = json!({"metadata": {"name": name}, "spec": {"devices": {"requests": [
            {"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}});
        create::<ResourceClaim>(Api::default_namespaced(cluster.client()), claim).await;
    }
    cluster
}

pub(crate) fn using(claim: &str) -> Value {
    json!({"resourceClaims": [{"name": "dev", "resourceClaimName": claim}],
        "containers": [{"name": "c", "image": "i", "resources": {"claims": [{"name": "dev"}]}}]})
}

#[tokio::test]
async fn a_claim_gets_its_device_and_is_shared_by_the_pods_that_name_it() {
    let cluster = with_one_device().await;
    let _scheduler = cluster.schedule(Scheduler::default());
    cluster.pod("x", using("first")).await;
    cluster.pod("y", using("first")).await;
    for name in ["x", "y"] {
        let pod = cluster.until(name, |pod| node_of(pod).is_some()).await;
        assert_eq!(node_of(&pod), Some("rich"));
    }
    let claims: Api<ResourceClaim> = Api::default_namespaced(cluster.client());
    let claim = claims.get("first").await.unwrap();
    assert_eq!(claim.metadata.finalizers, Some(vec!["resource.kubernetes.io/delete-protection".to_owned()]));
    let status = claim.status.unwrap();
    let mut users: Vec<_> = status.reserved_for.unwrap().into_iter().map(|user| user.name).collect();
    users.sort_unstable();
    assert_eq!(users, ["x", "y"]);
    let allocation = status.allocation.unwrap();
    assert!(allocation.allocation_timestamp.is_some());
    let device = allocation.devices.unwrap().results.unwrap().remove(0);
    let named = [&device.driver, &device.pool, &device.device, &device.request].map(String::as_str);
    assert_eq!(named, ["d.example.com", "rich", "gpu-0", "r"]);
}

#[tokio::test]
async fn a_device_that_is_somebodys_is_waited_for() {
    let cluster = with_one_device().await;
    let _scheduler = cluster.schedule(Scheduler::default());
    cluster.pod("x", using("first")).await;
    cluster.until("x", |pod| node_of(pod).is_some()).await;
    cluster.pod("y", using("second")).await;
    let pod = cluster.until("y", |pod| pod_scheduled(pod).is_some_and(|one| one.status == "False")).await;
    let message = pod_scheduled(&pod).unwrap().message.clone().unwrap();
    assert!(message.starts_with("0/2 nodes are available: 2 cannot allocate all claims. "), "{message}");
    // Nobody tidies up here as the claim controller does, so the claim is given up by hand.
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    pods.delete("x", &DeleteParams::default().grace_period(0)).await.unwrap();
    let claims: Api<ResourceClaim> = Api::default_namespaced(cluster.client());
    let freed = json!({"status": {"allocation": null, "reservedFor": null}});
    let patch = kube::api::Patch::Merge(freed);
    claims.patch_status("first", &kube::api::PatchParams::default(), &patch).await.unwrap();
    cluster.until("y", |pod| node_of(pod) == Some("rich")).await;
}

/// A pod that asks for one of the extended resource.
pub(crate) fn asking_for_one() -> Value {
    json!({"containers": [{"name": "c", "image": "i", "resources": {"limits": {(RESOURCE): "1"}}}]})
}

/// The claim that was made of a pod's extended resources, as its status names it.
pub(crate) fn made_of(pod: &Pod) -> Option<&PodExtendedResourceClaimStatus> {
    pod.status.as_ref()?.extended_resource_claim_status.as_ref()
}

#[tokio::test]
async fn a_device_stands_for_an_extended_resource_where_the_node_offers_none() {
    let cluster = with_one_device().await;
    let claims: Api<ResourceClaim> = Api::default_namespaced(cluster.client());
    for name in ["first", "second"] {
        claims.delete(name, &DeleteParams::default()).await.unwrap();
    }
    let (metrics, mut registry) = (SchedulerMetrics::default(), Registry::default());
    metrics.register(&mut registry);
    let _scheduler = cluster.schedule(Scheduler::default().metrics(metrics));
    cluster.pod("x", asking_for_one()).await;
    let pod = cluster.until("x", |pod| node_of(pod).is_some()).await;
    assert_eq!(node_of(&pod), Some("rich"));
    let told = serde_json::to_value(made_of(&pod)).unwrap();
    let name = told["resourceClaimName"].as_str().unwrap();
    assert!(name.starts_with("x-extended-resources-"), "{name}");
    let mapping =
        json!([{"containerName": "c", "resourceName": RESOURCE, "requestName": "container-0-request-0"}]);
    assert_eq!(told["requestMappings"], mapping);
    let claim = serde_json::to_value(claims.get(name).await.unwrap()).unwrap();
    let meta = &claim["metadata"];
    assert_eq!(meta["annotations"], json!({"resource.kubernetes.io/extended-resource-claim": "true"}));
    assert_eq!(meta["finalizers"], json!(["resource.kubernetes.io/delete-protection"]));
    let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": pod.metadata.uid, "controller": true}]);
    assert_eq!(meta["ownerReferences"], owner);
    let exactly = json!({"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1});
    assert_eq!(
        claim["spec"]["devices"]["requests"],
        json!([{"name": "container-0-request-0", "exactly": exactly}])
    );
    let status = &claim["status"];
    assert_eq!(status["reservedFor"], json!([{"resource": "pods", "name": "x", "uid": pod.metadata.uid}]));
    assert_eq!(status["allocation"]["devices"]["results"][0]["device"], "gpu-0");
    assert!(status["allocation"]["allocationTimestamp"].is_string());
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("scheduler_resourceclaim_creates_total{status=\"success\"} 1"), "{text}");
    // The device is somebody's; a node that offers the resource itself needs none.
    cluster.pod("y", asking_for_one()).await;
    let pod = cluster.until("y", |pod| pod_scheduled(pod).is_some_and(|one| one.status == "False")).await;
    let message = pod_scheduled(&pod).unwrap().message.clone().unwrap();
    assert!(message.starts_with("0/2 nodes are available: 2 cannot allocate all claims. "), "{message}");
    let offering = json!({"cpu": "4", "memory": "8Gi", "pods": "110", (RESOURCE): "1"});
    cluster.node(json!({"metadata": {"name": "own"}, "status": {"allocatable": offering}})).await;
    let pod = cluster.until("y", |pod| node_of(pod).is_some()).await;
    assert_eq!((node_of(&pod), made_of(&pod)), (Some("own"), None));
    assert_eq!(claims.list(&Default::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_profile_of_1_35_knows_nothing_of_devices_for_extended_resources() {
    let cluster = with_one_device().await;
    let profile = Profile::for_version(Version::V1_35);
    let _scheduler = cluster.schedule(Scheduler::default().profile(profile));
    cluster.pod("x", asking_for_one()).await;
    let pod = cluster.until("x", |pod| pod_scheduled(pod).is_some_and(|one| one.status == "False")).await;
    let message = pod_scheduled(&pod).unwrap().message.clone().unwrap();
    assert!(message.starts_with("0/2 nodes are available: 2 Insufficient example.com/gpu. "), "{message}");
}

#[tokio::test]
async fn a_pod_that_waits_for_its_device_says_so() {
    let cluster = with_device(
        json!({"name": "gpu-0", "bindsToNode": true, "bindingConditions": ["example.com/attached"],
        "bindingFailureConditions": ["example.com/broken"]}),
    )
    .await;
    let _scheduler = cluster.schedule(Scheduler::default());
    cluster.pod("x", using("first")).await;
    let event = cluster.event("BindingConditionsPending").await;
    assert_eq!(event.note.as_deref(), Some("waiting for binding conditions for device on node rich"));
    assert_eq!((event.type_.as_deref(), event.action.as_deref()), (Some("Normal"), Some("Scheduling")));
    assert_eq!(event.regarding.unwrap().name.as_deref(), Some("x"));
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    assert_eq!(node_of(&pods.get("x").await.unwrap()), None);
    let claims: Api<ResourceClaim> = Api::default_namespaced(cluster.client());
    let condition = json!({"type": "example.com/attached", "status": "True", "reason": "Attached", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let device =
        json!({"driver": "d.example.com", "pool": "rich", "device": "gpu-0", "conditions": [condition]});
    let patch = kube::api::Patch::Merge(json!({"status": {"devices": [device]}}));
    claims.patch_status("first", &kube::api::PatchParams::default(), &patch).await.unwrap();
    cluster.until("x", |pod| node_of(pod) == Some("rich")).await;
}
