//! The envelope every object travels in: `k8s\0` and a `runtime.Unknown`.

use serde_json::Value;

use super::wire::{Reader, Wire, put_bytes};
use super::{ProtobufError, decode, encode};
use crate::gvk::GroupVersion;
use crate::schema;

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
        let ty =
            GroupVersion::parse(api_version).and_then(|gv| schema::of_kind(&gv, kind)).ok_or_else(|| {
                ProtobufError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() }
            })?;
        let mut value = decode(self.raw, ty)?;
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

/// Writes an object, which must carry `apiVersion` and `kind`, into an envelope.
pub fn encode_envelope(object: &Value) -> Result<Vec<u8>, ProtobufError> {
    let field = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (field("apiVersion"), field("kind"));
    let ty = GroupVersion::parse(api_version).and_then(|gv| schema::of_kind(&gv, kind)).ok_or_else(|| {
        ProtobufError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() }
    })?;
    let mut meta = Vec::new();
    put_bytes(&mut meta, 1, api_version.as_bytes());
    put_bytes(&mut meta, 2, kind.as_bytes());
    let mut out = MAGIC.to_vec();
    put_bytes(&mut out, 1, &meta);
    put_bytes(&mut out, 2, &encode(object, ty));
    // Go always writes the two empty fields behind: no encoding, and protobuf as the type.
    put_bytes(&mut out, 3, b"");
    put_bytes(&mut out, 4, b"");
    Ok(out)
}

#[cfg(test)]
mod tests;
