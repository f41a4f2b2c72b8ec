//! One object.

use http::{Response, StatusCode};
use orchestra_store::{Entry, ReadAt, Revision};

use crate::body::Body;
use crate::query::resource_version;
use crate::state::{Call, State};
use crate::status::StatusError;

/// The stored object the path names.
pub(crate) async fn entry(state: &State, call: &Call) -> Result<Entry, StatusError> {
    let key = call.resource.key(call.namespace(), call.name());
    let entry = state.store.get(&key, ReadAt::Latest).await?.value.ok_or_else(|| call.not_found())?;
    call.resource.convert_one(entry).await
}

/// GET of an object. Always the latest state, which satisfies any resourceVersion that has happened.
pub(crate) async fn get(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    if let Some(text) = call.query.get("resourceVersion") {
        let asked = resource_version(text).map_err(StatusError::unforeseen)?;
        state.feed.wait_for(Revision(asked)).await?;
    }
    let entry = entry(state, call).await?;
    call.renderer(state).object(StatusCode::OK, call.resource.attach(&entry)?.json())
}
