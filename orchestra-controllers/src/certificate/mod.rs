//! Requests for certificates: those of nodes are approved, approved ones signed, and old ones removed, as upstream's controllers
//! `certificatesigningrequest-approving`, `-signing` and `-cleaner` do it.
//!
//! What a request may ask for is decided in pure functions. The key of the cluster's authority is not here: whoever has it is a
//! [`CertificateSigner`].

mod approve;
mod clean;
mod judge;
mod sign;

use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

pub(crate) use approve::setup as setup_approver;
pub(crate) use clean::setup as setup_cleaner;
pub(crate) use sign::setup as setup_signer;

/// From when until when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: Timestamp,
    /// Not after.
    pub until: Timestamp,
}

/// Has the key of the cluster's authority.
///
/// # Contract
/// 1. The certificate has the subject, the key and the subject's alternative names of the request, and of its other wishes none.
/// 2. It is for these usages, in the words of the API, and for nothing else; it is no authority.
///
/// # Errors
/// The reason, for logs: signing is tried again.
///
/// # Implementing
/// ```
/// use orchestra_controllers::Controllers;
/// use orchestra_controllers::certificate::{CertificateSigner, Validity};
///
/// /// Signs nothing.
/// #[derive(Debug)]
/// struct Closed;
///
/// impl CertificateSigner for Closed {
///     fn sign(&self, _: &[u8], _: &[String], _: Validity) -> Result<String, String> {
///         Err("closed".to_owned())
///     }
/// }
///
/// let controllers = Controllers::all().certificate_signer(Closed);
/// ```
pub trait CertificateSigner: Debug + Send + Sync + 'static {
    /// Signs a request, PEM, and returns the certificate, PEM.
    fn sign(&self, request: &[u8], usages: &[String], validity: Validity) -> Result<String, String>;
}

const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";

/// Whether a condition is there.
fn has(request: &CertificateSigningRequest, type_: &str) -> bool {
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == type_)
}

/// The certificate, once it is there.
fn certificate(request: &CertificateSigningRequest) -> Option<&[u8]> {
    let issued = request.status.as_ref()?.certificate.as_ref()?;
    (!issued.0.is_empty()).then_some(issued.0.as_slice())
}
