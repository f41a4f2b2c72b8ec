//! What is applied.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;

/// A Deployment of one container that asks for little, as people write them.
pub(crate) fn deployment(name: &str, replicas: usize) -> Deployment {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "web", "image": "registry.example/web:1.27",
                    "ports": [{"containerPort": 8080}],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                }]},
            },
        },
    });
    serde_json::from_value(object).expect("a Deployment")
}
