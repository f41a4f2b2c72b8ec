use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-01-01T01:00:00Z";

fn shown(usage: &Usage) -> Vec<String> {
    usage.iter().map(|(name, amount)| format!("{name}={amount}")).collect()
}

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

fn of_pod(pod: &Pod) -> Vec<String> {
    shown(&usage(Tracked::Pod(pod), NOW.parse().unwrap()))
}

fn container(name: &str, requests: Value, limits: Value) -> Value {
    json!({"name": name, "resources": {"requests": requests, "limits": limits}})
}

#[test]
fn a_pod_takes_up_what_its_containers_ask_for_or_what_its_beginning_needs() {
    let sidecar = |mut container: Value| {
        container["restartPolicy"] = "Always".into();
        container
    };
    let spec = json!({
        "containers": [
            container("a", json!({"cpu": "100m", "memory": "64Mi", "example.com/gpu": "1"}), json!({"cpu": "1"})),
            container("b", json!({"cpu": "200m"}), json!({"cpu": "500m"})),
        ],
        "initContainers": [
            sidecar(container("s", json!({"cpu": "50m"}), json!({}))),
            container("i", json!({"memory": "1Gi", "cpu": "10m"}), json!({})),
        ],
        "overhead": {"cpu": "5m", "memory": "1Mi"},
    });
    assert_eq!(
        of_pod(&pod(spec)),
        [
            "count/pods=1",
            "cpu=355m",
            "limits.cpu=1505m",
            "memory=1025Mi",
            "pods=1",
            "requests.cpu=355m",
            "requests.example.com/gpu=1",
            "requests.memory=1025Mi",
        ]
    );
}

#[test]
fn a_pod_that_has_ended_or_should_have_is_only_counted() {
    let mut ended = pod(json!({"containers": [container("c", json!({"cpu": "1"}), json!({}))]}));
    let mut ending = ended.clone();
    ended.status = Some(serde_json::from_value(json!({"phase": "Failed"})).unwrap());
    assert_eq!(of_pod(&ended), ["count/pods=1"]);
    ending.metadata.deletion_grace_period_seconds = Some(30);
    for (deleted, is_charged) in [("2026-01-01T00:59:30Z", true), ("2026-01-01T00:59:29Z", false)] {
        ending.metadata.deletion_timestamp = Some(serde_json::from_value(json!(deleted)).unwrap());
        assert_eq!(of_pod(&ending).len() > 1, is_charged, "{deleted}");
    }
}

#[test]
fn a_pod_that_is_being_made_smaller_takes_up_what_it_still_has() {
    let mut pod = pod(json!({"containers": [container("c", json!({"cpu": "1"}), json!({}))]}));
    let status = json!({"containerStatuses": [{
        "name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
        "resources": {"requests": {"cpu": "2"}},
    }]});
    pod.status = Some(serde_json::from_value(status).unwrap());
    assert!(of_pod(&pod).contains(&"requests.cpu=2".to_owned()));
}

#[test]
fn a_claim_takes_up_storage_in_all_and_of_its_class() {
    let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"allocatedResources": {"storage": "2Gi"}}});
    let claim = serde_json::from_value(claim).unwrap();
    assert_eq!(
        shown(&usage(Tracked::Claim(&claim), NOW.parse().unwrap())),
        [
            "count/persistentvolumeclaims=1",
            "gold.storageclass.storage.k8s.io/persistentvolumeclaims=1",
            "gold.storageclass.storage.k8s.io/requests.storage=2Gi",
            "persistentvolumeclaims=1",
            "requests.storage=2Gi",
        ]
    );
}

#[test]
fn a_service_takes_up_its_node_ports_and_load_balancer() {
    let of = |spec: Value| {
        let service = serde_json::from_value(json!({"spec": spec})).unwrap();
        let usage = usage(Tracked::Service(&service), NOW.parse().unwrap());
        (usage["services.nodeports"].value(), usage["services.loadbalancers"].value())
    };
    let ports = json!([{"port": 80}, {"port": 81, "nodePort": 30081}]);
    assert_eq!(of(json!({"type": "ClusterIP", "ports": ports})), (0, 0));
    assert_eq!(of(json!({"type": "NodePort", "ports": ports})), (2, 0));
    assert_eq!(of(json!({"type": "LoadBalancer", "ports": ports})), (2, 1));
    let without = json!({"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": false});
    assert_eq!(of(without), (1, 1));
}

#[test]
fn every_name_of_a_quota_has_its_measure() {
    for (name, wanted) in [
        ("pods", Some(Measure::Pods)),
        ("count/pods", Some(Measure::Pods)),
        ("limits.memory", Some(Measure::Pods)),
        ("requests.example.com/gpu", Some(Measure::Pods)),
        ("hugepages-2Mi", Some(Measure::Pods)),
        ("requests.storage", Some(Measure::Claims)),
        ("gold.storageclass.storage.k8s.io/requests.storage", Some(Measure::Claims)),
        ("services.nodeports", Some(Measure::Services)),
        ("secrets", Some(Measure::Number("secrets"))),
        ("count/widgets.example.com", Some(Measure::Number("widgets.example.com"))),
        ("example.com/gpu", None),
        ("limits.example.com/gpu", None),
    ] {
        assert_eq!(measure(name), wanted, "{name}");
    }
}

#[test]
fn all_scopes_of_a_quota_must_fit() {
    let asks = pod(json!({"containers": [container("c", json!({"cpu": "1"}), json!({}))],
        "activeDeadlineSeconds": 9, "priorityClassName": "high"}));
    let modest = pod(json!({"containers": [{"name": "c"}]}));
    let fits = |quota: Value| {
        let quota = serde_json::from_value(quota).unwrap();
        (covers(&quota, Tracked::Pod(&asks)), covers(&quota, Tracked::Pod(&modest)))
    };
    assert_eq!(fits(json!({})), (true, true));
    assert_eq!(fits(json!({"scopes": ["BestEffort"]})), (false, true));
    assert_eq!(fits(json!({"scopes": ["NotBestEffort", "Terminating"]})), (true, false));
    assert_eq!(fits(json!({"scopes": ["NotBestEffort", "NotTerminating"]})), (false, false));
    let class = |operator: &str, values: Value| {
        json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values},
        ]}})
    };
    assert_eq!(fits(class("In", json!(["high"]))), (true, false));
    assert_eq!(fits(class("NotIn", json!(["high"]))), (false, true));
    assert_eq!(fits(class("Exists", json!(null))), (true, false));
    let elsewhere = pod(json!({"containers": [], "affinity": {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "z", "namespaces": ["b"]}]}}}));
    let quota = serde_json::from_value(json!({"scopes": ["CrossNamespacePodAffinity"]})).unwrap();
    assert!(covers(&quota, Tracked::Pod(&elsewhere)));
    assert!(!covers(&quota, Tracked::Other("secrets")) && !covers(&quota, Tracked::Pod(&asks)));
}
