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
    let keeps_unknown = source.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let mut schema = match clean(source, dialect) {
        // Clients of 2.0 would refuse what a schema does not name, so it names nothing.
        Value::Object(map) if dialect == Dialect::V3 || !keeps_unknown => map,
        _ => Map::new(),
    };
    schema.insert("type".to_owned(), "object".into());
    if dialect == Dialect::V2 && keeps_unknown {
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

fn clean(schema: &Value, dialect: Dialect) -> Value {
    let Value::Object(map) = schema else { return schema.clone() };
    let mut out = Map::new();
    for (field, value) in map {
        let value = match field.as_str() {
            "properties" => {
                let entries = value.as_object().into_iter().flatten();
                Value::Object(entries.map(|(key, below)| (key.clone(), clean(below, dialect))).collect())
            }
            "items" | "additionalProperties" | "not" => clean(value, dialect),
            "allOf" | "anyOf" | "oneOf" => {
                value.as_array().into_iter().flatten().map(|below| clean(below, dialect)).collect()
            }
            _ => value.clone(),
        };
        out.insert(field.clone(), value);
    }
    if dialect == Dialect::V2 {
        simplify(schema, &mut out);
    }
    Value::Object(out)
}

/// Takes out what 2.0 does not know, and what kubectl of old would then take wrongly; see `ToStructuralOpenAPIV2`.
fn simplify(source: &Value, schema: &mut Map<String, Value>) {
    let has = |schema: &Map<String, Value>, field: &str| schema.get(field) == Some(&Value::Bool(true));
    for field in ["allOf", "anyOf", "oneOf", "not"] {
        schema.remove(field);
    }
    let keeps_unknown = has(schema, "x-kubernetes-preserve-unknown-fields");
    let is_nullable = schema.remove("nullable") == Some(Value::Bool(true));
    if is_nullable || keeps_unknown {
        schema.remove("items");
        schema.remove("properties");
    }
    let ty = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let is_bare_list = ty == "array" && !schema.contains_key("items");
    if is_nullable || is_bare_list || (keeps_unknown && ty == "object") {
        schema.remove("type");
    }
    let takes_null = |key: &Value| {
        let below = source.get("properties").and_then(|all| all.get(key.as_str().unwrap_or_default()));
        below.and_then(|below| below.get("nullable")) == Some(&Value::Bool(true))
    };
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|key| !takes_null(key));
        if required.is_empty() {
            schema.remove("required");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_2_0_does_not_know_is_left_out_of_it() {
        let source = json!({"type": "object", "required": ["a", "b"], "properties": {
            "a": {"type": "string", "nullable": true},
            "b": {"type": "object", "oneOf": [{"required": ["x"]}], "properties": {"x": {"type": "string"}}},
            "c": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"x": {"type": "string"}}},
        }});
        let reference = |name: &str| json!({ "$ref": name });
        let old = component(&source, Dialect::V2, reference);
        assert_eq!(old["required"], json!(["b"]));
        assert_eq!(old["properties"]["a"], json!({}));
        assert_eq!(
            old["properties"]["b"],
            json!({"type": "object", "properties": {"x": {"type": "string"}}})
        );
        assert_eq!(old["properties"]["c"], json!({"x-kubernetes-preserve-unknown-fields": true}));
        let new = component(&source, Dialect::V3, reference);
        assert_eq!(new["properties"]["b"], source["properties"]["b"]);
        assert!(new["properties"]["metadata"]["allOf"].is_array());
        let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        assert_eq!(Value::Object(component(&free, Dialect::V2, reference)), json!({"type": "object"}));
    }
}
