//! CSI drivers, what nodes say of them, and how much room they have.

use serde_json::{Value, json};

use crate::kind::{Kind, items, name, names};
use crate::world::{World, world};

fn drivers(world: &World) -> Kind<'_> {
    Kind::cluster(world, "storage.k8s.io/v1", "CSIDriver", "csidrivers")
}

fn driver(name: &str, mode: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "e2e-test": "conformance" } },
        "spec": { "volumeLifecycleModes": [mode], "fsGroupPolicy": "ReadWriteOnceWithFSType" },
    })
}

#[tokio::test]
async fn csiinlinevolumes_should_run_through_the_lifecycle_of_a_csidriver() {
    let world = world().await;
    let kind = drivers(&world);
    let selector = "labelSelector=e2e-test%3Dconformance";
    kind.create(driver("inline-driver-1", "Persistent")).await;
    kind.create(driver("inline-driver-2", "Persistent")).await;
    assert_eq!(kind.count(selector).await, 2);
    let found = kind.get("inline-driver-1").await;
    kind.gets_a_label(&found).await;
    let updated = kind
        .update("inline-driver-2", |driver| {
            driver["metadata"]["labels"]["inline-driver-2"] = "updated".into()
        })
        .await;
    assert_eq!(updated["metadata"]["labels"]["inline-driver-2"], "updated");
    kind.delete("inline-driver-1").await;
    kind.gone("inline-driver-1").await;
    assert_eq!(names(&kind.list(selector).await), ["inline-driver-2"]);
    kind.delete_collection("labelSelector=inline-driver-2%3Dupdated").await;
    kind.emptied(selector).await;
    world.end().await;
}

#[tokio::test]
async fn csiinlinevolumes_should_support_csivolumesource_in_pod_api() {
    let world = world().await;
    let kind = drivers(&world);
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    let created = kind.create(driver("inline-driver", "Ephemeral")).await;
    assert_eq!(created["spec"]["volumeLifecycleModes"], json!(["Ephemeral"]));
    assert_eq!(kind.count("labelSelector=e2e-test%3Dconformance").await, 1);
    let source = json!({ "driver": "inline-driver", "readOnly": true, "volumeAttributes": { "a": "b" } });
    let pod = json!({
        "metadata": { "name": "pod-csi-inline-volumes", "labels": { "e2e-test": "conformance" } },
        "spec": {
            "containers": [{
                "name": "pod-csi-inline-volumes",
                "image": "agnhost",
                "command": ["sh", "-c", "sleep 100000"],
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "runAsNonRoot": true,
                    "runAsUser": 1000,
                    "capabilities": { "drop": ["ALL"] },
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "volumeMounts": [{ "name": "vol", "mountPath": "/mnt/vol" }],
            }],
            "volumes": [{ "name": "vol", "csi": source }],
            "terminationGracePeriodSeconds": 0,
        },
    });
    let created = pods.create(pod).await;
    assert_eq!(created["spec"]["volumes"][0]["csi"], source);
    let list = pods.list("labelSelector=e2e-test%3Dconformance").await;
    assert_eq!(names(&list), ["pod-csi-inline-volumes"]);
    assert_eq!(items(&list)[0]["spec"]["volumes"][0]["csi"], source);
    pods.gets_a_label(&created).await;
    assert_eq!(pods.get("pod-csi-inline-volumes").await["spec"]["volumes"][0]["csi"], source);
    pods.delete("pod-csi-inline-volumes").await;
    pods.gone("pod-csi-inline-volumes").await;
    kind.delete("inline-driver").await;
    kind.gone("inline-driver").await;
    world.end().await;
}

#[tokio::test]
async fn csinodes_csi_conformance_should_run_through_the_lifecycle_of_a_csinode() {
    let world = world().await;
    let kind = Kind::cluster(&world, "storage.k8s.io/v1", "CSINode", "csinodes");
    let node = |name: &str| {
        json!({
            "metadata": { "name": name },
            "spec": { "drivers": [{ "name": format!("e2e-driver-{name}"), "nodeID": name, "topologyKeys": null }] },
        })
    };
    let created = kind.create(node("e2e-csinode-1")).await;
    assert_eq!(kind.get("e2e-csinode-1").await["spec"]["drivers"][0]["name"], "e2e-driver-e2e-csinode-1");
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
    kind.removal(name(&created), selector).await;
    world.end().await;
}
