//! What nodes and pods use, and what follows from it.

use std::fs;

use crate::harness::Cluster;

const BUSY: [&str; 4] = ["--", "sh", "-c", "while :; do :; done"];

/// The number before `unit` in a column of the line that begins with `name`.
fn column(table: &str, name: &str, at: usize, unit: &str) -> Option<u64> {
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    line.split_whitespace().nth(at)?.strip_suffix(unit)?.parse().ok()
}

#[test]
fn top_shows_what_nodes_pods_and_containers_use() {
    let cluster = Cluster::start();
    let kubectl = |arguments: &[&str]| cluster.kubectl(arguments);
    kubectl(&[&["run", "busy", "--image=host", "--labels=app=busy"][..], &BUSY].concat());
    kubectl(&["run", "idle", "--image=host", "--", "sleep", "1000"]);
    let uses =
        |table: &str, name: &str, at, least: u64| column(table, name, at, "m").is_some_and(|m| m >= least);
    let table =
        cluster.eventually(&["top", "pods"], |table| uses(table, "busy", 1, 50) && table.contains("idle"));
    assert!(column(&table, "idle", 1, "m").is_some_and(|used| used < 10), "{table}");
    let table = kubectl(&["top", "pod", "-l", "app=busy", "--containers", "--no-headers"]);
    assert!(table.lines().count() == 1 && uses(&table, "busy", 2, 50), "{table}");
    assert_eq!(table.split_whitespace().nth(1), Some("busy"), "{table}");
    let table = cluster.eventually(&["top", "nodes"], |table| uses(table, "node-1", 1, 50));
    assert!(
        column(&table, "node-1", 2, "%").is_some() && column(&table, "node-1", 3, "Mi").is_some(),
        "{table}"
    );

    let table = kubectl(&["get", "pods.metrics.k8s.io", "--field-selector=metadata.name=busy"]);
    let mut lines = table.lines();
    assert_eq!(
        lines.next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["NAME", "CPU", "MEMORY", "WINDOW"]
    );
    assert!(lines.next().unwrap().starts_with("busy ") && lines.next().is_none(), "{table}");
    let node = "jsonpath={.kind} {.metadata.labels.kubernetes\\.io/hostname}";
    assert_eq!(kubectl(&["get", "nodes.metrics.k8s.io", "node-1", "-o", node]), "NodeMetrics node-1");
    let missing = cluster.kubectl_fails(&["get", "pods.metrics.k8s.io", "absent"]);
    assert!(missing.contains("pods \"absent\" not found"), "{missing}");
    let watched = cluster.kubectl_fails(&["get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes?watch=true"]);
    assert!(watched.contains("MethodNotAllowed"), "{watched}");
    let service = "jsonpath={.spec.groupPriorityMinimum} {.status.conditions[0].status}";
    assert_eq!(kubectl(&["get", "apiservice", "v1beta1.metrics.k8s.io", "-o", service]), "100 True");
    kubectl(&["create", "serviceaccount", "viewer"]);
    let may = ["auth", "can-i", "list", "pods.metrics.k8s.io", "--as=system:serviceaccount:default:viewer"];
    assert_eq!(cluster.kubectl_command().args(may).output().unwrap().stdout, b"no\n");
    kubectl(&["create", "rolebinding", "viewer", "--clusterrole=view", "--serviceaccount=default:viewer"]);
    cluster.eventually(&may, |said| said == "yes\n");
}

#[test]
fn a_deployment_follows_the_real_use_of_its_processes_up_and_down() {
    let cluster = Cluster::start();
    let kubectl = |arguments: &[&str]| cluster.kubectl(arguments);
    let load = cluster.folder.path().join("load");
    fs::write(&load, "").unwrap();
    let program = format!("while :; do [ -e {} ] || sleep 1; done", load.display());
    kubectl(&["create", "deployment", "work", "--image=host", "--", "sh", "-c", &program]);
    kubectl(&["set", "resources", "deployment/work", "--requests=cpu=50m"]);
    kubectl(&["autoscale", "deployment", "work", "--min=1", "--max=3", "--cpu-percent=80"]);
    let at_once = r#"{"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}}"#;
    kubectl(&["patch", "hpa", "work", "--type=merge", "-p", at_once]);
    let replicas = ["get", "deployment", "work", "-o", "jsonpath={.spec.replicas} {.status.readyReplicas}"];
    cluster.eventually(&replicas, |said| said == "3 3");
    fs::remove_file(&load).unwrap();
    cluster.eventually(&replicas, |said| said == "1 1");
    let events = kubectl(&["describe", "hpa", "work"]);
    assert!(events.contains("New size: 3; reason: cpu resource utilization"), "{events}");
    assert!(events.contains("reason: All metrics below target"), "{events}");
}
