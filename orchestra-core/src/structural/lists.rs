//! Lists that are sets or maps hold nothing twice.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::model::{ListKind, Structural};
use crate::violation::{FieldPath, Violation, Violations};

/// What occurs a second time in lists of type `set` and `map`, as `listtype.ValidateListSetsAndMaps`.
pub fn validate_lists(object: &Value, schema: &Structural) -> Violations {
    let mut out = Violations::new();
    value(object, schema, &FieldPath::root(), &mut out);
    out
}

fn value(at: &Value, schema: &Structural, path: &FieldPath, out: &mut Violations) {
    match at {
        Value::Object(map) => {
            for (key, below) in map {
                match schema.properties.get(key) {
                    Some(schema) => value(below, schema, &path.child(key), out),
                    None => {
                        if let Some(schema) = schema.property(key) {
                            value(below, schema, &path.key(key), out);
                        }
                    }
                }
            }
        }
        Value::Array(items) => {
            match schema.list {
                ListKind::Atomic => {}
                ListKind::Set => {
                    let names = items.iter().map(Value::to_string);
                    for at in second_ones(names) {
                        if let Some(item) = items.get(at) {
                            out.push(Violation::duplicate(&path.index(at), item.clone()));
                        }
                    }
                }
                ListKind::Map => by_keys(items, schema, path, out),
            }
            if let Some(below) = schema.items.as_deref() {
                for (index, item) in items.iter().enumerate() {
                    value(item, below, &path.index(index), out);
                }
            }
        }
        _ => {}
    }
}

fn by_keys(items: &[Value], schema: &Structural, path: &FieldPath, out: &mut Violations) {
    if let Some(at) = items.iter().position(|item| !item.is_null() && !item.is_object()) {
        if let Some(item) = items.get(at) {
            let why = "must be an object for an array of list-type map";
            out.push(Violation::invalid(&path.index(at), item.clone(), why));
        }
        return;
    }
    let keys: Vec<Value> = items.iter().map(|item| keys_of(item, schema)).collect();
    for at in second_ones(keys.iter().map(Value::to_string)) {
        if let Some(keys) = keys.get(at) {
            out.push(Violation::duplicate(&path.index(at), keys.clone()));
        }
    }
}

/// What tells an item of a list of type `map` from the others.
pub(super) fn keys_of(item: &Value, schema: &Structural) -> Value {
    let keys = schema.list_keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
    Value::Object(keys.collect::<Map<_, _>>())
}

/// Where a name occurs the second time; a third is not told.
fn second_ones(names: impl Iterator<Item = String>) -> Vec<usize> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut found = Vec::new();
    for (at, name) in names.enumerate() {
        let times = seen.entry(name).or_default();
        *times += 1;
        if *times == 2 {
            found.push(at);
        }
    }
    found
}
