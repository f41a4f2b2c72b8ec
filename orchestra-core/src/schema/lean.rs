//! Which values are as good as absent in the lean form of a tree.

use serde_json::{Map, Value};

use super::model::{Field, Item, Scalar};
use super::scalar;

/// Whether the value is the zero of its field's Go type, so that without a pointer nothing tells it from an absent one.
pub(super) fn is_zero(value: &Value, field: &Field) -> bool {
    if matches!(field.item, Item::Scalar(Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json)) {
        return value.is_null();
    }
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(text) => {
            text.is_empty() || (text == "0" && field.item == Item::Scalar(Scalar::Quantity))
        }
        Value::Array(_) => false,
        Value::Object(map) => map.is_empty(),
    }
}

/// What null stands for as an item of a list or the value of a map.
pub(super) fn zero_entry(field: &Field) -> Value {
    match field.item {
        Item::Object(_) => Value::Object(Map::new()),
        Item::Scalar(scalar) => scalar::zero(scalar),
    }
}
