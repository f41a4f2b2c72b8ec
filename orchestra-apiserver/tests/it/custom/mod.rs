//! Custom resources from outside. Tests named after rows of the upstream conformance suite say which in their comment.

mod apply;
mod conversion;
mod definitions;
mod objects;
mod rules;
mod shared_fields;
mod versions;

use orchestra_apiserver::ApiServer;
use serde_json::{Value, json};

use crate::harness::{get, post};

pub(crate) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub(crate) const LAMPS: &str = "/apis/example.com/v1/namespaces/default/lamps";

/// A definition of lamps with one version.
pub(crate) fn lamps(version: Value) -> Value {
    let mut version = version;
    for (field, value) in [("name", json!("v1")), ("served", json!(true)), ("storage", json!(true))] {
        version[field] = value;
    }
    if version.get("schema").is_none() {
        version["schema"] = json!({"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "watts": {"type": "integer", "minimum": 1, "default": 60},
                "colour": {"type": "string", "enum": ["warm", "cold"]},
                "replicas": {"type": "integer"},
                "bulbs": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "required": ["name"],
                        "properties": {"name": {"type": "string"}, "lumen": {"type": "integer"}}}},
            }},
            "status": {"type": "object", "properties": {"hours": {"type": "integer"}, "replicas": {"type": "integer"}, "selector": {"type": "string"}}},
        }}});
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "lamps.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "lamps", "kind": "Lamp", "shortNames": ["lm"], "categories": ["all"]},
            "versions": [version],
        },
    })
}

pub(crate) fn lamp(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Lamp", "metadata": {"name": name}, "spec": spec})
}

pub(crate) async fn define(server: &ApiServer, definition: &Value) {
    let (code, made) = post(server, DEFINITIONS, definition).await;
    assert_eq!(code, 201, "{made:#}");
}

pub(crate) async fn definition(server: &ApiServer) -> Value {
    get(server, &format!("{DEFINITIONS}/lamps.example.com")).await.1
}

pub(crate) fn condition<'a>(definition: &'a Value, kind: &str) -> &'a Value {
    definition["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == kind).unwrap()
}
