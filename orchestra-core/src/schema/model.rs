//! What the index says of a type and of a field.

use std::sync::OnceLock;

use super::index;
use crate::gvk::GroupVersion;

/// A message type: an object with named fields.
#[derive(Debug)]
pub struct ObjectType {
    /// The name in OpenAPI documents, such as `io.k8s.api.apps.v1.Deployment`.
    pub name: &'static str,
    /// Whether it carries `apiVersion` and `kind`, so that it can be a request body.
    pub is_kind: bool,
    /// Whether server-side apply treats the whole object as one value (`x-kubernetes-map-type: atomic`).
    pub is_atomic: bool,
    /// Fields, sorted by name.
    pub fields: Box<[Field]>,
    /// Where in `fields` those with a number are, in the order of their numbers.
    pub(crate) numbered: Box<[u16]>,
    /// Where those are that completing an object has to look at; see [`super::complete`].
    pub(super) completed: OnceLock<Box<[u16]>>,
}

impl ObjectType {
    /// The name without its package: `Deployment`.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, name)| name)
    }

    /// The package: `io.k8s.api.apps.v1`.
    pub fn package(&self) -> &'static str {
        self.name.rsplit_once('.').map_or("", |(package, _)| package)
    }

    /// How Go prints the type: `v1.Deployment`.
    pub fn go_name(&self) -> &'static str {
        let package = self.package();
        let start = package.rfind('.').map_or(0, |dot| dot + 1);
        self.name.get(start..).unwrap_or(self.name)
    }

    /// The group and version of a kind. `None` for types that are no kinds, and for the answers of the server
    /// itself, such as its version.
    pub fn group_version(&self) -> Option<GroupVersion> {
        if self.is_kind { index::group_version_of(self.package()) } else { None }
    }

    /// The field of that name. Case matters, as it does upstream.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.get(self.position(name)?)
    }

    /// The field of that name and its place in `numbered`, if it has a number.
    pub(crate) fn ranked(&'static self, name: &str) -> Option<(u16, &'static Field)> {
        let field = self.field(name)?;
        Some((field.rank?, field))
    }

    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.fields.binary_search_by(|field| field.name.cmp(name)).ok()
    }
}

/// Types are compared by identity: there is one of each.
impl PartialEq for ObjectType {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for ObjectType {}

/// One field of an object.
#[derive(Debug)]
pub struct Field {
    /// The name in JSON.
    pub name: &'static str,
    /// Its place in the protobuf message; `None` where it has none.
    pub number: Option<Number>,
    /// One value, a list or a map.
    pub shape: Shape,
    /// The type of the value, or of the items.
    pub item: Item,
    /// Whether Go has a pointer here, so that a zero value differs from an absent one.
    pub is_pointer: bool,
    /// Whether the field is written even when empty (no `omitempty`).
    pub keep: bool,
    /// Whether a struct is not written when empty (`omitzero`).
    pub omit_zero: bool,
    /// Whether OpenAPI lists the field as required.
    pub required: bool,
    /// The default OpenAPI states.
    pub default: Default,
    /// The values allowed for a string, separated by `|`.
    pub enum_values: Option<&'static str>,
    /// The values allowed for the items of a list of strings, separated by `|`.
    pub item_enum_values: Option<&'static str>,
    /// How server-side apply merges a list.
    pub list_type: Option<ListType>,
    /// The keys of a `map` list, separated by commas.
    pub list_map_keys: Option<&'static str>,
    /// How server-side apply treats a map or object here: `atomic` or `granular`.
    pub map_type: Option<&'static str>,
    /// How a strategic merge patch merges the field.
    pub patch_strategy: PatchStrategy,
    /// The key by which a strategic merge patch matches items.
    pub merge_key: Option<&'static str>,
    pub(super) go: Option<&'static str>,
    /// The place among the numbered fields of the type.
    pub(super) rank: Option<u16>,
}

impl Field {
    /// The object type of the value or the items, if they are objects.
    pub fn object(&self) -> Option<&'static ObjectType> {
        match self.item {
            Item::Object(index) => index::at(index),
            Item::Scalar(_) => None,
        }
    }

    /// The allowed values, if the field is an enumeration.
    pub fn enumeration(&self) -> impl Iterator<Item = &'static str> {
        self.enum_values.into_iter().flat_map(|values| values.split('|'))
    }

    /// The keys by which server-side apply matches the items of the list.
    pub fn map_keys(&self) -> impl Iterator<Item = &'static str> {
        self.list_map_keys.into_iter().flat_map(|keys| keys.split(','))
    }
}

/// The place of a field in its protobuf message: one number, or several where JSON flattens what protobuf nests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    path: [u16; 3],
    len: u8,
}

impl Number {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut number = Self { path: [0; 3], len: 0 };
        for part in text.split('/') {
            *number.path.get_mut(usize::from(number.len))? = part.parse().ok()?;
            number.len += 1;
        }
        Some(number)
    }

    /// The field numbers, outermost message first.
    pub fn path(&self) -> &[u16] {
        self.path.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// How many values a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    Single,
    /// A list of values.
    List,
    /// A map from strings to values.
    Map,
    /// A map from strings to lists of values.
    MapOfLists,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A value with a syntax of its own.
    Scalar(Scalar),
    /// An object, by its place in [`super::types`]. [`Field::object`] resolves it.
    Object(u16),
}

/// Values that are not objects of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    String,
    /// `true` or `false`.
    Bool,
    /// 32 bits, signed.
    Int32,
    /// 64 bits, signed.
    Int64,
    /// A number.
    Float64,
    /// Base64 in JSON.
    Bytes,
    /// Such as `100m`; numbers are accepted.
    Quantity,
    /// A number of 32 bits or text.
    IntOrString,
    /// RFC 3339 with whole seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// Any object (`runtime.RawExtension`).
    RawExtension,
    /// A field set (`metav1.FieldsV1`).
    FieldsV1,
    /// Any JSON.
    Json,
    /// A `JSONSchemaProps` or a boolean.
    SchemaOrBool,
    /// A `JSONSchemaProps` or a list of them.
    SchemaOrArray,
    /// A `JSONSchemaProps` or a list of strings.
    SchemaOrStringArray,
}

/// The default a field has in OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// None is stated.
    None,
    /// The empty value of the type: `""`, `0`, `false`, `{}`.
    Zero,
    /// A value, as JSON text.
    Json(&'static str),
}

/// How server-side apply merges a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// As a whole.
    Atomic,
    /// Item by item, each at most once.
    Set,
    /// By the keys of the items.
    Map,
}

/// How a strategic merge patch merges a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy(pub(super) Option<&'static str>);

impl PatchStrategy {
    /// As OpenAPI states it: `merge`, `replace`, `retainKeys` or `merge,retainKeys`.
    pub fn text(self) -> Option<&'static str> {
        self.0
    }

    /// Whether lists merge instead of being replaced.
    pub fn merges(self) -> bool {
        self.has("merge")
    }

    /// Whether fields that the patch does not name with `$retainKeys` go away.
    pub fn retains_keys(self) -> bool {
        self.has("retainKeys")
    }

    fn has(self, word: &str) -> bool {
        self.0.is_some_and(|text| text.split(',').any(|part| part == word))
    }
}
