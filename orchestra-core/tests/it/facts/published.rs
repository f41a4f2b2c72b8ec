//! The documents of OpenAPI 3.0.

use std::collections::BTreeMap;

use orchestra_core::openapi::{ResourcePaths, Verb, v3_document};
use orchestra_core::schema;
use serde_json::Value;

use super::table;

/// Every schema of the documents of all groups, by name.
fn published() -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for ty in schema::types() {
        let Some(gv) = ty.group_version() else { continue };
        let paths = ResourcePaths {
            plural: ty.short_name().to_lowercase(),
            subresource: None,
            namespaced: true,
            gv: gv.clone(),
            kind: ty.short_name().to_owned(),
            verbs: Verb::ALL.to_vec(),
            schema: None,
        };
        let mut document = v3_document(&gv, &[paths]);
        let Value::Object(schemas) = document["components"]["schemas"].take() else { continue };
        all.extend(schemas);
    }
    all
}

/// The facts a schema states of a field, in the words of the table.
fn facts(schema: &Value, name: &str) -> String {
    let field = &schema["properties"][name];
    let mut words = vec![type_of(field)];
    if schema["required"].as_array().is_some_and(|required| required.iter().any(|other| other == name)) {
        words.push("required".to_owned());
    }
    if let Some(default) = field.get("default") {
        let zeros = [Value::from(""), Value::from(0), Value::from(false), serde_json::json!({})];
        let is_zero = zeros.contains(default);
        words.push(if is_zero { "zero-default".to_owned() } else { format!("default={default}") });
    }
    let listed = |values: &Value| {
        let mut values: Vec<&str> = values.as_array()?.iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        Some(values.join("|"))
    };
    words.extend(listed(&field["enum"]).map(|values| format!("enum={values}")));
    for (extension, word) in [
        ("x-kubernetes-list-type", "list-type"),
        ("x-kubernetes-map-type", "map-type"),
        ("x-kubernetes-patch-strategy", "patch"),
        ("x-kubernetes-patch-merge-key", "merge-key"),
    ] {
        words.extend(field[extension].as_str().map(|value| format!("{word}={value}")));
    }
    if let Some(keys) = field["x-kubernetes-list-map-keys"].as_array() {
        let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
        words.push(format!("keys={}", keys.join(",")));
    }
    words.extend(listed(&field["items"]["enum"]).map(|values| format!("item-enum={values}")));
    words.join(" ")
}

fn type_of(field: &Value) -> String {
    let reference = field.get("$ref").or_else(|| field["allOf"].get(0)?.get("$ref"));
    if let Some(reference) = reference.and_then(Value::as_str) {
        return reference.rsplit('.').next().unwrap_or_default().to_owned();
    }
    match (field["type"].as_str(), field.get("additionalProperties")) {
        (Some("array"), _) => format!("[]{}", plain(&field["items"])),
        (Some("object"), Some(values)) => format!("map[{}]", plain(values)),
        (Some(name), _) => match field["format"].as_str() {
            Some(format) => format!("{name}:{format}"),
            None => name.to_owned(),
        },
        (None, _) => "any".to_owned(),
    }
}

/// The type of items and entries, of which the table has no formats.
fn plain(field: &Value) -> String {
    if field["type"] == "array" {
        return "array".to_owned();
    }
    let name = type_of(field);
    name.split(':').next().unwrap_or_default().to_owned()
}

#[test]
fn the_published_schemas_state_what_the_server_states() {
    let published = published();
    let mut differing = Vec::new();
    for (name, ty) in table::types() {
        // The version of the server is no object of the API; its own path has the document of it.
        if name == "io.k8s.apimachinery.pkg.version.Info" {
            continue;
        }
        let Some(schema) = published.get(&name) else {
            differing.push(format!("{name}: not published"));
            continue;
        };
        if ty.is_atomic != (schema["x-kubernetes-map-type"] == "atomic") {
            differing.push(format!("{name}: map-type=atomic: {}", ty.is_atomic));
        }
        let none = serde_json::Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        for field in properties.keys().filter(|field| !ty.fields.contains_key(field.as_str())) {
            differing.push(format!("{name}.{field}: the server has no such field"));
        }
        for (field, stated) in ty.fields {
            let ours = if properties.contains_key(field) { facts(schema, field) } else { String::new() };
            if ours != stated.text() {
                differing.push(format!("{name}.{field}: {:?}, not {ours:?}", stated.text()));
            }
        }
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
}
