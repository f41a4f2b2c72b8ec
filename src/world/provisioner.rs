//! Somebody outside the cluster who makes volumes for claims, as the makers of storage do.
//!
//! It does what upstream asks of an [external provisioner]: it makes a volume for each claim that the volume controller
//! has annotated with its name, and removes those of its volumes that were released. It looks at the whole each time, and so
//! may be killed anywhere. The volumes lead nowhere: on simulated nodes nothing is mounted.
//!
//! [external provisioner]: https://github.com/kubernetes/design-proposals-archive/blob/main/storage/volume-provisioning.md

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::component::Life;

/// The name of the component, and that by which classes of volumes name it.
pub(super) const PROVISIONER: &str = "provisioner.world.orchestra.dev";

const ASKED: &str = "volume.kubernetes.io/storage-provisioner";
const MADE_BY: &str = "pv.kubernetes.io/provisioned-by";

/// How long it pauses at most before it tries again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One life of the provisioner.
pub(super) async fn live(life: Life) {
    let claims: Api<PersistentVolumeClaim> = Api::all(life.client.clone());
    let volumes: Api<PersistentVolume> = Api::all(life.client.clone());
    let of_claims = watcher::watcher(claims, watcher::Config::default()).map(|event| is_news(&event));
    let of_volumes = watcher::watcher(volumes, watcher::Config::default()).map(|event| is_news(&event));
    let mut news = std::pin::pin!(futures::stream::select(of_claims, of_volumes));
    while let Some(is_news) = news.next().await {
        let mut pause = Duration::from_millis(10);
        while is_news && look(&life.client).await.is_err() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn is_news<K>(event: &watcher::Result<Event<K>>) -> bool {
    matches!(event, Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_)))
}

async fn look(client: &Client) -> kube::Result<()> {
    let claims: Api<PersistentVolumeClaim> = Api::all(client.clone());
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let made = volumes.list(&ListParams::default()).await?.items;
    for claim in claims.list(&ListParams::default()).await? {
        let Some(volume) = volume_for(&claim) else { continue };
        if made.iter().all(|made| made.metadata.name != volume.metadata.name) {
            unless(409, volumes.create(&PostParams::default(), &volume).await)?;
        }
    }
    for volume in made.iter().filter(|volume| is_released(volume)) {
        let preconditions = Preconditions { uid: volume.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        unless(404, volumes.delete(&volume.name_any(), &params).await)?;
    }
    Ok(())
}

/// Takes a refusal with this code for success: somebody has done it already, most likely an earlier life.
fn unless<T>(code: u16, outcome: kube::Result<T>) -> kube::Result<()> {
    match outcome {
        Err(kube::Error::Api(refused)) if refused.code == code => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// The volume for a claim that asks for one and has none.
fn volume_for(claim: &PersistentVolumeClaim) -> Option<PersistentVolume> {
    let spec = claim.spec.as_ref()?;
    let has_one = spec.volume_name.as_ref().is_some_and(|name| !name.is_empty());
    let asks = claim.annotations().get(ASKED).is_some_and(|asked| asked == PROVISIONER);
    if has_one || !asks || claim.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let uid = claim.uid()?;
    let volume = json!({
        "metadata": {"name": format!("pvc-{uid}"), "annotations": {MADE_BY: PROVISIONER}},
        "spec": {
            "accessModes": spec.access_modes, "volumeMode": spec.volume_mode,
            "capacity": spec.resources.as_ref().and_then(|resources| resources.requests.clone()),
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "uid": uid,
                "namespace": claim.namespace(), "name": claim.name_any(),
            },
            "hostPath": {"path": "/", "type": "Directory"},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec.storage_class_name,
        },
    });
    serde_json::from_value(volume).ok()
}

fn is_released(volume: &PersistentVolume) -> bool {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_own = volume.annotations().get(MADE_BY).is_some_and(|maker| maker == PROVISIONER);
    is_own && phase == Some("Released") && volume.metadata.deletion_timestamp.is_none()
}
