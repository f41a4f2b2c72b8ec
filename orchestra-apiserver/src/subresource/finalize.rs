//! `namespaces/finalize`: the finalizers in a namespace's spec, which no other write may change.

use async_trait::async_trait;
use http::Response;
use serde_json::{Value, json};

use crate::body::Body;
use crate::negotiate::decode;
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::storage::meta;
use crate::storage::writer::{Edit, Step};
use crate::verbs::update;

/// PUT of a namespace whose finalizers have done their work.
pub(crate) async fn finalize(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let new = decode::object(call, call.options.field_validation)?.value;
    let written = update::write(state, call, &FinalizeEdit { call, new }).await?;
    update::respond(state, call, written)
}

struct FinalizeEdit<'a> {
    call: &'a Call,
    new: Value,
}

#[async_trait]
impl Edit for FinalizeEdit<'_> {
    async fn edit(&self, current: &Value) -> Result<Step, StatusError> {
        let version = meta::text(&self.new, "resourceVersion");
        if !version.is_empty() && version != meta::text(current, "resourceVersion") {
            return Err(StatusError::modified(&self.call.resource.gr, self.call.name()));
        }
        let finalizers = self.new.pointer("/spec/finalizers").cloned().filter(|list| !list.is_null());
        let mut object = current.clone();
        object["spec"] = match finalizers {
            Some(list) => json!({ "finalizers": list }),
            None => json!({}),
        };
        Ok(Step::Put(object))
    }

    async fn create(&self) -> Result<Option<Value>, StatusError> {
        Ok(None)
    }
}
