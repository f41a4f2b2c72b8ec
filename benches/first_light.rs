//! How long until something runs, and what it costs to have it running. Guards the figures in README.md.
//!
//! `cargo bench --bench first_light`
//!
//! - a cluster in memory, from `start()` to the first pod Ready, with simulated containers and with processes;
//! - the resident memory of an idle `orchestra up`, and the size of the binary;
//! - from `kubectl apply` of a pod to Running, kubectl's own time included; what kubectl takes is shown beside it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use kube::runtime::wait::{await_condition, conditions};
use orchestra::runtime::backend::sim::SimRuntime;
use orchestra::{Cluster, Node};
use serde_json::json;

const ROUNDS: usize = 20;
const BINARY: &str = env!("CARGO_BIN_EXE_orchestra");

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    println!("{:<58} {:>9} {:>9} {:>9}", "milliseconds", "min", "median", "max");
    row("start() to the first pod Ready, simulated containers", || {
        runtime.block_on(first_pod(Node::named("node-1").runtime(SimRuntime::default())))
    });
    row("start() to the first pod Ready, processes", || runtime.block_on(first_pod(Node::named("node-1"))));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut cluster = up(folder.path());
    // Idle means: everything that happens after a start has happened.
    std::thread::sleep(Duration::from_secs(10));
    let idle = resident_kib(cluster.id());
    let kubeconfig = folder.path().join("admin.kubeconfig");
    let mut number = 0;
    row("kubectl apply of a pod to Running, process", || {
        number += 1;
        runtime.block_on(apply_to_running(&kubeconfig, folder.path(), &format!("p{number}")))
    });
    row("  of that: kubectl itself, applying a ConfigMap", || {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"}});
        let begin = Instant::now();
        finish(kubectl_apply(&kubeconfig, folder.path(), &map));
        begin.elapsed()
    });
    println!("{:<58} {:>9.1}", "idle resident memory of `orchestra up`, MiB", idle as f64 / 1024.0);
    let size = std::fs::metadata(BINARY).expect("the binary").len();
    println!("{:<58} {:>9.1}", "size of the binary, MiB", size as f64 / f64::from(1 << 20));
    stop(&mut cluster);
}

async fn first_pod(node: Node) -> Duration {
    let begin = Instant::now();
    let cluster = Cluster::builder().node(node).start().await.expect("a cluster");
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    let pod = serde_json::from_value(json!({
        "metadata": {"name": "first"},
        "spec": {"terminationGracePeriodSeconds": 0,
                 "containers": [{"name": "c", "image": "host", "command": ["sleep", "600"]}]},
    }));
    pods.create(&PostParams::default(), &pod.expect("a pod")).await.expect("created");
    await_condition(pods, "first", is_ready).await.expect("Ready");
    let took = begin.elapsed();
    cluster.stop().await.expect("stopped");
    took
}

/// From starting kubectl until a watch says that the pod is Running.
async fn apply_to_running(kubeconfig: &Path, home: &Path, name: &str) -> Duration {
    let config = kube::config::Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config =
        kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default()).await;
    let client = kube::Client::try_from(config.expect("a configuration")).expect("a client");
    let pods: Api<Pod> = Api::default_namespaced(client);
    // The connection stands before the clock starts.
    pods.list(&kube::api::ListParams::default()).await.expect("an answer");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 0,
                 "containers": [{"name": "c", "image": "host", "command": ["sleep", "600"]}]},
    });
    let begin = Instant::now();
    let kubectl = kubectl_apply(kubeconfig, home, &pod);
    await_condition(pods, name, conditions::is_pod_running()).await.expect("Running");
    let took = begin.elapsed();
    finish(kubectl);
    took
}

fn kubectl_apply(kubeconfig: &Path, home: &Path, object: &serde_json::Value) -> Child {
    let mut child = Command::new("kubectl")
        .args(["apply", "-f", "-"])
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("kubectl is on the PATH");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(object.to_string().as_bytes()).expect("kubectl reads");
    child
}

fn finish(mut kubectl: Child) {
    assert!(kubectl.wait().expect("kubectl ends").success());
}

fn is_ready(pod: Option<&Pod>) -> bool {
    let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn row(what: &str, mut measure: impl FnMut() -> Duration) {
    let mut times: Vec<f64> = (0..ROUNDS).map(|_| measure().as_secs_f64() * 1000.0).collect();
    times.sort_by(f64::total_cmp);
    println!("{what:<58} {:>9.1} {:>9.1} {:>9.1}", times[0], times[ROUNDS / 2], times[ROUNDS - 1]);
}

fn up(folder: &Path) -> Child {
    let mut child = Command::new(BINARY)
        .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.starts_with("ready"))), "it did not become ready");
    child
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

fn stop(cluster: &mut Child) {
    let told = Command::new("kill").arg(cluster.id().to_string()).status().expect("kill runs");
    assert!(told.success());
    cluster.wait().expect("it ends");
}
