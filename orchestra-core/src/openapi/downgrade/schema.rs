//! Schemas of 3.0 as schemas of 2.0.

use serde_json::{Map, Value};

use super::{items, members};

/// The schema in the older form. What it says beside a reference stands beside it again: in 2.0 as upstream reads it,
/// that counts.
pub(super) fn schema(value: Value) -> Value {
    // A schema may be a truth value where it is about more properties.
    let Value::Object(source) = value else { return value };
    let mut out = Map::new();
    for (key, value) in source {
        let value = match key.as_str() {
            "default" | "not" | "nullable" => continue,
            "allOf" => {
                all_of(items(Some(value)), &mut out);
                continue;
            }
            "oneOf" | "anyOf" => {
                let is_text = |choice: &Value| choice.get("type").is_some_and(|ty| ty == "string");
                if items(Some(value)).iter().any(is_text) {
                    out.insert("type".to_owned(), "string".into());
                }
                continue;
            }
            "$ref" => reference(value),
            "properties" => members(value).into_iter().map(|(name, value)| (name, schema(value))).collect(),
            "items" | "additionalProperties" => schema(value),
            _ => value,
        };
        out.insert(key, value);
    }
    out.into()
}

/// One schema says what it says right here; several stay a list.
fn all_of(parts: Vec<Value>, out: &mut Map<String, Value>) {
    let mut parts: Vec<Value> = parts.into_iter().map(schema).collect();
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => {
            for (key, value) in members(only) {
                out.entry(key).or_insert(value);
            }
        }
        (Some(last), false) => {
            parts.push(last);
            out.insert("allOf".to_owned(), parts.into());
        }
        (None, _) => {}
    }
}

fn reference(target: Value) -> Value {
    let name = target.as_str().and_then(|text| text.strip_prefix("#/components/schemas/"));
    name.map_or(target.clone(), |name| format!("#/definitions/{name}").into())
}
