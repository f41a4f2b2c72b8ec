//! The types the checker knows, and what schemas say of values beyond their type: how large they can get.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The size of what has no known bound.
pub const UNBOUNDED: u64 = u64::MAX;

/// A type.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Anything: checked when it is evaluated.
    Dyn,
    /// `null`
    Null,
    /// `bool`
    Bool,
    /// `int`
    Int,
    /// `uint`
    Uint,
    /// `double`
    Double,
    /// `string`
    String,
    /// `bytes`
    Bytes,
    /// `google.protobuf.Duration`
    Duration,
    /// `google.protobuf.Timestamp`
    Timestamp,
    /// `list(item)`
    List(Arc<Type>),
    /// `map(key, value)`
    Map(Arc<(Type, Type)>),
    /// `optional_type(value)`
    Optional(Arc<Type>),
    /// What `type(x)` gives.
    Type,
    /// An object with the fields of a schema.
    Object(Arc<Object>),
    /// A type of a library, by name.
    Opaque(Arc<str>),
    /// Stands for any one type in the declaration of a function.
    Param(char),
}

/// The fields of an object.
#[derive(Debug, Default)]
pub struct Object {
    /// What messages call it.
    pub name: String,
    /// By the name an expression uses, see [`crate::escape`].
    pub fields: BTreeMap<String, Declared>,
    /// What other fields there may be.
    pub others: Others,
}

/// What fields an object may have that are not declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// None.
    #[default]
    Refused,
    /// Any, of which nothing is known.
    Allowed,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (!self.name.is_empty() && self.name == other.name)
    }
}

/// What is declared of a value: its type, and how large it gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// The type.
    pub ty: Type,
    /// The most characters, items or entries.
    pub max_size: u64,
    /// The least JSON it takes, in bytes.
    pub min_json: u64,
    /// Of the items of a list or the values of a map.
    pub item: Option<Arc<Declared>>,
}

impl Declared {
    /// A value without items.
    pub fn simple(ty: Type, max_size: u64, min_json: u64) -> Self {
        Self { ty, max_size, min_json, item: None }
    }

    /// A list of so many items at most.
    pub fn list(item: Self, max_size: u64) -> Self {
        let ty = Type::List(Arc::new(item.ty.clone()));
        Self { ty, max_size, min_json: 2, item: Some(Arc::new(item)) }
    }

    /// A map of so many entries at most, with text as keys.
    pub fn map(item: Self, max_size: u64) -> Self {
        let ty = Type::Map(Arc::new((Type::String, item.ty.clone())));
        Self { ty, max_size, min_json: 2, item: Some(Arc::new(item)) }
    }

    /// An object.
    pub fn object(object: Object, min_json: u64) -> Self {
        let max_size = object.fields.len() as u64;
        Self { ty: Type::Object(Arc::new(object)), max_size, min_json, item: None }
    }

    /// Anything, of any size.
    pub fn dynamic() -> Self {
        Self::simple(Type::Dyn, UNBOUNDED, 1)
    }
}

impl Type {
    /// The list type of this item.
    pub fn list(item: Self) -> Self {
        Self::List(Arc::new(item))
    }

    /// Whether values of it have no size.
    pub(crate) fn is_scalar(&self) -> bool {
        matches!(
            self,
            Self::Bool
                | Self::Int
                | Self::Uint
                | Self::Double
                | Self::Duration
                | Self::Timestamp
                | Self::Null
                | Self::Type
        )
    }

    /// Whether a value of one may stand where the other is wanted, as far as can be told before it is evaluated.
    pub(crate) fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn | Self::Param(_), _) | (_, Self::Dyn | Self::Param(_)) => true,
            (Self::Null, other) | (other, Self::Null) => matches!(
                other,
                Self::Null
                    | Self::Object(_)
                    | Self::Opaque(_)
                    | Self::Duration
                    | Self::Timestamp
                    | Self::Optional(_)
            ),
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a.fits(b),
            (Self::Map(a), Self::Map(b)) => a.0.fits(&b.0) && a.1.fits(&b.1),
            _ => self == other,
        }
    }

    /// The type of what is one or the other, where both fit: what one leaves open the other says.
    pub(crate) fn joined(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Dyn | Self::Null, other) => other.clone(),
            (Self::List(a), Self::List(b)) => Self::list(a.joined(b)),
            (Self::Optional(a), Self::Optional(b)) => Self::Optional(Arc::new(a.joined(b))),
            (Self::Map(a), Self::Map(b)) => Self::Map(Arc::new((a.0.joined(&b.0), a.1.joined(&b.1)))),
            _ => self.clone(),
        }
    }

    /// Reads a type as the declarations of functions write it.
    pub(crate) fn read(text: &str) -> Self {
        let text = text.trim();
        let inner =
            |name: &str| text.strip_prefix(name).and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'));
        if let Some(item) = inner("list") {
            return Self::list(Self::read(item));
        }
        if let Some(item) = inner("optional_type") {
            return Self::Optional(Arc::new(Self::read(item)));
        }
        if let Some(entry) = inner("map") {
            let (key, value) = entry.split_once(',').unwrap_or((entry, "dyn"));
            return Self::Map(Arc::new((Self::read(key), Self::read(value))));
        }
        match text {
            "dyn" => Self::Dyn,
            "null" => Self::Null,
            "bool" => Self::Bool,
            "int" => Self::Int,
            "uint" => Self::Uint,
            "double" => Self::Double,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "duration" => Self::Duration,
            "timestamp" => Self::Timestamp,
            "type" => Self::Type,
            "A" => Self::Param('A'),
            "B" => Self::Param('B'),
            other => Self::Opaque(other.into()),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Duration => f.write_str("google.protobuf.Duration"),
            Self::Timestamp => f.write_str("google.protobuf.Timestamp"),
            Self::List(item) => write!(f, "list({item})"),
            Self::Map(entry) => write!(f, "map({}, {})", entry.0, entry.1),
            Self::Optional(value) => write!(f, "optional_type({value})"),
            Self::Type => f.write_str("type"),
            Self::Object(object) => f.write_str(&object.name),
            Self::Opaque(name) => f.write_str(name),
            Self::Param(name) => write!(f, "{name}"),
        }
    }
}
