//! Watching over a running cluster.

use crate::harness::Cluster;

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
