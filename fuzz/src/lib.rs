//! What all targets share: inputs to begin with, which are made by code and kept nowhere.

use std::path::Path;

use serde_json::{Value, json};

/// Puts seeds into the folder that `cargo fuzz` and `cargo xtask fuzz` read first.
pub fn plant(target: &str, seeds: Vec<Vec<u8>>) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&corpus).expect("a folder for the corpus can be made");
    for (number, seed) in seeds.into_iter().enumerate() {
        std::fs::write(corpus.join(format!("seed-{number}")), seed).expect("a seed can be written");
    }
}

/// Objects of several kinds, with lists that are merged by keys, by values, and not at all.
pub fn objects() -> Vec<Value> {
    let pod = json!({
        "containers": [
            {"name": "a", "image": "a:1", "ports": [{"containerPort": 80, "protocol": "TCP"}], "env": [{"name": "X", "value": "1"}],
             "resources": {"limits": {"cpu": "100m"}}},
            {"name": "b", "image": "b:1", "args": ["x", "y"]},
        ],
        "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
        "tolerations": [{"key": "k", "operator": "Exists"}],
    });
    let kinds = [
        ("v1", "Pod", json!({"spec": pod})),
        ("v1", "ConfigMap", json!({"data": {"a": "b"}, "binaryData": {"c": "aGk="}, "immutable": true})),
        (
            "v1",
            "Service",
            json!({"spec": {"ports": [{"port": 80, "targetPort": "http"}], "selector": {"a": "b"}}}),
        ),
        (
            "apps/v1",
            "Deployment",
            json!({"spec": {
                "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
            }}),
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x/*"]}]}),
        ),
        (
            "coordination.k8s.io/v1",
            "Lease",
            json!({"spec": {"renewTime": "2026-01-02T03:04:05.000006Z", "leaseDurationSeconds": 5}}),
        ),
        (
            "batch/v1",
            "CronJob",
            json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": pod}}}}}),
        ),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({"spec": {
                "group": "x.io", "scope": "Namespaced", "names": {"plural": "ys", "kind": "Y"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}, "default": {"a": ["x"]},
                }}}],
            }}),
        ),
    ];
    let metadata = json!({"name": "o", "labels": {"l": "m"}, "annotations": {"n": "o"}, "finalizers": ["x/y"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]});
    let with_type = |(version, kind, mut object): (&str, &str, Value)| {
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        object["metadata"] = metadata.clone();
        object
    };
    kinds.into_iter().map(with_type).collect()
}

/// The same as bodies, behind them what tells how they are to be read.
pub fn bodies() -> Vec<Vec<u8>> {
    let tails = (0..64u8).flat_map(|kind| [[kind, 0], [kind, 1]]);
    tails
        .zip(objects().iter().cycle())
        .map(|(tail, object)| [object.to_string().as_bytes(), &tail].concat())
        .collect()
}
