//! Volumes and claims that the controllers bind to each other.

use serde_json::{Value, json};

use crate::kind::{Kind, condition, items, name, version};
use crate::world::{World, world};

const LABEL: &str = "labelSelector=e2e-pv-pool%3Dconformance";

fn volumes(world: &World) -> Kind<'_> {
    Kind::cluster(world, "v1", "PersistentVolume", "persistentvolumes")
}

fn claims(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
}

/// Makes a volume and a claim of a class that is only a name, so that they are bound to each other.
async fn pair(world: &World) -> (Value, Value) {
    let volume = volumes(world)
        .create(json!({
            "metadata": { "generateName": "conformance-", "labels": { "e2e-pv-pool": "conformance" } },
            "spec": {
                "capacity": { "storage": "2Gi" },
                "accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "conformance",
                "csi": { "driver": "e2e-driver", "volumeHandle": "e2e-conformance" },
            },
        }))
        .await;
    let claim = claims(world)
        .create(json!({
            "metadata": { "generateName": "pvc-" },
            "spec": {
                "accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
                "resources": { "requests": { "storage": "2Gi" } },
                "storageClassName": "conformance",
            },
        }))
        .await;
    (volume, claim)
}

#[tokio::test]
async fn persistentvolumes_csi_conformance_should_run_through_the_lifecycle_of_a_pv_and_a_pvc() {
    let world = world().await;
    let (volumes, claims) = (volumes(&world), claims(&world));
    pair(&world).await;
    let listed = volumes.list(LABEL).await;
    assert_eq!(items(&listed).len(), 1);
    let listed_claims = claims.list("").await;
    assert_eq!(items(&listed_claims).len(), 1);
    let (volume, claim) = (&items(&listed)[0], &items(&listed_claims)[0]);
    assert!(!version(volume).is_empty() && !version(claim).is_empty());
    volumes.gets_a_label(volume).await;
    claims.gets_a_label(claim).await;
    assert_eq!(volumes.get(name(volume)).await["metadata"]["uid"], volume["metadata"]["uid"]);
    assert_eq!(claims.get(name(claim)).await["metadata"]["uid"], claim["metadata"]["uid"]);
    claims.eventually(name(claim), |claim| claim["status"]["phase"] == "Bound").await;
    claims.delete(name(claim)).await;
    claims.emptied("").await;
    volumes.delete(name(volume)).await;
    volumes.emptied(LABEL).await;

    let (volume, claim) = pair(&world).await;
    let (label, claim_label) = (name(&volume).to_owned(), name(&claim).to_owned());
    let updated = volumes
        .update(name(&volume), |volume| volume["metadata"]["labels"][label.as_str()] = "updated".into())
        .await;
    assert_eq!(updated["metadata"]["labels"][&label], "updated");
    let updated = claims
        .update(name(&claim), |claim| {
            claim["metadata"]["labels"] = json!({ claim_label.as_str(): "updated" });
        })
        .await;
    assert_eq!(updated["metadata"]["labels"][&claim_label], "updated");
    let selector = format!("labelSelector={claim_label}%3Dupdated");
    assert_eq!(items(&claims.list_everywhere(&selector).await).len(), 1);
    claims.delete_collection(&selector).await;
    claims.emptied(&selector).await;
    let selector = format!("labelSelector={label}%3Dupdated");
    volumes.delete_collection(&selector).await;
    volumes.emptied(&selector).await;
    world.end().await;
}

#[tokio::test]
async fn persistentvolumes_csi_conformance_should_apply_changes_to_a_pv_pvc_status() {
    let world = world().await;
    let (volumes, claims) = (volumes(&world), claims(&world));
    let (volume, claim) = pair(&world).await;
    let (volume, claim) = (name(&volume), name(&claim));
    assert_eq!(volumes.count(LABEL).await, 1);
    assert_eq!(claims.count("").await, 1);
    let (claim_status, volume_status) = (format!("{claim}/status"), format!("{volume}/status"));
    let phase = claims.get(&claim_status).await["status"]["phase"].clone();
    assert!(phase == "Pending" || phase == "Bound", "{phase}");
    let phase = volumes.get(&volume_status).await["status"]["phase"].clone();
    assert!(phase == "Available" || phase == "Bound" || phase == "Pending", "{phase}");

    let given = |kind: &str, reason: &str| json!({ "type": kind, "status": "True", "reason": reason, "message": "Set from a test" });
    let patch = json!({ "status": { "conditions": [given("StatusPatched", "E2E patchedStatus")] } });
    let patched = claims.merge(&claim_status, patch).await;
    let found = condition(&patched, "StatusPatched").expect("the condition");
    assert_eq!(
        (&found["reason"], &found["message"]),
        (&json!("E2E patchedStatus"), &json!("Set from a test"))
    );
    let patch = json!({ "status": { "message": "StatusPatched", "reason": "E2E patchStatus" } });
    let patched = volumes.merge(&volume_status, patch).await;
    assert_eq!(patched["status"]["reason"], "E2E patchStatus");
    assert_eq!(patched["status"]["message"], "StatusPatched");

    let updated = claims
        .update_status(claim, |claim| {
            let conditions = claim["status"]["conditions"].as_array_mut().expect("conditions");
            conditions.push(given("StatusUpdated", "E2E updateStatus"));
        })
        .await;
    let found = condition(&updated, "StatusUpdated").expect("the condition");
    assert_eq!(found["reason"], "E2E updateStatus");
    let updated = volumes
        .update_status(volume, |volume| {
            volume["status"]["reason"] = "E2E updateStatus".into();
            volume["status"]["message"] = "StatusUpdated".into();
        })
        .await;
    assert_eq!(updated["status"]["reason"], "E2E updateStatus");
    assert_eq!(updated["status"]["message"], "StatusUpdated");
    world.end().await;
}
