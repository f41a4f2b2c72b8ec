//! Who may approve and sign which requests for certificates, and what no request may ask for.
//!
//! After upstream's `plugin/pkg/admission/certificates`.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orchestra_core::gvk::GroupVersion;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

use super::{Admission, AdmissionRequest, Operation, Phases};
use crate::auth::{AccessRequest, Authorizer, Decision, MASTERS, User};
use crate::request::{RequestInfo, ResourceRequest, Verb};
use crate::status::StatusError;

const GROUP: &str = "certificates.k8s.io";
const PLURAL: &str = "certificatesigningrequests";
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// `CertificateApproval` and `CertificateSigning`: the verb `approve` or `sign` on the signer is needed.
#[derive(Debug)]
pub(super) struct SignerRights {
    name: &'static str,
    verb: &'static str,
    subresource: &'static str,
    authorizer: Arc<dyn Authorizer>,
}

impl SignerRights {
    pub(super) fn approval(authorizer: Arc<dyn Authorizer>) -> Self {
        Self { name: "CertificateApproval", verb: "approve", subresource: "approval", authorizer }
    }

    pub(super) fn signing(authorizer: Arc<dyn Authorizer>) -> Self {
        Self { name: "CertificateSigning", verb: "sign", subresource: "status", authorizer }
    }

    /// Whether the user has the verb on the signer, or on all of its domain.
    async fn may(&self, user: &User, signer: &str) -> bool {
        let domain = signer.split('/').next().unwrap_or_default();
        for name in [signer.to_owned(), format!("{domain}/*")] {
            let info = RequestInfo::Resource(ResourceRequest {
                // Authorizers go by the word beside this.
                verb: Verb::Get,
                gv: GroupVersion { group: Cow::Borrowed(GROUP), version: Cow::Borrowed("*") },
                resource: "signers".to_owned(),
                namespace: None,
                name: Some(name),
                subresource: None,
                tail: String::new(),
            });
            let asked = AccessRequest::new(user, self.verb, &info, "");
            // Who cannot be asked about may not.
            if matches!(self.authorizer.authorize(asked).await, Ok(Decision::Allow(_))) {
                return true;
            }
        }
        false
    }
}

#[async_trait]
impl Admission for SignerRights {
    fn name(&self) -> &str {
        self.name
    }

    fn phases(&self) -> Phases {
        Phases::Validation
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Update && request.is_subresource(GROUP, PLURAL, self.subresource)
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        if request.user.is_in(MASTERS) {
            return Ok(());
        }
        let Some(old) = request.old else { return Ok(()) };
        let same = |field: &str| {
            let said = |of: &Value| {
                of.pointer(field)
                    .filter(|v| !v.is_null() && v.as_array().is_none_or(|v| !v.is_empty()))
                    .cloned()
            };
            said(old) == said(object)
        };
        if self.verb == "sign" && same("/status/certificate") && same("/status/conditions") {
            return Ok(());
        }
        let signer = old.pointer("/spec/signerName").and_then(Value::as_str).unwrap_or_default();
        if self.may(request.user, signer).await {
            return Ok(());
        }
        let verb = self.verb;
        Err(request.refuse(format!("user not permitted to {verb} requests with signerName {signer:?}")))
    }
}

/// `CertificateSubjectRestriction`: the signer of clients' certificates makes nobody a member of `system:masters`.
#[derive(Debug)]
pub(super) struct CertificateSubjectRestriction;

#[async_trait]
impl Admission for CertificateSubjectRestriction {
    fn name(&self) -> &str {
        "CertificateSubjectRestriction"
    }

    fn phases(&self) -> Phases {
        Phases::Validation
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create && request.is(GROUP, PLURAL)
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
        if text("/spec/signerName") != CLIENT_SIGNER {
            return Ok(());
        }
        let organizations = organizations(text("/spec/request")).ok_or_else(|| {
            request.refuse("failed to parse CSR: PEM block type must be CERTIFICATE REQUEST")
        })?;
        if organizations.iter().any(|organization| organization == MASTERS) {
            let why = format!("use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed");
            return Err(request.refuse(why));
        }
        Ok(())
    }
}

/// The organizations that a request names, which become groups.
fn organizations(request: &str) -> Option<Vec<String>> {
    let pem = STANDARD.decode(request).ok()?;
    let (_, pem) = parse_x509_pem(&pem).ok()?;
    let (_, csr) = X509CertificationRequest::from_der(&pem.contents).ok()?;
    let subject = &csr.certification_request_info.subject;
    // What is written in an alphabet that is not read here could be any name.
    subject.iter_organization().map(|o| o.as_str().ok().map(str::to_owned)).collect()
}
