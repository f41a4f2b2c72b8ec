//! Whole objects as one list, piece by piece, so that a long one is never in memory twice.

use std::task::Poll;

use bytes::Bytes;
use futures::Stream;
use http::{Response, StatusCode};
use orchestra_core::protobuf;

use super::render::{ListMeta, Renderer, list_head};
use super::write::{GZIP_ABOVE_BYTES, gzip, mark_gzip};
use crate::body::{self, Body};
use crate::cache::object::Object;
use crate::status::StatusError;

/// Bodies are handed over in pieces of about this size. With an object of usual size more, it is what a connection takes at once.
const CHUNK_BYTES: usize = 60 << 10;
/// Pieces that are sent one by one: more than a page of five hundred objects has.
const FIRST_CHUNKS: usize = 32;

/// A list as JSON. Items of built-in kinds do not repeat kind and version.
pub(crate) fn json<O>(renderer: &Renderer, objects: Vec<O>, meta: &ListMeta) -> Response<Body>
where
    O: AsRef<Object> + Send + 'static,
{
    let head = list_head(&renderer.resource.description().list_kind, &renderer.resource.api_version, meta);
    let about = head.len() + 2 + objects.iter().map(|o| o.as_ref().encoded.length() + 2).sum::<usize>();
    respond(renderer, about, text(head, objects, Form::of(renderer)))
}

/// A list as protobuf, of the messages that all readers of an object share.
pub(crate) fn protobuf<O>(
    renderer: &Renderer,
    objects: Vec<O>,
    meta: &ListMeta,
) -> Result<Response<Body>, StatusError>
where
    O: AsRef<Object>,
{
    let resource = &renderer.resource;
    let messages: Vec<Bytes> =
        objects.iter().map(|object| object.as_ref().message(resource)).collect::<Result<_, _>>()?;
    let lengths = messages.iter().map(Bytes::len);
    let kind = &resource.description().list_kind;
    let head = protobuf::list_opening(&resource.api_version, kind, &meta.to_json(), lengths);
    let total = head.len() + messages.iter().map(|message| message.len() + 6).sum::<usize>();
    let mut next = Some(head);
    let mut messages = messages.into_iter();
    let chunks = std::iter::from_fn(move || {
        let mut chunk = next.take()?;
        loop {
            let Some(message) = messages.next() else {
                chunk.extend_from_slice(protobuf::CLOSING);
                return Some(Bytes::from(chunk));
            };
            chunk.extend_from_slice(&protobuf::item_opening(message.len()));
            chunk.extend_from_slice(&message);
            if chunk.len() >= CHUNK_BYTES {
                next = Some(Vec::with_capacity(CHUNK_BYTES + 4096));
                return Some(chunk.into());
            }
        }
    });
    Ok(respond(renderer, total, chunks))
}

fn respond(
    renderer: &Renderer,
    total: usize,
    chunks: impl Iterator<Item = Bytes> + Send + 'static,
) -> Response<Body> {
    let output = renderer.output;
    let media = output.syntax.media();
    if total < CHUNK_BYTES {
        let whole: Vec<u8> = chunks.flatten().collect();
        return body::typed(StatusCode::OK, media, whole);
    }
    if output.gzip && total > GZIP_ABOVE_BYTES {
        let body = body::streamed(begun(gzip(chunks)));
        let mut response = body::respond(StatusCode::OK, media, body);
        mark_gzip(&mut response);
        return response;
    }
    body::respond(StatusCode::OK, media, body::streamed(begun(chunks)))
}

/// Has each of the first pieces sent before the next is made, so that the client reads while they are: a connection takes several
/// hundred KiB before it sends any otherwise, and a page would be made whole before any of it is read. Whoever has taken that much is
/// behind, and would only be woken more often.
fn begun(
    mut chunks: impl Iterator<Item = Bytes> + Send + 'static,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let (mut given, mut is_sent) = (0, true);
    futures::stream::poll_fn(move |context| {
        if !std::mem::replace(&mut is_sent, true) {
            // What waits is sent now, and the connection comes back at once.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        given += 1;
        is_sent = given > FIRST_CHUNKS;
        Poll::Ready(chunks.next())
    })
}

/// How an object stands in a list.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// Without kind and version.
    Item,
    Whole,
}

impl Form {
    /// Items of custom kinds say what they are, as upstream, which knows no type to take that from.
    pub(crate) fn of(renderer: &Renderer) -> Self {
        if renderer.resource.custom().is_some() { Self::Whole } else { Self::Item }
    }
}

/// The JSON text of a list behind its `head`.
pub(crate) fn text<O>(
    head: String,
    objects: Vec<O>,
    form: Form,
) -> impl Iterator<Item = Bytes> + Send + 'static
where
    O: AsRef<Object> + Send + 'static,
{
    let mut next = Some(head.into_bytes());
    let mut objects = objects.into_iter();
    let mut first = true;
    std::iter::from_fn(move || {
        let mut chunk = next.take()?;
        loop {
            let Some(object) = objects.next() else {
                chunk.extend_from_slice(b"]}");
                return Some(chunk.into());
            };
            if !std::mem::take(&mut first) {
                chunk.push(b',');
            }
            let encoded = &object.as_ref().encoded;
            match form {
                Form::Whole => encoded.write(&mut chunk),
                Form::Item => {
                    chunk.push(b'{');
                    encoded.write_item(&mut chunk);
                }
            }
            if chunk.len() >= CHUNK_BYTES {
                next = Some(Vec::with_capacity(CHUNK_BYTES + 4096));
                return Some(chunk.into());
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{StreamExt, poll};

    use super::*;

    #[tokio::test]
    async fn the_first_pieces_are_given_one_by_one_and_all_of_them_in_order() {
        let all: Vec<Bytes> = (0..FIRST_CHUNKS + 8).map(|at| Bytes::from(at.to_string())).collect();
        let mut stream = pin!(begun(all.clone().into_iter()));
        let (mut given, mut waits) = (Vec::new(), 0);
        loop {
            match poll!(stream.next()) {
                Poll::Ready(Some(piece)) => given.push(piece),
                Poll::Ready(None) => break,
                Poll::Pending => waits += 1,
            }
        }
        assert_eq!((given, waits), (all, FIRST_CHUNKS));
    }
}
