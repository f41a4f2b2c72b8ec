//! What is written: a ConfigMap of about a KiB, a pod as a Deployment makes one, and what a scheduler and an agent then say of it.

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

/// Less of a pod: ten thousand are 15 MB.
pub(crate) fn small_pod(number: usize) -> Vec<u8> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": pod_name(number), "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "registry.example/web:1.27"}]},
    });
    pod.to_string().into_bytes()
}

/// As a scheduler writes it.
pub(crate) fn binding(number: usize) -> Vec<u8> {
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod_name(number), "namespace": "default"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": format!("node-{:05}", number % 5000)},
    });
    binding.to_string().into_bytes()
}

/// As a scheduler tells of a binding.
pub(crate) fn event(number: usize) -> Vec<u8> {
    let pod = pod_name(number);
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{pod}.18a1b2c3d4e5"), "namespace": "default"},
        "action": "Binding", "reason": "Scheduled", "type": "Normal",
        "message": format!("Successfully assigned default/{pod} to node-{:05}", number % 5000),
        "eventTime": "2026-11-22T09:00:00.000000Z",
        "reportingComponent": "default-scheduler", "reportingInstance": "default-scheduler-host",
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": "default"},
    });
    event.to_string().into_bytes()
}

/// What an agent says of a pod that runs, as a strategic merge patch.
pub(crate) fn running(number: usize) -> Vec<u8> {
    let since = "2026-11-22T09:00:00Z";
    let conditions = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"].map(|kind| {
        json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": since, "reason": null,
            "message": null, "observedGeneration": 1})
    });
    let [_, a, b, c] = u32::try_from(number).unwrap_or_default().to_be_bytes();
    let ip = format!("10.{a}.{b}.{c}");
    let patch = json!({"status": {
        "phase": "Running", "startTime": since, "hostIP": "10.0.0.1", "podIP": ip, "conditions": conditions,
        "hostIPs": [{"ip": "10.0.0.1"}, {"$patch": "replace"}], "podIPs": [{"ip": ip}, {"$patch": "replace"}],
        "observedGeneration": 1,
        "containerStatuses": [{
            "name": "web", "image": "registry.example/web:1.27", "imageID": "sha256:0123456789abcdef",
            "containerID": format!("sim://{number:032x}"), "ready": true, "started": true, "restartCount": 0,
            "state": {"running": {"startedAt": since}}, "lastState": {},
        }],
    }});
    patch.to_string().into_bytes()
}
