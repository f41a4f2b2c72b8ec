//! Which of the cluster's signers may give what a request for a certificate asks for.

use std::collections::BTreeSet;

use orchestra_core::certificate::Request;

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

/// Whether one of the cluster's signers knows this name, and what speaks against giving what is asked for.
pub(super) fn judge(request: &Request, signer: &str, usages: &[String]) -> Option<Result<(), String>> {
    match signer {
        CLIENT => Some(client_usages(usages)),
        NODE_CLIENT => Some(node_client(request, usages)),
        NODE_SERVER => Some(node_server(request, usages)),
        LEGACY => Some(Ok(())),
        _ => None,
    }
}

/// What speaks against a client certificate of a node.
pub(super) fn node_client(request: &Request, usages: &[String]) -> Result<(), String> {
    of_nodes(request)?;
    let unwanted = [
        ("DNS", request.dns_names),
        ("Email", request.mail_addresses),
        ("IP", request.addresses),
        ("URI", request.uris),
    ];
    if let Some((what, _)) = unwanted.iter().find(|(_, count)| *count > 0) {
        return Err(format!("{what} subjectAltNames are not allowed"));
    }
    a_node(request)?;
    exactly(usages, CLIENT_AUTH)
}

/// What speaks against a certificate of a node that serves.
fn node_server(request: &Request, usages: &[String]) -> Result<(), String> {
    of_nodes(request)?;
    if request.dns_names == 0 && request.addresses == 0 {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    let unwanted = [("Email", request.mail_addresses), ("URI", request.uris)];
    if let Some((what, _)) = unwanted.iter().find(|(_, count)| *count > 0) {
        return Err(format!("{what} subjectAltNames are not allowed"));
    }
    exactly(usages, SERVER_AUTH)?;
    a_node(request)
}

fn of_nodes(request: &Request) -> Result<(), String> {
    if request.organizations.iter().map(String::as_str).eq(["system:nodes"]) {
        return Ok(());
    }
    Err("subject organization is not system:nodes".to_owned())
}

fn a_node(request: &Request) -> Result<(), String> {
    if request.common_name.starts_with("system:node:") {
        return Ok(());
    }
    Err("subject common name does not begin with system:node:".to_owned())
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
        let judged = |request: &Request, usages: &[String]| judge(request, NODE_CLIENT, usages).unwrap();
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
        let judged = |request: &Request| judge(request, NODE_SERVER, &plain).unwrap();
        assert_eq!(judged(&node()), Err("DNS or IP subjectAltName is required".to_owned()));
        assert_eq!(judged(&Request { addresses: 1, ..node() }), Ok(()));
        let mail = Request { dns_names: 1, mail_addresses: 1, ..node() };
        assert_eq!(judged(&mail), Err("Email subjectAltNames are not allowed".to_owned()));
    }

    #[test]
    fn other_signers_judge_by_usages_or_not_at_all() {
        let request = Request::default();
        assert_eq!(judge(&request, CLIENT, &usages(&[CLIENT_AUTH])), Some(Ok(())));
        assert_eq!(
            judge(&request, CLIENT, &usages(&[CLIENT_AUTH, "cert sign"])),
            Some(Err("invalid usage for client certificate: cert sign".to_owned()))
        );
        assert_eq!(
            judge(&request, CLIENT, &usages(&[DIGITAL_SIGNATURE])),
            Some(Err("missing required usage for client certificate: client auth".to_owned()))
        );
        assert_eq!(judge(&request, LEGACY, &usages(&["any"])), Some(Ok(())));
        assert_eq!(judge(&request, "example.com/own", &usages(&[CLIENT_AUTH])), None);
    }
}
