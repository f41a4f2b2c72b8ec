//! Short ways to the metadata of an object that is a JSON tree.

use serde_json::{Map, Value};

/// The metadata; absent reads as empty.
pub(crate) fn metadata(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata").and_then(Value::as_object)
}

/// The metadata, made when absent. `None` only when the object is no JSON object at all.
pub(crate) fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let slot = object.as_object_mut()?.entry("metadata").or_insert_with(|| Map::new().into());
    if slot.is_null() {
        *slot = Map::new().into();
    }
    slot.as_object_mut()
}

/// A text of the metadata; absent reads as empty.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    metadata(object).and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// A field of a section such as `spec`. [`Value::pointer`] makes two texts of each step, which is much for what each write is asked.
pub(crate) fn below<'v>(object: &'v Value, section: &str, field: &str) -> Option<&'v Value> {
    object.get(section)?.get(field)
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, "name")
}

pub(crate) fn namespace(object: &Value) -> Option<&str> {
    Some(text(object, "namespace")).filter(|ns| !ns.is_empty())
}

/// Whether somebody asked for the object's removal.
pub(crate) fn is_terminating(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    metadata(object)
        .and_then(|m| m.get("finalizers"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

pub(crate) fn set_finalizers(object: &mut Value, finalizers: Vec<String>) {
    if let Some(metadata) = metadata_mut(object) {
        if finalizers.is_empty() {
            metadata.remove("finalizers");
        } else {
            metadata.insert("finalizers".into(), finalizers.into());
        }
    }
}

pub(crate) fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(metadata) = metadata_mut(object) {
        metadata.insert(field.to_owned(), value.into());
    }
}

pub(crate) fn remove(object: &mut Value, field: &str) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove(field);
    }
}

/// Gives `to` the same value of a metadata field as `from`, also when `from` has none.
pub(crate) fn keep(to: &mut Value, from: &Value, field: &str) {
    match metadata(from).and_then(|m| m.get(field)) {
        Some(value) => set(to, field, value.clone()),
        None => remove(to, field),
    }
}

pub(crate) fn number(object: &Value, field: &str) -> Option<i64> {
    metadata(object)?.get(field)?.as_i64()
}
