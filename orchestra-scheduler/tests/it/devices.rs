//! Claims get their devices through the API.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceSlice};
use kube::Resource;
use kube::api::{Api, DeleteParams, PostParams};
use orchestra_scheduler::Scheduler;
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

/// A cluster of two nodes with one device on the second.
pub(crate) async fn with_one_device() -> Cluster {
    let cluster = Cluster::with_nodes(&["bare", "rich"]).await;
    let class = json!({"metadata": {"name": "gpu"}, "spec": {"selectors": [
        {"cel": {"expression": "device.driver == 'd.example.com'"}}]}});
    create::<DeviceClass>(Api::all(cluster.client()), class).await;
    let slice = json!({"metadata": {"name": "s"}, "spec": {"driver": "d.example.com", "nodeName": "rich",
        "pool": {"name": "rich", "generation": 1, "resourceSliceCount": 1}, "devices": [{"name": "gpu-0"}]}});
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
