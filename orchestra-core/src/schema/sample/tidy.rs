//! Trees as a sensible client writes them, in which nothing stands twice and nothing is empty.

use serde_json::{Map, Value, json};

use super::Seed;
use crate::schema::model::{Field, Item, ListType, ObjectType, Scalar, Shape};

/// Where trees stop growing: schemas hold schemas.
const MAX_DEPTH: u64 = 9;

/// What nobody applies.
const OF_THE_SERVER: [&str; 8] = [
    "managedFields",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
];

impl Seed {
    /// A lean object of a kind: what is required is there, enumerations hold, items of lists have their keys and differ in
    /// them, and no object, list or map is empty.
    pub(crate) fn tidy(&mut self, ty: &'static ObjectType) -> Value {
        let mut object = self.tidy_object(ty, 0);
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| !OF_THE_SERVER.contains(&field.as_str()));
            metadata.insert("name".to_owned(), "sample".into());
        }
        Value::Object(object)
    }

    fn tidy_object(&mut self, ty: &'static ObjectType, depth: u64) -> Map<String, Value> {
        let mut map = Map::new();
        for field in &ty.fields {
            let is_wanted = field.required || depth == 0 || self.below(2 + depth) == 0;
            if field.number.is_some() && is_wanted && depth < MAX_DEPTH {
                map.extend(self.tidy_field(field, depth).map(|value| (field.name.to_owned(), value)));
            }
        }
        map
    }

    fn tidy_field(&mut self, field: &'static Field, depth: u64) -> Option<Value> {
        let length = 1 + self.below(3);
        match field.shape {
            Shape::Single => self.tidy_item(field, depth),
            Shape::List => {
                let mut items: Vec<Value> = Vec::new();
                for at in 0..length {
                    let Some(mut item) = self.tidy_item(field, depth) else { continue };
                    self.name_item(&mut item, field, at);
                    if !is_among(&item, &items, field) {
                        items.push(item);
                    }
                }
                Some(items).filter(|items| !items.is_empty()).map(Value::Array)
            }
            Shape::Map => {
                let entries =
                    (0..length).filter_map(|at| Some((format!("k{at}"), self.tidy_item(field, depth)?)));
                Some(entries.collect::<Map<_, _>>()).filter(|map| !map.is_empty()).map(Value::Object)
            }
            Shape::MapOfLists => Some((0..length).map(|at| (format!("k{at}"), json!(["a", "b"]))).collect()),
        }
    }

    fn tidy_item(&mut self, field: &'static Field, depth: u64) -> Option<Value> {
        if let Some(values) = field.enum_values.or(field.item_enum_values) {
            let values: Vec<&str> = values.split('|').filter(|value| !value.is_empty()).collect();
            let at = self.below(values.len().max(1) as u64) as usize;
            return values.get(at).map(|value| json!(value));
        }
        match field.item {
            Item::Object(_) => {
                let object = self.tidy_object(field.object()?, depth + 1);
                Some(object).filter(|object| !object.is_empty()).map(Value::Object)
            }
            Item::Scalar(scalar) => Some(self.tidy_scalar(scalar)),
        }
    }

    fn tidy_scalar(&mut self, scalar: Scalar) -> Value {
        let pick = self.below(5);
        match scalar {
            Scalar::String => {
                ["a", "b", "größer", "\u{1f980}\"\\", "with-dash.and.dot"][pick as usize].into()
            }
            Scalar::Bool => true.into(),
            Scalar::Int32 => [1, 2, 80, i32::MAX, -1][pick as usize].into(),
            Scalar::Int64 => [1, 2, 80, i64::MAX, -1][pick as usize].into(),
            Scalar::Float64 => [0.5, 1.5, -2.25, 1024.125, 1e-3][pick as usize].into(),
            Scalar::Bytes => "aGk=".into(),
            Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json => {
                json!({"n": [1, {"deep": pick}], "o": {"a": pick, "b": {"c": [pick]}}})
            }
            Scalar::SchemaOrBool => json!({"type": "string"}),
            Scalar::SchemaOrArray => json!({"type": "string"}),
            Scalar::SchemaOrStringArray => json!(["a", "b"]),
            other => self.scalar(other),
        }
    }

    /// Gives an item the keys by which its list tells items apart, of which the `at`th is the same in every tree.
    fn name_item(&mut self, item: &mut Value, list: &'static Field, at: u64) {
        let (Value::Object(item), Some(ty)) = (item, list.object()) else { return };
        for key in list.map_keys().chain(list.merge_key) {
            let Some(field) = ty.field(key).filter(|field| field.enum_values.is_none()) else {
                continue;
            };
            let name = match field.item {
                Item::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString) => json!(at + 1),
                _ => json!(format!("item-{at}")),
            };
            item.insert(key.to_owned(), name);
        }
        for key in list.map_keys().filter_map(|key| ty.field(key)) {
            if !item.contains_key(key.name)
                && let Some(value) = self.tidy_field(key, MAX_DEPTH - 1)
            {
                item.insert(key.name.to_owned(), value);
            }
        }
    }

    /// A tree made of pieces of two others of a kind.
    pub(crate) fn blend(&mut self, one: &Value, other: &Value, ty: &'static ObjectType) -> Value {
        let (Value::Object(one), Value::Object(other)) = (one, other) else { return one.clone() };
        let mut map = Map::new();
        for field in &ty.fields {
            let value = match (one.get(field.name), other.get(field.name)) {
                (Some(one), Some(other)) => Some(self.blend_field(one, other, field)),
                (one, other) => one.or(other).filter(|_| field.required || self.below(2) == 0).cloned(),
            };
            map.extend(value.map(|value| (field.name.to_owned(), value)));
        }
        Value::Object(map)
    }

    fn blend_field(&mut self, one: &Value, other: &Value, field: &'static Field) -> Value {
        match (one, other, field.shape, field.object()) {
            (one, other, Shape::Single, Some(ty)) if self.below(4) > 0 => self.blend(one, other, ty),
            (Value::Array(one), Value::Array(other), Shape::List, _) => {
                let mut items: Vec<Value> = Vec::new();
                for item in one.iter().rev().chain(other) {
                    if self.below(2) == 0 && !is_among(item, &items, field) {
                        items.push(item.clone());
                    }
                }
                if items.is_empty() { other.clone().into() } else { items.into() }
            }
            (Value::Object(one), Value::Object(other), Shape::Map, _) => {
                one.iter().take(1).chain(other).map(|(key, value)| (key.clone(), value.clone())).collect()
            }
            _ if self.below(2) == 0 => one.clone(),
            _ => other.clone(),
        }
    }
}

/// Whether the list has an item of the same name, in the sense of apply or of strategic merges.
fn is_among(item: &Value, items: &[Value], list: &Field) -> bool {
    let is_set =
        list.list_type == Some(ListType::Set) || list.patch_strategy.merges() && list.merge_key.is_none();
    let mut keys = list.map_keys().peekable();
    let is_map = keys.peek().is_some();
    let keys: Vec<&str> = keys.collect();
    items.iter().any(|other| {
        is_set && item == other
            || is_map && keys.iter().all(|key| item.get(key) == other.get(key))
            || list.merge_key.is_some_and(|key| item.get(key) == other.get(key))
    })
}
