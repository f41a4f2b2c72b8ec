//! Who asks for a certificate is what the server knows, not what the request says.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Admission, AdmissionRequest, Operation, Phases};
use crate::status::StatusError;

/// Writes the sender's name, uid, groups and extras into a new `CertificateSigningRequest`; upstream does so in the strategy of
/// the kind.
#[derive(Debug)]
pub(super) struct CertificateRequester;

#[async_trait]
impl Admission for CertificateRequester {
    fn name(&self) -> &str {
        "CertificateRequester"
    }

    fn phases(&self) -> Phases {
        Phases::Mutation
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        let is_new = request.operation == Operation::Create;
        is_new && request.is("certificates.k8s.io", "certificatesigningrequests")
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        let user = request.user;
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        let said = [
            ("username", json!(user.name)),
            ("uid", json!(user.uid)),
            ("groups", json!(user.groups)),
            ("extra", json!(user.extra)),
        ];
        for (field, value) in said {
            let is_empty = value.as_str().is_some_and(str::is_empty)
                || value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(serde_json::Map::is_empty);
            if is_empty {
                spec.remove(field);
            } else {
                spec.insert(field.to_owned(), value);
            }
        }
        Ok(())
    }
}
