//! The cluster's authority as the controllers see it.

use orchestra_apiserver::pki::Signer;
use orchestra_controllers::certificate::{CertificateSigner, Validity};

/// Signs with the key that stands in the data directory.
#[derive(Debug)]
pub(super) struct Authority(pub(super) Signer);

impl CertificateSigner for Authority {
    fn sign(&self, request: &[u8], usages: &[String], validity: Validity) -> Result<String, String> {
        let signed = self.0.sign(request, usages, validity.from, validity.until);
        signed.map_err(|problem| problem.to_string())
    }
}
