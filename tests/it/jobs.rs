//! Work that ends, and nodes that are emptied: jobs, cron jobs and drains by the unmodified kubectl.

use crate::harness::Cluster;

#[test]
fn a_job_is_made_waited_for_and_shown() {
    let cluster = Cluster::start();
    cluster.kubectl(&["create", "job", "sum", "--image=host", "--", "sh", "-c", "echo $((20 + 22))"]);
    let waited = cluster.kubectl(&["wait", "--for=condition=complete", "job/sum", "--timeout=60s"]);
    assert_eq!(waited, "job.batch/sum condition met\n");
    assert_eq!(cluster.kubectl(&["logs", "job/sum"]), "42\n");
    let shown = cluster.kubectl(&["get", "jobs"]);
    let words: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]);
    assert_eq!(words[1][..3], ["sum", "Complete", "1/1"]);
    let described = cluster.kubectl(&["describe", "job", "sum"]);
    assert!(
        described.contains("Pods Statuses:    0 Active (0 Ready) / 1 Succeeded / 0 Failed"),
        "{described}"
    );
    cluster.kubectl(&["delete", "job", "sum"]);
    cluster.eventually(&["get", "pods", "-o", "name"], str::is_empty);

    cluster.kubectl(&["create", "job", "broken", "--image=host", "--", "sh", "-c", "exit 3"]);
    cluster.kubectl(&["patch", "job", "broken", "-p", r#"{"spec":{"backoffLimit":0}}"#]);
    cluster.kubectl(&["wait", "--for=condition=failed", "job/broken", "--timeout=60s"]);
    let why = cluster.kubectl(&[
        "get",
        "job",
        "broken",
        "-o",
        "jsonpath={.status.conditions[?(@.type=='Failed')].reason}",
    ]);
    assert_eq!(why, "BackoffLimitExceeded");
}

#[test]
fn a_cron_job_is_shown_and_run_by_hand() {
    let cluster = Cluster::start();
    let schedule = "--schedule=0 0 1 1 *";
    cluster.kubectl(&[
        "create",
        "cronjob",
        "yearly",
        "--image=host",
        schedule,
        "--",
        "sh",
        "-c",
        "echo happy",
    ]);
    let shown = cluster.kubectl(&["get", "cronjobs"]);
    let words: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAME", "SCHEDULE", "TIMEZONE", "SUSPEND", "ACTIVE", "LAST", "SCHEDULE", "AGE"]);
    assert_eq!(words[1][..9], ["yearly", "0", "0", "1", "1", "*", "<none>", "False", "0"]);
    cluster.kubectl(&["create", "job", "now", "--from=cronjob/yearly"]);
    cluster.kubectl(&["wait", "--for=condition=complete", "job/now", "--timeout=60s"]);
    assert_eq!(cluster.kubectl(&["logs", "job/now"]), "happy\n");
    let bad = cluster.kubectl_fails(&["create", "cronjob", "bad", "--image=host", "--schedule=0 0 * * 8"]);
    assert!(bad.contains("end of range (8) above maximum (6): 8"), "{bad}");
}

#[test]
fn a_drain_waits_for_the_disruption_budget() {
    let cluster = Cluster::start_with(&["--nodes", "2"]);
    let sleep = ["--", "sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done"];
    cluster.kubectl(&[&["create", "deployment", "web", "--image=host", "--replicas=2"][..], &sleep].concat());
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    cluster.kubectl(&["create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=2"]);
    let allowed =
        ["get", "pdb", "web", "-o", "jsonpath={.status.currentHealthy} {.status.disruptionsAllowed}"];
    cluster.eventually(&allowed, |said| said == "2 0");
    let node = cluster.kubectl(&["get", "pods", "-o", "jsonpath={.items[0].spec.nodeName}"]);
    let refused = cluster.kubectl_fails(&["drain", &node, "--timeout=2s"]);
    assert!(
        refused.contains("Cannot evict pod as it would violate the pod's disruption budget."),
        "{refused}"
    );
    let running =
        cluster.kubectl(&["get", "deployment", "web", "-o", "jsonpath={.status.availableReplicas}"]);
    assert_eq!(running, "2");

    cluster.kubectl(&["patch", "pdb", "web", "--type=merge", "-p", r#"{"spec":{"minAvailable":1}}"#]);
    let drained = cluster.kubectl(&["drain", &node, "--timeout=80s"]);
    assert!(drained.contains(&format!("node/{node} drained")), "{drained}");
    cluster.eventually(&allowed, |said| said == "2 1");
    let nodes = cluster.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}"]);
    assert!(!nodes.split(' ').any(|other| other == node), "{nodes}");
}
