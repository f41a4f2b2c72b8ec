//! The names of places within an object: fields, and items of lists by their keys or values.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::node::Items;

pub(super) fn field(name: &str) -> String {
    // Each field that anybody manages has such a name, and putting slices together takes twice as long.
    let mut field = String::with_capacity("f:".len() + name.len());
    field.push_str("f:");
    field.push_str(name);
    field
}

/// The name of an item of a list of type `set`.
pub(super) fn of_set(item: &Value) -> String {
    format!("v:{item}")
}

/// The name of an item of a list of type `map`, or what is wrong with it. A key left out counts as its default.
pub(super) fn of_keyed(item: &Value, list: Items<'_>) -> Result<String, String> {
    let Value::Object(item) = item else {
        let what = if item.is_null() { "a null element" } else { "non-map elements" };
        return Err(format!("associative list with keys may not have {what}"));
    };
    let mut keys = list.keys();
    // In the order of names, whatever order the schema has.
    keys.sort_unstable();
    let mut name = String::from("k:{");
    for (at, key) in keys.into_iter().enumerate() {
        let value = match item.get(key) {
            Some(value) => Cow::Borrowed(value),
            None => Cow::Owned(list.default_of(key).ok_or_else(|| {
                format!(
                    "associative list with keys has an element that omits key field {key:?} (and doesn't have \
                     default value)"
                )
            })?),
        };
        let comma = if at == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(name, "{comma}{}:{value}", Value::from(key));
    }
    name.push('}');
    Ok(name)
}

/// Appends the name to a path, as upstream prints it.
pub(super) fn print(name: &str, path: &mut String) {
    let Some((kind, rest)) = name.split_at_checked(2) else { return };
    let written = match kind {
        "f:" => write!(path, ".{rest}"),
        "v:" => write!(path, "[={rest}]"),
        "i:" => write!(path, "[{rest}]"),
        _ => {
            let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            write!(path, "[{}]", keys.join(","))
        }
    };
    // Writing to a string cannot fail.
    let _ = written;
}

/// The name in the one form this server writes, for names that come from clients.
pub(super) fn canonical(name: &str) -> Option<String> {
    let (kind, rest) = name.split_at_checked(2)?;
    match kind {
        "f:" => Some(name.to_owned()),
        "i:" => rest.parse::<i64>().ok().map(|_| name.to_owned()),
        "v:" => serde_json::from_str::<Value>(rest).ok().map(|value| format!("v:{value}")),
        "k:" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
            let mut sorted: Vec<(&String, &Value)> = keys.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            let keys: Vec<String> =
                sorted.iter().map(|(key, value)| format!("{}:{value}", Value::from(key.as_str()))).collect();
            Some(format!("k:{{{}}}", keys.join(",")))
        }
        _ => None,
    }
}
