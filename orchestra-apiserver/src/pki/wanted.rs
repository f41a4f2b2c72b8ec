//! Which extensions a request for a certificate asks for.
//!
//! A request may say so in several places, and who approves must read what is signed: none may be asked for twice, as in Go.

use x509_parser::certification_request::X509CertificationRequestInfo;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::X509Extension;

const TWICE: &str = "x509: certificate request contains duplicate requested extensions";

/// All of them, in order.
///
/// # Errors
/// One is asked for twice.
pub(super) fn extensions<'a>(
    asked: &'a X509CertificationRequestInfo<'a>,
) -> Result<Vec<&'a X509Extension<'a>>, &'static str> {
    let requested = asked.iter_attributes().filter_map(|attribute| match attribute.parsed_attribute() {
        ParsedCriAttribute::ExtensionRequest(requested) => Some(&requested.extensions),
        _ => None,
    });
    let mut found: Vec<&X509Extension<'_>> = Vec::new();
    for extension in requested.flatten() {
        if found.iter().any(|earlier| earlier.oid == extension.oid) {
            return Err(TWICE);
        }
        found.push(extension);
    }
    Ok(found)
}
