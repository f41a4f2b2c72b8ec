//! Applied configurations: whether they fit the schema, and which fields they set.

use std::collections::HashSet;

use serde_json::Value;

use super::element;
use super::field_set::FieldSet;
use super::node::{Node, Place};
use crate::go;
use crate::schema::{Field, Item, Scalar, Shape};
use crate::structural::Type;

/// What is wrong with a configuration, as upstream prints it.
pub(super) fn check(config: &Value, root: Node<'_>) -> Result<(), String> {
    let mut walk = Walk::default();
    walk.value(config, root);
    match walk.found.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("errors:\n  {}", many.join("\n  "))),
    }
}

#[derive(Default)]
struct Walk {
    path: String,
    found: Vec<String>,
}

/// How many mistakes are told.
const MAX_FOUND: usize = 100;

impl Walk {
    fn report(&mut self, what: &str) {
        if self.found.len() < MAX_FOUND {
            self.found.push(format!("{}: {what}", self.path));
        }
    }

    fn below(&mut self, name: &str, value: &Value, node: Option<Node<'_>>) {
        let length = self.path.len();
        element::print(name, &mut self.path);
        match node {
            Some(node) => self.value(value, node),
            None => self.report("field not declared in schema"),
        }
        self.path.truncate(length);
    }

    fn value(&mut self, value: &Value, node: Node<'_>) {
        if value.is_null() {
            return;
        }
        match (node, value) {
            (Node::Struct(_) | Node::Map(_) | Node::Fields(_) | Node::Untyped, Value::Object(map)) => {
                for (name, value) in map {
                    self.below(&element::field(name), value, node.field(name));
                }
            }
            (Node::Fields(place), _) if place.is_any() => {}
            (Node::Struct(_) | Node::Map(_) | Node::Fields(_), other) => {
                self.report(&format!("expected map, got &{{{}}}", go_text(other)));
            }
            (Node::Keyed(_) | Node::Set, Value::Array(items)) => self.items(items, node),
            (Node::Keyed(_) | Node::Set, other) => {
                self.report(&format!("expected list, got &{{{}}}", go_text(other)));
            }
            (Node::Leaf(Some(field)), value) => self.leaf(value, field),
            (Node::Whole(place), value) => self.whole(value, place),
            (Node::Leaf(None) | Node::Untyped, _) => {}
        }
    }

    fn items(&mut self, items: &[Value], node: Node<'_>) {
        let mut seen = HashSet::new();
        for (at, item) in items.iter().enumerate() {
            match node.names(std::slice::from_ref(item)) {
                Ok(names) => {
                    let name = names.into_iter().next().unwrap_or_default();
                    self.below(&name, item, Some(node.item()));
                    if !seen.insert(name.clone()) {
                        let mut key = String::new();
                        element::print(&name, &mut key);
                        self.report(&format!("duplicate entries for key {key}"));
                    }
                }
                Err(why) => self.report(&format!("element {at}: {why}")),
            }
        }
    }

    /// An atomic value may still have a shape.
    fn leaf(&mut self, value: &Value, field: &'static Field) {
        match (field.shape, value) {
            (Shape::List, Value::Array(items)) => {
                for (at, item) in items.iter().enumerate() {
                    self.below(&format!("i:{at}"), item, Some(item_node(field)));
                }
            }
            (Shape::List, other) if !is_text_of_bytes(field) => {
                self.report(&format!("expected list, got &{{{}}}", go_text(other)));
            }
            (Shape::Map | Shape::MapOfLists, Value::Object(_)) | (Shape::List, _) => {}
            (Shape::Map | Shape::MapOfLists, other) => {
                self.report(&format!("expected map, got &{{{}}}", go_text(other)));
            }
            (Shape::Single, value) => match field.item {
                Item::Object(_) => {
                    if let Some(ty) = field.object() {
                        self.value(value, Node::Struct(ty));
                    }
                }
                Item::Scalar(scalar) => self.scalar(value, scalar),
            },
        }
    }

    /// The same by the schema of a custom kind.
    fn whole(&mut self, value: &Value, place: Place<'_>) {
        match (place.schema.ty, value) {
            (None, _) => {}
            (Some(Type::Array), Value::Array(items)) => {
                let Some(node) = place.items() else { return };
                for (at, item) in items.iter().enumerate() {
                    self.below(&format!("i:{at}"), item, Some(node));
                }
            }
            (Some(Type::Array), other) => {
                self.report(&format!("expected list, got &{{{}}}", go_text(other)));
            }
            (Some(Type::Object), value) => self.value(value, place.inner()),
            (Some(Type::Integer | Type::Number), value) => self.scalar(value, Scalar::Int64),
            (Some(Type::String), value) => self.scalar(value, Scalar::String),
            (Some(Type::Boolean), value) => self.scalar(value, Scalar::Bool),
        }
    }

    fn scalar(&mut self, value: &Value, scalar: Scalar) {
        match scalar {
            Scalar::Int32 | Scalar::Int64 | Scalar::Float64 if !value.is_number() => {
                self.report(&format!("expected numeric (int or float), got {}", go::type_of(value)));
            }
            Scalar::String if !value.is_string() => {
                self.report(&format!(
                    "expected string, got &value.valueUnstructured{{Value:{}}}",
                    go_text(value)
                ));
            }
            Scalar::Bool if !value.is_boolean() => {
                self.report(&format!("expected boolean, got &{{{}}}", go_text(value)));
            }
            _ => {}
        }
    }
}

fn is_text_of_bytes(field: &Field) -> bool {
    field.item == Item::Scalar(Scalar::Bytes)
}

fn item_node(field: &'static Field) -> Node<'static> {
    field.object().map_or(Node::Leaf(None), Node::Struct)
}

/// As Go's `%v` prints it.
fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", go_text(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        plain => plain.to_string(),
    }
}

/// The fields a configuration sets.
pub(super) fn fields(config: &Value, node: Node<'_>) -> FieldSet<'static> {
    let mut set = FieldSet::default();
    match config {
        Value::Object(map) if node.is_object(Some(config)) => {
            for (name, value) in map {
                let Some(child) = node.field(name) else { continue };
                let mut below = fields(value, child);
                let is_empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                if is_empty || !node.declares(name) {
                    below.set_member();
                }
                set.push(|| element::field(name), below);
            }
        }
        Value::Array(items) if node.is_list() => {
            let names = node.names(items).unwrap_or_default();
            let mut seen = HashSet::new();
            for (name, item) in names.iter().zip(items) {
                if seen.insert(name) {
                    let mut below = fields(item, node.item());
                    below.set_member();
                    set.push(|| name.clone(), below);
                }
            }
        }
        _ if node.is_object(Some(config)) || node.is_list() => {}
        _ => return FieldSet::leaf(),
    }
    set.sort();
    set
}
