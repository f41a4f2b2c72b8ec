//! Reads a schema from the JSON of a definition.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::{Additional, Checks, ListKind, Structural, Type};
use super::pattern::Pattern;

impl Structural {
    /// Reads a `JSONSchemaProps` that has passed its own schema. What [`super::definition`] refuses is passed over;
    /// a pattern that cannot be compiled matches nothing.
    pub fn read(schema: &Value) -> Self {
        let text = |field: &str| schema.get(field).and_then(Value::as_str);
        let flag = |field: &str| schema.get(field).and_then(Value::as_bool).unwrap_or_default();
        let additional = match schema.get("additionalProperties") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(false)) => Some(Additional::Forbidden),
            Some(below @ Value::Object(_)) => Some(Additional::Schema(Box::new(Self::read(below)))),
            Some(_) => Some(Additional::Allowed),
        };
        let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
        Self {
            ty: text("type").and_then(Type::parse),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            default: schema.get("default").filter(|value| !value.is_null()).cloned(),
            properties: map(schema, "properties"),
            additional,
            items: schema.get("items").filter(|items| items.is_object()).map(|i| Box::new(Self::read(i))),
            list: match text("x-kubernetes-list-type") {
                Some("set") => ListKind::Set,
                Some("map") => ListKind::Map,
                _ => ListKind::Atomic,
            },
            list_keys: texts(keys),
            is_atomic: text("x-kubernetes-map-type") == Some("atomic"),
            checks: checks(schema),
        }
    }
}

fn checks(schema: &Value) -> Checks {
    let text = |field: &str| schema.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let flag = |field: &str| schema.get(field).and_then(Value::as_bool).unwrap_or_default();
    let number = |field: &str| schema.get(field).and_then(Value::as_f64);
    // A limit below zero is one that every value exceeds, or none does.
    let count = |field: &str| {
        let value = schema.get(field)?;
        value.as_u64().or_else(|| value.as_i64().map(|_| 0))
    };
    let list = |field: &str| schema.get(field).and_then(Value::as_array);
    let schemas = |field: &str| list(field).into_iter().flatten().map(Structural::read).collect();
    Checks {
        format: text("format").map(str::to_owned),
        maximum: number("maximum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        minimum: number("minimum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        multiple_of: number("multipleOf"),
        max_length: count("maxLength"),
        min_length: count("minLength"),
        pattern: text("pattern").map(Pattern::new),
        max_items: count("maxItems"),
        min_items: count("minItems"),
        max_properties: count("maxProperties"),
        min_properties: count("minProperties"),
        required: texts(list("required")),
        enumeration: list("enum").cloned().unwrap_or_default(),
        all_of: schemas("allOf"),
        any_of: schemas("anyOf"),
        one_of: schemas("oneOf"),
        not: schema.get("not").filter(|not| not.is_object()).map(|not| Box::new(Structural::read(not))),
    }
}

fn texts(list: Option<&Vec<Value>>) -> Vec<String> {
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn map(schema: &Value, field: &str) -> BTreeMap<String, Structural> {
    let entries = schema.get(field).and_then(Value::as_object);
    entries.into_iter().flatten().map(|(key, below)| (key.clone(), Structural::read(below))).collect()
}
