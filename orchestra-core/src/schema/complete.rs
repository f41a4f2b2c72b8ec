//! Adds to a lean tree what Go's encoder writes in spite of being empty.

use serde_json::{Map, Value};

use super::model::{Field, Item, ObjectType, Scalar, Shape};
use super::scalar;

/// Fills in the fields that upstream's output always has, at every level. See the [module](super) for the rule.
/// Idempotent; what is not an object is left alone.
pub fn complete(value: &mut Value, ty: &'static ObjectType) {
    let Value::Object(map) = value else { return };
    fields(ty).for_each(|field| complete_field(map, field));
}

/// [`complete`] for these fields of the object and what is in them. The others are left as they are.
pub fn complete_only(value: &mut Value, ty: &'static ObjectType, names: &[&str]) {
    let Value::Object(map) = value else { return };
    fields(ty).filter(|field| names.contains(&field.name)).for_each(|field| complete_field(map, field));
}

fn complete_field(map: &mut Map<String, Value>, field: &'static Field) {
    match map.get_mut(field.name) {
        Some(present) => descend(present, field),
        None => {
            if let Some(empty) = empty(field) {
                map.insert(field.name.to_owned(), empty);
            }
        }
    }
}

/// The fields that are written when they are empty, and those in which something may be that is. Most are neither.
fn fields(ty: &'static ObjectType) -> impl Iterator<Item = &'static Field> {
    let places = ty.completed.get_or_init(|| {
        let concerns = |field: &Field| is_written(field) || field.object().is_some_and(leads_to_written);
        ty.fields.iter().zip(0u16..).filter(|(field, _)| concerns(field)).map(|(_, at)| at).collect()
    });
    places.iter().filter_map(|at| ty.fields.get(usize::from(*at)))
}

/// Whether the type, or one that it leads to, has a field that is written when it is empty.
fn leads_to_written(ty: &'static ObjectType) -> bool {
    let mut seen = vec![ty];
    let mut next = 0;
    while let Some(ty) = seen.get(next) {
        next += 1;
        if ty.fields.iter().any(is_written) {
            return true;
        }
        let below: Vec<_> =
            ty.fields.iter().filter_map(Field::object).filter(|ty| !seen.contains(ty)).collect();
        seen.extend(below);
    }
    false
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

/// Whether an absent field is written.
fn is_written(field: &Field) -> bool {
    if field.omit_zero || matches!(field.name, "apiVersion" | "kind") && field.number.is_none() {
        return false;
    }
    if field.is_pointer || field.shape != Shape::Single {
        return field.keep;
    }
    match field.item {
        Item::Object(_) => true,
        Item::Scalar(scalar) => field.keep || is_struct(scalar),
    }
}

/// What is written for an absent field, if anything.
fn empty(field: &'static Field) -> Option<Value> {
    if !is_written(field) {
        return None;
    }
    if field.is_pointer || field.shape != Shape::Single {
        return Some(Value::Null);
    }
    match field.item {
        Item::Object(_) => {
            let mut value = Value::Object(Map::new());
            complete(&mut value, field.object()?);
            Some(value)
        }
        Item::Scalar(scalar) => Some(scalar::zero(scalar)),
    }
}

/// Whether the Go type is a struct, on which `omitempty` has no effect.
fn is_struct(scalar: Scalar) -> bool {
    !matches!(
        scalar,
        Scalar::String | Scalar::Bool | Scalar::Int32 | Scalar::Int64 | Scalar::Float64 | Scalar::Bytes
    )
}
