//! What the schema says of a place, as far as merging goes.

use serde_json::Value;

use crate::schema::{Field, ListType, ObjectType, Shape};

/// How a value is taken apart.
#[derive(Clone, Copy)]
pub(super) enum Node {
    /// Not at all.
    Leaf(Option<&'static Field>),
    /// By the fields of a type.
    Struct(&'static ObjectType),
    /// By the keys of a map with values of one type.
    Map(&'static Field),
    /// By the keys of the items.
    Keyed(&'static Field),
    /// By the values of the items.
    Set,
    /// Nothing is known: objects by their fields, everything else not at all.
    Untyped,
}

impl Node {
    pub(super) fn root(ty: Option<&'static ObjectType>) -> Self {
        ty.map_or(Self::Untyped, Self::Struct)
    }

    fn of(field: &'static Field) -> Self {
        let atomic = field.map_type == Some("atomic");
        match (field.shape, field.list_type) {
            (Shape::Single, _) => match field.object() {
                Some(ty) if !atomic && !ty.is_atomic => Self::Struct(ty),
                _ => Self::Leaf(Some(field)),
            },
            (Shape::List, Some(ListType::Map)) => Self::Keyed(field),
            (Shape::List, Some(ListType::Set)) => Self::Set,
            (Shape::Map | Shape::MapOfLists, _) if !atomic => Self::Map(field),
            _ => Self::Leaf(Some(field)),
        }
    }

    /// The place below an object. `None`: the type has no such field.
    pub(super) fn field(self, name: &str) -> Option<Self> {
        match self {
            Self::Struct(ty) => ty.field(name).map(Self::of),
            Self::Map(field) => Some(match field.object() {
                Some(ty) if field.shape == Shape::Map && !ty.is_atomic => Self::Struct(ty),
                _ => Self::Leaf(None),
            }),
            _ => Some(Self::Untyped),
        }
    }

    /// The place of an item of a list.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Keyed(field) => match field.object() {
                Some(ty) if !ty.is_atomic => Self::Struct(ty),
                _ => Self::Leaf(None),
            },
            Self::Untyped => Self::Untyped,
            _ => Self::Leaf(None),
        }
    }

    /// Whether a field of this name is one the type declares, and no key of a map.
    pub(super) fn declares(self, name: &str) -> bool {
        matches!(self, Self::Struct(ty) if ty.field(name).is_some())
    }

    pub(super) fn is_list(self) -> bool {
        matches!(self, Self::Keyed(_) | Self::Set)
    }

    /// Whether a value here is taken apart by names.
    pub(super) fn is_object(self, value: Option<&Value>) -> bool {
        match self {
            Self::Struct(_) | Self::Map(_) => true,
            Self::Untyped => value.is_some_and(Value::is_object),
            _ => false,
        }
    }

    /// The names of the items of a list here, or what is wrong with the first bad one.
    pub(super) fn names(self, items: &[Value]) -> Result<Vec<String>, String> {
        match self {
            Self::Keyed(field) => items.iter().map(|item| super::element::of_keyed(item, field)).collect(),
            _ => Ok(items.iter().map(super::element::of_set).collect()),
        }
    }
}
