//! A request, as expressions see it: an `AdmissionRequest` without its objects.

use serde_json::{Value, json};

use crate::admission::AdmissionRequest;

/// The value of `request`.
pub(crate) fn request(request: &AdmissionRequest<'_>) -> Value {
    let about = request.request;
    let kind = json!({
        "group": request.kind_version.group, "version": request.kind_version.version, "kind": request.kind,
    });
    let resource = json!({"group": about.gv.group, "version": about.gv.version, "resource": about.resource});
    let below = about.subresource.as_deref().unwrap_or_default();
    json!({
        "kind": kind, "resource": resource, "subResource": below,
        "requestKind": kind, "requestResource": resource, "requestSubResource": below,
        "name": request.name, "namespace": request.namespace,
        "operation": request.operation.as_str(),
        "userInfo": request.user.info(),
        "dryRun": request.dry_run,
        "options": request.options(),
    })
}
