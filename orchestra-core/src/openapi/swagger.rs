//! The document of OpenAPI 2.0: custom kinds alone, for clients that look for them there.

use serde_json::{Map, Value, json};

use super::operation::{GVK, gvk};
use super::resource::ResourcePaths;
use super::schemas::{self, Schemas};
use crate::structural::publish::{self, Dialect};

/// What `/openapi/v2` answers: the definitions of custom kinds, and of what they refer to. `version` is that of the server.
///
/// Built-in kinds are described in 3.0 only, which every client that can read it asks for first.
pub fn v2_document(resources: &[ResourcePaths], version: &str) -> Value {
    let mut definitions = Map::new();
    let own = resources.iter().filter(|resource| resource.schema.is_some() && resource.subresource.is_none());
    for resource in own {
        let source = resource.schema.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let mut schema = publish::component(&source.unwrap_or_default(), Dialect::V2, reference);
        schema.insert(GVK.to_owned(), json!([gvk(&resource.gv, &resource.kind)]));
        definitions.insert(schemas::component_name(resource), schema.into());
    }
    if !definitions.is_empty() {
        // Every custom object has metadata, which leads to a few types of its own.
        let shared =
            Schemas::metadata().into_map().into_iter().map(|(name, schema)| (name, rewritten(schema)));
        definitions.extend(shared);
    }
    json!({
        "swagger": "2.0", "info": {"title": "Kubernetes", "version": version}, "paths": {},
        "definitions": definitions,
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/definitions/{name}")})
}

/// A schema of 3.0 as one of 2.0: references lead elsewhere, and there are no alternatives.
fn rewritten(schema: Value) -> Value {
    match schema {
        Value::Object(map) => {
            let fields =
                map.into_iter().filter(|(key, _)| !matches!(key.as_str(), "oneOf" | "anyOf" | "not"));
            Value::Object(
                fields
                    .map(|(key, value)| match value {
                        Value::String(text) if key == "$ref" => {
                            let name = text.rsplit('/').next().unwrap_or_default();
                            (key, format!("#/definitions/{name}").into())
                        }
                        other => (key, rewritten(other)),
                    })
                    .collect(),
            )
        }
        Value::Array(items) => items.into_iter().map(rewritten).collect(),
        plain => plain,
    }
}
