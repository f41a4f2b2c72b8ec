//! `/orchestra/v1/snapshot`: everything in the store, as one file.
//!
//! Not a part of the Kubernetes API. It holds every Secret, so the authorizer is asked about the path like about any other:
//! members of `system:masters` may have it.

use futures::TryStreamExt;
use http::{Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::body::{self, Body};
use crate::state::State;
use crate::status::StatusError;

/// Whether the path is the one of the snapshot.
pub(crate) fn is_at(path: &str) -> bool {
    path == "orchestra/v1/snapshot"
}

/// The bytes of the file, as they are made. When the store fails meanwhile, the connection breaks off and the file lacks its end.
pub(crate) async fn snapshot(state: &State, method: &Method) -> Result<Response<Body>, StatusError> {
    if *method != Method::GET {
        return Err(StatusError::method_not_supported());
    }
    let bytes = state.store.snapshot().await?.into_bytes();
    let body = StreamBody::new(bytes.map_ok(Frame::data).map_err(Into::into)).boxed_unsync();
    Ok(body::respond(StatusCode::OK, "application/octet-stream", body))
}
