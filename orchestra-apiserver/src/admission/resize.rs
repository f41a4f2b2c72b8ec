//! `PersistentVolumeClaimResize`: a claim grows only where its class lets it.

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::quantity::Quantity;
use serde_json::Value;

use super::{Admission, AdmissionRequest, Operation, Phases};
use crate::status::StatusError;

const STORAGE: GroupVersion = GroupVersion::new("storage.k8s.io", "v1");
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

#[derive(Debug)]
pub(super) struct PersistentVolumeClaimResize;

#[async_trait]
impl Admission for PersistentVolumeClaimResize {
    fn name(&self) -> &str {
        "PersistentVolumeClaimResize"
    }

    fn phases(&self) -> Phases {
        Phases::Validation
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Update && request.is("", "persistentvolumeclaims")
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        let Some(old) = request.old else { return Ok(()) };
        if asked(object) <= asked(old) {
            return Ok(());
        }
        if old.pointer("/status/phase").and_then(Value::as_str) != Some("Bound") {
            return Err(request.refuse("Only bound persistent volume claims can be expanded"));
        }
        let annotated = old.pointer("/metadata/annotations").and_then(|all| all.get(OLD_CLASS));
        let name = annotated.or_else(|| old.pointer("/spec/storageClassName")).and_then(Value::as_str);
        let class = match name.filter(|name| !name.is_empty()) {
            Some(name) => request.reader.get(&STORAGE, "storageclasses", "", name).await?,
            None => None,
        };
        let grows =
            class.as_ref().and_then(|class| class.get("allowVolumeExpansion")).and_then(Value::as_bool);
        if grows == Some(true) {
            return Ok(());
        }
        Err(request.refuse(
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
        ))
    }
}

/// How much a claim asks for; nothing when that cannot be read, which its kind refuses.
fn asked(claim: &Value) -> Option<Quantity> {
    claim
        .pointer("/spec/resources/requests/storage")
        .and_then(Value::as_str)
        .and_then(|text| Quantity::parse(text).ok())
}
