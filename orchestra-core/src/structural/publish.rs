//! Schemas as OpenAPI documents show them.

use serde_json::{Map, Value, json};

/// What documents say of every object, whatever its schema.
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should \
                           convert recognized schemas to the latest internal value, and may reject unrecognized values. \
                           More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer \
                    this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: \
                    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// Which form of OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// 2.0, which knows no alternatives and no nullable values.
    V2,
    /// 3.0.
    V3,
}

/// The schema of a custom kind as a component of a document. `reference` makes references to other components.
pub fn component(source: &Value, dialect: Dialect, reference: impl Fn(&str) -> Value) -> Map<String, Value> {
    let mut schema = match clean(source, dialect, true) {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let is_blank = dialect == Dialect::V2
        && schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    schema.insert("type".to_owned(), "object".into());
    if is_blank {
        // Clients of 2.0 take what a schema does not name for an error.
        schema.remove("properties");
        return schema;
    }
    let properties = schema.entry("properties").or_insert_with(|| Map::new().into());
    if let Value::Object(properties) = properties {
        let meta = reference("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        let mut metadata = match dialect {
            Dialect::V2 => meta,
            Dialect::V3 => json!({ "allOf": [meta] }),
        };
        metadata["description"] = METADATA.into();
        properties.insert("apiVersion".to_owned(), json!({"type": "string", "description": API_VERSION}));
        properties.insert("kind".to_owned(), json!({"type": "string", "description": KIND}));
        properties.insert("metadata".to_owned(), metadata);
    }
    schema
}

fn clean(schema: &Value, dialect: Dialect, is_root: bool) -> Value {
    let Value::Object(map) = schema else { return schema.clone() };
    let mut out = Map::new();
    for (field, value) in map {
        let value = match field.as_str() {
            "properties" => {
                let entries = value.as_object().into_iter().flatten();
                Value::Object(
                    entries.map(|(key, below)| (key.clone(), clean(below, dialect, false))).collect(),
                )
            }
            "items" | "additionalProperties" | "not" => clean(value, dialect, false),
            "allOf" | "anyOf" | "oneOf" => {
                value.as_array().into_iter().flatten().map(|below| clean(below, dialect, false)).collect()
            }
            _ => value.clone(),
        };
        out.insert(field.clone(), value);
    }
    if dialect == Dialect::V2 {
        simplify(&mut out, is_root);
    }
    Value::Object(out)
}

/// Takes out what 2.0 does not know, and with it what would be wrong without it.
fn simplify(schema: &mut Map<String, Value>, is_root: bool) {
    for field in ["allOf", "anyOf", "oneOf", "not", "default"] {
        schema.remove(field);
    }
    if schema.remove("nullable") == Some(Value::Bool(true)) {
        // Clients would refuse a null that the server takes, so nothing is said of the type.
        for field in ["type", "items", "properties", "additionalProperties"] {
            schema.remove(field);
        }
    }
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        schema.remove("type");
    }
    if !is_root && schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
        for field in ["items", "properties", "type"] {
            schema.remove(field);
        }
    }
    if schema.get("items") == Some(&json!({})) {
        schema.insert("items".to_owned(), json!({}));
    }
}
