//! What is asked of a cluster and done to it as a whole.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{Cluster, get, text};

#[test]
fn a_cluster_tells_what_it_is() {
    let cluster = Cluster::start();
    let versions = cluster.kubectl(&["api-versions"]);
    for version in ["v1", "apps/v1", "events.k8s.io/v1", "rbac.authorization.k8s.io/v1"] {
        assert!(versions.lines().any(|line| line == version), "{version} in {versions}");
    }
    let info = cluster.kubectl(&["cluster-info"]);
    assert!(info.contains("Kubernetes control plane") && info.contains("is running at"), "{info}");
    let folder = cluster.folder.path().join("dump");
    cluster.kubectl(&[
        "cluster-info",
        "dump",
        "--namespaces=default",
        "--output-directory",
        folder.to_str().unwrap(),
    ]);
    let nodes = fs::read_to_string(folder.join("nodes.json")).unwrap();
    assert!(nodes.contains("\"NodeList\""), "{nodes}");
    assert!(folder.join("default/events.json").exists());

    let mut proxy =
        cluster.kubectl_command().args(["proxy", "--port=0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(proxy.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().trim_start_matches("Starting to serve on ").to_owned();
    let answer = get(&address, "localhost", "/version");
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    let (status, body) = answer.unwrap();
    assert!(status == 200 && body.contains("\"36\""), "{status} {body}");
}

#[test]
fn nodes_are_cordoned_tainted_and_drained() {
    let cluster = Cluster::start();
    let node = cluster.eventually(&["get", "nodes", "-o", "name"], |names| !names.is_empty());
    let node = node.trim();
    let read = |path: &str| cluster.kubectl(&["get", node, "-o", &format!("jsonpath={path}")]);
    assert_eq!(cluster.kubectl(&["cordon", node]), format!("{node} cordoned\n"));
    assert_eq!(read("{.spec.unschedulable}"), "true");
    assert!(cluster.kubectl(&["get", node]).contains("SchedulingDisabled"));
    assert_eq!(cluster.kubectl(&["uncordon", node]), format!("{node} uncordoned\n"));
    assert_eq!(read("{.spec.unschedulable}"), "");
    let name = node.trim_start_matches("node/");
    assert_eq!(
        cluster.kubectl(&["taint", "node", name, "dedicated=db:NoSchedule"]),
        format!("{node} tainted\n")
    );
    assert!(read("{.spec.taints}").contains(r#""key":"dedicated""#), "{}", read("{.spec.taints}"));
    let exists = cluster.kubectl_fails(&["taint", "node", name, "dedicated=web:NoSchedule"]);
    assert!(exists.contains("already has dedicated taint"), "{exists}");
    assert_eq!(cluster.kubectl(&["taint", "node", name, "dedicated-"]), format!("{node} untainted\n"));

    cluster.kubectl(&["run", "one", "--image=host", "--", "sleep", "1000"]);
    cluster.kubectl(&["wait", "pod/one", "--for=condition=Ready", "--timeout=60s"]);
    let refused = cluster.kubectl_fails(&["drain", name]);
    assert!(refused.contains("declare no controller"), "{refused}");
    let drained = cluster.kubectl(&["drain", name, "--force", "--grace-period=1", "--timeout=80s"]);
    assert!(drained.contains(&format!("{node} drained")), "{drained}");
    assert_eq!(cluster.kubectl(&["get", "pods", "-o", "name"]), "");
}

#[test]
fn rights_are_asked_for_and_reconciled() {
    let cluster = Cluster::start();
    let jane = |arguments: &[&str]| {
        let words = [&["auth", "can-i", "--as=jane"], arguments].concat();
        let output = cluster.kubectl_command().args(words).output().unwrap();
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(cluster.kubectl(&["auth", "can-i", "*", "*"]), "yes\n");
    assert_eq!(jane(&["list", "pods"]), "no");
    let manifest = "\
        ---\n{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reader, namespace: default},\n\
        rules: [{apiGroups: [''], resources: [pods], verbs: [get, list]}]}\n---\n\
        {apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: readers, namespace: default},\n\
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}, subjects: []}\n";
    let reconcile = || cluster.kubectl_with(&["auth", "reconcile", "-f", "-"], manifest.as_bytes());
    let said = reconcile();
    assert!(said.status.success(), "{said:?}");
    assert!(text(&said.stdout).contains("role.rbac.authorization.k8s.io/reader reconciled"), "{said:?}");
    cluster.kubectl(&["set", "subject", "rolebinding", "readers", "--user=jane"]);
    cluster.eventually(&["auth", "can-i", "list", "pods", "--as=jane"], |said| said == "yes\n");
    assert_eq!(jane(&["list", "secrets"]), "no");
    let list = cluster.kubectl(&["auth", "can-i", "--list", "--as=jane"]);
    assert!(list.lines().any(|line| line.starts_with("pods") && line.ends_with("[get list]")), "{list}");
    // Reconciling takes nothing away that stands there besides.
    assert!(reconcile().status.success());
    assert_eq!(jane(&["list", "pods"]), "yes");
    let whoami = cluster.kubectl(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.groups}"]);
    assert!(whoami.contains("system:masters") && whoami.contains("system:authenticated"), "{whoami}");
    let whoami = cluster.kubectl(&["auth", "whoami", "--as=jane"]);
    assert!(whoami.contains("Username") && whoami.contains("jane"), "{whoami}");
}

#[test]
fn a_request_for_a_certificate_is_approved_or_denied() {
    let cluster = Cluster::start();
    let request = STANDARD.encode(include_bytes!("../../conformance/auth/data/request.pem"));
    for name in ["good", "bad"] {
        let manifest = format!(
            "---\n{{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {{name: {name}}}, \
             spec: {{signerName: example.com/shop, request: {request}, usages: [client auth]}}}}"
        );
        let created = cluster.kubectl_with(&["create", "-f", "-"], manifest.as_bytes());
        assert!(created.status.success(), "{created:?}");
    }
    let state = |name: &str| {
        let row = cluster.kubectl(&["get", "csr", name, "--no-headers"]);
        row.split_whitespace().last().unwrap_or_default().to_owned()
    };
    assert_eq!(state("good"), "Pending");
    let said = cluster.kubectl(&["certificate", "approve", "good"]);
    assert_eq!(said, "certificatesigningrequest.certificates.k8s.io/good approved\n");
    assert_eq!(state("good"), "Approved");
    cluster.kubectl(&["certificate", "deny", "bad"]);
    assert_eq!(state("bad"), "Denied");
    let refused = cluster.kubectl_fails(&["certificate", "approve", "bad"]);
    assert!(refused.contains("is already Denied"), "{refused}");
}
