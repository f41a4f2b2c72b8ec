//! Table columns, each beside the function that fills its cell, and the cells that many kinds share.

use jiff::Timestamp;
use serde_json::Value;

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

/// The span of some seconds, as `kubectl` words it: `45s`, `3m12s`, `5d3h`.
pub(crate) fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let with_rest = |big: i64, unit: &str, rest: i64, small: &str| {
        if rest == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{rest}{small}") }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => with_rest(s / MINUTE, "m", s % MINUTE, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => with_rest(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => with_rest(s / DAY, "d", s % DAY / HOUR, "h"),
        s if s < 2 * 365 * DAY => format!("{}d", s / DAY),
        s if s < 8 * 365 * DAY => with_rest(s / DAY / 365, "y", s / DAY % 365, "d"),
        s => format!("{}y", s / DAY / 365),
    }
}
