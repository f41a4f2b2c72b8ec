//! Classes of storage and of its attributes.

use serde_json::{Value, json};

use crate::kind::{Kind, items, name};
use crate::world::world;

#[tokio::test]
async fn storageclasses_csi_conformance_should_run_through_the_lifecycle_of_a_storageclass() {
    let world = world().await;
    let kind = Kind::cluster(&world, "storage.k8s.io/v1", "StorageClass", "storageclasses");
    lives(&kind, &json!({ "provisioner": "e2e-fake-provisioner" })).await;
    world.end().await;
}

#[tokio::test]
async fn volumeattributesclass_should_run_through_the_lifecycle_of_a_volumeattributesclass() {
    let world = world().await;
    let kind = Kind::cluster(&world, "storage.k8s.io/v1", "VolumeAttributesClass", "volumeattributesclasses");
    lives(&kind, &json!({ "driverName": "e2e-fake-csi-driver", "parameters": { "iops": "500" } })).await;
    world.end().await;
}

/// Created, read, patched, listed, deleted; created again, updated, deleted with its collection.
async fn lives(kind: &Kind<'_>, contents: &Value) {
    let class = |prefix: &str| {
        let mut class = contents.clone();
        class["metadata"] = json!({ "generateName": prefix });
        class
    };
    let first = kind.create(class("e2e-")).await;
    let found = kind.get(name(&first)).await;
    assert_eq!(found["metadata"]["uid"], first["metadata"]["uid"]);
    kind.gets_a_label(&found).await;
    let selector = format!("labelSelector={}%3Dpatched", name(&first));
    assert_eq!(items(&kind.list(&selector).await).len(), 1);
    kind.delete(name(&first)).await;
    kind.emptied(&selector).await;

    let second = kind.create(class("e2e-v2-")).await;
    let label = name(&second).to_owned();
    let updated = kind
        .update(name(&second), |class| class["metadata"]["labels"] = json!({ label.as_str(): "updated" }))
        .await;
    assert_eq!(updated["metadata"]["labels"][&label], "updated");
    let selector = format!("labelSelector={label}%3Dupdated");
    assert_eq!(kind.count(&selector).await, 1);
    kind.delete_collection(&selector).await;
    kind.emptied(&selector).await;
}
