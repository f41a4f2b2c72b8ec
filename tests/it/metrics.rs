//! Watching over a running cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::Cluster;

/// Every series with its value. Fails where a series has no help or type, or is there twice, or a type does not fit.
fn series(page: &str) -> BTreeMap<String, f64> {
    let (mut kinds, mut helped, mut found) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap_or_else(|| panic!("no words: {line}"));
            assert!(helped.insert(name), "{name} is helped twice");
            assert!(!words.trim().is_empty(), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(kinds.insert(name, kind).is_none(), "{name} is described twice");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            let name = series.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
                name.strip_suffix(end).filter(|family| kinds.get(family) == Some(&"histogram"))
            });
            let family = family.unwrap_or(name);
            let fits = kinds.get(family).is_some_and(|kind| (*kind == "histogram") == (family != name));
            assert!(fits && helped.contains(family), "{family} is not described before {line}");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(found.insert(series.to_owned(), value).is_none(), "{series} is there twice");
        }
    }
    found
}

/// What all series of a name whose labels hold all of these add up to.
fn sum(found: &BTreeMap<String, f64>, name: &str, labels: &[&str]) -> f64 {
    let of_name = |series: &str| series.split('{').next() == Some(name);
    let fits = |series: &str| of_name(series) && labels.iter().all(|label| series.contains(label));
    found.iter().filter(|(series, _)| fits(series)).map(|(_, value)| value).sum()
}

#[test]
fn a_rollout_shows_in_the_metrics_of_every_component() {
    let cluster = Cluster::start();
    let read = || series(&cluster.kubectl(&["get", "--raw", "/metrics"]));
    let before = read();
    cluster.kubectl(&["create", "deployment", "web", "--image=host", "--replicas=2", "--", "sleep", "1000"]);
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let after = read();
    for (name, labels) in [
        ("apiserver_request_total", &[r#"verb="POST""#, r#"resource="deployments""#, r#"code="201""#][..]),
        ("apiserver_request_duration_seconds_count", &[r#"resource="deployments""#]),
        ("apiserver_watch_events_total", &[r#"resource="pods""#]),
        (
            "apiserver_admission_controller_admission_duration_seconds_count",
            &[r#"name="NamespaceLifecycle""#],
        ),
        ("apiserver_watch_cache_events_received_total", &[r#"resource="pods""#]),
        ("etcd_requests_total", &[r#"operation="create""#, r#"resource="deployments""#]),
        ("workqueue_adds_total", &[r#"name="deployment""#]),
        ("workqueue_adds_total", &[r#"name="replicaset""#]),
        ("workqueue_work_duration_seconds_count", &[r#"name="deployment""#]),
        ("scheduler_schedule_attempts_total", &[r#"result="scheduled""#, r#"profile="default-scheduler""#]),
        ("scheduler_pod_scheduling_sli_duration_seconds_count", &[]),
        ("kubelet_started_pods_total", &[]),
        ("kubelet_running_containers", &[r#"container_state="running""#]),
        ("kubelet_pod_start_duration_seconds_count", &[]),
        ("kubelet_runtime_operations_total", &[r#"operation_type="start_container""#]),
        ("process_cpu_seconds_total", &[]),
    ] {
        let (was, is) = (sum(&before, name, labels), sum(&after, name, labels));
        assert!(is > was, "{name} {labels:?} was {was} and is {is}");
    }
    assert_eq!(sum(&after, "kubelet_running_pods", &[]), 2.0);
    assert_eq!(sum(&after, "scheduler_cache_size", &[r#"type="nodes""#]), 1.0);
    assert!(sum(&after, "kubeproxy_sync_proxy_rules_last_timestamp_seconds", &[]) > 0.0);
    assert!(sum(&after, "apiserver_longrunning_requests", &[r#"verb="WATCH""#]) > 10.0);
    assert_eq!(sum(&after, "kubernetes_build_info", &[r#"major="1""#]), 1.0);
}

#[test]
fn kubectl_reads_the_metrics_of_the_store() {
    let cluster = Cluster::start();
    cluster.kubectl(&["create", "secret", "generic", "s", "--from-literal=a=b"]);
    let text = cluster.kubectl(&["get", "--raw", "/metrics"]);
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    };
    assert_eq!(value(r#"etcd_requests_total{operation="create",group="",resource="secrets"}"#), 1.0);
    assert_eq!(value(r#"apiserver_storage_objects{resource="secrets"}"#), 1.0);
    assert_eq!(value("orchestra_store_up"), 1.0);
    for name in [
        "orchestra_store_sync_duration_seconds_count",
        "orchestra_store_batch_calls_sum",
        "orchestra_store_watchers",
        "orchestra_store_log_bytes",
        "orchestra_store_revision",
        r#"apiserver_storage_size_bytes{storage_cluster_id="etcd-0"}"#,
    ] {
        assert!(value(name) > 0.0, "{name}");
    }
    assert!(cluster.kubectl(&["get", "--raw", "/readyz?verbose"]).contains("[+]etcd ok\n"));
}
