//! What requests for certificates (PKCS #10, RFC 2986) ask for, as far as somebody decides by it.
//!
//! Who decides and who signs must read the same in a request; so it is read here and nowhere else. Signatures are not checked here: this
//! crate has no cryptography.

use x509_parser::certification_request::{X509CertificationRequest, X509CertificationRequestInfo};
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

/// What a request asks for, as far as somebody decides by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The subject's common name, the last if there are several.
    pub common_name: String,
    /// The subject's organisations, in order.
    pub organizations: Vec<String>,
    /// Alternative names.
    pub dns_names: usize,
    /// Alternative addresses.
    pub addresses: usize,
    /// Alternative mail addresses.
    pub mail_addresses: usize,
    /// Alternative URIs.
    pub uris: usize,
}

/// Why a request cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl Request {
    /// Reads a request, PEM.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(pem: &[u8]) -> Result<Self, Unreadable> {
        let wrong_type = || Unreadable("PEM block type must be CERTIFICATE REQUEST".to_owned());
        let (_, pem) = parse_x509_pem(pem).map_err(|_| wrong_type())?;
        if pem.label != "CERTIFICATE REQUEST" {
            return Err(wrong_type());
        }
        let parsed = X509CertificationRequest::from_der(&pem.contents);
        let (_, request) = parsed.map_err(|problem| Unreadable(problem.to_string()))?;
        let subject = &request.certification_request_info.subject;
        let text = |attribute: &AttributeTypeAndValue<'_>| attribute.as_str().unwrap_or_default().to_owned();
        let mut found = Self {
            common_name: subject.iter_common_name().map(text).last().unwrap_or_default(),
            organizations: subject.iter_organization().map(text).collect(),
            ..Self::default()
        };
        for extension in extensions(&request.certification_request_info)? {
            if extension.oid != OID_X509_EXT_SUBJECT_ALT_NAME {
                continue;
            }
            let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
                return Err(Unreadable("the alternative names cannot be read".to_owned()));
            };
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(_) => found.dns_names += 1,
                    GeneralName::IPAddress(_) => found.addresses += 1,
                    GeneralName::RFC822Name(_) => found.mail_addresses += 1,
                    GeneralName::URI(_) => found.uris += 1,
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

/// All extensions that are asked for, in order and from all places where a request may ask for some.
///
/// # Errors
/// One is asked for twice, as Go has it.
pub fn extensions<'a>(
    asked: &'a X509CertificationRequestInfo<'a>,
) -> Result<Vec<&'a X509Extension<'a>>, Unreadable> {
    let mut found: Vec<&X509Extension<'_>> = Vec::new();
    for attribute in asked.iter_attributes() {
        let ParsedCriAttribute::ExtensionRequest(requested) = attribute.parsed_attribute() else { continue };
        for extension in &requested.extensions {
            if found.iter().any(|earlier| earlier.oid == extension.oid) {
                return Err(Unreadable(
                    "x509: certificate request contains duplicate requested extensions".to_owned(),
                ));
            }
            found.push(extension);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    /// An element of fewer than 256 bytes.
    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u8::try_from(content.len()).unwrap();
        let header = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [header, content].concat()
    }

    /// A request whose attributes ask for extensions, each with one alternative name.
    fn asking(attributes: &[&[&str]]) -> Vec<u8> {
        const ALTERNATIVE_NAMES: &[u8] = b"\x06\x03\x55\x1d\x11";
        const EXTENSION_REQUEST: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e";
        const ED25519: &[u8] = b"\x30\x05\x06\x03\x2b\x65\x70";
        let attributes: Vec<u8> = attributes
            .iter()
            .flat_map(|names| {
                let extensions: Vec<u8> = names
                    .iter()
                    .flat_map(|name| {
                        let names = tlv(0x30, &[&tlv(0x82, &[name.as_bytes()])]);
                        tlv(0x30, &[ALTERNATIVE_NAMES, &tlv(0x04, &[&names])])
                    })
                    .collect();
                let values = tlv(0x31, &[&tlv(0x30, &[&extensions])]);
                tlv(0x30, &[EXTENSION_REQUEST, &values])
            })
            .collect();
        let key = tlv(0x30, &[ED25519, &tlv(0x03, &[&[0; 33]])]);
        let info = tlv(0x30, &[b"\x02\x01\x00\x30\x00", &key, &tlv(0xa0, &[&attributes])]);
        let der = tlv(0x30, &[&info, ED25519, &tlv(0x03, &[&[0; 65]])]);
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
            .into_bytes()
    }

    #[test]
    fn names_that_stand_in_a_second_place_are_seen_and_in_both_refused() {
        let names = |attributes: &[&[&str]]| Request::parse(&asking(attributes)).map(|read| read.dns_names);
        assert_eq!(names(&[]), Ok(0));
        assert_eq!(names(&[&["n.example"]]), Ok(1));
        assert_eq!(names(&[&[], &["other.example"]]), Ok(1));
        let twice =
            Unreadable("x509: certificate request contains duplicate requested extensions".to_owned());
        assert_eq!(names(&[&["n.example"], &["other.example"]]), Err(twice.clone()));
        assert_eq!(names(&[&["n.example", "other.example"]]), Err(twice));
    }

    #[test]
    fn rubbish_is_no_request() {
        let said = "PEM block type must be CERTIFICATE REQUEST";
        let pem = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
        assert_eq!(Request::parse(b"rubbish").unwrap_err().to_string(), said);
        assert_eq!(Request::parse(pem.replace("TE REQUEST", "TE").as_bytes()).unwrap_err().to_string(), said);
        assert!(Request::parse(pem.as_bytes()).is_err());
    }
}
