//! What is done to workloads.

use std::fs;

use crate::harness::{Cluster, text};

fn sleeping(cluster: &Cluster, name: &str) {
    let sleep = ["--", "sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done"];
    cluster.kubectl(&[&["create", "deployment", name, "--image=host"][..], &sleep].concat());
    cluster.kubectl(&["rollout", "status", &format!("deployment/{name}"), "--timeout=60s"]);
}

#[test]
fn a_workload_is_run_exposed_set_and_autoscaled() {
    let cluster = Cluster::start();
    let kubectl = |arguments: &[&str]| cluster.kubectl(arguments);
    let read = |what: &str, path: &str| kubectl(&["get", what, "-o", &format!("jsonpath={path}")]);
    kubectl(&["run", "one", "--image=host", "--labels=app=one", "--port=8080", "--", "sleep", "1000"]);
    kubectl(&["wait", "pod/one", "--for=condition=Ready", "--timeout=60s"]);
    kubectl(&["expose", "pod", "one", "--name=one", "--port=80", "--target-port=8080"]);
    assert_eq!(read("service/one", "{.spec.selector.app} {.spec.ports[0].targetPort}"), "one 8080");
    kubectl(&["set", "selector", "service/one", "app=two"]);
    assert_eq!(read("service/one", "{.spec.selector}"), r#"{"app":"two"}"#);

    kubectl(&["create", "serviceaccount", "clerk"]);
    kubectl(&["create", "deployment", "web", "--image=host", "--replicas=0", "--", "sleep", "1000"]);
    kubectl(&["set", "env", "deployment/web", "COLOUR=teal"]);
    assert_eq!(kubectl(&["set", "env", "deployment/web", "--list"]).lines().last(), Some("COLOUR=teal"));
    kubectl(&["set", "image", "deployment/web", "host=host:2"]);
    kubectl(&["set", "resources", "deployment/web", "--requests=cpu=10m", "--limits=cpu=20m,memory=64Mi"]);
    kubectl(&["set", "serviceaccount", "deployment/web", "clerk"]);
    let container = "{.spec.template.spec.containers[0]";
    assert_eq!(read("deployment/web", &format!("{container}.env[0].value}}")), "teal");
    assert_eq!(read("deployment/web", &format!("{container}.image}}")), "host:2");
    assert_eq!(read("deployment/web", &format!("{container}.resources.requests}}")), r#"{"cpu":"10m"}"#);
    assert_eq!(read("deployment/web", "{.spec.template.spec.serviceAccountName}"), "clerk");
    kubectl(&["autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu-percent=80"]);
    assert_eq!(
        read("hpa/web", "{.spec.minReplicas} {.spec.maxReplicas} {.spec.scaleTargetRef.name}"),
        "1 3 web"
    );
    let table = kubectl(&["get", "hpa", "web", "--no-headers"]);
    assert!(table.starts_with("web") && table.contains("Deployment/web"), "{table}");
    let described = kubectl(&["describe", "hpa", "web"]);
    assert!(described.contains("resource cpu on pods"), "{described}");
    kubectl(&["delete", "pod", "one", "--grace-period=1"]);
    let failed = cluster.kubectl_fails(&[
        "wait",
        "deployment/web",
        "--for=jsonpath={.spec.replicas}=7",
        "--timeout=1s",
    ]);
    assert!(failed.contains("timed out waiting for the condition"), "{failed}");
}

#[test]
fn a_workload_is_rolled_back_and_restarted() {
    let cluster = Cluster::start();
    let kubectl = |arguments: &[&str]| cluster.kubectl(arguments);
    sleeping(&cluster, "web");
    kubectl(&["annotate", "deployment/web", "kubernetes.io/change-cause=first"]);
    kubectl(&["set", "env", "deployment/web", "VERSION=2"]);
    kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let history = kubectl(&["rollout", "history", "deployment/web"]);
    assert_eq!(history.lines().filter(|line| line.starts_with(['1', '2'])).count(), 2, "{history}");
    let second = kubectl(&["rollout", "history", "deployment/web", "--revision=2"]);
    let version = |line: &str| line.split_whitespace().eq(["VERSION:", "2"]);
    assert!(second.lines().any(version), "{second}");
    kubectl(&["rollout", "undo", "deployment/web", "--to-revision=1"]);
    kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    assert_eq!(
        kubectl(&["get", "deployment/web", "-o", "jsonpath={.spec.template.spec.containers[0].env}"]),
        ""
    );
    kubectl(&["rollout", "restart", "deployment/web"]);
    kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let annotations =
        kubectl(&["get", "deployment/web", "-o", "jsonpath={.spec.template.metadata.annotations}"]);
    assert!(annotations.contains("kubectl.kubernetes.io/restartedAt"), "{annotations}");
}

#[test]
fn an_object_is_replaced_by_force_or_not() {
    let cluster = Cluster::start();
    let manifest = |immutable: bool, value: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: m}}, immutable: {immutable}, data: {{a: {value}}}}}"
        )
    };
    let replace = |arguments: &[&str], manifest: &str| {
        cluster.kubectl_with(&[&["replace"], arguments, &["-f", "-"]].concat(), manifest.as_bytes())
    };
    assert!(text(&replace(&[], &manifest(false, "one")).stderr).contains("(NotFound)"));
    assert!(cluster.kubectl_with(&["create", "-f", "-"], manifest(false, "one").as_bytes()).status.success());
    let replaced = replace(&[], &manifest(true, "two"));
    assert_eq!(text(&replaced.stdout), "configmap/m replaced\n", "{replaced:?}");
    let uid = || cluster.kubectl(&["get", "configmap", "m", "-o", "jsonpath={.metadata.uid}"]);
    let before = uid();
    let refused = replace(&[], &manifest(true, "three"));
    assert!(text(&refused.stderr).contains("field is immutable when `immutable` is set"), "{refused:?}");
    assert_eq!(uid(), before);
    let forced = replace(&["--force"], &manifest(true, "three"));
    assert!(text(&forced.stdout).ends_with("configmap/m replaced\n"), "{forced:?}");
    assert_ne!(uid(), before);
    assert_eq!(cluster.kubectl(&["get", "configmap", "m", "-o", "jsonpath={.data.a}"]), "three");
}

#[test]
fn files_are_copied_into_a_container_and_out_again() {
    let cluster = Cluster::start();
    sleeping(&cluster, "web");
    let pod = cluster.kubectl(&["get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]);
    let folder = cluster.folder.path().join("copied");
    fs::create_dir_all(folder.join("in/deep")).unwrap();
    fs::write(folder.join("in/deep/file"), "contents").unwrap();
    let local = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    // A container of the process runtime sees the machine's files: it is given a place of its own.
    let inside = local("inside");
    cluster.kubectl(&["cp", &local("in"), &format!("{pod}:{inside}")]);
    assert_eq!(fs::read_to_string(folder.join("inside/deep/file")).unwrap(), "contents");
    cluster.kubectl(&["cp", &format!("{pod}:{inside}/deep/file"), &local("out")]);
    assert_eq!(fs::read_to_string(folder.join("out")).unwrap(), "contents");
}

#[test]
fn events_are_listed_for_the_object_they_are_about() {
    let cluster = Cluster::start();
    sleeping(&cluster, "web");
    let shown = cluster
        .eventually(&["events", "--for", "deployment/web"], |shown| shown.contains("ScalingReplicaSet"));
    let header: Vec<&str> = shown.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(header, ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
    assert!(shown.lines().skip(1).all(|line| line.contains("Deployment/web")), "{shown}");
}
