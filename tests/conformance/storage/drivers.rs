//! CSI drivers, what nodes say of them, and how much room they have.

use serde_json::{Value, json};

use crate::kind::{Kind, name, names};
use crate::world::{World, world};

fn drivers(world: &World) -> Kind<'_> {
    Kind::cluster(world, "storage.k8s.io/v1", "CSIDriver", "csidrivers")
}

fn driver(name: &str, modes: &[&str]) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "e2e-test": "conformance" } },
        "spec": { "volumeLifecycleModes": modes, "fsGroupPolicy": "ReadWriteOnceWithFSType" },
    })
}

#[tokio::test]
async fn csiinlinevolumes_should_run_through_the_lifecycle_of_a_csidriver() {
    let world = world().await;
    let kind = drivers(&world);
    let (first, second) = ("inline-driver-1", "inline-driver-2");
    let drivers = [driver(first, &["Ephemeral"]), driver(second, &["Persistent", "Ephemeral"])];
    for driver in &drivers {
        let created = kind.create(driver.clone()).await;
        assert_eq!(kind.get(name(driver)).await["metadata"]["uid"], created["metadata"]["uid"]);
    }
    let (code, message) = kind.refused(drivers[0].clone()).await;
    assert_eq!(code, 409, "{message}");
    kind.gets_a_label(&kind.get(second).await).await;
    let updated = kind.update(second, |driver| driver["metadata"]["labels"][second] = "updated".into()).await;
    assert_eq!(updated["metadata"]["labels"][second], "updated");
    assert_eq!(kind.count("labelSelector=e2e-test%3Dconformance").await, 2);
    kind.delete(first).await;
    kind.gone(first).await;
    kind.delete_collection(&format!("labelSelector={second}%3Dupdated")).await;
    kind.gone(second).await;
    world.end().await;
}

#[tokio::test]
async fn csiinlinevolumes_should_support_csivolumesource_in_pod_api() {
    let world = world().await;
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    let name = "pod-csi-inline-volumes";
    let mount = |volume: &str, path: &str| json!({ "name": volume, "mountPath": path });
    // Nobody serves the driver: this is about the API alone.
    let pod = json!({
        "metadata": { "name": name },
        "spec": {
            "volumes": [
                { "name": "csi-inline-vol1", "csi": { "driver": "e2e.example.com" } },
                {
                    "name": "csi-inline-vol2",
                    "csi": { "driver": "e2e.example.com", "fsType": "ext4", "readOnly": true },
                },
            ],
            "containers": [{
                "name": name,
                "image": "busybox",
                "command": ["sh", "-c", "ls /mnt/*"],
                "volumeMounts": [mount("csi-inline-vol1", "/mnt/vol1"), mount("csi-inline-vol2", "/mnt/vol2")],
            }],
        },
    });
    let created = pods.create(pod.clone()).await;
    let (code, message) = pods.refused(pod.clone()).await;
    assert_eq!(code, 409, "{message}");
    let found = pods.get(name).await;
    assert_eq!(found["metadata"]["uid"], created["metadata"]["uid"]);
    for (volume, asked) in [(0, &pod["spec"]["volumes"][0]), (1, &pod["spec"]["volumes"][1])] {
        assert_eq!(&found["spec"]["volumes"][volume], asked);
    }
    assert_eq!(names(&pods.list("").await), [name]);
    let patched = pods.merge(name, json!({ "metadata": { "annotations": { "patched": "true" } } })).await;
    assert_eq!(patched["metadata"]["annotations"]["patched"], "true");
    pods.delete(name).await;
    pods.gone(name).await;
    world.end().await;
}

#[tokio::test]
async fn csinodes_csi_conformance_should_run_through_the_lifecycle_of_a_csinode() {
    let world = world().await;
    let kind = Kind::cluster(&world, "storage.k8s.io/v1", "CSINode", "csinodes");
    // A typed client sends the list that nobody filled as null.
    let node = |name: &str| json!({ "metadata": { "name": name }, "spec": { "drivers": null } });
    let created = kind.create(node("e2e-csinode-1")).await;
    assert_eq!(kind.get("e2e-csinode-1").await["metadata"]["name"], "e2e-csinode-1");
    kind.gets_a_label(&created).await;
    assert_eq!(kind.count("labelSelector=e2e-csinode-1%3Dpatched").await, 1);
    kind.delete("e2e-csinode-1").await;
    kind.gone("e2e-csinode-1").await;
    kind.create(node("e2e-csinode-2")).await;
    let updated = kind
        .update("e2e-csinode-2", |node| node["metadata"]["labels"] = json!({ "e2e-csinode-2": "updated" }))
        .await;
    assert_eq!(updated["metadata"]["labels"]["e2e-csinode-2"], "updated");
    kind.delete_collection("labelSelector=e2e-csinode-2%3Dupdated").await;
    kind.emptied("labelSelector=e2e-csinode-2%3Dupdated").await;
    assert!(!kind.exists("e2e-csinode-2").await);
    world.end().await;
}

#[tokio::test]
async fn csistoragecapacity_should_support_csistoragecapacities_api_operations() {
    let world = world().await;
    let kind = Kind::namespaced(&world, "storage.k8s.io/v1", "CSIStorageCapacity", "csistoragecapacities");
    kind.is_discovered(&[]).await;
    let selector = "labelSelector=test%3Dconformance";
    let capacity = |name: &str| {
        json!({
            "metadata": { "name": name, "labels": { "test": "conformance" } },
            "storageClassName": "hdd",
        })
    };
    let created = kind.operations([capacity("one"), capacity("two"), capacity("three")], selector).await;
    let (code, message) = kind.refused(capacity("one")).await;
    assert_eq!(code, 409, "{message}");
    kind.removal(name(&created), selector).await;
    world.end().await;
}
