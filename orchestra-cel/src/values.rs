//! JSON as values, by what is declared of it, and back.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, TimeDelta};
use kube_cel::cel::Value;
use kube_cel::cel::objects::{Key, Map};
use serde_json::Value as Json;

use crate::declared::{Declared, Type};
use crate::eval::optional_of;
use crate::message::Message;

/// Words of the language, which nothing can be called.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether the language keeps a word for itself.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// Whether an expression can use a name as it is.
pub fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !is_reserved(text)
}

/// How an expression names a field: words of the language and signs that names may not have are written out. `None` for a field that
/// no expression can name.
pub fn escape(field: &str) -> Option<String> {
    if is_reserved(field) {
        return Some(format!("__{field}__"));
    }
    let mut chars = field.chars();
    let first = chars.next()?;
    if !(first.is_ascii_alphabetic() || first == '_')
        || !chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/'))
    {
        return None;
    }
    let out =
        field.replace("__", "\0").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__");
    Some(out.replace('\0', "__underscores__"))
}

/// A value as JSON says it, with nothing declared: keys stay as they are.
pub fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(from_json).collect())),
        Json::Object(map) => entries(map.iter().map(|(key, value)| (key.clone(), from_json(value)))),
    }
}

fn entries(entries: impl Iterator<Item = (String, Value)>) -> Value {
    let map: HashMap<Key, Value> = entries.map(|(key, value)| (Key::String(Arc::new(key)), value)).collect();
    Value::Map(Map { map: Arc::new(map) })
}

/// A value of what is declared: objects have the declared fields and no others, dates are dates.
pub fn from_declared(json: &Json, declared: &Declared) -> Value {
    match (&declared.ty, json) {
        (Type::Object(object), Json::Object(map)) => entries(map.iter().filter_map(|(key, value)| {
            let name = escape(key)?;
            let field = object.fields.get(&name)?;
            Some((name, from_declared(value, field)))
        })),
        (Type::Map(_), Json::Object(map)) => match &declared.item {
            Some(item) => entries(map.iter().map(|(key, value)| (key.clone(), from_declared(value, item)))),
            None => from_json(json),
        },
        (Type::List(_), Json::Array(items)) => match &declared.item {
            Some(item) => {
                Value::List(Arc::new(items.iter().map(|value| from_declared(value, item)).collect()))
            }
            None => from_json(json),
        },
        (Type::Double, Json::Number(number)) => Value::Float(number.as_f64().unwrap_or_default()),
        (Type::Int, Json::Number(number)) => {
            // A whole number may be written with a point.
            let whole = number.as_i64().or_else(|| {
                number
                    .as_f64()
                    .filter(|float| float.fract() == 0.0 && float.abs() < 9.2e18)
                    .map(|float| float as i64)
            });
            whole.map_or_else(|| from_json(json), Value::Int)
        }
        (Type::Bytes, Json::String(text)) => {
            STANDARD.decode(text).map_or_else(|_| from_json(json), |bytes| Value::Bytes(Arc::new(bytes)))
        }
        (Type::Timestamp, Json::String(text)) => timestamp(text).unwrap_or_else(|| from_json(json)),
        (Type::Duration, Json::String(text)) => {
            duration(text).map_or_else(|| from_json(json), Value::Duration)
        }
        _ => from_json(json),
    }
}

fn timestamp(text: &str) -> Option<Value> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(Value::Timestamp(time));
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(Value::Timestamp(date.and_hms_opt(0, 0, 0)?.and_utc().fixed_offset()))
}

/// A length of time as Go writes it: `1h30m`, `-1.5s`.
fn duration(text: &str) -> Option<TimeDelta> {
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(TimeDelta::zero());
    }
    let mut nanos: f64 = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let (unit, length) =
            [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)]
                .into_iter()
                .find(|(unit, _)| rest.starts_with(unit))?;
        nanos += number * length;
        rest = rest.get(unit.len()..)?;
    }
    if nanos >= 9.2e18 {
        return None;
    }
    Some(TimeDelta::nanoseconds(if negative { -(nanos as i64) } else { nanos as i64 }))
}

/// Why a value cannot be JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotJson {
    /// JSON has no form for it.
    NoForm,
    /// It is larger than was allowed: a small value can hold another one many times.
    TooLarge,
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoForm => "the value has no form in JSON",
            Self::TooLarge => "the value is too large",
        })
    }
}

/// A value as JSON of about `limit` bytes at most.
///
/// # Errors
/// JSON has no form for it, or one that is too large.
pub fn to_json(value: &Value, limit: usize) -> Result<Json, NotJson> {
    Writer { left: limit }.write(value)
}

/// What a number takes at most, about.
const NUMBER: usize = 20;

struct Writer {
    left: usize,
}

impl Writer {
    fn take(&mut self, bytes: usize) -> Result<(), NotJson> {
        self.left = self.left.checked_sub(bytes.saturating_add(1)).ok_or(NotJson::TooLarge)?;
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<Json, NotJson> {
        self.take(text.len())?;
        Ok(Json::from(text))
    }

    fn write(&mut self, value: &Value) -> Result<Json, NotJson> {
        let is_number = matches!(value, Value::Int(_) | Value::UInt(_) | Value::Float(_));
        self.take(if is_number { NUMBER } else { 1 })?;
        Ok(match value {
            Value::Null => Json::Null,
            Value::Bool(flag) => Json::from(*flag),
            Value::Int(number) => Json::from(*number),
            Value::UInt(number) => Json::from(*number),
            Value::Float(number) => {
                Json::Number(serde_json::Number::from_f64(*number).ok_or(NotJson::NoForm)?)
            }
            Value::String(text) => self.text(text)?,
            Value::Bytes(bytes) => {
                self.take(bytes.len())?;
                Json::from(STANDARD.encode(bytes.as_ref()))
            }
            Value::List(items) => {
                Json::Array(items.iter().map(|item| self.write(item)).collect::<Result<_, _>>()?)
            }
            Value::Map(map) => {
                let mut out = serde_json::Map::new();
                for (key, value) in map.map.iter() {
                    let key = key.to_string();
                    self.take(key.len())?;
                    out.insert(key, self.write(value)?);
                }
                Json::Object(out)
            }
            Value::Opaque(_) => match (Message::of(value), optional_of(value)) {
                (Some(message), _) => {
                    let mut out = serde_json::Map::new();
                    for (name, value) in &message.fields {
                        self.take(name.len())?;
                        out.insert(name.to_string(), self.write(value)?);
                    }
                    Json::Object(out)
                }
                (None, Some(Some(inner))) => self.write(inner)?,
                (None, _) => return Err(NotJson::NoForm),
            },
            Value::Timestamp(time) => {
                Json::from(time.to_utc().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
            }
            Value::Duration(_) | Value::Function(..) => return Err(NotJson::NoForm),
        })
    }
}
