//! Claims of devices that pods bring, and what becomes of them.

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimTemplate};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use orchestra_controllers::{Controller, Controllers};
use serde_json::{Value, json};

use crate::cluster::until;
use crate::killed::{create, survives};
use crate::world::Controlled;

struct Devices {
    cluster: Controlled,
    pods: Api<Pod>,
    claims: Api<ResourceClaim>,
}

fn template() -> Value {
    json!({"metadata": {"name": "one-gpu"}, "spec": {"metadata": {"labels": {"sort": "gpu"}}, "spec": wanted()}})
}

fn pod(name: &str, mut claim: Value) -> Value {
    claim["name"] = "gpu".into();
    json!({"metadata": {"name": name}, "spec": {
        "containers": [{"name": "c", "image": "i"}], "resourceClaims": [claim],
    }})
}

/// As a scheduler gives devices: the guard, then the devices with their user.
async fn allocate(claims: &Api<ResourceClaim>, claim: &str, pod: &Pod) {
    let guard = json!({"metadata": {"finalizers": ["resource.kubernetes.io/delete-protection"]}});
    let params = PatchParams::default();
    claims.patch(claim, &params, &Patch::Merge(guard)).await.unwrap();
    let user = json!({"resource": "pods", "name": pod.metadata.name, "uid": pod.metadata.uid});
    let status = json!({"status": {"allocation": {}, "reservedFor": [user]}});
    claims.patch_status(claim, &params, &Patch::Merge(status)).await.unwrap();
}

impl Devices {
    async fn start() -> Self {
        let cluster = Controlled::by(Controllers::only([Controller::ResourceClaim])).await;
        let (pods, claims) = (
            Api::default_namespaced(cluster.client.clone()),
            Api::default_namespaced(cluster.client.clone()),
        );
        Self { cluster, pods, claims }
    }

    async fn template(&self) {
        let templates: Api<ResourceClaimTemplate> = Api::default_namespaced(self.cluster.client.clone());
        self.cluster.create(&templates, template()).await;
    }

    async fn pod(&self, name: &str, claim: Value) -> Pod {
        self.cluster.create(&self.pods, pod(name, claim)).await
    }

    async fn ends(&self, pod: &str) {
        let status = json!({"status": {"phase": "Succeeded"}});
        self.pods.patch_status(pod, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }
}

fn wanted() -> Value {
    json!({"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}})
}

fn name_of(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.resource_claim_statuses.as_ref()?.first()?.resource_claim_name.as_deref()
}

#[tokio::test]
async fn a_pod_gets_a_claim_from_its_template_which_goes_when_the_pod_is_done() {
    let devices = Devices::start().await;
    devices.template().await;
    let pod = devices.pod("web", json!({"resourceClaimTemplateName": "one-gpu"})).await;
    let told = until(&devices.pods, "a pod that knows its claim", |all| name_of(&all[0]).is_some()).await;
    let name = name_of(&told[0]).unwrap();
    assert!(name.starts_with("web-gpu-"), "{name}");
    let claim = devices.claims.get(name).await.unwrap();
    assert_eq!(claim.metadata.labels.as_ref().unwrap()["sort"], "gpu");
    assert_eq!(claim.metadata.owner_references.as_ref().unwrap()[0].uid, pod.metadata.uid.clone().unwrap());
    allocate(&devices.claims, name, &pod).await;
    devices.ends("web").await;
    until(&devices.claims, "no claim", |all| all.is_empty()).await;
    devices.cluster.stop().await;
}

#[tokio::test]
async fn a_claim_that_vanishes_is_made_again_and_a_template_that_comes_late_is_waited_for() {
    let devices = Devices::start().await;
    devices.pod("web", json!({"resourceClaimTemplateName": "one-gpu"})).await;
    let events: Api<Event> = Api::default_namespaced(devices.cluster.client.clone());
    let told = until(&events, "an event", |all| !all.is_empty()).await;
    assert_eq!(told[0].reason.as_deref(), Some("FailedResourceClaimCreation"));
    let said = told[0].message.as_deref().unwrap();
    assert!(said.starts_with("PodResourceClaim gpu: resource claim template \"one-gpu\": "), "{said}");
    devices.template().await;
    let first = until(&devices.claims, "a claim", |all| all.len() == 1).await.remove(0);
    let first = first.metadata.name.unwrap();
    until(&devices.pods, "a pod that knows it", |all| name_of(&all[0]) == Some(&first)).await;
    devices.claims.delete(&first, &DeleteParams::default()).await.unwrap();
    let told = until(&devices.pods, "another claim", |all| name_of(&all[0]) != Some(&first)).await;
    let second = name_of(&told[0]).unwrap().to_owned();
    until(&devices.claims, "it alone", |all| {
        all.len() == 1 && all[0].metadata.name.as_ref() == Some(&second)
    })
    .await;
    devices.cluster.stop().await;
}

#[tokio::test]
async fn a_shared_claim_keeps_its_devices_until_its_last_pod_is_gone() {
    let devices = Devices::start().await;
    let claim = json!({"metadata": {"name": "shared"}, "spec": wanted()});
    devices.cluster.create(&devices.claims, claim).await;
    let first = devices.pod("first", json!({"resourceClaimName": "shared"})).await;
    allocate(&devices.claims, "shared", &first).await;
    // This one came to its node without a scheduler.
    let pod = json!({"metadata": {"name": "second"}, "spec": {
        "nodeName": "n", "containers": [{"name": "c", "image": "i"}],
        "resourceClaims": [{"name": "gpu", "resourceClaimName": "shared"}],
    }});
    devices.cluster.create(&devices.pods, pod).await;
    let users = |claim: &ResourceClaim| {
        let status = claim.status.as_ref();
        status.and_then(|status| status.reserved_for.as_ref()).map_or(0, Vec::len)
    };
    let has_devices =
        |claim: &ResourceClaim| claim.status.as_ref().is_some_and(|status| status.allocation.is_some());
    until(&devices.claims, "two users", |all| users(&all[0]) == 2).await;
    devices.pods.delete("first", &DeleteParams::default().grace_period(0)).await.unwrap();
    let held = until(&devices.claims, "one user", |all| users(&all[0]) == 1).await;
    assert!(has_devices(&held[0]));
    devices.ends("second").await;
    let free = until(&devices.claims, "none, and no guard", |all| {
        users(&all[0]) == 0 && all[0].metadata.finalizers.is_none()
    });
    assert!(!has_devices(&free.await[0]));
    devices.cluster.stop().await;
}

/// A pod with a claim that a scheduler made of its extended resources.
async fn with_resources(devices: &Devices, name: &str) -> String {
    let pod = json!({"metadata": {"name": name}, "spec": {"nodeName": "n", "containers": [
        {"name": "c", "image": "i", "resources": {"limits": {"example.com/gpu": "1"}}}]}});
    let pod = devices.cluster.create(&devices.pods, pod).await;
    let claim = json!({
        "metadata": {
            "generateName": format!("{name}-extended-resources-"),
            "annotations": {"resource.kubernetes.io/extended-resource-claim": "true"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod.metadata.uid, "controller": true}],
        },
        "spec": wanted(),
    });
    let claim = devices.cluster.create(&devices.claims, claim).await.metadata.name.unwrap();
    allocate(&devices.claims, &claim, &pod).await;
    let mapping = json!({"containerName": "c", "resourceName": "example.com/gpu", "requestName": "r"});
    let status = json!({"status": {"extendedResourceClaimStatus": {
        "resourceClaimName": claim, "requestMappings": [mapping]}}});
    devices.pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    claim
}

#[tokio::test]
async fn a_claim_made_of_extended_resources_goes_when_its_pod_is_done() {
    let devices = Devices::start().await;
    let (first, second) = (with_resources(&devices, "web").await, with_resources(&devices, "api").await);
    devices.ends("web").await;
    let left = until(&devices.claims, "one claim", |all| all.len() == 1).await;
    assert_eq!(left[0].metadata.name.as_ref(), Some(&second), "and not {first}");
    let used = left[0].status.as_ref().unwrap();
    assert!(used.allocation.is_some() && used.reserved_for.as_ref().unwrap().len() == 1);
    devices.pods.delete("api", &DeleteParams::default().grace_period(0)).await.unwrap();
    // The garbage collector would delete it; its devices and its guard are given back before.
    until(&devices.claims, "no devices, no user, no guard", |all| {
        let status = all[0].status.clone().unwrap_or_default();
        status.allocation.is_none() && status.reserved_for.is_none() && all[0].metadata.finalizers.is_none()
    })
    .await;
    devices.cluster.stop().await;
}

#[test]
fn claims_are_made_once_and_given_back_wherever_the_controllers_die() {
    survives(&[Controller::ResourceClaim, Controller::GarbageCollector], |told| {
        Box::pin(async move {
            let (pods, claims) = (told.api::<Pod>(), told.api::<ResourceClaim>());
            create(&told.api::<ResourceClaimTemplate>(), template()).await;
            for name in ["stays", "goes"] {
                create(&pods, pod(name, json!({"resourceClaimTemplateName": "one-gpu"}))).await;
            }
            let know = |all: &[Pod]| all.iter().all(|pod| name_of(pod).is_some());
            for pod in until(&pods, "pods that know their claims", know).await {
                allocate(&claims, name_of(&pod).unwrap(), &pod).await;
            }
            pods.delete("goes", &DeleteParams::default()).await.unwrap();
            until(&claims, "one claim", |all| all.len() == 1).await;
        })
    });
}
