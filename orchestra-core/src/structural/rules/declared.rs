//! What a schema says of values, as expressions are checked by it: `SchemaDeclType` of `k8s.io/apiserver/pkg/cel/common`.

use std::collections::BTreeMap;

use orchestra_cel::{Declared, Object, Others, Type, escape};

use crate::structural::{Additional, Structural, Type as JsonType};

/// The largest request there is, which bounds what no schema bounds.
pub(crate) const MAX_REQUEST: u64 = 3 * 1024 * 1024;
/// What a date or a length of time takes at most, in JSON.
const MAX_TIME: u64 = 32;
const DATE: u64 = 12;
const MIN_DATE_TIME: u64 = 21;
const MIN_DURATION: u64 = 3;
/// `""`
const MIN_TEXT: u64 = 2;

/// What is declared of values of a schema. `None` for what expressions do not see: what has no type.
pub(crate) fn declared(schema: &Structural, is_root: bool, name: &str) -> Option<Declared> {
    if schema.int_or_string {
        let size = schema.checks.max_length.map_or(MAX_REQUEST - 2, |length| length.saturating_mul(4));
        return Some(Declared::simple(Type::Dyn, size, 1));
    }
    match schema.ty? {
        JsonType::Array => {
            let items = schema.items.as_deref()?;
            let item = declared(items, items.embedded, &format!("{name}.@idx"))?;
            let most = schema.checks.max_items.unwrap_or((MAX_REQUEST - 2) / (item.min_json + 1));
            Some(Declared::list(item, most))
        }
        JsonType::Object => match schema.additional.as_ref().and_then(Additional::schema) {
            Some(values) => {
                let value = declared(values, values.embedded, &format!("{name}.@elem"))?;
                let most = schema.checks.max_properties.unwrap_or((MAX_REQUEST - 2) / (value.min_json + 6));
                Some(Declared::map(value, most))
            }
            None => Some(object(schema, is_root, name)),
        },
        JsonType::String => Some(text(schema)),
        JsonType::Boolean => Some(Declared::simple(Type::Bool, 1, 4)),
        JsonType::Number => Some(Declared::simple(Type::Double, 1, 1)),
        JsonType::Integer => Some(Declared::simple(Type::Int, 1, 1)),
    }
}

fn object(schema: &Structural, is_root: bool, name: &str) -> Declared {
    let mut fields = BTreeMap::new();
    let mut min_json = 2;
    for (key, property) in &schema.properties {
        let Some(field) = declared(property, property.embedded, &format!("{name}.{key}")) else { continue };
        if schema.checks.required.contains(key) && property.default.is_none() {
            min_json += key.len() as u64 + field.min_json + 4;
        }
        if let Some(escaped) = escape(key) {
            fields.insert(escaped, field);
        }
    }
    if is_root {
        // These every object has, whatever the schema says of them.
        let text = || Declared::simple(Type::String, MAX_REQUEST - 2, MIN_TEXT);
        let names = ["name", "generateName"].map(|field| (field.to_owned(), text()));
        let metadata =
            Object { name: format!("{name}.metadata"), fields: names.into(), others: Others::Refused };
        fields.insert("apiVersion".to_owned(), text());
        fields.insert("kind".to_owned(), text());
        fields.insert("metadata".to_owned(), Declared::object(metadata, 2));
    }
    Declared::object(Object { name: name.to_owned(), fields, others: Others::Refused }, min_json)
}

fn text(schema: &Structural) -> Declared {
    let longest = || schema.checks.max_length.unwrap_or(MAX_REQUEST - 2);
    match schema.checks.format.as_deref() {
        Some("byte") => Declared::simple(Type::Bytes, longest(), MIN_TEXT),
        Some("duration") => Declared::simple(Type::Duration, MAX_TIME, MIN_DURATION),
        Some("date") => Declared::simple(Type::Timestamp, DATE, DATE),
        Some("date-time") => Declared::simple(Type::Timestamp, MAX_TIME, MIN_DATE_TIME),
        _ => {
            let words = schema.checks.enumeration.iter().filter_map(serde_json::Value::as_str);
            let size = match schema.checks.max_length {
                Some(length) => length.saturating_mul(4),
                None => words.map(|word| word.len() as u64).max().unwrap_or(MAX_REQUEST - 2),
            };
            Declared::simple(Type::String, size, MIN_TEXT)
        }
    }
}
