//! A machine joins a cluster as upstream's kubeadm and kubelet have it: it knows nothing but a bootstrap token and an address, learns whom to
//! trust, gets a certificate as a node, renews it, and has one to serve with approved by hand.
//!
//! After <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/>.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::harness::{Cluster, PATIENCE};

const ID: &str = "abcdef";
const SECRET: &str = "0123456789abcdef";
const NAME: &str = "joined";
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const SERVER_SIGNER: &str = "kubernetes.io/kubelet-serving";

/// What an administrator makes who lets machines join, as `kubeadm init` does.
const BY_THE_ADMINISTRATOR: &str = "
apiVersion: v1
kind: Secret
metadata: {name: bootstrap-token-abcdef, namespace: kube-system}
type: bootstrap.kubernetes.io/token
stringData:
  token-id: abcdef
  token-secret: 0123456789abcdef
  usage-bootstrap-authentication: 'true'
  usage-bootstrap-signing: 'true'
  auth-extra-groups: system:bootstrappers:kubeadm:default-node-token
---
apiVersion: v1
kind: Secret
metadata: {name: bootstrap-token-visits, namespace: kube-system}
type: bootstrap.kubernetes.io/token
stringData:
  token-id: visits
  token-secret: 0123456789abcdef
  usage-bootstrap-authentication: 'true'
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: 'kubeadm:kubelet-bootstrap'}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'system:node-bootstrapper'}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:bootstrappers:kubeadm:default-node-token'}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: 'kubeadm:node-autoapprove-bootstrap'}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:certificates.k8s.io:certificatesigningrequests:nodeclient
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:bootstrappers:kubeadm:default-node-token'}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: 'kubeadm:node-autoapprove-certificate-rotation'}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:certificates.k8s.io:certificatesigningrequests:selfnodeclient
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:nodes'}]
";

/// A client of the server at `url`, which it trusts as far as `cluster` says, as `user`.
async fn client(url: &str, mut cluster: Value, user: Value) -> Client {
    cluster["server"] = url.into();
    let kubeconfig: Kubeconfig = serde_json::from_value(json!({
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }))
    .unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Gets an object until it is as wanted.
async fn eventually<K>(api: &Api<K>, name: &str, what: &str, is_so: impl Fn(&K) -> bool) -> K
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = api.get(name).await.unwrap();
        if is_so(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting for {what}: {found:?}");
        sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Who the server says is asking, and in which groups.
async fn whoami(client: &Client) -> (String, Vec<String>) {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let user = review.status.unwrap().user_info.unwrap();
    (user.username.unwrap(), user.groups.unwrap())
}

/// The code and message of a refusal.
fn refusal<T: std::fmt::Debug>(answer: kube::Result<T>) -> (u16, String) {
    match answer.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("{other:?}"),
    }
}

/// Whether a JSON web signature without its content is that of `content` with the token's secret.
fn is_signed(signature: &str, content: &str, id: &str, secret: &str) -> bool {
    let parts: Vec<&str> = signature.split('.').collect();
    let [header, "", mac] = parts[..] else { panic!("{signature}") };
    let said: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    assert_eq!(said, json!({"alg": "HS256", "kid": id}));
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::verify(&key, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(mac).unwrap()).is_ok()
}

/// A key, and a request for a certificate as a node for it.
struct Wish {
    key: KeyPair,
    request: CertificateSigningRequest,
}

impl Wish {
    fn new(node: &str, signer: &str, names: &[&str], purpose: &str) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
        let key = KeyPair::generate().unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        let request = object(json!({
            "metadata": {"generateName": "csr-"},
            "spec": {
                "request": STANDARD.encode(pem), "signerName": signer,
                "usages": ["digital signature", purpose],
            },
        }));
        Self { key, request }
    }

    fn client(node: &str) -> Self {
        Self::new(node, CLIENT_SIGNER, &[], "client auth")
    }

    async fn send(&self, client: &Client) -> kube::Result<CertificateSigningRequest> {
        requests(client).create(&PostParams::default(), &self.request).await
    }

    /// The certificate, PEM, once it is there, and why it was approved.
    async fn granted(&self, client: &Client, name: &str) -> (String, String) {
        let is_there = |request: &CertificateSigningRequest| {
            request.status.as_ref().is_some_and(|status| status.certificate.is_some())
        };
        let status = eventually(&requests(client), name, "a certificate", is_there).await.status.unwrap();
        let approved = status.conditions.unwrap().into_iter().find(|condition| condition.type_ == "Approved");
        let pem = String::from_utf8(status.certificate.unwrap().0).unwrap();
        (pem, approved.unwrap().message.unwrap_or_default())
    }

    fn user(&self, certificate: &str) -> Value {
        json!({
            "client-certificate-data": STANDARD.encode(certificate),
            "client-key-data": STANDARD.encode(self.key.serialize_pem()),
        })
    }
}

fn requests(client: &Client) -> Api<CertificateSigningRequest> {
    Api::all(client.clone())
}

/// What stands in `cluster-info` once the token has signed it: where the cluster is and whom to trust, believed because of the signature.
async fn discovered(url: &str) -> Value {
    let nobody = client(url, json!({"insecure-skip-tls-verify": true}), json!({})).await;
    let maps: Api<ConfigMap> = Api::namespaced(nobody.clone(), "kube-public");
    let key = format!("jws-kubeconfig-{ID}");
    let signed = |map: &ConfigMap| map.data.as_ref().is_some_and(|data| data.contains_key(&key));
    let data = eventually(&maps, "cluster-info", "a signature", signed).await.data.unwrap();
    let (content, signature) = (&data["kubeconfig"], &data[&key]);
    assert!(is_signed(signature, content, ID, SECRET), "{data:?}");
    assert!(!is_signed(signature, &content.replace("https", "http"), ID, SECRET));
    assert!(!is_signed(signature, content, ID, "0123456789abcdee"));
    // Only this is for everybody to read.
    let (code, said) = refusal(maps.list(&ListParams::default()).await);
    assert_eq!(
        (code, said.contains("User \"system:anonymous\" cannot list resource")),
        (403, true),
        "{said}"
    );
    let kubeconfig = Kubeconfig::from_yaml(content).unwrap();
    let cluster = kubeconfig.clusters[0].cluster.clone().unwrap();
    assert_eq!(cluster.server.as_deref(), Some(url));
    json!({"certificate-authority-data": cluster.certificate_authority_data.unwrap()})
}

/// Whether a client that trusts `authority` (PEM) takes what serves with this certificate for `name`.
async fn serves(authority: &str, certificate: &str, key: &KeyPair, name: &'static str) -> bool {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tokio::io::duplex(1 << 16);
    let (served, trusted) = tokio::join!(
        TlsAcceptor::from(Arc::new(server)).accept(far),
        TlsConnector::from(Arc::new(client)).connect(ServerName::try_from(name).unwrap(), near),
    );
    // Either both sides agree or the client leaves; what the server makes of that is of no interest.
    drop(served);
    trusted.is_ok()
}

#[tokio::test]
async fn a_machine_with_a_bootstrap_token_becomes_a_node_and_renews_its_certificate() {
    let cluster = Cluster::run("server", tempfile::tempdir().unwrap(), &[]);
    let made = cluster.kubectl_with(&["create", "-f", "-"], BY_THE_ADMINISTRATOR.as_bytes());
    assert!(made.status.success(), "{made:?}");
    let url = cluster.said("api");
    let trust = discovered(&url).await;

    // By the token it is somebody, who may ask for a certificate and do nothing else.
    let bearer = |id: &str| json!({"token": format!("{id}.{SECRET}")});
    let joining = client(&url, trust.clone(), bearer(ID)).await;
    let (user, groups) = whoami(&joining).await;
    assert_eq!(user, "system:bootstrap:abcdef");
    assert_eq!(
        groups,
        ["system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token", "system:authenticated"]
    );
    let own: Node = object(json!({"metadata": {"name": NAME}}));
    let nodes: Api<Node> = Api::all(joining.clone());
    assert_eq!(refusal(nodes.create(&PostParams::default(), &own).await).0, 403);
    let visitor = client(&url, trust.clone(), bearer("visits")).await;
    let (code, said) = refusal(Wish::client(NAME).send(&visitor).await);
    assert_eq!(code, 403, "{said}");
    assert!(said.contains("User \"system:bootstrap:visits\" cannot create resource"), "{said}");

    let first = Wish::client(NAME);
    let sent = first.send(&joining).await.unwrap().name_any();
    let (certificate, why) = first.granted(&joining, &sent).await;
    assert_eq!(why, "Auto approving kubelet client certificate after SubjectAccessReview.");

    // By the certificate it is the node of that name.
    let node = client(&url, trust.clone(), first.user(&certificate)).await;
    is_the_node(&node).await;
    let nodes: Api<Node> = Api::all(node.clone());
    nodes.create(&PostParams::default(), &own).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(node.clone(), "kube-node-lease");
    let lease = |name: &str| -> Lease {
        object(
            json!({"metadata": {"name": name}, "spec": {"holderIdentity": name, "leaseDurationSeconds": 40}}),
        )
    };
    leases.create(&PostParams::default(), &lease(NAME)).await.unwrap();
    touches_nothing_of_another(&cluster, &node, &lease("other")).await;

    // What it serves with is approved by hand; meanwhile it renews what it is known by.
    let serving = Wish::new(NAME, SERVER_SIGNER, &["joined.example", "127.0.0.1"], "server auth");
    let asked = serving.send(&node).await.unwrap().name_any();
    let second = Wish::client(NAME);
    let sent = second.send(&node).await.unwrap().name_any();
    let (renewed, why) = second.granted(&node, &sent).await;
    assert_eq!(why, "Auto approving self kubelet client certificate after SubjectAccessReview.");
    assert_ne!(renewed, certificate);
    is_the_node(&client(&url, trust.clone(), second.user(&renewed)).await).await;

    let waiting = requests(&node).get(&asked).await.unwrap();
    assert!(waiting.status.as_ref().is_none_or(|status| status.conditions.is_none()), "{waiting:?}");
    cluster.kubectl(&["certificate", "approve", &asked]);
    let (issued, why) = serving.granted(&node, &asked).await;
    assert_eq!(why, "This CSR was approved by kubectl certificate approve.");
    let authority = STANDARD.decode(trust["certificate-authority-data"].as_str().unwrap()).unwrap();
    let authority = String::from_utf8(authority).unwrap();
    assert!(serves(&authority, &issued, &serving.key, "joined.example").await);
    assert!(!serves(&authority, &issued, &serving.key, "other.example").await);
    // A certificate of a client is for nothing else.
    assert!(!serves(&authority, &renewed, &second.key, "joined.example").await);

    // The token goes; who joined by it stays.
    cluster.kubectl(&["delete", "secret", "-n", "kube-system", "bootstrap-token-abcdef"]);
    let reviews: Api<SelfSubjectReview> = Api::all(joining);
    let gone = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    assert_eq!(refusal(gone).0, 401);
    is_the_node(&node).await;
    cluster.eventually(&["get", "configmap", "-n", "kube-public", "cluster-info", "-o", "yaml"], |map| {
        !map.contains("jws-kubeconfig")
    });
}

#[tokio::test]
async fn who_shows_a_certificate_of_a_strange_authority_is_turned_away_on_both_sides() {
    let cluster = Cluster::run("server", tempfile::tempdir().unwrap(), &[]);
    let url = cluster.said("api");
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:masters");
    params.distinguished_name.push(DnType::CommonName, "system:node:joined");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let strange = params.self_signed(&key).unwrap().pem();
    let versions =
        async |trust: Value, user: Value| client(&url, trust, user).await.apiserver_version().await;
    // The client does not take the server for the cluster.
    let deceived =
        versions(json!({"certificate-authority-data": STANDARD.encode(&strange)}), json!({})).await;
    assert!(!matches!(deceived, Ok(_) | Err(kube::Error::Api(_))), "{deceived:?}");
    // The server does not take the client for anybody.
    let own = json!({
        "client-certificate-data": STANDARD.encode(&strange),
        "client-key-data": STANDARD.encode(key.serialize_pem()),
    });
    let shown = versions(json!({"insecure-skip-tls-verify": true}), own).await;
    assert!(!matches!(shown, Ok(_) | Err(kube::Error::Api(_))), "{shown:?}");
    // Who shows none may ask that.
    versions(json!({"insecure-skip-tls-verify": true}), json!({})).await.unwrap();
}

async fn is_the_node(client: &Client) {
    let (user, groups) = whoami(client).await;
    assert_eq!(
        (user.as_str(), groups),
        ("system:node:joined", vec!["system:nodes".into(), "system:authenticated".into()])
    );
}

/// A node may not touch the Node, the Lease or the certificate of another, nor read what its pods have nothing to do with.
async fn touches_nothing_of_another(cluster: &Cluster, node: &Client, lease: &Lease) {
    let other = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "other"}}).to_string();
    let made = cluster.kubectl_with(&["create", "-f", "-"], other.as_bytes());
    assert!(made.status.success(), "{made:?}");
    let nodes: Api<Node> = Api::all(node.clone());
    let label = Patch::Merge(json!({"metadata": {"labels": {"mine": "yes"}}}));
    nodes.patch(NAME, &PatchParams::default(), &label).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(node.clone(), "kube-node-lease");
    let secrets: Api<Secret> = Api::namespaced(node.clone(), "kube-system");
    for ((code, said), why) in [
        (
            refusal(nodes.patch("other", &PatchParams::default(), &label).await),
            "node \"joined\" is not allowed to modify node \"other\"",
        ),
        (refusal(nodes.get("other").await), "node 'joined' cannot read 'other', only its own Node object"),
        (refusal(nodes.delete(NAME, &DeleteParams::default()).await), "cannot delete resource \"nodes\""),
        (
            refusal(leases.create(&PostParams::default(), lease).await),
            "can only access node lease with the same name as the requesting node",
        ),
        (
            refusal(Wish::client("other").send(node).await),
            "can only create a node CSR with CN=system:node:joined",
        ),
        (
            refusal(secrets.get("bootstrap-token-abcdef").await),
            "no relationship found between node 'joined' and this object",
        ),
    ] {
        assert_eq!(code, 403, "{said}");
        assert!(said.contains(why), "{said}");
    }
}
