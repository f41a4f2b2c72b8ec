//! A parsed document that still knows the order of its keys and which of them occur twice.
//!
//! [`serde_json::Value`] has forgotten both by the time it is built, and strict decoding has to report duplicates, in
//! the order of the document.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A JSON or YAML value as it was written.
#[derive(Debug, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// What Go calls this kind of value when it does not fit. `None` for null, which fits everywhere.
    pub(super) fn go_kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::List(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// The kind of Go value that stands for it in an untyped tree.
    pub(super) fn reflect_kind(&self) -> &'static str {
        match self {
            Self::Null => "invalid",
            Self::Bool(_) => "bool",
            Self::Number(number) if number.is_f64() => "float64",
            Self::Number(_) => "int64",
            Self::String(_) => "string",
            Self::List(_) => "slice",
            Self::Object(_) => "map",
        }
    }

    /// The value, without a schema. The last of several equal keys wins.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Number(value) => Value::Number(value),
            Self::String(value) => Value::String(value),
            Self::List(items) => Value::Array(items.into_iter().map(Self::into_value).collect()),
            Self::Object(entries) => Value::Object(
                entries.into_iter().map(|(key, value)| (key, value.into_value())).collect::<Map<_, _>>(),
            ),
        }
    }
}

impl From<Value> for Tree {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(value) => Self::Number(value),
            Value::String(value) => Self::String(value),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Object(map) => {
                Self::Object(map.into_iter().map(|(key, value)| (key, value.into())).collect())
            }
        }
    }
}

/// Builds a tree while text is left: aliases of YAML can repeat a long text many times over.
#[derive(Clone, Copy)]
pub(super) struct Build<'a> {
    left: &'a Cell<usize>,
}

impl<'a> Build<'a> {
    /// At most `left` bytes of text, keys included.
    pub(super) fn new(left: &'a Cell<usize>) -> Self {
        Self { left }
    }

    fn spend<E: Error>(self, text: String) -> Result<String, E> {
        let left = self.left.get().checked_sub(text.len()).ok_or_else(|| E::custom("excessive aliasing"))?;
        self.left.set(left);
        Ok(text)
    }
}

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Tree, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(Tree::Number(number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Tree, E> {
        self.spend(value.to_owned()).map(Tree::String)
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Tree, E> {
        self.spend(value).map(Tree::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            entries.push((self.spend(key)?, access.next_value_seed(self)?));
        }
        Ok(Tree::Object(entries))
    }
}
