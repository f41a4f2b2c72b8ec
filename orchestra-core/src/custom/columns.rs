//! The columns of a custom kind's table.

use serde_json::Value;

use crate::jsonpath::{JsonPath, Missing};
use crate::kind::Column;
use crate::kinds::frame::cells;

/// A column of the definition, and where its cell is read.
#[derive(Debug)]
pub(super) struct CustomColumn {
    pub(super) column: Column,
    /// `None` for a path that cannot be read: its cells are empty.
    path: Option<JsonPath>,
}

/// The name, and what the definition adds: the age, if it says nothing.
pub(super) fn columns(version: &Value) -> Vec<CustomColumn> {
    let own = cells::list(version, "/additionalPrinterColumns");
    if own.is_empty() {
        let age = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not \
                   guaranteed to be set in happens-before order across separate operations. Clients may not set this \
                   value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null \
                   for lists. More info: \
                   https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
        let column =
            Column { name: "Age".into(), type_: "date", format: "", description: age.into(), priority: 0 };
        let path = JsonPath::parse("{.metadata.creationTimestamp}").ok();
        return vec![CustomColumn { column, path }];
    }
    own.iter().map(column).collect()
}

/// The first column of every custom kind.
pub(super) fn name() -> Column {
    let description = "Name must be unique within a namespace. Is required when creating resources, although some \
                       resources may allow a client to request the generation of an appropriate name automatically. Name \
                       is primarily intended for creation idempotence and configuration definition. Cannot be updated. \
                       More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
    Column {
        name: "Name".into(),
        type_: "string",
        format: "name",
        description: description.into(),
        priority: 0,
    }
}

fn column(column: &Value) -> CustomColumn {
    let text = |field: &str| column.get(field).and_then(Value::as_str).unwrap_or_default();
    let place = text("jsonPath");
    let description = match text("description") {
        "" => format!("Custom resource definition column (in JSONPath format): {place}"),
        own => own.to_owned(),
    };
    let priority = column.get("priority").and_then(Value::as_i64).unwrap_or_default();
    CustomColumn {
        column: Column {
            name: text("name").to_owned().into(),
            type_: known(text("type"), &["integer", "number", "boolean", "date"], "string"),
            format: known(
                text("format"),
                &["int32", "int64", "float", "double", "byte", "date", "date-time", "password"],
                "",
            ),
            description: description.into(),
            priority: i32::try_from(priority).unwrap_or_default(),
        },
        path: JsonPath::parse(&format!("{{{place}}}")).ok(),
    }
}

fn known(word: &str, words: &[&'static str], otherwise: &'static str) -> &'static str {
    words.iter().find(|known| **known == word).copied().unwrap_or(otherwise)
}

impl CustomColumn {
    pub(super) fn cell(&self, object: &Value, now: i64) -> Value {
        let Some(path) = &self.path else { return Value::Null };
        let Ok(found) = path.find(object, Missing::Skipped) else { return Value::Null };
        let Some(value) = found.first().filter(|value| !value.is_null()) else { return Value::Null };
        match self.column.type_ {
            "integer" => match value.as_i64() {
                Some(number) => number.into(),
                #[allow(clippy::cast_possible_truncation, reason = "Go truncates as well")]
                None => value.as_f64().map_or(Value::Null, |number| (number as i64).into()),
            },
            "number" => value.as_f64().map_or(Value::Null, Value::from),
            "boolean" => value.as_bool().map_or(Value::Null, Value::from),
            "date" => value.as_str().map_or(Value::Null, |time| {
                let ago = cells::seconds_since(time, now).map(cells::human);
                ago.unwrap_or_else(|| "<invalid>".to_owned()).into()
            }),
            _ => match value {
                Value::String(text) => text.as_str().into(),
                other => other.to_string().into(),
            },
        }
    }
}
