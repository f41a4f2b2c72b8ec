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

/// A pod that sleeps.
const SLEEP: [&str; 3] = ["--", "sleep", "1000"];

fn with_a_pod(name: &str, image: &str) -> Cluster {
    let cluster = Cluster::start();
    let arguments =
        ["run", name, &format!("--image={image}"), "--restart=Never", &format!("--labels=run={name}")];
    cluster.kubectl(&[&arguments[..], &SLEEP].concat());
    cluster.kubectl(&["wait", &format!("pod/{name}"), "--for=condition=Ready", "--timeout=60s"]);
    cluster
}

/// A replication controller with one pod, and the pod's name.
fn with_a_controller() -> (Cluster, String) {
    let cluster = Cluster::start();
    let manifest = "apiVersion: v1\nkind: ReplicationController\nmetadata: {name: agnhost-primary, labels: {app: agnhost, role: primary}}\n\
        spec:\n  replicas: 1\n  selector: {app: agnhost, role: primary}\n  template:\n    \
        metadata: {labels: {app: agnhost, role: primary}}\n    spec:\n      containers:\n      \
        - {name: agnhost-primary, image: host, command: [sleep, '1000'], ports: [{name: agnhost-server, containerPort: 6379}]}\n---\n\
        apiVersion: v1\nkind: Service\nmetadata: {name: agnhost-primary, labels: {app: agnhost, role: primary}}\nspec:\n  \
        ports: [{port: 6379, targetPort: agnhost-server}]\n  selector: {app: agnhost, role: primary}\n";
    let created = cluster.kubectl_with(&["create", "-f", "-"], manifest.as_bytes());
    assert!(created.status.success(), "{created:?}");
    let ready = "jsonpath={.items[*].status.containerStatuses[0].ready}";
    cluster.eventually(&["get", "pods", "-l", "app=agnhost", "-o", ready], |said| said == "true");
    let name =
        cluster.kubectl(&["get", "pods", "-l", "app=agnhost", "-o", "jsonpath={.items[0].metadata.name}"]);
    (cluster, name)
}

/// Each of these begins a line, and the line goes on with what is wanted.
fn shows(printed: &str, wanted: &[(&str, &str)]) {
    for (label, value) in wanted {
        let is_there =
            |line: &str| line.trim_start().strip_prefix(label).is_some_and(|rest| rest.contains(value));
        assert!(printed.lines().any(is_there), "no {label} {value} in\n{printed}");
    }
}

#[test]
fn kubectl_client_kubectl_describe_should_check_if_kubectl_describe_prints_relevant_information_for_rc_and_pods()
 {
    let (cluster, pod) = with_a_controller();
    shows(
        &cluster.kubectl(&["describe", "pod", &pod]),
        &[
            ("Name:", "agnhost-primary-"),
            ("Namespace:", "default"),
            ("Node:", ""),
            ("Labels:", "app=agnhost"),
            ("role=primary", ""),
            ("Annotations:", ""),
            ("Status:", "Running"),
            ("IP:", ""),
            ("Controlled By:", "ReplicationController/agnhost-primary"),
            ("Image:", "host"),
            ("State:", "Running"),
            ("QoS Class:", "BestEffort"),
        ],
    );
    shows(
        &cluster.kubectl(&["describe", "rc", "agnhost-primary"]),
        &[
            ("Name:", "agnhost-primary"),
            ("Namespace:", "default"),
            ("Selector:", "app=agnhost,role=primary"),
            ("Labels:", "app=agnhost"),
            ("Replicas:", "1 current / 1 desired"),
            ("Pods Status:", "1 Running / 0 Waiting / 0 Succeeded / 0 Failed"),
            ("Pod Template:", ""),
            ("Image:", "host"),
            ("Events:", ""),
        ],
    );
    shows(
        &cluster.kubectl(&["describe", "service", "agnhost-primary"]),
        &[
            ("Name:", "agnhost-primary"),
            ("Labels:", "app=agnhost"),
            ("Selector:", "app=agnhost,role=primary"),
            ("Type:", "ClusterIP"),
            ("IP:", ""),
            ("Port:", "<unset>  6379/TCP"),
            ("Endpoints:", ":6379"),
            ("Session Affinity:", "None"),
        ],
    );
    shows(
        &cluster.kubectl(&["describe", "node", "node-1"]),
        &[
            ("Name:", "node-1"),
            ("Labels:", ""),
            ("Annotations:", ""),
            ("CreationTimestamp:", ""),
            ("Conditions:", ""),
            ("Type", "Status"),
            ("Addresses:", ""),
            ("Capacity:", ""),
            ("Kubelet Version:", "v1."),
            ("Non-terminated Pods:", ""),
        ],
    );
    shows(
        &cluster.kubectl(&["describe", "namespace", "default"]),
        &[
            ("Name:", "default"),
            ("Labels:", ""),
            ("Status:", "Active"),
            ("No resource quota", ""),
            ("No LimitRange", ""),
        ],
    );
}

#[test]
fn kubectl_client_kubectl_patch_should_add_annotations_for_pods_in_rc() {
    let (cluster, pod) = with_a_controller();
    cluster.kubectl(&["patch", "pod", &pod, "-p", r#"{"metadata":{"annotations":{"x":"y"}}}"#]);
    let said = cluster.kubectl(&["get", "pod", &pod, "-o", "jsonpath={.metadata.annotations.x}"]);
    assert_eq!(said, "y");
}

#[test]
fn kubectl_client_kubectl_label_should_update_the_label_on_a_resource() {
    let cluster = with_a_pod("pause", "host");
    cluster.kubectl(&["label", "pods", "pause", "testing-label=testing-label-value"]);
    let shown = || cluster.kubectl(&["get", "pod", "pause", "-L", "testing-label"]);
    assert!(shown().contains("testing-label-value"), "{}", shown());
    cluster.kubectl(&["label", "pods", "pause", "testing-label-"]);
    assert!(!shown().contains("testing-label-value"), "{}", shown());
}

#[test]
fn kubectl_client_kubectl_replace_should_update_a_single_container_pod_s_image() {
    let cluster = with_a_pod("e2e-test-httpd-pod", "host:1");
    let pod = cluster.kubectl(&["get", "pod", "e2e-test-httpd-pod", "-o", "json"]);
    let changed = pod.replacen("\"image\": \"host:1\"", "\"image\": \"host:2\"", 1);
    assert_ne!(pod, changed);
    let replaced = cluster.kubectl_with(&["replace", "-f", "-"], changed.as_bytes());
    assert!(replaced.status.success(), "{replaced:?}");
    let image = "jsonpath={.spec.containers[0].image}";
    assert_eq!(cluster.kubectl(&["get", "pod", "e2e-test-httpd-pod", "-o", image]), "host:2");
}

#[test]
fn kubectl_client_kubectl_run_pod_should_create_a_pod_from_an_image_when_restart_is_never() {
    let cluster = Cluster::start();
    let arguments =
        ["run", "e2e-test-httpd-pod", "--restart=Never", "--pod-running-timeout=2m0s", "--image=host"];
    cluster.kubectl(&[&arguments[..], &SLEEP].concat());
    let seen = "jsonpath={.spec.containers[0].image} {.spec.restartPolicy}";
    assert_eq!(cluster.kubectl(&["get", "pod", "e2e-test-httpd-pod", "-o", seen]), "host Never");
}

#[test]
fn kubectl_client_kubectl_server_side_dry_run_should_check_if_kubectl_can_dry_run_update_pods() {
    let cluster = with_a_pod("e2e-test-httpd-pod", "host:1");
    let patch = r#"{"spec":{"containers":[{"name":"e2e-test-httpd-pod","image":"host:2"}]}}"#;
    let said = cluster.kubectl(&["patch", "pod", "e2e-test-httpd-pod", "-p", patch, "--dry-run=server"]);
    assert!(said.starts_with("pod/e2e-test-httpd-pod patched"), "{said}");
    let image = "jsonpath={.spec.containers[0].image}";
    assert_eq!(cluster.kubectl(&["get", "pod", "e2e-test-httpd-pod", "-o", image]), "host:1");
}
