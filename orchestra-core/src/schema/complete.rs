//! Adds to a lean tree what Go's encoder writes in spite of being empty.

use serde_json::{Map, Value};

use super::model::{Field, Item, ObjectType, Scalar, Shape};
use super::scalar;

/// Fills in the fields that upstream's output always has, at every level. See the [module](super) for the rule.
/// Idempotent; what is not an object is left alone.
pub fn complete(value: &mut Value, ty: &'static ObjectType) {
    let Value::Object(map) = value else { return };
    for field in &ty.fields {
        match map.get_mut(field.name) {
            Some(present) => descend(present, field),
            None => {
                if let Some(empty) = empty(field) {
                    map.insert(field.name.to_owned(), empty);
                }
            }
        }
    }
}

fn descend(value: &mut Value, field: &'static Field) {
    let Some(ty) = field.object() else { return };
    match (field.shape, value) {
        (Shape::Single, value) => complete(value, ty),
        (Shape::List, Value::Array(items)) => items.iter_mut().for_each(|item| complete(item, ty)),
        (Shape::Map, Value::Object(map)) => map.values_mut().for_each(|item| complete(item, ty)),
        _ => {}
    }
}

/// What is written for an absent field, if anything.
fn empty(field: &'static Field) -> Option<Value> {
    if field.omit_zero || matches!(field.name, "apiVersion" | "kind") && field.number.is_none() {
        return None;
    }
    if field.is_pointer || field.shape != Shape::Single {
        return field.keep.then_some(Value::Null);
    }
    match field.item {
        Item::Object(_) => {
            let mut value = Value::Object(Map::new());
            complete(&mut value, field.object()?);
            Some(value)
        }
        Item::Scalar(scalar) => (field.keep || is_struct(scalar)).then(|| scalar::zero(scalar)),
    }
}

/// Whether the Go type is a struct, on which `omitempty` has no effect.
fn is_struct(scalar: Scalar) -> bool {
    !matches!(
        scalar,
        Scalar::String | Scalar::Bool | Scalar::Int32 | Scalar::Int64 | Scalar::Float64 | Scalar::Bytes
    )
}
