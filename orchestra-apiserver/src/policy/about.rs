//! A request, as expressions see it: an `AdmissionRequest` without its objects, and the namespace it is about.

use orchestra_core::gvk::GroupVersion;
use serde_json::{Value, json};

use crate::admission::AdmissionRequest;
use crate::admission::matching::Target;
use crate::status::StatusError;

const CORE: GroupVersion = GroupVersion::new("", "v1");

/// The value of `request`, taken as one about `target`.
pub(crate) fn request(request: &AdmissionRequest<'_>, target: &Target) -> Value {
    let about = request.request;
    let resource = |gv: &GroupVersion, plural: &str| json!({"group": gv.group, "version": gv.version, "resource": plural});
    let below = about.subresource.as_deref().unwrap_or_default();
    json!({
        "kind": seen_as(request, target), "resource": resource(&target.gv, &target.resource), "subResource": below,
        "requestKind": kind(request.kind_version, request), "requestResource": resource(&about.gv, &about.resource),
        "requestSubResource": below,
        "name": request.name, "namespace": request.namespace,
        "operation": request.operation.as_str(),
        "userInfo": request.user.info(),
        "dryRun": request.dry_run,
        "options": request.options(),
    })
}

/// The value of `request.kind` for who sees the request as one about `target`.
pub(crate) fn seen_as(request: &AdmissionRequest<'_>, target: &Target) -> Value {
    let is_own = request.kind_version == &request.request.gv;
    kind(if is_own { &target.gv } else { request.kind_version }, request)
}

fn kind(gv: &GroupVersion, request: &AdmissionRequest<'_>) -> Value {
    json!({"group": gv.group, "version": gv.version, "kind": request.kind})
}

/// The value of `namespaceObject`: none for what is in no namespace, and for namespaces.
pub(super) async fn namespace(request: &AdmissionRequest<'_>) -> Result<Option<Value>, StatusError> {
    if request.namespace.is_empty() || request.kind == "Namespace" {
        return Ok(None);
    }
    request.reader.get(&CORE, "namespaces", "", request.namespace).await
}
