use std::collections::BTreeMap;

use super::*;
use crate::gvk::GroupVersion;
use crate::kinds::Registry;
use crate::openapi::{Verb, v3_document};

/// All kinds that are described, by group and version, and one that is custom.
fn served() -> BTreeMap<String, (GroupVersion, Vec<ResourcePaths>)> {
    let mut served = BTreeMap::new();
    for kind in Registry::builtin().iter() {
        let description = kind.description();
        let gv = &description.gv;
        let (_, all) = served.entry(gv.to_string()).or_insert_with(|| (gv.clone(), Vec::new()));
        all.extend(ResourcePaths::of(description));
    }
    let schema = json!({"type": "object", "required": ["spec"], "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer", "nullable": true, "default": 3, "minimum": 1},
        "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
    }}}});
    let gv = GroupVersion::new("things.example.com", "v1");
    let lamps = ResourcePaths {
        plural: "lamps".into(),
        subresource: None,
        namespaced: true,
        gv: gv.clone(),
        kind: "Lamp".into(),
        verbs: Verb::ALL.to_vec(),
        schema: Some(schema.to_string().into()),
    };
    served.insert(gv.to_string(), (gv, vec![lamps]));
    served
}

pub(in crate::openapi) fn document() -> Value {
    let served = served();
    v2_document(served.values().map(|(gv, resources)| (gv, resources.as_slice())), "v1.36.0")
}

/// What a schema says, without its description.
fn said(document: &Value, name: &str, field: &str) -> Value {
    let mut schema = document["definitions"][name]["properties"][field].clone();
    schema.as_object_mut().unwrap().remove("description");
    schema
}

/// As in the `swagger.json` of upstream, but for enumerations, which that leaves out and its server does not.
#[test]
fn definitions_are_those_of_upstream() {
    let document = document();
    let core = |kind: &str| format!("io.k8s.api.core.v1.{kind}");
    let reference = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
    let mut strategy = reference("io.k8s.api.apps.v1.DeploymentStrategy");
    strategy["x-kubernetes-patch-strategy"] = "retainKeys".into();
    assert_eq!(said(&document, "io.k8s.api.apps.v1.DeploymentSpec", "strategy"), strategy);
    assert_eq!(
        said(&document, &core("Container"), "ports"),
        json!({"type": "array", "items": reference(&core("ContainerPort")), "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["containerPort", "protocol"], "x-kubernetes-patch-strategy": "merge",
            "x-kubernetes-patch-merge-key": "containerPort"})
    );
    assert_eq!(
        said(&document, &core("ContainerPort"), "protocol"),
        json!({"type": "string", "enum": ["SCTP", "TCP", "UDP"]})
    );
    assert_eq!(document["definitions"][core("ContainerPort")]["required"], json!(["containerPort"]));
    assert_eq!(
        said(&document, &core("ServicePort"), "targetPort"),
        reference("io.k8s.apimachinery.pkg.util.intstr.IntOrString")
    );
    let quantity = "io.k8s.apimachinery.pkg.api.resource.Quantity";
    assert_eq!(
        said(&document, &core("ResourceRequirements"), "limits"),
        json!({"type": "object", "additionalProperties": reference(quantity)})
    );
    let pod = &document["definitions"][core("Pod")];
    assert_eq!(
        pod["x-kubernetes-group-version-kind"],
        json!([{"group": "", "kind": "Pod", "version": "v1"}])
    );
    assert_eq!(document["definitions"][core("LabelSelector")], json!(null));
    let selector = &document["definitions"]["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"];
    assert_eq!(selector["x-kubernetes-map-type"], "atomic");
    for (name, ty, format) in [
        (quantity, json!("string"), json!(null)),
        ("io.k8s.apimachinery.pkg.util.intstr.IntOrString", json!("string"), json!("int-or-string")),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", json!("string"), json!("date-time")),
        ("io.k8s.apimachinery.pkg.runtime.RawExtension", json!("object"), json!(null)),
        ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON", json!(null), json!(null)),
    ] {
        let schema = &document["definitions"][name];
        assert!(schema.is_object(), "{name}");
        assert_eq!((&schema["type"], &schema["format"]), (&ty, &format), "{name}");
    }
}

#[test]
fn operations_are_those_of_upstream() {
    let document = document();
    let at = |path: &str, method: &str| document["paths"][path][method].clone();
    let get = at("/apis/batch/v1/namespaces/{namespace}/jobs/{name}", "get");
    assert_eq!(
        get,
        json!({
            "consumes": ["*/*"], "schemes": ["https"], "tags": ["batch_v1"], "operationId": get["operationId"],
            "produces": ["application/json", "application/vnd.kubernetes.protobuf", "application/yaml"],
            "responses": {
                "200": {"description": "OK", "schema": {"$ref": "#/definitions/io.k8s.api.batch.v1.Job"}},
                "401": {"description": "Unauthorized"},
            },
            "x-kubernetes-action": "get",
            "x-kubernetes-group-version-kind": {"group": "batch", "kind": "Job", "version": "v1"},
        })
    );
    let patch = at("/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "patch");
    assert!(patch["consumes"].as_array().unwrap().contains(&json!("application/strategic-merge-patch+json")));
    let inline = |name: &str| patch["parameters"].as_array().unwrap().iter().any(|own| own["name"] == name);
    assert!(inline("fieldValidation") && inline("dryRun") && !inline("fieldManager"));
    let lamps = at("/apis/things.example.com/v1/namespaces/{namespace}/lamps/{name}", "patch");
    assert!(!lamps["consumes"].to_string().contains("strategic"));
    assert_eq!(lamps["x-kubernetes-group-version-kind"]["kind"], "Lamp");
    assert_eq!(document["info"], json!({"title": "Kubernetes", "version": "v1.36.0"}));
}

#[test]
fn every_operation_of_3_0_is_there() {
    let document = document();
    let mut count = 0;
    for (gv, resources) in served().values() {
        for (path, item) in v3_document(gv, resources)["paths"].as_object().unwrap() {
            for (method, operation) in
                item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters")
            {
                let own = &document["paths"][path][method];
                assert_eq!(own["operationId"], operation["operationId"], "{method} {path}");
                assert_eq!(own[GVK], operation[GVK], "{method} {path}");
                let body = own["parameters"].to_string().contains("body");
                assert_eq!(body, operation.get("requestBody").is_some(), "{method} {path}");
                count += 1;
            }
        }
    }
    assert!(count > 500, "{count}");
}

/// The references of a value, and the words that 2.0 does not know.
fn walk<'v>(value: &'v Value, is_schema: bool, seen: &mut Vec<&'v str>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                seen.push(target);
            }
            for (key, value) in map {
                assert!(
                    !is_schema || !matches!(key.as_str(), "oneOf" | "anyOf" | "not" | "nullable"),
                    "{map:?}"
                );
                walk(value, is_schema && key != "properties", seen);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, is_schema, seen)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut seen = Vec::new();
    walk(&document["paths"], false, &mut seen);
    for schema in document["definitions"].as_object().unwrap().values() {
        walk(schema, true, &mut seen);
    }
    assert!(seen.len() > 3000, "{}", seen.len());
    for target in seen {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
}

#[test]
fn custom_kinds_are_said_less_of() {
    let document = document();
    let lamp = &document["definitions"]["com.example.things.v1.Lamp"];
    let spec = &lamp["properties"]["spec"]["properties"];
    assert_eq!(spec["size"], json!({"default": 3, "minimum": 1}), "what may be null has no type");
    assert_eq!(spec["port"], json!({"x-kubernetes-int-or-string": true}));
    assert_eq!(
        lamp["properties"]["metadata"]["$ref"],
        "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    );
    let list = &document["definitions"]["com.example.things.v1.LampList"];
    assert_eq!(list["properties"]["items"]["items"]["$ref"], "#/definitions/com.example.things.v1.Lamp");
}

#[cfg(feature = "descriptions")]
#[test]
fn fields_are_described() {
    let document = document();
    for (ty, field) in
        [("io.k8s.api.apps.v1.DeploymentSpec", "strategy"), ("io.k8s.api.core.v1.Container", "image")]
    {
        let schema = &document["definitions"][ty];
        assert!(schema["description"].as_str().is_some_and(|text| text.len() > 10), "{ty}");
        let text = schema["properties"][field]["description"].as_str();
        assert!(text.is_some_and(|text| text.len() > 10), "{field}");
    }
}
