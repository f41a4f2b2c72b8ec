//! Whether who asks for a certificate has the key it is to be for: a request is signed with that key.
//!
//! Upstream refuses a `CertificateSigningRequest` whose request cannot be read or whose signature does not hold, as an
//! invalid `spec.request`. The rest of the kind's rules are `orchestra-core`'s, which has no cryptography.

use aws_lc_rs::signature::{self as algorithm, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orchestra_core::certificate;
use orchestra_core::kind::Description;
use orchestra_core::violation::{FieldPath, Violation};
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

const REQUEST: &str = "CERTIFICATE REQUEST";
const UNKNOWN: &str = "x509: cannot verify signature: algorithm unimplemented";
const RSA_FAILS: &str = "crypto/rsa: verification error";
const ECDSA_FAILS: &str = "x509: ECDSA verification failure";
const ED25519_FAILS: &str = "x509: Ed25519 verification failure";

/// What is wrong with the proof in a new object; nothing in objects of other kinds, nor where the request is no PEM block of
/// that sort, which the kind itself says.
pub(crate) fn violation(description: &Description, object: &Value) -> Option<Violation> {
    if description.kind != "CertificateSigningRequest" || description.gv.group != "certificates.k8s.io" {
        return None;
    }
    let body = object.pointer("/spec/request")?.as_str()?;
    let (_, block) = parse_x509_pem(&STANDARD.decode(body).ok()?).ok()?;
    if block.label != REQUEST {
        return None;
    }
    let wrong = check(&block.contents).err()?;
    Some(Violation::invalid(&FieldPath::new("spec").child("request"), body, wrong))
}

/// Checks a request in DER against the key in it.
fn check(der: &[u8]) -> Result<(), String> {
    let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| "asn1: structure error")?;
    if !rest.is_empty() {
        return Err("asn1: syntax error: trailing data".to_owned());
    }
    certificate::extensions(&request.certification_request_info).map_err(|twice| twice.to_string())?;
    let key = &request.certification_request_info.subject_pki;
    let curve =
        key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok()).map(|oid| oid.to_id_string());
    let named = request.signature_algorithm.algorithm.to_id_string();
    let hash = request.signature_algorithm.parameters.as_ref().and_then(pss_hash);
    let (way, failure) = way(&named, curve.as_deref(), hash.as_deref()).ok_or(UNKNOWN)?;
    UnparsedPublicKey::new(way, key.subject_public_key.data.as_ref())
        .verify(request.certification_request_info.raw, request.signature_value.data.as_ref())
        .map_err(|_| failure.to_owned())
}

/// The hash that the parameters of RSA-PSS name.
fn pss_hash(parameters: &x509_parser::der_parser::asn1_rs::Any<'_>) -> Option<String> {
    let parsed = x509_parser::signature_algorithm::RsaSsaPssParams::try_from(parameters.clone()).ok()?;
    Some(parsed.hash_algorithm_oid().to_id_string())
}

type Way = (&'static dyn VerificationAlgorithm, &'static str);

/// How a signature is verified, and what is said where it does not hold. Small and old keys are good enough here, as
/// upstream has it: whether a certificate is given for them is the signer's to decide.
fn way(named: &str, curve: Option<&str>, hash: Option<&str>) -> Option<Way> {
    match named.rsplit_once('.')? {
        ("1.2.840.10045.4" | "1.2.840.10045.4.3", _) => Some((ecdsa(named, curve?)?, ECDSA_FAILS)),
        ("1.2.840.113549.1.1", _) => Some((rsa(named, hash)?, RSA_FAILS)),
        ("1.3.101", "112") => Some((&algorithm::ED25519, ED25519_FAILS)),
        _ => None,
    }
}

fn ecdsa(named: &str, curve: &str) -> Option<&'static dyn VerificationAlgorithm> {
    const P256: &str = "1.2.840.10045.3.1.7";
    const P384: &str = "1.3.132.0.34";
    const P521: &str = "1.3.132.0.35";
    const SHA1: &str = "1.2.840.10045.4.1";
    const SHA256: &str = "1.2.840.10045.4.3.2";
    const SHA384: &str = "1.2.840.10045.4.3.3";
    const SHA512: &str = "1.2.840.10045.4.3.4";
    Some(match (curve, named) {
        (P256, SHA1) => &algorithm::ECDSA_P256_SHA1_ASN1,
        (P256, SHA256) => &algorithm::ECDSA_P256_SHA256_ASN1,
        (P256, SHA384) => &algorithm::ECDSA_P256_SHA384_ASN1,
        (P256, SHA512) => &algorithm::ECDSA_P256_SHA512_ASN1,
        (P384, SHA256) => &algorithm::ECDSA_P384_SHA256_ASN1,
        (P384, SHA384) => &algorithm::ECDSA_P384_SHA384_ASN1,
        (P384, SHA512) => &algorithm::ECDSA_P384_SHA512_ASN1,
        (P521, SHA1) => &algorithm::ECDSA_P521_SHA1_ASN1,
        (P521, SHA256) => &algorithm::ECDSA_P521_SHA256_ASN1,
        (P521, SHA384) => &algorithm::ECDSA_P521_SHA384_ASN1,
        (P521, SHA512) => &algorithm::ECDSA_P521_SHA512_ASN1,
        _ => return None,
    })
}

fn rsa(named: &str, hash: Option<&str>) -> Option<&'static dyn VerificationAlgorithm> {
    const PSS: &str = "1.2.840.113549.1.1.10";
    Some(match (named, hash) {
        ("1.2.840.113549.1.1.5", _) => &algorithm::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        ("1.2.840.113549.1.1.11", _) => &algorithm::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        ("1.2.840.113549.1.1.12", _) => &algorithm::RSA_PKCS1_2048_8192_SHA384,
        ("1.2.840.113549.1.1.13", _) => &algorithm::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        (PSS, Some("2.16.840.1.101.3.4.2.1")) => &algorithm::RSA_PSS_2048_8192_SHA256,
        (PSS, Some("2.16.840.1.101.3.4.2.2")) => &algorithm::RSA_PSS_2048_8192_SHA384,
        (PSS, Some("2.16.840.1.101.3.4.2.3")) => &algorithm::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;

    fn request(key: &KeyPair) -> Vec<u8> {
        CertificateParams::new(vec!["a.example.com".to_owned()])
            .unwrap()
            .serialize_request(key)
            .unwrap()
            .der()
            .to_vec()
    }

    #[test]
    fn a_request_signed_with_its_own_key_holds() {
        for kind in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            let key = KeyPair::generate_for(kind).unwrap();
            assert_eq!(check(&request(&key)), Ok(()), "{kind:?}");
        }
    }

    #[test]
    fn one_that_was_changed_after_it_was_signed_does_not() {
        for (kind, said) in [(&PKCS_ECDSA_P256_SHA256, ECDSA_FAILS), (&PKCS_ED25519, ED25519_FAILS)] {
            let mut der = request(&KeyPair::generate_for(kind).unwrap());
            let at = der.windows(5).position(|window| window == b"a.exa").unwrap();
            der[at] = b'b';
            assert_eq!(check(&der), Err(said.to_owned()));
        }
    }

    #[test]
    fn what_is_no_request_is_told_apart() {
        assert_eq!(check(b"\x30\x03abc"), Err("asn1: structure error".to_owned()));
        let mut der = request(&KeyPair::generate().unwrap());
        der.push(0);
        assert_eq!(check(&der), Err("asn1: syntax error: trailing data".to_owned()));
        assert!(way("1.2.3.4", None, None).is_none());
    }
}
