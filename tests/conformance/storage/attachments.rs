//! Volumes attached to nodes.

use serde_json::{Value, json};

use crate::kind::{Kind, name, version};
use crate::world::{World, world};

fn kind(world: &World) -> Kind<'_> {
    Kind::cluster(world, "storage.k8s.io/v1", "VolumeAttachment", "volumeattachments")
}

/// It brings a uid of its own, which the server does not take.
fn attachment(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "uid": name },
        "spec": {
            "attacher": "e2e-test.storage.k8s.io",
            "nodeName": "node-1",
            "source": { "persistentVolumeName": format!("pv-{name}") },
        },
        "status": { "attached": false },
    })
}

#[tokio::test]
async fn volumeattachment_conformance_should_run_through_the_lifecycle_of_a_volumeattachment() {
    let world = world().await;
    let kind = kind(&world);
    let created = kind.create(attachment("va-1")).await;
    assert_eq!(name(&created), "va-1");
    let found = kind.get("va-1").await;
    assert_eq!(name(&found), "va-1");
    let patched = kind.merge("va-1", json!({ "metadata": { "labels": { "va-1": "patched" } } })).await;
    assert_eq!(patched["metadata"]["labels"]["va-1"], "patched");
    assert_ne!(version(&found), version(&patched));
    assert_eq!(kind.count("labelSelector=va-1%3Dpatched").await, 1);
    kind.delete("va-1").await;
    kind.emptied("labelSelector=va-1%3Dpatched").await;
    for second in ["va-2", "va-3"] {
        kind.create(attachment(second)).await;
        let updated =
            kind.update(second, |found| found["metadata"]["labels"] = json!({ "va-e2e": "updated" })).await;
        assert_eq!(updated["metadata"]["labels"]["va-e2e"], "updated");
    }
    kind.delete_collection("labelSelector=va-e2e%3Dupdated").await;
    kind.emptied("labelSelector=va-e2e%3Dupdated").await;
    world.end().await;
}

#[tokio::test]
async fn volumeattachment_conformance_should_apply_changes_to_a_volumeattachment_status() {
    let world = world().await;
    let kind = kind(&world);
    kind.create(attachment("va-1")).await;
    kind.merge("va-1", json!({ "metadata": { "labels": { "va-1": "patched" } } })).await;
    assert_eq!(kind.get("va-1/status").await["status"]["attached"], false);
    let patched = kind.merge("va-1/status", json!({ "status": { "attached": true } })).await;
    assert_eq!(patched["status"]["attached"], true);
    let updated = kind.update_status("va-1", |found| found["status"]["attached"] = false.into()).await;
    assert_eq!(updated["status"]["attached"], false);
    kind.delete("va-1").await;
    kind.emptied("labelSelector=va-1%3Dpatched").await;
    world.end().await;
}
