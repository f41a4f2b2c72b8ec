//! JSON, as a tree or as text, to a message, byte for byte as Go writes it.
//!
//! Go's generated code writes the fields of a message in the order of their numbers, leaves out only pointers, lists,
//! maps and bytes that are not there, and writes every other field even when it is empty. JSON text names its fields
//! in another order, so what was written of an object is put in order when its end is reached. No tree is built: stored
//! text goes straight into bytes.

mod json;

use serde::de::DeserializeSeed as _;
use serde_json::Value;

use self::json::Object;
use super::ProtobufError;
use super::wire::{put_bytes, put_double, put_length_before, put_number, put_tag};
use crate::schema::{Field, Item, ObjectType, Scalar, Shape};

/// Writes a tree of type `ty`, lean or complete, as a message.
///
/// Nulls and values that do not fit their field count as absent: a tree that has been through [`crate::schema`] has none.
pub fn encode(value: &Value, ty: &'static ObjectType) -> Vec<u8> {
    let mut encoder = Encoder::default();
    // A tree has no syntax that could be wrong.
    let _ = Object { encoder: &mut encoder, ty }.deserialize(value);
    encoder.out
}

/// Writes JSON text of type `ty` as a message.
pub fn encode_json(json: &[u8], ty: &'static ObjectType) -> Result<Vec<u8>, ProtobufError> {
    let mut encoder = Encoder { out: Vec::with_capacity(json.len()), ..Encoder::default() };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Object { encoder: &mut encoder, ty }
        .deserialize(&mut deserializer)
        .map_err(|error| ProtobufError::Content(error.to_string()))?;
    Ok(encoder.out)
}

#[derive(Default)]
struct Encoder {
    out: Vec<u8>,
    /// The parts of the objects that are being read, innermost last.
    parts: Vec<Part>,
    /// Where the parts of an object wait to be put in order.
    unordered: Vec<u8>,
}

/// A field as it was written: its place in [`ObjectType::numbered`] and its bytes.
#[derive(Clone, Copy)]
struct Part {
    rank: u16,
    start: usize,
    end: usize,
}

impl Encoder {
    /// Puts the parts written from `base` on in order, and what Go writes of absent fields between them.
    fn finish(&mut self, ty: &'static ObjectType, base: usize, first_part: usize) {
        self.parts[first_part..].sort_unstable_by_key(|part| part.rank);
        self.unordered.clear();
        self.unordered.extend_from_slice(&self.out[base..]);
        self.out.truncate(base);
        let mut source = Source { parts: &self.parts[first_part..], bytes: &self.unordered, base };
        level(&mut self.out, ty, &ty.numbered, 0, &mut source);
        self.parts.truncate(first_part);
    }
}

/// The parts of one object that are still to be placed.
struct Source<'a> {
    parts: &'a [Part],
    bytes: &'a [u8],
    base: usize,
}

/// Writes the fields whose numbers agree up to `depth`: those that end there, and the messages that lead to the others.
fn level(out: &mut Vec<u8>, ty: &'static ObjectType, fields: &[u16], depth: usize, source: &mut Source<'_>) {
    let path = |index: &u16| {
        let field = ty.fields.get(usize::from(*index));
        field.and_then(|field| field.number.as_ref()).map(|number| number.path()).unwrap_or_default()
    };
    for group in fields.chunk_by(|a, b| path(a).get(depth) == path(b).get(depth)) {
        let Some(first) = group.first() else { continue };
        let Some(number) = path(first).get(depth) else { continue };
        if path(first).len() > depth + 1 {
            put_tag(out, *number);
            let start = out.len();
            level(out, ty, group, depth + 1, source);
            put_length_before(out, start);
            continue;
        }
        match source.parts.split_first() {
            Some((part, rest)) if ty.numbered.get(usize::from(part.rank)) == Some(first) => {
                // Of a key that comes twice the first value counts.
                let again = rest.iter().take_while(|next| next.rank == part.rank).count();
                source.parts = rest.get(again..).unwrap_or_default();
                let range = part.start - source.base..part.end - source.base;
                out.extend_from_slice(source.bytes.get(range).unwrap_or_default());
            }
            _ => {
                if let Some(field) = ty.fields.get(usize::from(*first)) {
                    put_absent(out, *number, field);
                }
            }
        }
    }
}

/// What Go writes of a field that is not there: nothing if it has presence, otherwise its empty value.
fn put_absent(out: &mut Vec<u8>, number: u16, field: &'static Field) {
    if !field.is_pointer && field.shape == Shape::Single {
        put_empty(out, number, field);
    }
}

fn put_empty(out: &mut Vec<u8>, number: u16, field: &'static Field) {
    let scalar = match field.item {
        Item::Object(_) => {
            let Some(ty) = field.object() else { return };
            put_tag(out, number);
            let start = out.len();
            level(out, ty, &ty.numbered, 0, &mut Source { parts: &[], bytes: &[], base: 0 });
            return put_length_before(out, start);
        }
        Item::Scalar(scalar) => scalar,
    };
    match scalar {
        Scalar::Bool | Scalar::Int32 | Scalar::Int64 => put_number(out, number, 0),
        Scalar::Float64 => put_double(out, number, 0.0),
        Scalar::String | Scalar::Time | Scalar::MicroTime | Scalar::RawExtension => {
            put_bytes(out, number, b"");
        }
        Scalar::Quantity => put_bytes(out, number, b"\n\x010"),
        Scalar::IntOrString => put_bytes(out, number, b"\x08\0\x10\0\x1a\0"),
        // Slices and the like, which have presence whatever the table says.
        Scalar::Bytes
        | Scalar::FieldsV1
        | Scalar::Json
        | Scalar::SchemaOrBool
        | Scalar::SchemaOrArray
        | Scalar::SchemaOrStringArray => {}
    }
}
