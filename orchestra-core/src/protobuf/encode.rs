//! A JSON tree to a message.

use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::wire::{put_bytes, put_double, put_number};
use crate::schema::{self, Field, Item, ObjectType, Scalar, Shape};

/// Writes a tree of type `ty`, lean or complete, as a message, fields in the order of their numbers.
///
/// Nulls and values that do not fit their field are not written: a tree that has been through [`crate::schema`] has none.
pub fn encode(value: &Value, ty: &'static ObjectType) -> Vec<u8> {
    let mut out = Vec::new();
    if let Value::Object(map) = value {
        message(map, ty, &[], &mut out);
    }
    out
}

fn message(map: &Map<String, Value>, ty: &'static ObjectType, prefix: &[u16], out: &mut Vec<u8>) {
    let mut parts: Vec<(u16, &Field, bool)> = ty
        .fields
        .iter()
        .filter_map(|field| {
            let rest = field.number.as_ref()?.path().strip_prefix(prefix)?;
            let (first, deeper) = rest.split_first()?;
            let present = map.get(field.name).is_some_and(|value| !value.is_null());
            present.then_some((*first, field, deeper.is_empty()))
        })
        .collect();
    parts.sort_by_key(|(number, ..)| *number);
    parts.dedup_by_key(|(number, ..)| *number);
    for (number, field, is_leaf) in parts {
        if is_leaf {
            if let Some(value) = map.get(field.name) {
                add(number, field, value, out);
            }
        } else {
            let mut inner = Vec::new();
            message(map, ty, &[prefix, &[number]].concat(), &mut inner);
            put_bytes(out, number, &inner);
        }
    }
}

fn add(number: u16, field: &'static Field, value: &Value, out: &mut Vec<u8>) {
    match (field.shape, value) {
        (Shape::Single, value) => item(number, field, value, out),
        (Shape::List, Value::Array(items)) => items.iter().for_each(|value| item(number, field, value, out)),
        (Shape::Map, Value::Object(map)) => {
            for (key, value) in map {
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                item(2, field, value, &mut entry);
                put_bytes(out, number, &entry);
            }
        }
        (Shape::MapOfLists, Value::Object(map)) => {
            for (key, value) in map {
                let mut list = Vec::new();
                value.as_array().into_iter().flatten().for_each(|value| item(1, field, value, &mut list));
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                put_bytes(&mut entry, 2, &list);
                put_bytes(out, number, &entry);
            }
        }
        _ => {}
    }
}

fn item(number: u16, field: &'static Field, value: &Value, out: &mut Vec<u8>) {
    match (field.item, value) {
        (Item::Object(_), value) => {
            if let Some(ty) = field.object() {
                put_bytes(out, number, &encode(value, ty));
            }
        }
        (Item::Scalar(scalar), value) => self::scalar(number, scalar, value, out),
    }
}

fn scalar(number: u16, scalar: Scalar, value: &Value, out: &mut Vec<u8>) {
    match (scalar, value) {
        (Scalar::String, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
        (Scalar::Bool, Value::Bool(value)) => put_number(out, number, u64::from(*value)),
        (Scalar::Int32 | Scalar::Int64, Value::Number(value)) => {
            if let Some(value) = value.as_i64() {
                put_number(out, number, value as u64);
            }
        }
        (Scalar::Float64, Value::Number(value)) => {
            if let Some(value) = value.as_f64() {
                put_double(out, number, value);
            }
        }
        (Scalar::Bytes, Value::String(text)) => {
            if let Ok(bytes) = schema::BASE64.decode(text) {
                put_bytes(out, number, &bytes);
            }
        }
        (Scalar::Quantity, Value::String(text)) => {
            put_message(out, number, |out| put_bytes(out, 1, text.as_bytes()))
        }
        (Scalar::IntOrString, value) => put_message(out, number, |out| int_or_string(value, out)),
        (Scalar::Time | Scalar::MicroTime, Value::String(text)) => {
            if let Ok(time) = text.parse::<Timestamp>() {
                put_message(out, number, |out| put_time(time, out));
            }
        }
        (Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json, value) => {
            put_message(out, number, |out| put_bytes(out, 1, value.to_string().as_bytes()));
        }
        (Scalar::SchemaOrBool, value) => put_message(out, number, |out| schema_or_bool(value, out)),
        (Scalar::SchemaOrArray | Scalar::SchemaOrStringArray, value) => {
            put_message(out, number, |out| schema_or_list(value, out));
        }
        _ => {}
    }
}

fn put_message(out: &mut Vec<u8>, number: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    put_bytes(out, number, &inner);
}

fn int_or_string(value: &Value, out: &mut Vec<u8>) {
    let (is_text, number, text) = match value {
        Value::String(text) => (1, 0, text.as_str()),
        other => (0, other.as_i64().unwrap_or(0), ""),
    };
    put_number(out, 1, is_text);
    put_number(out, 2, number as u64);
    put_bytes(out, 3, text.as_bytes());
}

fn put_time(time: Timestamp, out: &mut Vec<u8>) {
    // Nanoseconds count from the second at or before the instant.
    let nanos = i64::from(time.subsec_nanosecond());
    let (seconds, nanos) =
        if nanos < 0 { (time.as_second() - 1, nanos + 1_000_000_000) } else { (time.as_second(), nanos) };
    put_number(out, 1, seconds as u64);
    put_number(out, 2, nanos as u64);
}

fn schema_props(value: &Value) -> Vec<u8> {
    schema::json_schema_props().map_or_else(Vec::new, |ty| encode(value, ty))
}

fn schema_or_bool(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bool(allows) => put_number(out, 1, u64::from(*allows)),
        schema => {
            put_number(out, 1, 1);
            put_bytes(out, 2, &schema_props(schema));
        }
    }
}

fn schema_or_list(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::String(text) => put_bytes(out, 2, text.as_bytes()),
                    schema => put_bytes(out, 2, &schema_props(schema)),
                }
            }
        }
        schema => put_bytes(out, 1, &schema_props(schema)),
    }
}
