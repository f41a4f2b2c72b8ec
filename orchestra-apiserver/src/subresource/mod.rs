//! What lies below an object, one file each; `status` is a part of [`crate::verbs::update`].

pub(crate) mod account_token;
pub(crate) mod approval;
pub(crate) mod binding;
pub(crate) mod component_status;
pub(crate) mod container;
pub(crate) mod eviction;
pub(crate) mod finalize;
pub(crate) mod log;
pub(crate) mod scale;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body::{self, Body};
use crate::state::Call;
use crate::storage::meta;

/// Fills in the name and the namespace, which the path says, of an object below another, as upstream does before admission.
fn complete(call: &Call, object: &mut Value) {
    let place = [("name", Some(call.name())), ("namespace", call.namespace())];
    for (field, value) in place {
        if let (Some(value), true) = (value, meta::text(object, field).is_empty()) {
            meta::set(object, field, value);
        }
    }
}

/// What bindings and evictions are answered with.
pub(crate) fn done() -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "code": StatusCode::CREATED.as_u16(),
    });
    body::tree(StatusCode::CREATED, &status)
}
