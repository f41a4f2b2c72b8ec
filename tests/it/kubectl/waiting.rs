//! Commands that wait: for something to be, for something to be gone, and for a budget that allows an eviction.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use crate::harness::{Cluster, text};

fn begin(cluster: &Cluster, arguments: &[&str]) -> Child {
    let mut command = cluster.kubectl_command();
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl starts")
}

#[test]
fn a_drain_tries_again_until_the_budget_allows_it() {
    let cluster = Cluster::start();
    let sleep = ["--", "sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done"];
    cluster.kubectl(&[&["create", "deployment", "web", "--image=host"][..], &sleep].concat());
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    cluster.kubectl(&["create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=1"]);
    let healthy = ["get", "pdb", "web", "-o", "jsonpath={.status.currentHealthy}"];
    cluster.eventually(&healthy, |said| said == "1");
    let before = cluster.kubectl(&["get", "pods", "-o", "name"]);
    let node = cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);

    let mut drain = begin(&cluster, &["drain", &node, "--timeout=80s"]);
    let mut complaints = BufReader::new(drain.stderr.take().expect("a pipe"));
    let mut said = String::new();
    while !said.contains("(will retry after 5s): Cannot evict pod as it would violate") {
        assert_ne!(complaints.read_line(&mut said).expect("what it says"), 0, "it gave up: {said}");
    }
    assert_eq!(cluster.kubectl(&["get", "pods", "-o", "name"]), before, "nothing is evicted yet");
    cluster.kubectl(&["patch", "pdb", "web", "--type=merge", "-p", r#"{"spec":{"minAvailable":0}}"#]);
    complaints.read_to_string(&mut said).expect("what it says");
    let output = drain.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{said}");
    assert!(text(&output.stdout).contains(&format!("node/{node} drained")), "{output:?}");
    let after = cluster.kubectl(&["get", "pods", "-o", "name"]);
    assert!(!after.contains(before.trim()), "{after}");
}

#[test]
fn what_is_to_go_is_waited_for_until_it_is_gone() {
    let cluster = Cluster::start();
    cluster.kubectl(&["create", "configmap", "held"]);
    let hold = |finalizers: &str| {
        let patch = format!(r#"{{"metadata":{{"finalizers":{finalizers}}}}}"#);
        cluster.kubectl(&["patch", "configmap", "held", "--type=merge", "-p", &patch]);
    };
    hold(r#"["example.com/held"]"#);
    let is_there = cluster.kubectl_fails(&["wait", "configmap/held", "--for=delete", "--timeout=1s"]);
    assert!(is_there.contains("timed out waiting for the condition on configmaps/held"), "{is_there}");
    cluster.kubectl(&["delete", "configmap", "held", "--wait=false"]);
    let going = ["wait", "configmap/held", "--for=jsonpath={.metadata.deletionTimestamp}", "--timeout=60s"];
    cluster.kubectl(&going);
    let waiting = begin(&cluster, &["wait", "configmap/held", "--for=delete", "--timeout=60s"]);
    hold("null");
    let output = waiting.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let gone = cluster.kubectl_fails(&["get", "configmap", "held"]);
    assert!(gone.contains("NotFound"), "{gone}");
    // What is gone already is not waited for.
    cluster.kubectl(&["wait", "configmap/held", "--for=delete", "--timeout=60s"]);
}
