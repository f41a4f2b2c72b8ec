//! Values that are not objects: which JSON they take, and the form Go would write them in again.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::tz::Offset;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde_json::Value;

use super::model::Scalar;
use super::tree::Tree;
use crate::quantity::Quantity;

/// Why a value was not taken.
pub(super) enum Unfit {
    /// It is this kind of value, and that is wrong.
    Kind(String),
    /// Its encoding is wrong; the walk goes on.
    Encoding(String),
    /// The decoder of the type itself met a wrong kind of value; the walk ends.
    Inner { kind: String, ty: &'static str },
    /// The text does not follow the syntax of the type; the walk ends.
    Fatal(String),
}

/// Standard base64 that insists on padding but, as Go does, not on zero bits behind the last byte.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Reads a value that is not null.
pub(super) fn read(tree: Tree, scalar: Scalar) -> Result<Value, Unfit> {
    match scalar {
        Scalar::String => text(tree).map(Value::String),
        Scalar::Bool => match tree {
            Tree::Bool(value) => Ok(Value::Bool(value)),
            other => Err(wrong_kind(&other)),
        },
        Scalar::Int32 => integer(tree, i64::from(i32::MIN)..=i64::from(i32::MAX)),
        Scalar::Int64 => integer(tree, i64::MIN..=i64::MAX),
        Scalar::Float64 => match tree {
            Tree::Number(number) => Ok(Value::Number(number)),
            other => Err(wrong_kind(&other)),
        },
        Scalar::Bytes => bytes(tree),
        Scalar::Quantity => quantity(tree),
        Scalar::IntOrString => match tree {
            Tree::String(text) => Ok(Value::String(text)),
            other => integer(other, i64::from(i32::MIN)..=i64::from(i32::MAX))
                .map_err(|unfit| inner(unfit, "int32")),
        },
        Scalar::Time => {
            let text = text(tree).map_err(|unfit| inner(unfit, "string"))?;
            time(&text, "2006-01-02T15:04:05Z07:00").map(|time| Value::String(format_time(time)))
        }
        Scalar::MicroTime => {
            let text = text(tree).map_err(|unfit| inner(unfit, "string"))?;
            time(&text, "2006-01-02T15:04:05.000000Z07:00").map(|time| Value::String(format_micro_time(time)))
        }
        // What these hold is free.
        Scalar::RawExtension
        | Scalar::FieldsV1
        | Scalar::Json
        | Scalar::SchemaOrBool
        | Scalar::SchemaOrArray
        | Scalar::SchemaOrStringArray => Ok(tree.into_value()),
    }
}

/// The value of an item that is null.
pub(super) fn zero(scalar: Scalar) -> Value {
    match scalar {
        Scalar::String => Value::String(String::new()),
        Scalar::Bool => Value::Bool(false),
        Scalar::Int32 | Scalar::Int64 | Scalar::Float64 | Scalar::IntOrString => Value::from(0),
        Scalar::Quantity => Value::from("0"),
        _ => Value::Null,
    }
}

/// How Go prints the type.
pub(super) fn go_name(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::String => "string",
        Scalar::Bool => "bool",
        Scalar::Int32 => "int32",
        Scalar::Int64 => "int64",
        Scalar::Float64 => "float64",
        Scalar::Bytes => "[]uint8",
        Scalar::Quantity => "resource.Quantity",
        Scalar::IntOrString => "intstr.IntOrString",
        Scalar::Time => "v1.Time",
        Scalar::MicroTime => "v1.MicroTime",
        Scalar::RawExtension => "runtime.RawExtension",
        Scalar::FieldsV1 => "v1.FieldsV1",
        Scalar::Json => "v1.JSON",
        Scalar::SchemaOrBool => "v1.JSONSchemaPropsOrBool",
        Scalar::SchemaOrArray => "v1.JSONSchemaPropsOrArray",
        Scalar::SchemaOrStringArray => "v1.JSONSchemaPropsOrStringArray",
    }
}

/// RFC 3339 in UTC with whole seconds: how a `metav1.Time` is written.
pub(crate) fn format_time(time: Timestamp) -> String {
    let second = Unit::Second;
    let time = time.round(TimestampRound::new().smallest(second).mode(RoundMode::Floor)).unwrap_or(time);
    time.to_string()
}

/// RFC 3339 in UTC with microseconds: how a `metav1.MicroTime` is written.
pub(crate) fn format_micro_time(time: Timestamp) -> String {
    let micro = Unit::Microsecond;
    let time = time.round(TimestampRound::new().smallest(micro).mode(RoundMode::Floor)).unwrap_or(time);
    Offset::UTC.to_datetime(time).strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn wrong_kind(tree: &Tree) -> Unfit {
    Unfit::Kind(tree.go_kind().to_owned())
}

fn inner(unfit: Unfit, ty: &'static str) -> Unfit {
    match unfit {
        Unfit::Kind(kind) => Unfit::Inner { kind, ty },
        other => other,
    }
}

fn text(tree: Tree) -> Result<String, Unfit> {
    match tree {
        Tree::String(text) => Ok(text),
        other => Err(wrong_kind(&other)),
    }
}

fn integer(tree: Tree, range: std::ops::RangeInclusive<i64>) -> Result<Value, Unfit> {
    match tree {
        Tree::Number(number) if number.as_i64().is_some_and(|value| range.contains(&value)) => {
            Ok(Value::Number(number))
        }
        Tree::Number(number) => Err(Unfit::Kind(format!("number {number}"))),
        other => Err(wrong_kind(&other)),
    }
}

fn bytes(tree: Tree) -> Result<Value, Unfit> {
    let text = match tree {
        Tree::String(text) => text,
        // Go takes a list of numbers for a byte slice; no client writes one.
        other => return Err(wrong_kind(&other)),
    };
    // Go's decoder skips line breaks.
    let stripped = text.contains(['\r', '\n']).then(|| text.replace(['\r', '\n'], ""));
    match BASE64.decode(stripped.as_deref().unwrap_or(&text)) {
        Ok(_) => Ok(Value::String(stripped.unwrap_or(text))),
        Err(error) => {
            let length = text.len();
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => length,
            };
            Err(Unfit::Encoding(format!("illegal base64 data at input byte {at}")))
        }
    }
}

fn quantity(tree: Tree) -> Result<Value, Unfit> {
    // Upstream reads the JSON text, whatever it is, less its quotes.
    let text = match tree {
        Tree::String(text) => text,
        other => other.into_value().to_string(),
    };
    Quantity::rewrite(text.trim()).map(Value::String).map_err(|error| Unfit::Fatal(error.to_string()))
}

fn time(text: &str, layout: &str) -> Result<Timestamp, Unfit> {
    let shaped = matches!(text.as_bytes(), [_, _, _, _, b'-', _, _, b'-', _, _, b'T', ..]);
    text.parse::<Timestamp>().ok().filter(|_| shaped).ok_or_else(|| {
        Unfit::Fatal(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""))
    })
}
