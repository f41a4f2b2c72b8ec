//! Signing what others ask for: the certificate has the subject and the key of the request, byte for byte, its alternative names of the
//! four sorts that requests are judged by (hosts, addresses, mail, URIs), and for the rest it is as the signer says.
//!
//! Written in DER here, because the library that makes the cluster's own certificates has no way to leave a stranger's subject as it is.

use aws_lc_rs::rand;
use jiff::Timestamp;
use jiff::tz::Offset;
use orchestra_core::certificate;
use rcgen::{KeyPair, SigningKey as _};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::{X509CertificationRequest, X509CertificationRequestInfo};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::parse_x509_certificate;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

/// Why something was not signed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CertificateRefused(String);

fn refused(why: impl ToString) -> CertificateRefused {
    CertificateRefused(why.to_string())
}

/// Has the key of the cluster's authority.
pub struct Signer {
    key: KeyPair,
    /// Parts of the authority's own certificate, as they are in every one it signs.
    issuer: Vec<u8>,
    algorithm: Vec<u8>,
    key_id: Option<Vec<u8>>,
    until: Timestamp,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is nobody's business.
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

/// Usages that are bits of one extension, and those that are names in another.
const KEY_USAGES: [(&str, u32); 10] = [
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];
/// With their object identifiers, encoded.
const EXTENDED_USAGES: [(&str, &[u8]); 13] = [
    ("any", &[0x55, 0x1d, 0x25, 0x00]),
    ("server auth", &[0x2b, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[0x2b, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[0x2b, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[0x2b, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[0x2b, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[0x2b, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[0x2b, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[0x2b, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[0x2b, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[0x2b, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 0x0a, 3, 3]),
    ("netscape sgc", &[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 4, 1]),
];

/// `2.5.29.x`: the extensions that are written here.
const KEY_USAGE: u8 = 15;
const ALTERNATIVE_NAMES: u8 = 17;
const BASIC_CONSTRAINTS: u8 = 19;
const AUTHORITY_KEY: u8 = 35;
const EXTENDED_USAGE: u8 = 37;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const OCTETS: u8 = 0x04;
const IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERAL_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;

impl Signer {
    pub(super) fn new(certificate: &str, key: &str) -> Result<Self, CertificateRefused> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(refused)?;
        let (_, own) = parse_x509_certificate(&der).map_err(refused)?;
        let key_id = own.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        // It signed itself: behind its content stands by which algorithm.
        let algorithm = algorithm_of(&der).ok_or_else(|| refused("it cannot be read"))?;
        Ok(Self {
            key: KeyPair::from_pem(key).map_err(refused)?,
            issuer: own.subject().as_raw().to_vec(),
            algorithm,
            key_id,
            until: Timestamp::from_second(own.validity().not_after.timestamp()).map_err(refused)?,
        })
    }

    /// Signs a request, PEM, for `usages` in the words of the API, and returns the certificate, PEM. It ends with the authority's own at the latest.
    ///
    /// # Errors
    /// The request or a usage is none, or the authority is at its end.
    pub fn sign(
        &self,
        request: &[u8],
        usages: &[String],
        from: Timestamp,
        until: Timestamp,
    ) -> Result<String, CertificateRefused> {
        let (_, pem) = parse_x509_pem(request).map_err(refused)?;
        let (_, request) = X509CertificationRequest::from_der(&pem.contents).map_err(refused)?;
        let asked = &request.certification_request_info;
        let until = until.min(self.until);
        if from >= until {
            return Err(refused(format!("the signer has expired: NotAfter={}", self.until)));
        }
        let mut extensions = extensions(usages)?;
        if let Some(id) = &self.key_id {
            extensions.extend(extension(AUTHORITY_KEY, false, &tlv(SEQUENCE, &tlv(0x80, id))));
        }
        let names = alternative_names(asked)?;
        if !names.is_empty() {
            // Whoever has no other name is known by these.
            let is_critical = asked.subject.iter().next().is_none();
            extensions.extend(extension(ALTERNATIVE_NAMES, is_critical, &tlv(SEQUENCE, &names)));
        }
        let content = tlv(
            SEQUENCE,
            &[
                tlv(0xa0, &tlv(INTEGER, &[2])),
                tlv(INTEGER, &serial()?),
                self.algorithm.clone(),
                self.issuer.clone(),
                tlv(SEQUENCE, &[time(from), time(until)].concat()),
                asked.subject.as_raw().to_vec(),
                asked.subject_pki.raw.to_vec(),
                tlv(0xa3, &tlv(SEQUENCE, &extensions)),
            ]
            .concat(),
        );
        let signature = self.key.sign(&content).map_err(refused)?;
        let signature = tlv(BITS, &[&[0], signature.as_slice()].concat());
        let whole = tlv(SEQUENCE, &[content, self.algorithm.clone(), signature].concat());
        Ok(to_pem(&whole))
    }
}

/// The alternative names of a request, each as it stands there, without those of a sort that nobody judges requests by.
fn alternative_names(asked: &X509CertificationRequestInfo<'_>) -> Result<Vec<u8>, CertificateRefused> {
    let mut names = Vec::new();
    for wanted in certificate::extensions(asked).map_err(refused)? {
        if wanted.oid != OID_X509_EXT_SUBJECT_ALT_NAME {
            continue;
        }
        let ParsedExtension::SubjectAlternativeName(found) = wanted.parsed_extension() else {
            return Err(refused("the alternative names cannot be read"));
        };
        for name in &found.general_names {
            match name {
                GeneralName::RFC822Name(name) => names.extend(tlv(0x81, name.as_bytes())),
                GeneralName::DNSName(name) => names.extend(tlv(0x82, name.as_bytes())),
                GeneralName::URI(name) => names.extend(tlv(0x86, name.as_bytes())),
                GeneralName::IPAddress(
                    address @ ([_, _, _, _] | [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _]),
                ) => {
                    names.extend(tlv(0x87, address));
                }
                GeneralName::IPAddress(_) => return Err(refused("an alternative address cannot be read")),
                _ => {}
            }
        }
    }
    Ok(names)
}

/// The second of the three parts of a certificate.
fn algorithm_of(der: &[u8]) -> Option<Vec<u8>> {
    let (header, _) = element(der)?;
    let parts = der.get(header..)?;
    let (header, length) = element(parts)?;
    let algorithm = parts.get(header + length..)?;
    let (header, length) = element(algorithm)?;
    algorithm.get(..header + length).map(<[u8]>::to_vec)
}

/// How long the header of an element is, and how long its content.
fn element(der: &[u8]) -> Option<(usize, usize)> {
    let first = *der.get(1)?;
    if first < 0x80 {
        return Some((2, first.into()));
    }
    let count = usize::from(first & 0x7f);
    let digits = der.get(2..2 + count).filter(|_| count <= 4)?;
    let length = digits.iter().fold(0usize, |length, digit| length << 8 | usize::from(*digit));
    Some((2 + count, length))
}

/// An element: what it is, how long, and its content.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits: Vec<u8> = length.into_iter().skip_while(|digit| *digit == 0).collect();
    let mut out = vec![tag];
    match digits.as_slice() {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        // A length has eight digits at most.
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            out.extend(long);
        }
    }
    out.extend(content);
    out
}

fn extension(number: u8, is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { tlv(BOOLEAN, &[0xff]) } else { Vec::new() };
    tlv(SEQUENCE, &[tlv(IDENTIFIER, &[0x55, 0x1d, number]), critical, tlv(OCTETS, value)].concat())
}

/// What the certificate is for, and that it is no authority.
fn extensions(usages: &[String]) -> Result<Vec<u8>, CertificateRefused> {
    let (mut bits, mut purposes) = (0u16, Vec::new());
    for usage in usages {
        let bit = KEY_USAGES.iter().find(|(name, _)| name == usage);
        let purpose = EXTENDED_USAGES.iter().find(|(name, _)| name == usage);
        match (bit, purpose) {
            (Some((_, at)), _) => bits |= 0x8000 >> at,
            (None, Some((_, purpose))) if !purposes.contains(purpose) => purposes.push(*purpose),
            (None, Some(_)) => {}
            (None, None) => return Err(refused(format!("unrecognized usage values: [{usage:?}]"))),
        }
    }
    let mut out = Vec::new();
    if bits != 0 {
        let unused = u8::try_from(bits.trailing_zeros() % 8).unwrap_or_default();
        let [high, low] = bits.to_be_bytes();
        let bytes: &[u8] = if low == 0 { &[high] } else { &[high, low] };
        out.extend(extension(KEY_USAGE, true, &tlv(BITS, &[&[unused], bytes].concat())));
    }
    if !purposes.is_empty() {
        let purposes: Vec<u8> = purposes.into_iter().flat_map(|purpose| tlv(IDENTIFIER, purpose)).collect();
        out.extend(extension(EXTENDED_USAGE, false, &tlv(SEQUENCE, &purposes)));
    }
    out.extend(extension(BASIC_CONSTRAINTS, true, &tlv(SEQUENCE, &[])));
    Ok(out)
}

/// A number nobody can foresee, above zero.
fn serial() -> Result<[u8; 16], CertificateRefused> {
    let mut serial = [0u8; 16];
    rand::fill(&mut serial).map_err(|_| refused("there is no randomness"))?;
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(serial)
}

/// Two digits of the year up to 2049, four from then on.
fn time(time: Timestamp) -> Vec<u8> {
    let date = Offset::UTC.to_datetime(time);
    if date.year() < 2050 {
        tlv(UTC_TIME, date.strftime("%y%m%d%H%M%SZ").to_string().as_bytes())
    } else {
        tlv(GENERAL_TIME, date.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
    }
}

fn to_pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        // Base64 is ASCII.
        out.push_str(std::str::from_utf8(line).unwrap_or_default());
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType};

    use super::*;
    use crate::pki::issue;

    fn request(change: impl FnOnce(&mut CertificateParams)) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["n.example".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, "system:node:n");
        change(&mut params);
        params.serialize_request(&key).unwrap().pem().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn usages(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_certificate_says_what_the_request_says_and_is_for_what_the_signer_says() {
        let authority = issue::authority("kubernetes", at("2026-01-01T00:00:00Z")).unwrap();
        let signer = Signer::new(&authority.certificate, &authority.key).unwrap();
        let wanted = usages(&["digital signature", "key encipherment", "server auth", "client auth", "any"]);
        let (from, until) = (at("2026-02-03T04:05:06Z"), at("2026-02-03T05:05:06Z"));
        let pem = signer.sign(request(|_| ()).as_bytes(), &wanted, from, until).unwrap();
        let (_, pem) = parse_x509_pem(pem.as_bytes()).unwrap();
        let signed = pem.parse_x509().unwrap();
        let (_, own) = parse_x509_pem(authority.certificate.as_bytes()).unwrap();
        let own = own.parse_x509().unwrap();
        assert_eq!(signed.issuer().as_raw(), own.subject().as_raw());
        assert_eq!(signed.subject().to_string(), "O=system:nodes, CN=system:node:n");
        assert_eq!(signed.validity().not_before.timestamp(), from.as_second());
        assert_eq!(signed.validity().not_after.timestamp(), until.as_second());
        assert!(!signed.is_ca() && signed.version().0 == 2);
        let usage = signed.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
        let purpose = signed.extended_key_usage().unwrap().unwrap().value;
        assert!(purpose.server_auth && purpose.client_auth && purpose.any && !purpose.code_signing);
        let names = signed.subject_alternative_name().unwrap().unwrap().value;
        assert_eq!(names.general_names.len(), 2);
        // The machinery that clients check certificates with takes it.
        let roots = {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap()).unwrap();
            std::sync::Arc::new(roots)
        };
        let provider = crate::tls::provider();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
        let now = std::time::Duration::from_secs(u64::try_from(from.as_second() + 60).unwrap());
        let now = rustls_pki_types::UnixTime::since_unix_epoch(now);
        verifier.verify_client_cert(&CertificateDer::from(pem.contents.clone()), &[], now).unwrap();
    }

    #[test]
    fn nothing_outlives_the_authority_and_nothing_unknown_is_signed() {
        let authority = issue::authority("kubernetes", at("2040-01-01T00:00:00Z")).unwrap();
        let signer = Signer::new(&authority.certificate, &authority.key).unwrap();
        let sign = |usage: &str, from: &str, until: &str| {
            let request = request(|params| params.is_ca = rcgen::IsCa::NoCa);
            signer.sign(request.as_bytes(), &usages(&[usage]), at(from), at(until))
        };
        let pem = sign("decipher only", "2049-12-31T00:00:00Z", "2999-01-01T00:00:00Z").unwrap();
        let (_, pem) = parse_x509_pem(pem.as_bytes()).unwrap();
        let signed = pem.parse_x509().unwrap();
        assert_eq!(signed.validity().not_after.timestamp(), at("2050-01-01T00:00:00Z").as_second());
        assert!(signed.key_usage().unwrap().unwrap().value.decipher_only());
        let late = sign("client auth", "2050-01-01T00:00:00Z", "2051-01-01T00:00:00Z").unwrap_err();
        assert!(late.to_string().starts_with("the signer has expired"), "{late}");
        let unknown = sign("flying", "2040-01-01T00:00:00Z", "2041-01-01T00:00:00Z").unwrap_err();
        assert_eq!(unknown.to_string(), "unrecognized usage values: [\"flying\"]");
        let (from, until) = (at("2040-01-01T00:00:00Z"), at("2041-01-01T00:00:00Z"));
        assert!(signer.sign(b"rubbish", &[], from, until).is_err());
        assert!(Signer::new("rubbish", "rubbish").is_err());
    }

    #[test]
    fn alternative_names_of_other_sorts_are_left_out_and_none_are_asked_for_in_two_places() {
        let authority = issue::authority("kubernetes", at("2026-01-01T00:00:00Z")).unwrap();
        let signer = Signer::new(&authority.certificate, &authority.key).unwrap();
        let sign = |request: String| {
            let (from, until) = (at("2026-02-03T04:05:06Z"), at("2026-02-03T05:05:06Z"));
            signer.sign(request.as_bytes(), &usages(&["client auth"]), from, until)
        };
        let pem = sign(request(|params| {
            let principal = (vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], "root@example".into());
            params.subject_alt_names.push(rcgen::SanType::OtherName(principal));
        }));
        let (_, pem) = parse_x509_pem(pem.unwrap().as_bytes()).map(|(rest, pem)| (rest.len(), pem)).unwrap();
        let signed = pem.parse_x509().unwrap();
        let names = signed.subject_alternative_name().unwrap().unwrap();
        let address = [10, 0, 0, 1];
        let said = [GeneralName::DNSName("n.example"), GeneralName::IPAddress(&address)];
        assert_eq!((names.critical, names.value.general_names.as_slice()), (false, said.as_slice()));

        let nameless = request(|params| params.distinguished_name = rcgen::DistinguishedName::new());
        let pem = sign(nameless).unwrap();
        let (_, pem) = parse_x509_pem(pem.as_bytes()).unwrap();
        assert!(pem.parse_x509().unwrap().subject_alternative_name().unwrap().unwrap().critical);

        let twice = request(|params| {
            let others = tlv(SEQUENCE, &tlv(0x82, b"other.example"));
            params.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], others));
        });
        let said = sign(twice).unwrap_err().to_string();
        assert_eq!(said, "x509: certificate request contains duplicate requested extensions");
    }

    #[test]
    fn lengths_of_every_size_are_written_and_read() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let written = tlv(OCTETS, &vec![7; length]);
            let (header, read) = element(&written).unwrap();
            assert_eq!((read, written.len()), (length, header + length));
        }
        assert_eq!((element(&[]), element(&[4, 0x85, 1, 1, 1, 1, 1])), (None, None));
    }
}
