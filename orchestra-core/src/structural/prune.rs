//! Takes away what the schema does not name.

use std::fmt::Write as _;

use serde_json::Value;

use super::model::{Additional, Structural};

/// Fields of every object, which no schema has to name.
const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];
/// How many fields are told.
const MAX_TOLD: usize = 100;

/// Prunes a whole object and returns the paths of what went, in the order of their names.
pub fn prune(object: &mut Value, schema: &Structural) -> Vec<String> {
    let mut walk = Walk::default();
    walk.object(object, schema, true);
    walk.found.sort();
    walk.found
}

/// Prunes a value within an object, such as a default.
pub(super) fn prune_value(value: &mut Value, schema: &Structural) -> Vec<String> {
    let mut walk = Walk::default();
    walk.value(value, Some(schema));
    walk.found.sort();
    walk.found
}

#[derive(Default)]
struct Walk {
    path: String,
    found: Vec<String>,
}

impl Walk {
    fn within<T>(&mut self, write: impl FnOnce(&mut String), then: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        write(&mut self.path);
        let result = then(self);
        self.path.truncate(length);
        result
    }

    fn report(&mut self, key: &str) {
        // At the top, the fields of every object go in silence.
        if self.path.is_empty() && META_FIELDS.contains(&key) || self.found.len() >= MAX_TOLD {
            return;
        }
        let mut path = self.path.clone();
        push_key(&mut path, key);
        self.found.push(path);
    }

    fn value(&mut self, value: &mut Value, schema: Option<&Structural>) {
        match schema {
            Some(schema) => self.object(value, schema, schema.embedded),
            None => self.nothing(value),
        }
    }

    /// `keeps_meta`: whether this is an object of the API, at the root or embedded.
    fn object(&mut self, value: &mut Value, schema: &Structural, keeps_meta: bool) {
        match value {
            Value::Object(map) => {
                map.retain(|key, value| {
                    if keeps_meta && META_FIELDS.contains(&key.as_str()) {
                        return true;
                    }
                    let below = match (schema.properties.get(key), &schema.additional) {
                        (Some(below), _) => Some(below),
                        (None, Some(additional)) => additional.schema(),
                        (None, None) if schema.preserve_unknown => return true,
                        (None, None) => {
                            self.report(key);
                            return false;
                        }
                    };
                    self.within(|path| push_key(path, key), |walk| walk.value(value, below));
                    true
                });
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.within(
                        |path| push_index(path, index),
                        |walk| match schema.items.as_deref() {
                            None if schema.preserve_unknown => {}
                            below => walk.value(item, below),
                        },
                    );
                }
            }
            _ => {}
        }
    }

    /// Where no schema says anything, objects become empty.
    fn nothing(&mut self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                for key in map.keys() {
                    self.report(key);
                }
                map.clear();
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.within(|path| push_index(path, index), |walk| walk.nothing(item));
                }
            }
            _ => {}
        }
    }
}

fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

fn push_index(path: &mut String, index: usize) {
    // Writing to a string cannot fail.
    let _ = write!(path, "[{index}]");
}

/// Whether `additionalProperties` lets any key stand.
impl Additional {
    /// Whether a key that is no field may be there.
    pub fn allows(&self) -> bool {
        !matches!(self, Self::Forbidden)
    }
}
