//! Reading a JSON tree for validation: a value together with the path that errors show for it.
//!
//! An absent field is a view too, so that rules read straight down without unwrapping at every step.

use std::borrow::Cow;

use serde_json::Value;

use super::place::{Place, Step};
use crate::violation::FieldPath;

/// A place in an object, and the value there if any. `null` counts as absent, as it does for Go's decoder.
#[derive(Clone, Debug)]
pub(crate) struct View<'a> {
    value: Option<&'a Value>,
    place: Place<'a>,
}

impl<'a> View<'a> {
    /// The whole object.
    pub(crate) fn root(value: &'a Value) -> Self {
        Self::at(Some(value), FieldPath::root())
    }

    /// A value that errors name by `path`.
    pub(crate) fn at(value: Option<&'a Value>, path: FieldPath) -> Self {
        Self::in_place(value, Place::at(path))
    }

    fn in_place(value: Option<&'a Value>, place: Place<'a>) -> Self {
        Self { value: value.filter(|value| !value.is_null()), place }
    }

    /// The field `name`.
    pub(crate) fn get(&self, name: &'static str) -> View<'a> {
        Self::in_place(self.value.and_then(|value| value.get(name)), self.place.below(Step::Field(name)))
    }

    /// The items of the list here.
    pub(crate) fn items(&self) -> impl Iterator<Item = View<'a>> + use<'a> {
        let items = self.value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let place = self.place.clone();
        items
            .iter()
            .enumerate()
            .map(move |(index, item)| Self::in_place(Some(item), place.below(Step::Index(index))))
    }

    /// The entries of the map here; paths name the key in brackets.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, View<'a>)> + use<'a> {
        self.below(Step::Key)
    }

    /// The fields of the object here, whatever they are called.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'a str, View<'a>)> + use<'a> {
        self.below(Step::Own)
    }

    fn below(
        &self,
        step: fn(Cow<'a, str>) -> Step<'a>,
    ) -> impl Iterator<Item = (&'a str, View<'a>)> + use<'a> {
        let place = self.place.clone();
        let entries = self.value.and_then(Value::as_object).into_iter().flatten();
        entries.map(move |(key, value)| {
            (key.as_str(), Self::in_place(Some(value), place.below(step(Cow::Borrowed(key)))))
        })
    }

    /// How errors name this place.
    pub(crate) fn path(&self) -> &FieldPath {
        self.place.path()
    }

    /// The value here.
    pub(crate) fn value(&self) -> Option<&'a Value> {
        self.value
    }

    /// A copy of the value for an error message; `null` when absent.
    pub(crate) fn json(&self) -> Value {
        self.value.cloned().unwrap_or(Value::Null)
    }

    /// Whether there is a value.
    pub(crate) fn is_set(&self) -> bool {
        self.value.is_some()
    }

    /// Whether there is nothing: absent, an empty text, list or object.
    pub(crate) fn is_empty(&self) -> bool {
        match self.value {
            None => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(fields)) => fields.is_empty(),
            Some(_) => false,
        }
    }

    /// The text here, empty when absent.
    pub(crate) fn text(&self) -> &'a str {
        self.value.and_then(Value::as_str).unwrap_or_default()
    }

    /// The whole number here.
    pub(crate) fn int(&self) -> Option<i64> {
        self.value.and_then(Value::as_i64)
    }

    /// The truth value here, false when absent.
    pub(crate) fn flag(&self) -> bool {
        self.value.and_then(Value::as_bool).unwrap_or_default()
    }

    /// How many items or entries are here.
    pub(crate) fn len(&self) -> usize {
        match self.value {
            Some(Value::Array(items)) => items.len(),
            Some(Value::Object(fields)) => fields.len(),
            _ => 0,
        }
    }
}

/// Views are the same when their values are, wherever they stand; empty and absent are the same, as in upstream's
/// semantic comparison.
impl PartialEq for View<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.is_empty() && other.is_empty()) || self.value == other.value
    }
}
