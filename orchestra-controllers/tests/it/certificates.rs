//! Requests for certificates, from the request to the certificate.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::PostParams;
use orchestra_apiserver::pki::{Pki, Signer};
use orchestra_controllers::certificate::{CertificateSigner, Validity};
use orchestra_controllers::{Controller, Controllers};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::json;

use crate::cluster::until;
use crate::world::Controlled;

#[derive(Debug)]
struct Authority(Signer);

impl CertificateSigner for Authority {
    fn sign(&self, request: &[u8], usages: &[String], validity: Validity) -> Result<String, String> {
        let signed = self.0.sign(request, usages, validity.from, validity.until);
        signed.map_err(|problem| problem.to_string())
    }
}

fn authority() -> Authority {
    let dir = tempfile::tempdir().unwrap();
    let addresses = [IpAddr::from([127, 0, 0, 1])];
    Authority(Pki::load_or_create(dir.path(), &addresses, Timestamp::now()).unwrap().signer().unwrap())
}

async fn cluster() -> (Controlled, Api<CertificateSigningRequest>) {
    let controllers = Controllers::only([Controller::Certificate]).certificate_signer(authority());
    let cluster = Controlled::by(controllers).await;
    let api = Api::all(cluster.client.clone());
    (cluster, api)
}

fn request(organization: &str, name: &str) -> k8s_openapi::ByteString {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, name);
    let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    k8s_openapi::ByteString(pem.into_bytes())
}

/// A request as the administrator sends it, who asks for himself.
fn asking(name: &str, signer: &str, organization: &str, subject: &str) -> CertificateSigningRequest {
    let mut asking: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "request": "", "signerName": signer, "expirationSeconds": 3600,
            "usages": ["digital signature", "client auth"],
        },
    }))
    .unwrap();
    asking.spec.request = request(organization, subject);
    asking
}

const NODE_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";

fn reason(request: &CertificateSigningRequest, type_: &str) -> Option<String> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_)?.reason.clone()
}

fn has_certificate(all: &[CertificateSigningRequest]) -> bool {
    all.iter().any(|request| request.status.as_ref().is_some_and(|status| status.certificate.is_some()))
}

#[tokio::test]
async fn a_node_that_may_join_gets_its_certificate_without_anybody_looking() {
    let (_cluster, api) = cluster().await;
    let node = asking("join", NODE_CLIENT, "system:nodes", "system:node:n");
    api.create(&PostParams::default(), &node).await.unwrap();
    let all = until(&api, "a certificate", has_certificate).await;
    assert_eq!(reason(&all[0], "Approved").as_deref(), Some("AutoApproved"));
    let issued = all[0].status.as_ref().unwrap().certificate.as_ref().unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&issued.0).unwrap();
    let certificate = pem.parse_x509().unwrap();
    assert_eq!(certificate.subject().to_string(), "O=system:nodes, CN=system:node:n");
    let validity = certificate.validity();
    assert_eq!(validity.not_after.timestamp() - validity.not_before.timestamp(), 3600 + 300);
}

#[tokio::test]
async fn what_a_signer_does_not_give_is_refused_when_it_is_approved_and_not_before() {
    let (_cluster, api) = cluster().await;
    let node = asking("bad", NODE_CLIENT, "example", "system:node:n");
    api.create(&PostParams::default(), &node).await.unwrap();
    let other = asking("client", "kubernetes.io/kube-apiserver-client", "people", "jane");
    api.create(&PostParams::default(), &other).await.unwrap();
    for name in ["bad", "client"] {
        let mut approved = api.get(name).await.unwrap();
        assert_eq!(reason(&approved, "Approved"), None);
        let condition = json!({"type": "Approved", "status": "True", "reason": "ByHand"});
        approved.status.get_or_insert_default().conditions =
            Some(vec![serde_json::from_value(condition).unwrap()]);
        api.replace_subresource("approval", name, &PostParams::default(), &approved).await.unwrap();
    }
    let failed = |all: &[CertificateSigningRequest]| all.iter().any(|one| reason(one, "Failed").is_some());
    until(&api, "a failure and a certificate", |all| failed(all) && has_certificate(all)).await;
    let bad = api.get("bad").await.unwrap();
    assert_eq!(reason(&bad, "Failed").as_deref(), Some("SignerValidationFailure"));
    assert!(!has_certificate(&[bad]));
}

#[tokio::test]
async fn cluster_info_is_signed_for_tokens_as_they_come_and_go() {
    let cluster = Controlled::by(Controllers::only([Controller::BootstrapSigner])).await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "kube-public");
    let info = json!({"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "content"}});
    cluster.create(&maps, info).await;
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), "kube-system");
    let token = json!({
        "metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true",
        },
    });
    cluster.create(&secrets, token).await;
    let keys = |all: &[ConfigMap]| -> usize {
        let info = all.iter().find(|map| map.metadata.name.as_deref() == Some("cluster-info"));
        info.and_then(|map| map.data.as_ref()).map_or(0, std::collections::BTreeMap::len)
    };
    let signed = until(&maps, "a signature", |all| keys(all) == 2).await;
    let info = signed.iter().find(|map| map.metadata.name.as_deref() == Some("cluster-info")).unwrap();
    // As openssl has it: HMAC of header and content with the token's secret.
    assert_eq!(
        info.data.as_ref().unwrap()["jws-kubeconfig-abcdef"].split('.').next(),
        Some("eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9")
    );
    secrets.delete("bootstrap-token-abcdef", &kube::api::DeleteParams::default()).await.unwrap();
    until(&maps, "no signature", |all| keys(all) == 1).await;
}

/// Roles are asked for those who are no administrators.
#[tokio::test]
async fn who_lacks_the_right_is_not_approved() {
    let (cluster, api) = cluster().await;
    let bindings: Api<ClusterRoleBinding> = Api::all(cluster.client.clone());
    let binding = json!({
        "metadata": {"name": "join"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "joiner"}],
    });
    cluster.create(&bindings, binding).await;
    let wish = |user: &str| {
        let mut asking =
            serde_json::to_value(asking(user, NODE_CLIENT, "system:nodes", "system:node:n")).unwrap();
        asking["kind"] = "CertificateSigningRequest".into();
        asking["apiVersion"] = "certificates.k8s.io/v1".into();
        http::Request::post("/apis/certificates.k8s.io/v1/certificatesigningrequests")
            .header("content-type", "application/json")
            .header("impersonate-user", user)
            .body(asking.to_string().into_bytes())
            .unwrap()
    };
    let creator = json!({
        "metadata": {"name": "create"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node-bootstrapper",
        },
        "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "joiner"},
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "stranger"},
        ],
    });
    cluster.create(&bindings, creator).await;
    for user in ["stranger", "joiner"] {
        cluster.client.request::<serde_json::Value>(wish(user)).await.unwrap();
    }
    until(&api, "a certificate", has_certificate).await;
    assert_eq!(reason(&api.get("joiner").await.unwrap(), "Approved").as_deref(), Some("AutoApproved"));
    assert_eq!(api.get("stranger").await.unwrap().status.and_then(|status| status.conditions), None);
}
