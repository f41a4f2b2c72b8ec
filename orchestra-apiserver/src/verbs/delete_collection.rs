//! Removing everything a selector matches.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, future, stream};
use http::Response;

use super::delete::{self, DeleteOptions};
use super::list;
use crate::body::Body;
use crate::cache::object::Object;
use crate::query::ListOptions;
use crate::request::{ResourceRequest, Verb};
use crate::state::{Call, State};
use crate::status::StatusError;

/// Deletions under way at once. Each waits for the disk, and those that wait together are synced together. Upstream has one
/// (`--delete-collection-workers`).
const AT_ONCE: usize = 64;

/// DELETE of a collection; answers with the objects as they were.
pub(crate) async fn delete_collection(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let options = DeleteOptions::read(call)?;
    let list_options = ListOptions::parse(&call.query, false)?;
    let page = list::page(state, call, &list_options).await?;
    let deletions = page.objects.into_iter().map(|object| remove(state, call, &options, object));
    // In the order of the list, whichever is done first.
    let removed = stream::iter(deletions).buffered(AT_ONCE).try_filter_map(future::ok);
    call.renderer(state).list(removed.try_collect().await?, &page.meta)
}

/// Removes one of the collection; `None` when somebody else was quicker.
async fn remove(
    state: &State,
    call: &Call,
    options: &DeleteOptions,
    object: Arc<Object>,
) -> Result<Option<Arc<Object>>, StatusError> {
    let one = Call {
        request: ResourceRequest {
            verb: Verb::Delete,
            name: Some(object.name.to_string()),
            namespace: object.namespace.as_deref().map(str::to_owned),
            ..call.request.clone()
        },
        resource: Arc::clone(&call.resource),
        query: call.query.clone(),
        headers: call.headers.clone(),
        user: call.user.clone(),
        output: call.output,
        options: call.options.clone(),
        body: call.body.clone(),
        notes: call.notes.clone(),
    };
    match delete::remove(state, &one, options).await {
        Ok(_) => Ok(Some(object)),
        Err(error) if error.reason() == "NotFound" => Ok(None),
        Err(error) => Err(error),
    }
}
