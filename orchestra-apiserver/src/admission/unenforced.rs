//! Says of a policy that is kept but not in force that it is not, so that nobody relies on it.

use async_trait::async_trait;
use serde_json::Value;

use super::{Admission, AdmissionRequest, Operation};
use crate::status::StatusError;

const WARNING: &str =
    "this server keeps mutating admission policies but does not put them in force; use a mutating webhook";

#[derive(Debug)]
pub(super) struct Unenforced;

#[async_trait]
impl Admission for Unenforced {
    fn name(&self) -> &str {
        "Unenforced"
    }

    async fn mutate(&self, _request: &AdmissionRequest<'_>, _object: &mut Value) -> Result<(), StatusError> {
        Ok(())
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, _object: &Value) -> Result<(), StatusError> {
        let is_write = matches!(request.operation, Operation::Create | Operation::Update);
        if is_write && request.is("admissionregistration.k8s.io", "mutatingadmissionpolicies") {
            request.warn(WARNING);
        }
        Ok(())
    }
}
