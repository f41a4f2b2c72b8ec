//! What kubectl shows of a cluster: the real program, over TLS.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use crate::harness::{Cluster, text};

#[test]
fn kubectl_client_kubectl_api_versions_should_check_if_v1_is_in_available_api_versions() {
    let cluster = Cluster::start();
    let printed = cluster.kubectl(&["api-versions"]);
    assert!(printed.lines().any(|line| line == "v1"), "{printed}");
}

#[test]
fn kubectl_client_kubectl_cluster_info_should_check_if_kubernetes_control_plane_services_is_included_in_cluster_info()
 {
    let cluster = Cluster::start();
    let printed = cluster.kubectl(&["cluster-info"]);
    for wanted in ["Kubernetes control plane", "is running at"] {
        assert!(printed.contains(wanted), "{printed}");
    }
}

#[test]
fn kubectl_client_kubectl_version_should_check_is_all_data_is_printed() {
    let cluster = Cluster::start();
    let printed = cluster.kubectl(&["version"]);
    for wanted in ["Client Version: ", "Server Version: v1.36"] {
        assert!(printed.contains(wanted), "{printed}");
    }
}

#[test]
fn kubectl_client_kubectl_diff_should_check_if_kubectl_diff_finds_a_difference_for_deployments() {
    let cluster = Cluster::start();
    let manifest = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: httpd-deployment}\nspec:\n  replicas: 1\n  \
        selector: {matchLabels: {app: httpd}}\n  template:\n    metadata: {labels: {app: httpd}}\n    spec:\n      \
        containers:\n      - {name: httpd, image: 'httpd:2.4', ports: [{containerPort: 80}]}\n";
    let created = cluster.kubectl_with(&["create", "-f", "-"], manifest.as_bytes());
    assert!(created.status.success(), "{created:?}");
    let changed = manifest.replace("httpd:2.4", "busybox:1");
    let diff = cluster.kubectl_with(&["diff", "-f", "-"], changed.as_bytes());
    assert_eq!(diff.status.code(), Some(1), "{diff:?}");
    let printed = text(&diff.stdout);
    let line = |mark: char, image: &str| {
        printed.lines().any(|line| line.starts_with(mark) && line.ends_with(&format!("image: {image}")))
    };
    assert!(line('-', "httpd:2.4") && line('+', "busybox:1"), "{printed}");
}

/// A `kubectl proxy`; it ends when this is dropped.
struct Proxy {
    process: Child,
    /// Where it says that it serves.
    address: String,
}

impl Proxy {
    fn start(cluster: &Cluster, arguments: &[&str]) -> Self {
        let mut process = cluster
            .kubectl_command()
            .arg("proxy")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("Starting to serve on ").expect("the line").to_owned();
        Self { process, address }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn curl(arguments: &[&str]) -> serde_json::Value {
    let mut command = Command::new("curl");
    let mut curl = command.arg("-s").args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut body = String::new();
    curl.stdout.take().unwrap().read_to_string(&mut body).unwrap();
    assert!(curl.wait().unwrap().success(), "{body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn kubectl_client_proxy_server_should_support_proxy_with_port_0() {
    let cluster = Cluster::start();
    let proxy = Proxy::start(&cluster, &["-p", "0", "--disable-filter"]);
    let found = curl(&[&format!("http://{}/api/", proxy.address)]);
    assert_eq!(found["versions"], serde_json::json!(["v1"]));
}

#[test]
fn kubectl_client_proxy_server_should_support_unix_socket_path() {
    let cluster = Cluster::start();
    let socket = cluster.folder.path().join("test-proxy.socket");
    let socket = socket.to_str().unwrap();
    let proxy = Proxy::start(&cluster, &[&format!("--unix-socket={socket}")]);
    assert_eq!(proxy.address, socket);
    let found = curl(&["--unix-socket", socket, "http://localhost/api/"]);
    assert_eq!(found["versions"], serde_json::json!(["v1"]));
}
