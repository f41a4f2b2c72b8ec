//! Bodies of responses, and the limit on bodies of requests.

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::Value;
use tower::BoxError;

use crate::status::StatusError;

/// The body of every response.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Largest request body, as upstream.
pub(crate) const MAX_REQUEST_BYTES: usize = 3 << 20;

/// How much of a body that is too large is taken before the connection is given up.
const MAX_DRAINED_BYTES: usize = 16 << 20;

/// A body that is there as a whole.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that comes bit by bit.
pub(crate) fn streamed(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    use futures::StreamExt;
    StreamBody::new(chunks.map(|chunk| Ok(Frame::data(chunk)))).boxed_unsync()
}

/// Reads a request's body up to the limit of size. The request's own deadline bounds how long that may take.
pub(crate) async fn read(body: Body) -> Result<Bytes, StatusError> {
    read_at_most(body, MAX_REQUEST_BYTES).await
}

/// Reads a body up to another limit of size, however long it takes.
pub(crate) async fn read_at_most(mut body: Body, limit: usize) -> Result<Bytes, StatusError> {
    let mut whole: Option<BytesMut> = None;
    let mut first = Bytes::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| StatusError::bad_request(format!("the body could not be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > limit {
            drain(body, MAX_DRAINED_BYTES).await;
            return Err(StatusError::too_large(limit));
        }
        // Most bodies come in one piece, which needs no copy.
        match &mut whole {
            Some(whole) => whole.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                let mut joined = BytesMut::from(first.as_ref());
                joined.extend_from_slice(&data);
                whole = Some(joined);
            }
        }
    }
    Ok(whole.map_or(first, BytesMut::freeze))
}

/// Takes the rest of a body that is refused: many clients read no answer before they have sent everything.
async fn drain(mut body: Body, limit: usize) {
    let mut length = 0;
    while length < limit
        && let Some(Ok(frame)) = body.frame().await
    {
        length += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// Keeps something until the last of a response's body is gone, be it read to its end or given up.
pub(crate) fn keep(response: Response<Body>, kept: impl Send + 'static) -> Response<Body> {
    let hold = move |_: &Frame<Bytes>| {
        // What looks at the frames owns it, and goes with the body.
        let _ = &kept;
    };
    response.map(|body| body.inspect_frame(hold).boxed_unsync())
}

/// A response with a JSON body that stands in memory.
pub(crate) fn json(code: StatusCode, bytes: impl Into<Bytes>) -> Response<Body> {
    typed(code, "application/json", bytes)
}

/// A response with a body of a media type.
pub(crate) fn typed(code: StatusCode, media: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    respond(code, media, whole(bytes))
}

/// A response with any body.
pub(crate) fn respond(code: StatusCode, media: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// Marks a response whose body is a whole API object in JSON: it can still be written in the form the client accepts.
#[derive(Clone, Debug)]
pub(crate) struct WholeObject(pub(crate) Bytes);

/// An API object as a response; the client gets it in the form it accepts.
pub(crate) fn tree(code: StatusCode, value: &Value) -> Response<Body> {
    object(code, value.to_string().into())
}

/// The text of an API object as a response; the client gets it in the form it accepts.
pub(crate) fn object(code: StatusCode, text: Bytes) -> Response<Body> {
    let mut response = json(code, text.clone());
    response.extensions_mut().insert(WholeObject(text));
    response
}

/// A refusal as a response.
pub(crate) fn refusal(error: &StatusError) -> Response<Body> {
    let mut response = tree(error.code(), &error.to_json());
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
