//! Fills in what an object leaves out.

use serde_json::Value;

use super::model::{Additional, Structural};

/// Gives every absent field its default, in what is there and in what is filled in. A `null` where none may be counts as
/// absent when there is a default; [`drop_nulls`] takes the others away. Idempotent.
pub fn default(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(map) => {
            for (key, below) in &schema.properties {
                let Some(default) = &below.default else { continue };
                let absent = map.get(key).is_none_or(|value| value.is_null() && !below.nullable);
                if absent {
                    map.insert(key.clone(), default.clone());
                }
            }
            for (key, value) in map.iter_mut() {
                match (schema.properties.get(key), &schema.additional) {
                    (Some(below), _) => default(value, below),
                    (None, Some(Additional::Schema(below))) => {
                        replace_null(value, below);
                        self::default(value, below);
                    }
                    _ => {}
                }
            }
        }
        Value::Array(items) => {
            let Some(below) = schema.items.as_deref() else { return };
            for item in items {
                replace_null(item, below);
                default(item, below);
            }
        }
        _ => {}
    }
}

fn replace_null(value: &mut Value, schema: &Structural) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
}

/// Takes away fields that are `null` where `null` is no value and no default waits, as upstream does before it defaults.
pub fn drop_nulls(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(map) => map.retain(|key, value| {
            let Some(below) = schema.property(key) else { return true };
            if value.is_null() {
                return below.nullable || below.default.is_some();
            }
            drop_nulls(value, below);
            true
        }),
        Value::Array(items) => {
            if let Some(below) = schema.items.as_deref() {
                items.iter_mut().for_each(|item| drop_nulls(item, below));
            }
        }
        _ => {}
    }
}
