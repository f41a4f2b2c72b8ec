//! One event of a watch, in pieces: the bytes of an object are shared by all who watch it and copied by none.

use bytes::Bytes;
use orchestra_core::protobuf;

use super::accept::{Shape, Syntax};
use super::render::Renderer;
use crate::cache::object::{Change, Object};
use crate::status::StatusError;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

/// The state of an object that an event shows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen<'a> {
    Now(&'a Object),
    /// The state before the change, under the revision of the change.
    Departed(&'a Change),
}

/// The pieces of an event, in order.
pub(crate) type Frame = [Bytes; 3];

impl EventKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
            Self::Error => "ERROR",
        }
    }

    fn opening(self) -> &'static [u8] {
        match self {
            Self::Added => br#"{"type":"ADDED","object":"#,
            Self::Modified => br#"{"type":"MODIFIED","object":"#,
            Self::Deleted => br#"{"type":"DELETED","object":"#,
            Self::Bookmark => br#"{"type":"BOOKMARK","object":"#,
            Self::Error => br#"{"type":"ERROR","object":"#,
        }
    }
}

impl Renderer {
    /// The event of an object. Only the first table of a watch repeats the columns.
    pub(crate) fn event(&self, kind: EventKind, seen: Seen<'_>, columns: bool) -> Result<Frame, StatusError> {
        if (self.output.shape, self.output.syntax) == (Shape::Plain, Syntax::Protobuf) {
            let message = match seen {
                Seen::Now(object) => object.message(&self.resource)?,
                Seen::Departed(change) => change.departed_message(&self.resource)?,
            };
            let opening =
                protobuf::opening(&self.resource.api_version, self.resource.kind_name(), message.len());
            let length = opening.len() + message.len() + protobuf::CLOSING.len();
            let mut head = protobuf::frame_opening(kind.as_str(), length);
            head.extend_from_slice(&opening);
            return Ok([head.into(), message, Bytes::from_static(protobuf::CLOSING)]);
        }
        let json = match seen {
            Seen::Now(object) => object.encoded.json.clone(),
            Seen::Departed(change) => change.departed(),
        };
        self.event_of_text(kind, self.shape(json, columns)?)
    }

    /// The event of something that no other watcher gets, from its JSON text.
    pub(crate) fn event_of_text(&self, kind: EventKind, json: Bytes) -> Result<Frame, StatusError> {
        if self.output.syntax == Syntax::Protobuf {
            let envelope = protobuf::encode_envelope_json(&json).map_err(StatusError::internal)?;
            let head = protobuf::frame_opening(kind.as_str(), envelope.len());
            return Ok([head.into(), envelope.into(), Bytes::new()]);
        }
        Ok([Bytes::from_static(kind.opening()), json, Bytes::from_static(b"}\n")])
    }
}
