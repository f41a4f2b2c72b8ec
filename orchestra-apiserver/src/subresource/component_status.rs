//! `componentstatuses`: how the parts of the control plane are. This server knows of its store alone; other parts tell of
//! themselves, and whether they work shows in what they do.

use std::sync::Arc;

use http::{Response, StatusCode};
use orchestra_store::{Entry, ReadAt};
use serde_json::json;

use crate::body::Body;
use crate::cache::object::Object;
use crate::filter::Filter;
use crate::negotiate::render::ListMeta;
use crate::query::ListOptions;
use crate::request::Verb;
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::warning;

/// The store, by the name upstream has for its first.
const STORE: &str = "etcd-0";
const DEPRECATED: &str = "v1 ComponentStatus is deprecated in v1.19+";

/// GET of one of them, or of all.
pub(crate) async fn read(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let resource = &call.resource;
    let object = Object::of(resource, &store(state, call).await?)?;
    let mut response = if call.request.verb == Verb::Get {
        if call.name() != STORE {
            return Err(call.not_found());
        }
        call.renderer(state).object(StatusCode::OK, object.encoded.json())?
    } else {
        let options = ListOptions::parse(&call.query, false)?;
        let filter = Filter::parse(resource, &options, None)?;
        let found = filter.matches(resource, &object).then(|| Arc::new(object));
        call.renderer(state).list(found.into_iter().collect(), &ListMeta::default())?
    };
    warning::add(&mut response, &[DEPRECATED.to_owned()]);
    Ok(response)
}

/// How the store is, as if it were an object in it.
async fn store(state: &State, call: &Call) -> Result<Entry, StatusError> {
    let problem = state.store_health.problem(&*state.store).await;
    let condition = match problem {
        None => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Some(problem) => json!({"type": "Healthy", "status": "False", "message": "", "error": problem}),
    };
    let mut object = json!({"metadata": {"name": STORE}, "conditions": [condition]});
    call.resource.complete(&mut object);
    let key = call.resource.key(None, STORE);
    let revision = state.store.get(&key, ReadAt::Latest).await?.revision;
    Ok(Entry {
        key,
        value: call.resource.encode(&object),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
    })
}
