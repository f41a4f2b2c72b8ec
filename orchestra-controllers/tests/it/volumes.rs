use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use orchestra_controllers::{Controller, Controllers};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::{fingerprint, until};
use crate::world::Controlled;

struct Storage {
    cluster: Controlled,
    base: TempDir,
    claims: Api<PersistentVolumeClaim>,
    volumes: Api<PersistentVolume>,
}

impl Storage {
    async fn start() -> Self {
        let base = TempDir::new().unwrap();
        let controllers = Controllers::only([Controller::Volume]).provision_volumes_in(base.path());
        let cluster = Controlled::by(controllers).await;
        let classes: Api<StorageClass> = Api::all(cluster.client.clone());
        until(&classes, "the class", |all| all.len() == 1).await;
        let claims = Api::namespaced(cluster.client.clone(), "default");
        let volumes = Api::all(cluster.client.clone());
        Self { cluster, base, claims, volumes }
    }

    async fn claim(&self, spec: Value) {
        let mut claim = json!({"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
        }});
        claim["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        self.cluster.create(&self.claims, claim).await;
    }

    async fn bound(&self) -> (PersistentVolumeClaim, PersistentVolume) {
        let bound = |all: &[PersistentVolumeClaim]| all.iter().all(|claim| phase(claim) == "Bound");
        let claim = until(&self.claims, "a bound claim", |all| !all.is_empty() && bound(all)).await.remove(0);
        let name = claim.spec.as_ref().unwrap().volume_name.clone().unwrap();
        (claim, self.volumes.get(&name).await.unwrap())
    }
}

fn phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("")
}

fn volume_phase(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("")
}

#[tokio::test]
async fn a_claim_gets_a_volume_and_both_go_with_the_directory() {
    let storage = Storage::start().await;
    storage.claim(json!({})).await;
    let (claim, volume) = storage.bound().await;
    assert_eq!(claim.spec.as_ref().unwrap().storage_class_name.as_deref(), Some("standard"));
    assert_eq!(claim.status.as_ref().unwrap().capacity.as_ref().unwrap()["storage"].0, "1Gi");
    assert_eq!(volume_phase(&volume), "Bound");
    let name = format!("pvc-{}", claim.metadata.uid.as_deref().unwrap());
    assert_eq!(volume.metadata.name.as_deref(), Some(&*name));
    let directory = storage.base.path().join(&name);
    let source = volume.spec.unwrap().host_path.unwrap();
    assert_eq!(source.path, directory.to_str().unwrap());
    assert_eq!(source.type_.as_deref(), Some("DirectoryOrCreate"));
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("file"), "x").unwrap();
    storage.claims.delete("data", &DeleteParams::default()).await.unwrap();
    until(&storage.volumes, "no volume", |all| all.is_empty()).await;
    assert!(!directory.exists() && storage.base.path().exists());
    until(&storage.claims, "no claim", |all| all.is_empty()).await;
}

#[tokio::test]
async fn a_claim_in_use_stays_until_its_pod_has_gone() {
    let storage = Storage::start().await;
    storage.claim(json!({})).await;
    storage.bound().await;
    let pods: Api<Pod> = Api::namespaced(storage.cluster.client.clone(), "default");
    let spec = json!({
        "nodeName": "n", "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
    });
    storage.cluster.create(&pods, json!({"metadata": {"name": "p"}, "spec": spec})).await;
    storage.claims.delete("data", &DeleteParams::default()).await.unwrap();
    // Whatever the controller would do to the first claim, it would have done before the second is bound.
    let other = json!({"metadata": {"name": "other"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }});
    storage.cluster.create(&storage.claims, other).await;
    let held = until(&storage.claims, "the other bound", |all| {
        all.iter().any(|claim| claim.metadata.name.as_deref() == Some("other") && phase(claim) == "Bound")
    })
    .await;
    assert_eq!(held.len(), 2);
    pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    until(&storage.claims, "the claim gone", |all| all.len() == 1).await;
    until(&storage.volumes, "its volume gone", |all| all.len() == 1).await;
}

#[tokio::test]
async fn a_volume_made_by_hand_is_taken_and_kept_when_released() {
    let storage = Storage::start().await;
    storage.claim(json!({"storageClassName": ""})).await;
    let volume = json!({"metadata": {"name": "by-hand"}, "spec": {
        "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/by-hand"},
    }});
    storage.cluster.create(&storage.volumes, volume).await;
    let (claim, volume) = storage.bound().await;
    assert_eq!(volume.metadata.name.as_deref(), Some("by-hand"));
    assert_eq!(claim.status.unwrap().capacity.unwrap()["storage"].0, "2Gi");
    storage.claims.delete("data", &DeleteParams::default()).await.unwrap();
    until(&storage.volumes, "a released volume", |all| volume_phase(&all[0]) == "Released").await;
    let free = Patch::Merge(json!({"spec": {"claimRef": null}}));
    storage.volumes.patch("by-hand", &PatchParams::default(), &free).await.unwrap();
    until(&storage.volumes, "an available volume", |all| volume_phase(&all[0]) == "Available").await;
    storage.volumes.delete("by-hand", &DeleteParams::default()).await.unwrap();
    until(&storage.volumes, "no volume", |all| all.is_empty()).await;
}

#[tokio::test]
async fn a_volume_elsewhere_that_claims_to_be_ours_is_not_removed() {
    let storage = Storage::start().await;
    let precious = storage.base.path().join("precious");
    std::fs::create_dir(&precious).unwrap();
    let volume = json!({
        "metadata": {"name": "v", "annotations": {"pv.kubernetes.io/provisioned-by": "orchestra.dev/host-path"}},
        "spec": {
            "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Delete",
            "hostPath": {"path": precious}, "claimRef": {"name": "gone", "namespace": "default", "uid": "gone"},
        },
    });
    storage.cluster.create(&storage.volumes, volume).await;
    until(&storage.volumes, "a failed volume", |all| all.iter().any(|v| volume_phase(v) == "Failed")).await;
    assert!(precious.exists());
}

#[tokio::test]
async fn what_is_bound_causes_no_further_write_even_after_a_restart() {
    let storage = Storage::start().await;
    storage.claim(json!({})).await;
    storage.bound().await;
    let Storage { cluster, base, volumes, .. } = storage;
    until(&volumes, "a bound volume", |all| volume_phase(&all[0]) == "Bound").await;
    let client = cluster.stop().await;
    let before = fingerprint(&client).await;
    // The first life may have been too short for the rules that roles gather.
    let controllers = Controllers::all().without(Controller::ClusterRoleAggregation);
    let controllers = controllers.provision_volumes_in(base.path());
    let cluster = Controlled::beside(client, controllers);
    // A namespace that has come and gone proves that the controllers are awake.
    let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(cluster.client.clone());
    cluster.create(&namespaces, json!({"metadata": {"name": "probe"}})).await;
    namespaces.delete("probe", &DeleteParams::default()).await.unwrap();
    until(&namespaces, "no probe", |all| all.iter().all(|n| n.metadata.name.as_deref() != Some("probe")))
        .await;
    let client = cluster.stop().await;
    let after = fingerprint(&client).await;
    let same = |line: &&String| !line.starts_with("serviceaccounts");
    assert_eq!(before.iter().filter(same).collect::<Vec<_>>(), after.iter().filter(same).collect::<Vec<_>>());
}
