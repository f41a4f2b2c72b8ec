//! What is written: a ConfigMap of about a KiB, and a pod as a Deployment makes one.

use serde_json::json;

pub(crate) fn config_map(number: usize) -> Vec<u8> {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("map-{number}"), "labels": {"app": "bench"}},
        "data": {"settings": "x".repeat(700)},
    });
    map.to_string().into_bytes()
}

pub(crate) fn pod_name(number: usize) -> String {
    format!("web-5d69d4dc87-{number:05}")
}

pub(crate) fn pod(number: usize) -> Vec<u8> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod_name(number),
            "labels": {"app": "web", "pod-template-hash": "5d69d4dc87"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d69d4dc87", "controller": true,
                "blockOwnerDeletion": true, "uid": "0b0e5d7c-8c0f-4a67-9a0b-6b1a2f3c4d5e",
            }],
        },
        "spec": {"containers": [{
            "name": "web", "image": "registry.example/web:1.27",
            "ports": [{"containerPort": 8080}],
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        }]},
    });
    pod.to_string().into_bytes()
}
