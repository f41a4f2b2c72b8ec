//! One event of a watch, written behind the events before it.

use orchestra_core::protobuf;

use super::accept::{Shape, Syntax};
use super::render::Renderer;
use crate::cache::object::{Departed, Object};
use crate::status::StatusError;

/// Behind the object of an event.
const CLOSING: &[u8] = b"}\n";

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
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    Now(&'a Object),
    /// The state before the change, under the revision of the change.
    Departed(Departed<'a>),
}

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
    /// Writes the event of an object. Only the first table of a watch repeats the columns. Writes nothing when it fails.
    pub(crate) fn event(
        &self,
        kind: EventKind,
        seen: &Seen<'_>,
        columns: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), StatusError> {
        let encoded = match seen {
            Seen::Now(object) => &object.encoded,
            Seen::Departed(departed) => &departed.last,
        };
        match (self.output.shape, self.output.syntax) {
            (Shape::Plain, Syntax::Json) => {
                out.extend_from_slice(kind.opening());
                encoded.write(out);
                out.extend_from_slice(CLOSING);
                Ok(())
            }
            (Shape::Plain, Syntax::Protobuf) => {
                let message = match seen {
                    Seen::Now(object) => object.message(&self.resource)?,
                    Seen::Departed(departed) => departed.message(&self.resource)?,
                };
                let opening =
                    protobuf::opening(&self.resource.api_version, self.resource.kind_name(), message.len());
                let length = opening.len() + message.len() + protobuf::CLOSING.len();
                out.extend_from_slice(&protobuf::frame_opening(kind.as_str(), length));
                out.extend_from_slice(&opening);
                out.extend_from_slice(&message);
                out.extend_from_slice(protobuf::CLOSING);
                Ok(())
            }
            _ => self.event_of_text(kind, &self.shape(encoded.json(), columns)?, out),
        }
    }

    /// Writes the event of something that no other watcher gets, from its JSON text.
    pub(crate) fn event_of_text(
        &self,
        kind: EventKind,
        json: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), StatusError> {
        if self.output.syntax == Syntax::Protobuf {
            let envelope = protobuf::encode_envelope_json(json).map_err(StatusError::internal)?;
            out.extend_from_slice(&protobuf::frame_opening(kind.as_str(), envelope.len()));
            out.extend_from_slice(&envelope);
        } else {
            out.extend_from_slice(kind.opening());
            out.extend_from_slice(json);
            out.extend_from_slice(CLOSING);
        }
        Ok(())
    }
}
