//! What a request for a certificate asks for, and which of the cluster's signers may give it.

use std::collections::BTreeSet;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

/// For clients of the API server.
pub(super) const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// For nodes as clients.
pub(super) const NODE_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// For nodes as servers.
pub(super) const NODE_SERVER: &str = "kubernetes.io/kubelet-serving";
/// For whatever it was before signers had names.
pub(super) const LEGACY: &str = "kubernetes.io/legacy-unknown";

const DIGITAL_SIGNATURE: &str = "digital signature";
const KEY_ENCIPHERMENT: &str = "key encipherment";
const CLIENT_AUTH: &str = "client auth";
const SERVER_AUTH: &str = "server auth";

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
        for extension in wanted(&request)? {
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

    /// Whether one of the cluster's signers knows this name, and what speaks against giving what is asked for.
    pub(super) fn judge(&self, signer: &str, usages: &[String]) -> Option<Result<(), String>> {
        match signer {
            CLIENT => Some(client_usages(usages)),
            NODE_CLIENT => Some(self.is_node_client(usages)),
            NODE_SERVER => Some(self.is_node_server(usages)),
            LEGACY => Some(Ok(())),
            _ => None,
        }
    }

    /// What speaks against a client certificate of a node.
    pub(super) fn is_node_client(&self, usages: &[String]) -> Result<(), String> {
        self.is_of_nodes()?;
        let unwanted = [
            ("DNS", self.dns_names),
            ("Email", self.mail_addresses),
            ("IP", self.addresses),
            ("URI", self.uris),
        ];
        if let Some((what, _)) = unwanted.iter().find(|(_, count)| *count > 0) {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
        self.is_a_node()?;
        exactly(usages, CLIENT_AUTH)
    }

    /// What speaks against a certificate of a node that serves.
    fn is_node_server(&self, usages: &[String]) -> Result<(), String> {
        self.is_of_nodes()?;
        if self.dns_names == 0 && self.addresses == 0 {
            return Err("DNS or IP subjectAltName is required".to_owned());
        }
        if let Some((what, _)) =
            [("Email", self.mail_addresses), ("URI", self.uris)].iter().find(|(_, count)| *count > 0)
        {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
        exactly(usages, SERVER_AUTH)?;
        self.is_a_node()
    }

    fn is_of_nodes(&self) -> Result<(), String> {
        let said = self.organizations.iter().map(String::as_str);
        if said.eq(["system:nodes"]) {
            return Ok(());
        }
        Err("subject organization is not system:nodes".to_owned())
    }

    fn is_a_node(&self) -> Result<(), String> {
        if self.common_name.starts_with("system:node:") {
            return Ok(());
        }
        Err("subject common name does not begin with system:node:".to_owned())
    }
}

/// The extensions asked for, in all places where a request may ask for some: what is decided by must be what is signed.
fn wanted<'a>(request: &'a X509CertificationRequest<'a>) -> Result<Vec<&'a X509Extension<'a>>, Unreadable> {
    let mut found: Vec<&X509Extension<'_>> = Vec::new();
    for attribute in request.certification_request_info.iter_attributes() {
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

fn client_usages(usages: &[String]) -> Result<(), String> {
    let optional = [DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, CLIENT_AUTH];
    if let Some(other) = usages.iter().find(|usage| !optional.contains(&usage.as_str())) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    if usages.iter().any(|usage| usage == CLIENT_AUTH) {
        return Ok(());
    }
    Err(format!("missing required usage for client certificate: {CLIENT_AUTH}"))
}

/// Signatures and this, and encipherment of keys where the key can.
fn exactly(usages: &[String], purpose: &'static str) -> Result<(), String> {
    let said: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let plain = BTreeSet::from([DIGITAL_SIGNATURE, purpose]);
    let mut all = plain.clone();
    all.insert(KEY_ENCIPHERMENT);
    if said == plain || said == all {
        return Ok(());
    }
    Err(format!("usages did not match [{}]", all.into_iter().collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usages(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn node() -> Request {
        Request {
            common_name: "system:node:n".into(),
            organizations: vec!["system:nodes".into()],
            ..Request::default()
        }
    }

    #[test]
    fn a_node_may_be_a_client_and_nothing_beside() {
        let plain = usages(&[DIGITAL_SIGNATURE, CLIENT_AUTH]);
        let judged = |request: &Request, usages: &[String]| request.judge(NODE_CLIENT, usages).unwrap();
        assert_eq!(judged(&node(), &plain), Ok(()));
        assert_eq!(judged(&node(), &usages(&[KEY_ENCIPHERMENT, CLIENT_AUTH, DIGITAL_SIGNATURE])), Ok(()));
        for (request, said) in [
            (
                Request { organizations: vec!["system:masters".into()], ..node() },
                "subject organization is not system:nodes",
            ),
            (
                Request { common_name: "root".into(), ..node() },
                "subject common name does not begin with system:node:",
            ),
            (Request { dns_names: 1, ..node() }, "DNS subjectAltNames are not allowed"),
            (Request { addresses: 1, ..node() }, "IP subjectAltNames are not allowed"),
            (Request { mail_addresses: 1, ..node() }, "Email subjectAltNames are not allowed"),
            (Request { uris: 1, ..node() }, "URI subjectAltNames are not allowed"),
        ] {
            assert_eq!(judged(&request, &plain), Err(said.to_owned()));
        }
        assert_eq!(
            judged(&node(), &usages(&[DIGITAL_SIGNATURE, SERVER_AUTH])),
            Err("usages did not match [client auth digital signature key encipherment]".to_owned())
        );
    }

    #[test]
    fn a_node_that_serves_needs_a_name_or_an_address() {
        let plain = usages(&[DIGITAL_SIGNATURE, SERVER_AUTH]);
        let judged = |request: &Request| request.judge(NODE_SERVER, &plain).unwrap();
        assert_eq!(judged(&node()), Err("DNS or IP subjectAltName is required".to_owned()));
        assert_eq!(judged(&Request { addresses: 1, ..node() }), Ok(()));
        let mail = Request { dns_names: 1, mail_addresses: 1, ..node() };
        assert_eq!(judged(&mail), Err("Email subjectAltNames are not allowed".to_owned()));
    }

    #[test]
    fn other_signers_judge_by_usages_or_not_at_all() {
        let request = Request::default();
        assert_eq!(request.judge(CLIENT, &usages(&[CLIENT_AUTH])), Some(Ok(())));
        assert_eq!(
            request.judge(CLIENT, &usages(&[CLIENT_AUTH, "cert sign"])),
            Some(Err("invalid usage for client certificate: cert sign".to_owned()))
        );
        assert_eq!(
            request.judge(CLIENT, &usages(&[DIGITAL_SIGNATURE])),
            Some(Err("missing required usage for client certificate: client auth".to_owned()))
        );
        assert_eq!(request.judge(LEGACY, &usages(&["any"])), Some(Ok(())));
        assert_eq!(request.judge("example.com/own", &usages(&[CLIENT_AUTH])), None);
    }

    #[test]
    fn names_that_stand_in_a_second_place_are_seen_and_in_both_refused() {
        // An attribute as it stands in a request, which asks for one alternative name.
        const SECOND: &[u8] =
            b"\x31\x1c\x30\x1a\x30\x18\x06\x03\x55\x1d\x11\x04\x11\x30\x0f\x82\x0dother.example";
        let parse = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut params = rcgen::CertificateParams::new(names).unwrap();
            params.key_usages.push(rcgen::KeyUsagePurpose::DigitalSignature);
            let attribute =
                rcgen::Attribute { oid: &[1, 2, 840, 113_549, 1, 9, 14], values: SECOND.to_vec() };
            let key = rcgen::KeyPair::generate().unwrap();
            let request = params.serialize_request_with_attributes(&key, vec![attribute]).unwrap();
            Request::parse(request.pem().unwrap().as_bytes())
        };
        assert_eq!(parse(&[]).unwrap().dns_names, 1);
        let said = parse(&["n.example"]).unwrap_err().to_string();
        assert_eq!(said, "x509: certificate request contains duplicate requested extensions");
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
