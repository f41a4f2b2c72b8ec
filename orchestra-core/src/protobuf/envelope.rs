//! The envelope every object travels in: `k8s\0` and a `runtime.Unknown`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::wire::{Reader, Wire, put_bytes, put_length_before, put_tag, put_varint};
use super::{ProtobufError, decode, encode, encode_json};
use crate::gvk::GroupVersion;
use crate::schema::{self, ObjectType};

const MAGIC: &[u8] = b"k8s\0";

/// An opened envelope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// `apiVersion` of the object; may be empty.
    pub api_version: &'a str,
    /// `kind` of the object; may be empty.
    pub kind: &'a str,
    /// The message.
    pub raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Opens an envelope.
    pub fn open(bytes: &'a [u8]) -> Result<Self, ProtobufError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::NoEnvelope)?;
        let mut envelope = Self::default();
        let mut reader = Reader::new(body);
        while let Some((number, wire)) = reader.next()? {
            match (number, wire) {
                (1, Wire::Bytes(meta)) => envelope.read_type(meta)?,
                (2, Wire::Bytes(raw)) => envelope.raw = raw,
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn read_type(&mut self, meta: &'a [u8]) -> Result<(), ProtobufError> {
        let mut reader = Reader::new(meta);
        while let Some((number, wire)) = reader.next()? {
            let Wire::Bytes(bytes) = wire else { continue };
            let text = std::str::from_utf8(bytes)
                .map_err(|_| ProtobufError::Content("the envelope's type is not UTF-8".to_owned()))?;
            match number {
                1 => self.api_version = text,
                2 => self.kind = text,
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the message inside. Where the envelope names no version or no kind, the defaults are taken, which are what the
    /// request's path asks for.
    pub fn decode(&self, default_version: &str, default_kind: &str) -> Result<Value, ProtobufError> {
        let api_version = if self.api_version.is_empty() { default_version } else { self.api_version };
        let kind = if self.kind.is_empty() { default_kind } else { self.kind };
        let mut value = decode(self.raw, type_of(api_version, kind)?)?;
        if let Value::Object(map) = &mut value {
            map.insert("apiVersion".to_owned(), api_version.into());
            map.insert("kind".to_owned(), kind.into());
        }
        Ok(value)
    }
}

/// Opens an envelope and reads the object inside, a lean tree with `apiVersion` and `kind`.
pub fn decode_envelope(bytes: &[u8]) -> Result<Value, ProtobufError> {
    Envelope::open(bytes)?.decode("", "")
}

/// What stands behind the message in every envelope: no encoding, and protobuf as the type.
pub const CLOSING: &[u8] = b"\x1a\0\"\0";

/// What stands before a message of `length` bytes in its envelope, so that shared bytes can be sent between this and
/// [`CLOSING`].
pub fn opening(api_version: &str, kind: &str, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAGIC.len() + api_version.len() + kind.len() + 16);
    out.extend_from_slice(MAGIC);
    put_tag(&mut out, 1);
    let start = out.len();
    put_bytes(&mut out, 1, api_version.as_bytes());
    put_bytes(&mut out, 2, kind.as_bytes());
    put_length_before(&mut out, start);
    put_tag(&mut out, 2);
    put_varint(&mut out, length as u64);
    out
}

/// Puts a message into an envelope.
pub fn seal(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut out = opening(api_version, kind, message.len());
    out.extend_from_slice(message);
    out.extend_from_slice(CLOSING);
    out
}

/// What stands before the items of a list in its envelope. `items` are the lengths of their messages, each of which has
/// [`item_opening`] before it; [`CLOSING`] ends the list.
pub fn list_opening(
    api_version: &str,
    kind: &str,
    metadata: &Value,
    items: impl Iterator<Item = usize>,
) -> Vec<u8> {
    let ty = schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta");
    let mut head = Vec::new();
    put_bytes(&mut head, 1, &ty.map(|ty| encode(metadata, ty)).unwrap_or_default());
    let items: usize = items.map(|length| item_opening(length).len() + length).sum();
    let mut out = opening(api_version, kind, head.len() + items);
    out.extend_from_slice(&head);
    out
}

/// What stands before an item of `length` bytes in the message of a list.
pub fn item_opening(length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(8);
    put_tag(&mut out, 2);
    put_varint(&mut out, length as u64);
    out
}

/// What stands before an envelope of `length` bytes in a frame of a watch: the length of the frame, and a
/// `metav1.WatchEvent` of this type, whose last field the envelope is. Frames have no envelope of their own.
pub fn frame_opening(event: &str, length: usize) -> Vec<u8> {
    let mut object = Vec::with_capacity(8);
    put_tag(&mut object, 1);
    put_varint(&mut object, length as u64);
    let mut head = Vec::with_capacity(event.len() + 16);
    put_bytes(&mut head, 1, event.as_bytes());
    put_tag(&mut head, 2);
    put_varint(&mut head, (object.len() + length) as u64);
    head.extend_from_slice(&object);
    // No frame comes near the 4 GiB that its length could say.
    let frame = u32::try_from(head.len() + length).unwrap_or(u32::MAX);
    [frame.to_be_bytes().as_slice(), &head].concat()
}

/// Writes an object, which must carry `apiVersion` and `kind`, into an envelope.
pub fn encode_envelope(object: &Value) -> Result<Vec<u8>, ProtobufError> {
    let field = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (field("apiVersion"), field("kind"));
    Ok(seal(api_version, kind, &encode(object, type_of(api_version, kind)?)))
}

/// Writes an object's JSON text, which must carry `apiVersion` and `kind`, into an envelope.
pub fn encode_envelope_json(json: &[u8]) -> Result<Vec<u8>, ProtobufError> {
    let head: Head<'_> =
        serde_json::from_slice(json).map_err(|error| ProtobufError::Content(error.to_string()))?;
    Ok(seal(&head.api_version, &head.kind, &encode_json(json, type_of(&head.api_version, &head.kind)?)?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
}

fn type_of(api_version: &str, kind: &str) -> Result<&'static ObjectType, ProtobufError> {
    GroupVersion::parse(api_version).and_then(|gv| schema::of_kind(&gv, kind)).ok_or_else(|| {
        ProtobufError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() }
    })
}

#[cfg(test)]
mod tests;
