//! What a node may: read what its pods refer to, and write about itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request};
use orchestra_apiserver::{ApiServer, User};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{self, post, server};

pub(crate) const NAMESPACE: &str = "/api/v1/namespaces/default";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

pub(crate) async fn ask(
    server: &ApiServer,
    user: &User,
    method: &Method,
    path: &str,
    body: &Value,
) -> (u16, Value) {
    let media = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let mut request =
        Request::builder().method(method.clone()).uri(path).header("content-type", media).body(text).unwrap();
    request.extensions_mut().insert(user.clone());
    harness::json(server.clone().oneshot(request).await.unwrap()).await
}

pub(crate) async fn make(server: &ApiServer, path: &str, object: Value) {
    let (code, made) = post(server, path, &object).await;
    assert_eq!(code, 201, "{made}");
}

/// Two nodes, each with a pod that refers to one of each.
pub(crate) async fn cluster() -> ApiServer {
    let server = server().await;
    for name in ["n1", "n2"] {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        make(&server, "/api/v1/nodes", node).await;
        let its = format!("its-{name}");
        for (plural, kind) in
            [("secrets", "Secret"), ("configmaps", "ConfigMap"), ("serviceaccounts", "ServiceAccount")]
        {
            let object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": its}});
            make(&server, &format!("{NAMESPACE}/{plural}"), object).await;
        }
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": its},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        });
        make(&server, &format!("{NAMESPACE}/persistentvolumeclaims"), claim).await;
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": its},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"},
                "claimRef": {"namespace": "default", "name": its},
            },
        });
        make(&server, "/api/v1/persistentvolumes", volume).await;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("pod-{name}")},
            "spec": {
                "nodeName": name, "serviceAccountName": its,
                "containers": [{"name": "c", "image": "i", "envFrom": [{"configMapRef": {"name": its}}]}],
                "volumes": [
                    {"name": "s", "secret": {"secretName": its}},
                    {"name": "c", "persistentVolumeClaim": {"claimName": its}},
                    {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
                ],
            },
        });
        make(&server, &format!("{NAMESPACE}/pods"), pod).await;
    }
    seen(&server).await;
    server
}

/// Lists the pods, after which the watch cache has all that was written.
pub(crate) async fn seen(server: &ApiServer) {
    assert_eq!(harness::get(server, "/api/v1/pods").await.0, 200);
}

#[tokio::test]
async fn a_node_reads_what_its_pods_refer_to_and_nothing_of_other_nodes() {
    let (server, node) = (cluster().await, User::node("n1"));
    for (path, own) in [
        (format!("{NAMESPACE}/secrets/its-NODE"), 200),
        (format!("{NAMESPACE}/secrets?fieldSelector=metadata.name%3Dits-NODE"), 200),
        (format!("{NAMESPACE}/configmaps/its-NODE"), 200),
        (format!("{NAMESPACE}/persistentvolumeclaims/its-NODE"), 200),
        ("/api/v1/persistentvolumes/its-NODE".to_owned(), 200),
        (format!("{NAMESPACE}/pods/pod-NODE"), 200),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3DNODE".to_owned(), 200),
        ("/api/v1/nodes/NODE".to_owned(), 200),
        ("/api/v1/nodes?fieldSelector=metadata.name%3DNODE".to_owned(), 200),
        // What no node reads.
        (format!("{NAMESPACE}/secrets"), 403),
        (format!("{NAMESPACE}/configmaps?labelSelector=x%3DNODE"), 403),
        ("/api/v1/pods".to_owned(), 403),
        ("/api/v1/nodes".to_owned(), 403),
        (format!("{NAMESPACE}/serviceaccounts/its-NODE"), 403),
        ("/apis/apps/v1/deployments".to_owned(), 403),
    ] {
        let get = |name: &str| path.replace("NODE", name);
        assert_eq!(ask(&server, &node, &Method::GET, &get("n1"), &Value::Null).await.0, own, "{path}");
        assert_eq!(ask(&server, &node, &Method::GET, &get("n2"), &Value::Null).await.0, 403, "{path}");
    }
    let others = format!("{NAMESPACE}/secrets/its-n2");
    let (_, refusal) = ask(&server, &node, &Method::GET, &others, &Value::Null).await;
    assert_eq!(
        refusal["message"],
        "secrets \"its-n2\" is forbidden: User \"system:node:n1\" cannot get resource \"secrets\" in API group \"\" \
         in the namespace \"default\": no relationship found between node 'n1' and this object"
    );
    // The name alone makes nobody a node.
    let impostor = User::new("system:node:n1", []);
    let own = format!("{NAMESPACE}/secrets/its-n1");
    assert_eq!(ask(&server, &impostor, &Method::GET, &own, &Value::Null).await.0, 403);
}

#[tokio::test]
async fn a_node_loses_its_rights_with_the_pod() {
    let (server, node) = (cluster().await, User::node("n1"));
    let secret = format!("{NAMESPACE}/secrets/its-n1");
    assert_eq!(ask(&server, &node, &Method::GET, &secret, &Value::Null).await.0, 200);
    harness::delete(&server, &format!("{NAMESPACE}/pods/pod-n1?gracePeriodSeconds=0")).await;
    seen(&server).await;
    assert_eq!(ask(&server, &node, &Method::GET, &secret, &Value::Null).await.0, 403);
}

#[tokio::test]
async fn a_node_writes_about_itself_and_its_pods_only() {
    let (server, node) = (cluster().await, User::node("n1"));
    let patch = |path: &str, body: Value| (Method::PATCH, path.to_owned(), body);
    let make = |path: &str, body: Value| (Method::POST, path.to_owned(), body);
    let token = |pod: &str| json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": "0"}}});
    let lease = |name: &str| json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}});
    let labels = |key: &str| json!({"metadata": {"labels": {key: "x"}}});
    let (pods, running) = (format!("{NAMESPACE}/pods"), json!({"status": {"phase": "Running"}}));
    let account = |name: &str| format!("{NAMESPACE}/serviceaccounts/{name}/token");
    for ((method, path, body), why) in [
        (patch("/api/v1/nodes/n1/status", json!({"status": {"phase": ""}})), ""),
        (patch("/api/v1/nodes/n1", labels("mine")), ""),
        (
            patch("/api/v1/nodes/n2/status", running.clone()),
            "node \"n1\" is not allowed to modify node \"n2\"",
        ),
        (
            patch("/api/v1/nodes/n1", labels("kubernetes.io/role")),
            "nodes \"n1\" is forbidden: is not allowed to modify labels: kubernetes.io/role",
        ),
        (
            patch("/api/v1/nodes/n1", labels("node-restriction.kubernetes.io/a")),
            "nodes \"n1\" is forbidden: is not allowed to modify labels: node-restriction.kubernetes.io/a",
        ),
        (
            patch("/api/v1/nodes/n1", json!({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}})),
            "node \"n1\" is not allowed to modify taints",
        ),
        (patch(&format!("{pods}/pod-n1/status"), running.clone()), ""),
        (
            patch(&format!("{pods}/pod-n2/status"), running.clone()),
            "node \"n1\" can only update pod status for pods with spec.nodeName set to itself",
        ),
        (
            (Method::DELETE, format!("{pods}/pod-n2"), Value::Null),
            "node \"n1\" can only delete pods with spec.nodeName set to itself",
        ),
        (make(LEASES, lease("n1")), ""),
        (make(LEASES, lease("n2")), "can only access node lease with the same name as the requesting node"),
        (make(&account("its-n1"), json!({})), "node requested token not bound to a pod"),
        (
            make(&account("its-n1"), token("pod-n1")),
            "the UID in the bound object reference (0) does not match the UID in record",
        ),
        (
            make(&account("its-n2"), token("pod-n2")),
            "no relationship found between node 'n1' and this object",
        ),
        ((Method::DELETE, format!("{pods}/pod-n1"), Value::Null), ""),
    ] {
        let (code, answer) = ask(&server, &node, &method, &path, &body).await;
        if why.is_empty() {
            assert!(code < 300, "{method} {path}: {answer}");
        } else {
            assert_eq!(code, 403, "{method} {path}: {answer}");
            assert!(answer["message"].as_str().unwrap().contains(why), "{method} {path}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_node_gets_the_token_of_a_pod_that_it_runs() {
    let (server, node) = (cluster().await, User::node("n1"));
    let (_, pod) = harness::get(&server, &format!("{NAMESPACE}/pods/pod-n1")).await;
    let request = json!({"spec": {"boundObjectRef": {
        "apiVersion": "v1", "kind": "Pod", "name": "pod-n1", "uid": pod["metadata"]["uid"],
    }}});
    let path = format!("{NAMESPACE}/serviceaccounts/its-n1/token");
    assert_eq!(ask(&server, &node, &Method::POST, &path, &request).await.0, 201);
}

#[tokio::test]
async fn a_node_asks_for_certificates_as_a_node_for_itself_only() {
    let (server, node) = (cluster().await, User::node("n1"));
    let request = |name: &str, signer: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let pem = params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"generateName": "csr-"},
            "spec": {"request": STANDARD.encode(pem), "signerName": signer, "usages": ["digital signature"]},
        })
    };
    let (client, serving) = ("kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving");
    for (user, name, signer, code) in [
        (&node, "system:node:n1", client, 201),
        (&node, "system:node:n1", serving, 201),
        (&node, "system:node:n2", client, 403),
        (&node, "system:node:n2", serving, 403),
        (&node, "n1", serving, 403),
        (&node, "system:node:n2", "example.com/own", 201),
        (&User::admin(), "system:node:n2", serving, 201),
    ] {
        let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
        let (answered, answer) = ask(&server, user, &Method::POST, requests, &request(name, signer)).await;
        assert_eq!(answered, code, "{name} {signer}: {answer}");
        if code == 403 {
            let said = answer["message"].as_str().unwrap();
            assert!(said.ends_with("can only create a node CSR with CN=system:node:n1"), "{said}");
        }
    }
}
