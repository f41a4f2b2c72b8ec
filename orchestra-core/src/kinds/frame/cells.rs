//! Table columns, each beside the function that fills its cell, and the cells that many kinds share.

use jiff::Timestamp;
use serde_json::Value;

pub(crate) use crate::duration::human;
use crate::kind::Column;

/// A column and how its cell is read from an object. The number is the time now, in Unix seconds.
#[derive(Clone)]
pub(crate) struct Show {
    pub(crate) column: Column,
    pub(crate) cell: fn(&Value, i64) -> Value,
}

impl Show {
    /// Shown only with `-o wide`.
    pub(crate) fn wide(mut self) -> Self {
        self.column.priority = 1;
        self
    }
}

/// A column that `kubectl get` always shows.
pub(crate) fn column(
    name: &'static str,
    type_: &'static str,
    description: &'static str,
    cell: fn(&Value, i64) -> Value,
) -> Show {
    let column =
        Column { name: name.into(), type_, format: "", description: description.into(), priority: 0 };
    Show { column, cell }
}

/// `Name`, the first column of nearly every kind.
pub(crate) fn name() -> Show {
    let mut show = column("Name", "string", "Name, unique within its namespace.", |object, _| {
        text(object, "/metadata/name").into()
    });
    show.column.format = "name";
    show
}

/// `Age`, how long ago the object was created.
pub(crate) fn age() -> Show {
    column("Age", "string", "Time since the object was created.", |object, now| {
        since(text(object, "/metadata/creationTimestamp"), now).into()
    })
}

/// The text at a JSON pointer, empty when there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a JSON pointer, 0 when there is none.
pub(crate) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// The list at a JSON pointer, empty when there is none.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The text, or `fallback` when it is empty.
pub(crate) fn or(text: &str, fallback: &str) -> String {
    if text.is_empty() { fallback.to_owned() } else { text.to_owned() }
}

/// The text, or `<none>`.
pub(crate) fn or_none(text: &str) -> String {
    or(text, "<none>")
}

/// Seconds from an RFC 3339 time to now.
pub(crate) fn seconds_since(time: &str, now: i64) -> Option<i64> {
    time.parse::<Timestamp>().ok().map(|time| now - time.as_second())
}

/// How long ago a time was, as `kubectl` words it; `<unknown>` for none.
pub(crate) fn since(time: &str, now: i64) -> String {
    seconds_since(time, now).map_or_else(|| "<unknown>".to_owned(), human)
}
