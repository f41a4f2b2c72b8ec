//! Kubernetes protobuf to JSON trees and back, driven by the table of types.
//!
//! Go clients send protobuf whenever their user sets no content type, and take a 415 for final, so a server has to read
//! it for every built-in kind. What the messages look like follows from [`crate::schema`], except for the few types
//! that have a JSON form of their own (quantities, times, free JSON); no generated code is needed.
//!
//! An object travels in an envelope: the bytes `k8s\0` and a `runtime.Unknown`, which names the kind and holds the
//! message ([`Envelope`]). This module does not know custom resources: they have no protobuf form upstream either.

mod decode;
mod encode;
mod envelope;
pub(crate) mod wire;

pub use decode::decode;
pub use encode::{encode, encode_json};
pub use envelope::{
    CLOSING, Envelope, decode_envelope, encode_envelope, encode_envelope_json, frame_opening, item_opening,
    list_opening, opening, seal,
};

/// Why bytes are not the message they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtobufError {
    /// The bytes do not start with `k8s\0`.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoEnvelope,
    /// The kind has no protobuf form that is known here.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind {
        /// What the envelope, or the caller, said.
        api_version: String,
        /// What the envelope, or the caller, said.
        kind: String,
    },
    /// The bytes end within a value.
    #[error("unexpected EOF")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("proto: integer overflow")]
    Overflow,
    /// A field has another wire type than its message says.
    #[error("proto: wrong wireType = {wire_type} for field {field}")]
    WireType {
        /// The JSON name of the field.
        field: String,
        /// What stands in the bytes.
        wire_type: u8,
    },
    /// A field number or wire type that cannot be.
    #[error("proto: illegal tag {0}")]
    Tag(u64),
    /// Messages in messages, too deep.
    #[error("proto: nested too deep")]
    TooDeep,
    /// A value that does not follow the syntax of its type.
    #[error("{0}")]
    Content(String),
}
