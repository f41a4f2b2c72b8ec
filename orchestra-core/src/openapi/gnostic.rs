//! Documents of OpenAPI 2.0 as the protobuf message `openapi.v2.Document` of gnostic.
//!
//! Go clients ask for `/openapi/v2` in this form alone: `kubectl explain --output plaintext-openapiv2`, and whatever
//! validates or merges by the older document. Which field has which number is told by `table`; here stands how a value
//! of JSON becomes a field, after gnostic-models' `openapiv2/OpenAPIv2.go`. What the message has no place for is left
//! out, where upstream refuses the whole document: one word of another server must not take everything away.

mod table;

use serde_json::{Map, Value};

use crate::manifest::to_yaml;
use crate::protobuf::wire::{put_bytes, put_double, put_length_before, put_number, put_tag};

/// How a value is written.
#[derive(Clone, Copy)]
enum Form {
    /// A text.
    Text,
    /// A repeated text.
    Texts,
    /// A message around a repeated text, which is a single text or a list in JSON.
    TextList,
    /// A truth value.
    Flag,
    /// A whole number.
    Whole,
    /// Any number.
    Number,
    /// Any value, as YAML.
    Any,
    /// Any values.
    Anys,
    /// A message.
    One(&'static Message),
    /// Messages.
    Many(&'static Message),
}

/// What a message is made of.
enum Message {
    /// Fields.
    Fields {
        /// The names of JSON, in the order of their numbers.
        known: &'static [(&'static str, u16, Form)],
        /// Where what begins with `x-` goes, as names and values.
        extensions: Option<u16>,
        /// Where everything else goes, as names and values.
        others: Option<(u16, Form)>,
    },
    /// One of several; which one, the value says.
    Choice(fn(&Value) -> (u16, Form)),
}

/// The document as `openapi.v2.Document`.
pub fn v2_protobuf(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    table::DOCUMENT.put(&mut out, document);
    out
}

impl Message {
    fn put(&self, out: &mut Vec<u8>, value: &Value) {
        match self {
            Self::Fields { known, extensions, others } => {
                let Some(map) = value.as_object() else { return };
                for (name, field, form) in *known {
                    if let Some(value) = map.get(*name) {
                        form.put(out, *field, value);
                    }
                }
                put_named(out, map, known, *extensions, *others);
            }
            Self::Choice(choose) => match (choose(value), value) {
                // One of several is there even where it is the zero of its type.
                ((field, Form::Flag), Value::Bool(flag)) => put_number(out, field, u64::from(*flag)),
                ((field, form), _) => form.put(out, field, value),
            },
        }
    }
}

fn put_named(
    out: &mut Vec<u8>,
    map: &Map<String, Value>,
    known: &[(&str, u16, Form)],
    extensions: Option<u16>,
    others: Option<(u16, Form)>,
) {
    if extensions.is_none() && others.is_none() {
        return;
    }
    for (name, value) in map {
        let place = match extensions {
            Some(field) if name.starts_with("x-") => Some((field, Form::Any)),
            _ if known.iter().any(|(key, ..)| key == name) => None,
            _ => others,
        };
        if let Some((field, form)) = place {
            put_message(out, field, |out| {
                put_bytes(out, 1, name.as_bytes());
                form.put(out, 2, value);
            });
        }
    }
}

impl Form {
    /// Writes a value, if it is of this form and not the zero of it.
    fn put(self, out: &mut Vec<u8>, field: u16, value: &Value) {
        match (self, value) {
            (Self::Text, Value::String(text)) if !text.is_empty() => put_bytes(out, field, text.as_bytes()),
            (Self::Texts, Value::Array(items)) => {
                for text in items.iter().filter_map(Value::as_str) {
                    put_bytes(out, field, text.as_bytes());
                }
            }
            (Self::TextList, Value::String(text)) => {
                put_message(out, field, |out| put_bytes(out, 1, text.as_bytes()));
            }
            (Self::TextList, Value::Array(_)) => {
                put_message(out, field, |out| Self::Texts.put(out, 1, value));
            }
            (Self::Flag, Value::Bool(true)) => put_number(out, field, 1),
            (Self::Whole, Value::Number(number)) => {
                // Negative numbers are written as the unsigned ones of the same bits.
                if let Some(number) = number.as_i64().filter(|number| *number != 0) {
                    put_number(out, field, number.cast_unsigned());
                }
            }
            (Self::Number, Value::Number(number)) => {
                if let Some(number) = number.as_f64().filter(|number| number.to_bits() != 0) {
                    put_double(out, field, number);
                }
            }
            (Self::Any, value) => put_message(out, field, |out| put_bytes(out, 2, to_yaml(value).as_bytes())),
            (Self::Anys, Value::Array(items)) => {
                items.iter().for_each(|item| Self::Any.put(out, field, item))
            }
            (Self::One(Message::Fields { .. }), value) if !value.is_object() => {}
            (Self::One(message), value) => put_message(out, field, |out| message.put(out, value)),
            (Self::Many(message), Value::Array(items)) => {
                items.iter().for_each(|item| Self::One(message).put(out, field, item));
            }
            _ => {}
        }
    }
}

fn put_message(out: &mut Vec<u8>, field: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    put_tag(out, field);
    let start = out.len();
    fill(out);
    put_length_before(out, start);
}

#[cfg(test)]
mod tests;
