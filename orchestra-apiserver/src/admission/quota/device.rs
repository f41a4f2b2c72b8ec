//! Claims of devices: what of the cluster decides what they cost.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::ResourceClaim;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::quota::{Classes, charged_with, pod_of};
use serde::Deserialize;
use serde_json::Value;

use super::CORE;
use super::charge::Subject;
use crate::admission::AdmissionRequest;
use crate::status::StatusError;
use crate::storage::meta;

const DEVICES: GroupVersion = GroupVersion::new("resource.k8s.io", "v1");

/// A new claim, with the classes and its pod as they are stored.
pub(super) async fn subject(
    request: &AdmissionRequest<'_>,
    object: &Value,
    now: Timestamp,
) -> Result<Subject, StatusError> {
    let claim = ResourceClaim::deserialize(object).map_err(StatusError::internal)?;
    let classes = request.reader.list(&DEVICES, "deviceclasses", None).await?;
    let named = classes.iter().map(|class| {
        let resource = class.pointer("/spec/extendedResourceName").and_then(Value::as_str);
        (meta::name(class), resource)
    });
    let classes = Classes::of(named);
    let pod = match pod_of(&claim) {
        Some(owner) => request.reader.get(&CORE, "pods", request.namespace, &owner.name).await?,
        None => None,
    };
    let pod = pod.map(Pod::deserialize).transpose().map_err(StatusError::internal)?;
    let pod = match &pod {
        Some(pod) => {
            let claims = request.reader.list(&DEVICES, "resourceclaims", Some(request.namespace)).await?;
            let claims = claims.into_iter().map(ResourceClaim::deserialize).collect::<Result<Vec<_>, _>>();
            let claims = claims.map_err(StatusError::internal)?;
            charged_with(&claim, Some(pod), &claims).cloned()
        }
        None => None,
    };
    Ok(Subject::devices(claim, classes, pod, now))
}
