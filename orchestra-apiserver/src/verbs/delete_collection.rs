//! Removing everything a selector matches.

use std::sync::Arc;

use http::Response;

use super::delete::{self, DeleteOptions};
use super::list;
use crate::body::Body;
use crate::query::ListOptions;
use crate::state::{Call, State};
use crate::status::StatusError;

/// DELETE of a collection; answers with the objects as they were.
pub(crate) async fn delete_collection(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let options = DeleteOptions::read(call)?;
    let list_options = ListOptions::parse(&call.query, false)?;
    let page = list::page(state, call, &list_options).await?;
    let mut removed = Vec::with_capacity(page.objects.len());
    for object in page.objects {
        let one = Call {
            request: crate::request::ResourceRequest {
                verb: crate::request::Verb::Delete,
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
        match delete::remove(state, &one, &options).await {
            Ok(_) => removed.push(object),
            // Somebody else was quicker.
            Err(error) if error.reason() == "NotFound" => {}
            Err(error) => return Err(error),
        }
    }
    call.renderer(state).list(removed, &page.meta)
}
