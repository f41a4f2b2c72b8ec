//! A schema as a tree.

use std::collections::BTreeMap;

use serde_json::Value;

use super::pattern::Pattern;

/// The JSON type a schema names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `object`
    Object,
    /// `array`
    Array,
    /// `string`
    String,
    /// `integer`
    Integer,
    /// `number`
    Number,
    /// `boolean`
    Boolean,
}

impl Type {
    /// Every type, in the order upstream lists them.
    pub const ALL: [Self; 6] =
        [Self::Array, Self::Boolean, Self::Integer, Self::Number, Self::Object, Self::String];

    /// The word in schemas.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    /// The type of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.as_str() == word)
    }
}

/// What `additionalProperties` says.
#[derive(Clone, Debug, PartialEq)]
pub enum Additional {
    /// Values of any key follow this schema.
    Schema(Box<Structural>),
    /// `true`: any key; objects below are pruned empty, as upstream does.
    Allowed,
    /// `false`.
    Forbidden,
}

impl Additional {
    /// The schema of values, where there is one.
    pub fn schema(&self) -> Option<&Structural> {
        match self {
            Self::Schema(schema) => Some(schema),
            Self::Allowed | Self::Forbidden => None,
        }
    }
}

/// How a list is told apart (`x-kubernetes-list-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    /// As a whole.
    #[default]
    Atomic,
    /// Item by item, each at most once.
    Set,
    /// By the keys of the items.
    Map,
}

/// A schema, or one of the schemas below `allOf`, `anyOf`, `oneOf` and `not`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Structural {
    /// The JSON type; `None` for what is not restricted.
    pub ty: Option<Type>,
    /// Whether `null` is a value.
    pub nullable: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded: bool,
    /// What stands for an absent value.
    pub default: Option<Value>,
    /// The fields of an object.
    pub properties: BTreeMap<String, Structural>,
    /// Keys that are not fields.
    pub additional: Option<Additional>,
    /// The items of a list.
    pub items: Option<Box<Structural>>,
    /// How a list is told apart.
    pub list: ListKind,
    /// The keys of items, for [`ListKind::Map`].
    pub list_keys: Vec<String>,
    /// Whether an object is one value (`x-kubernetes-map-type: atomic`).
    pub is_atomic: bool,
    /// What values must satisfy.
    pub checks: Checks,
}

/// The rules for values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checks {
    /// A syntax for text, or a width for numbers.
    pub format: Option<String>,
    /// The largest number.
    pub maximum: Option<f64>,
    /// Whether the largest is not reached itself.
    pub exclusive_maximum: bool,
    /// The smallest number.
    pub minimum: Option<f64>,
    /// Whether the smallest is not reached itself.
    pub exclusive_minimum: bool,
    /// A number must be a multiple of this.
    pub multiple_of: Option<f64>,
    /// The longest text, in characters.
    pub max_length: Option<u64>,
    /// The shortest text.
    pub min_length: Option<u64>,
    /// What text must match.
    pub pattern: Option<Pattern>,
    /// The longest list.
    pub max_items: Option<u64>,
    /// The shortest list.
    pub min_items: Option<u64>,
    /// The most keys of an object.
    pub max_properties: Option<u64>,
    /// The fewest keys of an object.
    pub min_properties: Option<u64>,
    /// Fields that must be there.
    pub required: Vec<String>,
    /// The only values there are.
    pub enumeration: Vec<Value>,
    /// All of these must hold.
    pub all_of: Vec<Structural>,
    /// One of these must hold.
    pub any_of: Vec<Structural>,
    /// Exactly one of these must hold.
    pub one_of: Vec<Structural>,
    /// This must not hold.
    pub not: Option<Box<Structural>>,
}

impl Structural {
    /// The schema of what stands under `key` of an object.
    pub fn property(&self, key: &str) -> Option<&Structural> {
        self.properties.get(key).or_else(|| self.additional.as_ref().and_then(Additional::schema))
    }

    /// Whether nothing is said of what stands under `key`, not even that it may be there.
    pub fn is_unknown(&self, key: &str) -> bool {
        !self.properties.contains_key(key) && self.additional.is_none()
    }
}
