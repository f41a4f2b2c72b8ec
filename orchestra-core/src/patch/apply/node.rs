//! What the schema says of a place, as far as merging goes.
//!
//! Built-in kinds and custom ones come down to the same few ways of taking a value apart; only where those are read
//! from differs. Follows upstream's `k8s.io/apimachinery/pkg/util/managedfields` (its `schemaconv` of OpenAPI).

use serde_json::Value;

use super::Schema;
use crate::schema::{self, Field, ListType, ObjectType, Shape};
use crate::structural::{Additional, ListKind, Structural, Type};

/// How a value is taken apart.
#[derive(Clone, Copy)]
pub(super) enum Node<'s> {
    /// Not at all.
    Leaf(Option<&'static Field>),
    /// Not at all, though the schema of a custom kind says what it is.
    Whole(Place<'s>),
    /// By the fields of a type.
    Struct(&'static ObjectType),
    /// By the keys of a map with values of one type.
    Map(&'static Field),
    /// By the fields or keys that the schema of a custom kind lets it have.
    Fields(Place<'s>),
    /// By the keys of the items.
    Keyed(Items<'s>),
    /// By the values of the items.
    Set,
    /// Nothing is known: objects by their fields, everything else not at all.
    Untyped,
}

/// A place in the schema of a custom kind.
#[derive(Clone, Copy)]
pub(super) struct Place<'s> {
    pub(super) schema: &'s Structural,
    /// Whether this is an object of the API, which has fields that no schema names.
    is_object: bool,
    /// Whether unknown fields are kept, here or further up.
    preserves: bool,
}

/// A list with keys.
#[derive(Clone, Copy)]
pub(super) enum Items<'s> {
    Builtin(&'static Field),
    Custom(Place<'s>),
}

impl<'s> Items<'s> {
    /// The names of the keys.
    pub(super) fn keys(self) -> Vec<&'s str> {
        match self {
            Self::Builtin(field) => field.map_keys().collect(),
            Self::Custom(place) => place.schema.list_keys.iter().map(String::as_str).collect(),
        }
    }

    /// What counts as a key that is left out.
    pub(super) fn default_of(self, key: &str) -> Option<Value> {
        match self {
            Self::Builtin(field) => match field.object()?.field(key)?.default {
                schema::Default::Json(text) => serde_json::from_str(text).ok(),
                schema::Default::Zero | schema::Default::None => None,
            },
            Self::Custom(place) => place.schema.items.as_deref()?.properties.get(key)?.default.clone(),
        }
    }
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

impl<'s> Place<'s> {
    fn below(self, schema: &'s Structural) -> Node<'s> {
        Self { schema, is_object: schema.embedded, preserves: self.preserves || schema.preserve_unknown }
            .node()
    }

    fn node(self) -> Node<'s> {
        let schema = self.schema;
        match schema.ty {
            Some(Type::Object) | None if schema.is_atomic => Node::Whole(self),
            Some(Type::Object) => Node::Fields(self),
            None if schema.properties.is_empty() && schema.additional.is_none() && !schema.int_or_string => {
                Node::Untyped
            }
            None if schema.int_or_string => Node::Whole(self),
            None => Node::Fields(self),
            Some(Type::Array) => match schema.list {
                ListKind::Atomic => Node::Whole(self),
                ListKind::Set => Node::Set,
                ListKind::Map => Node::Keyed(Items::Custom(self)),
            },
            Some(_) => Node::Whole(self),
        }
    }

    fn field(self, name: &str) -> Option<Node<'s>> {
        if self.is_object {
            match name {
                "metadata" => return Some(schema::by_name(META).map_or(Node::Untyped, Node::Struct)),
                "apiVersion" | "kind" => return Some(Node::Leaf(None)),
                _ => {}
            }
        }
        if let Some(known) = self.schema.properties.get(name) {
            return Some(self.below(known));
        }
        match &self.schema.additional {
            Some(Additional::Schema(values)) => Some(self.below(values)),
            Some(Additional::Allowed) => Some(Node::Untyped),
            Some(Additional::Forbidden) => None,
            // An object of which nothing is said may have any field.
            None if self.preserves || (self.schema.properties.is_empty() && !self.is_object) => {
                Some(Node::Untyped)
            }
            None => None,
        }
    }

    fn declares(self, name: &str) -> bool {
        self.schema.properties.contains_key(name)
            || (self.is_object && matches!(name, "metadata" | "apiVersion" | "kind"))
    }

    /// The items of a list that is one value.
    pub(super) fn items(self) -> Option<Node<'s>> {
        self.schema.items.as_deref().map(|items| self.below(items))
    }

    /// What a field of an object that is one value would be.
    pub(super) fn inner(self) -> Node<'s> {
        Node::Fields(self)
    }

    /// Whether values of other types than objects are fine, too.
    pub(super) fn is_any(self) -> bool {
        self.schema.ty.is_none()
    }
}

impl<'s> Node<'s> {
    pub(super) fn root(schema: Schema<'s>) -> Self {
        match schema {
            Schema::Unknown => Self::Untyped,
            Schema::Builtin(ty) => Self::Struct(ty),
            Schema::Custom(schema) => {
                Place { schema, is_object: true, preserves: schema.preserve_unknown }.node()
            }
        }
    }

    fn of(field: &'static Field) -> Self {
        let atomic = field.map_type == Some("atomic");
        match (field.shape, field.list_type) {
            (Shape::Single, _) => match field.object() {
                // What is said of the field goes before what its type says of itself.
                Some(ty) if field.map_type.map_or(!ty.is_atomic, |said| said == "granular") => {
                    Self::Struct(ty)
                }
                _ => Self::Leaf(Some(field)),
            },
            (Shape::List, Some(ListType::Map)) => Self::Keyed(Items::Builtin(field)),
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
            Self::Fields(place) => place.field(name),
            _ => Some(Self::Untyped),
        }
    }

    /// The place of an item of a list.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Keyed(Items::Builtin(field)) => match field.object() {
                Some(ty) if !ty.is_atomic => Self::Struct(ty),
                _ => Self::Leaf(None),
            },
            Self::Keyed(Items::Custom(place)) => place.items().unwrap_or(Self::Untyped),
            Self::Untyped => Self::Untyped,
            _ => Self::Leaf(None),
        }
    }

    /// Whether a field of this name is one the type declares, and no key of a map.
    pub(super) fn declares(self, name: &str) -> bool {
        match self {
            Self::Struct(ty) => ty.field(name).is_some(),
            Self::Fields(place) => place.declares(name),
            _ => false,
        }
    }

    /// Whether an object here is replaced as a whole.
    pub(super) fn is_whole(self) -> bool {
        matches!(self, Self::Leaf(_) | Self::Whole(_))
    }

    /// How an object here would be taken apart, were it not one value.
    pub(super) fn inside(self) -> Self {
        match self {
            Self::Leaf(Some(field)) => match (field.shape, field.object()) {
                (Shape::Single, Some(ty)) => Self::Struct(ty),
                _ => self,
            },
            Self::Whole(place) => place.inner(),
            _ => self,
        }
    }

    /// The place of an item of a list, also of one that is one value.
    pub(super) fn any_item(self) -> Option<Self> {
        match self {
            Self::Leaf(Some(field)) => field.object().map(Self::Struct),
            Self::Whole(place) => place.items(),
            Self::Leaf(None) | Self::Set => None,
            _ => Some(self.item()),
        }
    }

    pub(super) fn is_list(self) -> bool {
        matches!(self, Self::Keyed(_) | Self::Set)
    }

    /// Whether a value here is taken apart by names.
    pub(super) fn is_object(self, value: Option<&Value>) -> bool {
        match self {
            Self::Struct(_) | Self::Map(_) => true,
            Self::Fields(place) if !place.is_any() => true,
            Self::Fields(_) | Self::Untyped => value.is_some_and(Value::is_object),
            _ => false,
        }
    }

    /// Whether something that was taken apart once is one value now.
    pub(super) fn is_one_value(self) -> bool {
        match self {
            Self::Whole(place) => {
                place.schema.is_atomic || matches!(place.schema.ty, Some(ty) if ty != Type::Object)
            }
            _ => false,
        }
    }

    /// The names of the items of a list here, or what is wrong with the first bad one.
    pub(super) fn names(self, items: &[Value]) -> Result<Vec<String>, String> {
        match self {
            Self::Keyed(list) => items.iter().map(|item| super::element::of_keyed(item, list)).collect(),
            _ => Ok(items.iter().map(super::element::of_set).collect()),
        }
    }
}
