//! A message to a JSON tree.

use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::ProtobufError;
use super::wire::{Reader, Wire};
use crate::schema::{self, Field, Item, ObjectType, Scalar, Shape};

/// How deep messages may nest. JSON schemas in custom resource definitions nest deepest.
const MAX_DEPTH: usize = 128;

/// Reads a message of type `ty` as the lean tree that [`crate::schema::decode`] would have read from JSON.
/// Fields the type does not know are passed over, as protobuf has it.
pub fn decode(bytes: &[u8], ty: &'static ObjectType) -> Result<Value, ProtobufError> {
    let mut map = Map::new();
    message(bytes, ty, &[], 0, &mut map)?;
    let mut value = Value::Object(map);
    schema::conform(&mut value, ty).map_err(|error| ProtobufError::Content(error.to_string()))?;
    Ok(value)
}

/// Reads a message, or a part of it that JSON flattens: `prefix` leads there.
fn message(
    bytes: &[u8],
    ty: &'static ObjectType,
    prefix: &[u16],
    depth: usize,
    out: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::TooDeep);
    }
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        let Some((field, is_leaf)) = find(ty, prefix, number) else { continue };
        if is_leaf {
            add(field, wire, depth, out)?;
        } else {
            let inner = [prefix, &[number as u16]].concat();
            message(expect_bytes(field, wire)?, ty, &inner, depth + 1, out)?;
        }
    }
    Ok(())
}

/// The field with that number behind `prefix`; or one that lies within the message with that number.
fn find(ty: &'static ObjectType, prefix: &[u16], number: u64) -> Option<(&'static Field, bool)> {
    ty.fields.iter().find_map(|field| {
        let rest = field.number.as_ref()?.path().strip_prefix(prefix)?;
        let (first, deeper) = rest.split_first()?;
        (u64::from(*first) == number).then_some((field, deeper.is_empty()))
    })
}

fn add(
    field: &'static Field,
    wire: Wire<'_>,
    depth: usize,
    out: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    match field.shape {
        Shape::Single => {
            let before = match field.item {
                Item::Object(_) => out.remove(field.name),
                Item::Scalar(_) => None,
            };
            let value = item(field, wire, depth, before)?;
            out.insert(field.name.to_owned(), value);
        }
        Shape::List => {
            let slot = out.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(list) = slot else { return Ok(()) };
            match (field.item, wire) {
                (Item::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Bool), Wire::Bytes(packed)) => {
                    let mut reader = Reader::new(packed);
                    while !reader.is_empty() {
                        list.push(item(field, Wire::Varint(reader.varint()?), depth, None)?);
                    }
                }
                _ => list.push(item(field, wire, depth, None)?),
            }
        }
        Shape::Map | Shape::MapOfLists => {
            let (key, value) = entry(field, expect_bytes(field, wire)?, depth)?;
            let slot = out.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(map) = slot {
                map.insert(key, value);
            }
        }
    }
    Ok(())
}

/// Maps are lists of entries: key 1, value 2.
fn entry(field: &'static Field, bytes: &[u8], depth: usize) -> Result<(String, Value), ProtobufError> {
    let mut key = String::new();
    let mut value = None;
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        match number {
            1 => key = text(expect_bytes(field, wire)?),
            2 if field.shape == Shape::MapOfLists => {
                let mut items = Vec::new();
                let mut list = Reader::new(expect_bytes(field, wire)?);
                while let Some((number, wire)) = list.next()? {
                    if number == 1 {
                        items.push(item(field, wire, depth, None)?);
                    }
                }
                value = Some(Value::Array(items));
            }
            2 => value = Some(item(field, wire, depth, None)?),
            _ => {}
        }
    }
    // An absent value is the empty one, which null stands for until the tree is conformed.
    Ok((key, value.unwrap_or_default()))
}

/// One value. A message that comes twice is merged with what came `before`.
fn item(
    field: &'static Field,
    wire: Wire<'_>,
    depth: usize,
    before: Option<Value>,
) -> Result<Value, ProtobufError> {
    let scalar = match field.item {
        Item::Object(_) => {
            let mut map = match before {
                Some(Value::Object(map)) => map,
                _ => Map::new(),
            };
            if let Some(ty) = field.object() {
                message(expect_bytes(field, wire)?, ty, &[], depth + 1, &mut map)?;
            }
            return Ok(Value::Object(map));
        }
        Item::Scalar(scalar) => scalar,
    };
    Ok(match scalar {
        Scalar::String => Value::String(text(expect_bytes(field, wire)?)),
        Scalar::Bool => Value::Bool(expect_varint(field, wire)? != 0),
        // Go keeps the low 32 bits.
        Scalar::Int32 => Value::from(expect_varint(field, wire)? as i32),
        Scalar::Int64 => Value::from(expect_varint(field, wire)? as i64),
        Scalar::Float64 => match wire {
            Wire::Fixed64(bits) => Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number),
            other => return Err(wrong_type(field, other)),
        },
        Scalar::Bytes => Value::String(schema::BASE64.encode(expect_bytes(field, wire)?)),
        Scalar::Quantity => Value::String(text(sub_bytes(field, wire, 1)?.unwrap_or(b"0"))),
        Scalar::IntOrString => int_or_string(field, wire)?,
        Scalar::Time => time(field, wire)?.map_or(Value::Null, |time| schema::format_time(time).into()),
        Scalar::MicroTime => {
            time(field, wire)?.map_or(Value::Null, |time| schema::format_micro_time(time).into())
        }
        Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json => json(field, sub_bytes(field, wire, 1)?)?,
        Scalar::SchemaOrBool => {
            schema_or(field, wire, depth, SchemaOr { schema: 2, list: None, text: None, allows: Some(1) })?
        }
        Scalar::SchemaOrArray => {
            schema_or(field, wire, depth, SchemaOr { schema: 1, list: Some(2), text: None, allows: None })?
        }
        Scalar::SchemaOrStringArray => {
            schema_or(field, wire, depth, SchemaOr { schema: 1, list: None, text: Some(2), allows: None })?
        }
    })
}

/// The bytes of field `number` of a message that is read for nothing else.
fn sub_bytes<'a>(field: &Field, wire: Wire<'a>, number: u64) -> Result<Option<&'a [u8]>, ProtobufError> {
    let mut reader = Reader::new(expect_bytes(field, wire)?);
    let mut found = None;
    while let Some((at, wire)) = reader.next()? {
        if at == number {
            found = Some(expect_bytes(field, wire)?);
        }
    }
    Ok(found)
}

fn int_or_string(field: &Field, wire: Wire<'_>) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut string) = (false, 0, String::new());
    let mut reader = Reader::new(expect_bytes(field, wire)?);
    while let Some((at, wire)) = reader.next()? {
        match at {
            1 => is_text = expect_varint(field, wire)? == 1,
            2 => number = expect_varint(field, wire)? as i32,
            3 => string = text(expect_bytes(field, wire)?),
            _ => {}
        }
    }
    Ok(if is_text { Value::String(string) } else { Value::from(number) })
}

/// An empty message is no time.
fn time(field: &Field, wire: Wire<'_>) -> Result<Option<Timestamp>, ProtobufError> {
    let bytes = expect_bytes(field, wire)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some((at, wire)) = reader.next()? {
        match at {
            1 => seconds = expect_varint(field, wire)? as i64,
            2 => nanos = expect_varint(field, wire)? as i32,
            _ => {}
        }
    }
    Timestamp::new(seconds, nanos).map(Some).map_err(|error| ProtobufError::Content(error.to_string()))
}

fn json(field: &Field, bytes: Option<&[u8]>) -> Result<Value, ProtobufError> {
    let bytes = bytes.unwrap_or_default();
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(bytes).map_err(|error| ProtobufError::Content(format!("{}: {error}", field.name)))
}

/// Which field of the message says what, in the types of JSON schema that are a schema or something else.
struct SchemaOr {
    schema: u64,
    list: Option<u64>,
    text: Option<u64>,
    allows: Option<u64>,
}

fn schema_or(field: &Field, wire: Wire<'_>, depth: usize, parts: SchemaOr) -> Result<Value, ProtobufError> {
    let mut result = Value::Null;
    let mut reader = Reader::new(expect_bytes(field, wire)?);
    while let Some((at, wire)) = reader.next()? {
        if at == parts.schema {
            result = schema_props(expect_bytes(field, wire)?, depth)?;
        } else if Some(at) == parts.allows {
            let allows = expect_varint(field, wire)? != 0;
            if !result.is_object() {
                result = Value::Bool(allows);
            }
        } else if Some(at) == parts.list || Some(at) == parts.text {
            let bytes = expect_bytes(field, wire)?;
            let item = if parts.text == Some(at) { text(bytes).into() } else { schema_props(bytes, depth)? };
            match &mut result {
                Value::Array(items) => items.push(item),
                other => *other = Value::Array(vec![item]),
            }
        }
    }
    Ok(result)
}

fn schema_props(bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    let mut map = Map::new();
    if let Some(ty) = schema::json_schema_props() {
        message(bytes, ty, &[], depth + 1, &mut map)?;
    }
    Ok(Value::Object(map))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn expect_bytes<'a>(field: &Field, wire: Wire<'a>) -> Result<&'a [u8], ProtobufError> {
    match wire {
        Wire::Bytes(bytes) => Ok(bytes),
        other => Err(wrong_type(field, other)),
    }
}

fn expect_varint(field: &Field, wire: Wire<'_>) -> Result<u64, ProtobufError> {
    match wire {
        Wire::Varint(value) => Ok(value),
        other => Err(wrong_type(field, other)),
    }
}

fn wrong_type(field: &Field, wire: Wire<'_>) -> ProtobufError {
    ProtobufError::WireType { field: field.name.to_owned(), wire_type: wire.wire_type() }
}
