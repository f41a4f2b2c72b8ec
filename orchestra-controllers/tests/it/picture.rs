//! Everything that stands in a cluster, without what may differ between two runs of the same story.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    ReplicationController, ResourceQuota, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client};
use serde_json::Value;

/// Names, addresses, times and numbers that the server or chance gives.
const GIVEN: &[&str] = &[
    "uid",
    "resourceVersion",
    "managedFields",
    "creationTimestamp",
    "generation",
    "observedGeneration",
    "lastTransitionTime",
    "lastHeartbeatTime",
    "lastUpdateTime",
    "lastPhaseTransitionTime",
    "startTime",
    "completionTime",
    "lastProbeTime",
    "lastSuccessfulTime",
    "batch.kubernetes.io/controller-uid",
    "controller-uid",
    "timeAdded",
    "podIP",
    "podIPs",
    "addresses",
    "targetRef",
    "clusterIP",
    "clusterIPs",
    "endpoints.kubernetes.io/last-change-trigger-time",
    "resourceClaimName",
];

/// One line for each object, sorted; the objects whose owner does not exist, or whose controller has not seen their
/// last change, say so.
pub(crate) async fn picture(client: &Client) -> Vec<String> {
    let resources = [
        ApiResource::erase::<Namespace>(&()),
        ApiResource::erase::<Node>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<ReplicaSet>(&()),
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<DaemonSet>(&()),
        ApiResource::erase::<Job>(&()),
        ApiResource::erase::<CronJob>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<ControllerRevision>(&()),
        ApiResource::erase::<Pod>(&()),
        ApiResource::erase::<PersistentVolumeClaim>(&()),
        ApiResource::erase::<PersistentVolume>(&()),
        ApiResource::erase::<EndpointSlice>(&()),
        ApiResource::erase::<Endpoints>(&()),
        ApiResource::erase::<ReplicationController>(&()),
        ApiResource::erase::<ClusterRole>(&()),
        ApiResource::erase::<ResourceQuota>(&()),
        ApiResource::erase::<ResourceClaim>(&()),
    ];
    let mut all = Vec::new();
    for resource in resources {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let listed = api.list(&ListParams::default()).await.unwrap();
        all.extend(listed.items.into_iter().map(|object| (resource.kind.clone(), object)));
    }
    let uids: BTreeSet<_> = all.iter().filter_map(|(_, object)| object.metadata.uid.clone()).collect();
    let mut lines: Vec<_> = all.iter().map(|(kind, object)| line(kind, object, &uids)).collect();
    lines.sort();
    lines
}

fn line(kind: &str, object: &DynamicObject, uids: &BTreeSet<String>) -> String {
    let owners = object.metadata.owner_references.iter().flatten();
    let orphan = if owners.clone().any(|owner| !uids.contains(&owner.uid)) { " ORPHAN" } else { "" };
    let seen = object.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
    let behind =
        if seen.is_some_and(|seen| Some(seen) != object.metadata.generation) { " BEHIND" } else { "" };
    let mut value = serde_json::to_value(object).unwrap();
    scrub(&mut value);
    if let Some(prefix) = object.metadata.generate_name.as_deref() {
        value["metadata"]["name"] = format!("{prefix}*").into();
    }
    format!("{kind}{orphan}{behind} {value}")
}

fn scrub(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !GIVEN.contains(&name.as_str()));
            fields.values_mut().for_each(scrub);
        }
        Value::Array(items) => items.iter_mut().for_each(scrub),
        Value::String(text) if text.contains("pvc-") => *text = "pvc-*".into(),
        _ => {}
    }
}
