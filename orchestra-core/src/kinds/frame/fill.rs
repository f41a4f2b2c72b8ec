//! Defaulting on JSON trees: reach a field, make it where it is missing, set it where it is unset.
//!
//! Go cannot tell an absent field from a `null`, nor (for plain strings) from an empty one; defaults therefore treat
//! them alike, as upstream's defaulting functions do after decoding.

use serde_json::{Map, Value};

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// How defaults are written into an object.
pub(crate) trait Fill {
    /// The object under `field`, made when missing.
    fn object(&mut self, field: &str) -> &mut Object;

    /// The object under `field`, if there is one.
    fn object_if(&mut self, field: &str) -> Option<&mut Object>;

    /// The objects in the list under `field`; none when it is missing.
    fn objects(&mut self, field: &str) -> impl Iterator<Item = &mut Object>;

    /// Sets `field` unless it has a value.
    fn fill(&mut self, field: &str, value: impl Into<Value>);

    /// Sets `field` unless it has a text that is not empty.
    fn fill_text(&mut self, field: &str, value: &str);

    /// The text under `field`; empty when there is none.
    fn text(&self, field: &str) -> &str;

    /// Whether `field` has a value other than `null`.
    fn has(&self, field: &str) -> bool;
}

impl Fill for Object {
    fn object(&mut self, field: &str) -> &mut Object {
        let slot = self.entry(field).or_insert(Value::Null);
        if !slot.is_object() {
            *slot = Value::Object(Object::new());
        }
        match slot {
            Value::Object(object) => object,
            _ => unreachable!("the slot was just made an object"),
        }
    }

    fn object_if(&mut self, field: &str) -> Option<&mut Object> {
        self.get_mut(field).and_then(Value::as_object_mut)
    }

    fn objects(&mut self, field: &str) -> impl Iterator<Item = &mut Object> {
        self.get_mut(field)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
    }

    fn fill(&mut self, field: &str, value: impl Into<Value>) {
        if !self.has(field) {
            self.insert(field.to_owned(), value.into());
        }
    }

    fn fill_text(&mut self, field: &str, value: &str) {
        if self.text(field).is_empty() {
            self.insert(field.to_owned(), value.into());
        }
    }

    fn text(&self, field: &str) -> &str {
        self.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    fn has(&self, field: &str) -> bool {
        self.get(field).is_some_and(|value| !value.is_null())
    }
}
