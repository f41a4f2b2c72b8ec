use serde_json::{Value, json};

use super::*;
use k8s_openapi::api::resource::v1::ResourceClaim;

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

fn device_claim(name: &str, requests: Value) -> ResourceClaim {
    let claim = json!({"metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"devices": {"requests": requests}}});
    serde_json::from_value(claim).unwrap()
}

fn exactly(class: &str, count: i64) -> Value {
    json!({"name": class, "exactly": {"deviceClassName": class, "allocationMode": "ExactCount", "count": count}})
}

fn of_devices(claim: &ResourceClaim, classes: &Classes, pod: Option<&Pod>) -> Vec<String> {
    shown(&usage(Tracked::Devices(DeviceClaim { claim, classes, pod }), NOW.parse().unwrap()))
}

#[test]
fn a_claim_takes_up_the_most_that_it_can_be_given_by_class_and_by_what_the_class_stands_for() {
    let classes = Classes::of([("gpu", Some("x.io/gpu")), ("nic", None)]);
    let all = json!({"name": "all", "exactly": {"deviceClassName": "nic", "allocationMode": "All"}});
    let sub = |class: &str, count: i64| json!({"name": format!("{class}{count}"), "deviceClassName": class, "allocationMode": "ExactCount", "count": count});
    let any = json!({"name": "any", "firstAvailable": [sub("gpu", 2), sub("gpu", 4), sub("nic", 1)]});
    assert_eq!(
        of_devices(&device_claim("c", json!([exactly("gpu", 3), all, any])), &classes, None),
        [
            "count/resourceclaims.resource.k8s.io=1",
            "gpu.deviceclass.resource.k8s.io/devices=7",
            "nic.deviceclass.resource.k8s.io/devices=33",
            "requests.deviceclass.resource.kubernetes.io/gpu=7",
            "requests.deviceclass.resource.kubernetes.io/nic=33",
            "requests.x.io/gpu=7",
        ]
    );
}

#[test]
fn what_a_pod_is_charged_for_its_claim_is_not() {
    let classes = Classes::of([("gpu", Some("x.io/gpu"))]);
    let mut pod = pod(json!({"containers": [container("c", json!({"x.io/gpu": "2"}), json!({}))]}));
    pod.metadata.uid = Some("u".into());
    let mut claim = device_claim("c", json!([exactly("gpu", 3)]));
    let charged = |claim: &ResourceClaim, others: &[ResourceClaim], pod: &Pod| {
        charged_with(claim, Some(pod), others).is_some()
    };
    assert!(!charged(&claim, &[], &pod), "it says nothing of a pod");
    let meta = json!({"name": "c", "creationTimestamp": "2026-01-01T00:00:00Z",
        "annotations": {"resource.kubernetes.io/extended-resource-claim": "true"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true}]});
    claim.metadata = serde_json::from_value(meta).unwrap();
    assert!(charged(&claim, &[], &pod));
    assert!(charged(&claim, &[claim.clone()], &pod), "its own self is no other");
    let mut earlier = claim.clone();
    earlier.metadata.name = Some("b".into());
    assert!(!charged(&claim, &[earlier.clone()], &pod), "only the first is the pod's");
    assert!(charged(&earlier, &[claim.clone()], &pod));
    let mut new = claim.clone();
    new.metadata.creation_timestamp = None;
    assert!(!charged(&new, &[claim.clone()], &pod));
    let mut other = pod.clone();
    other.metadata.uid = Some("v".into());
    assert!(!charged(&claim, &[], &other), "another pod of that name");
    let given = |name: &str| {
        let mut pod = pod.clone();
        let status =
            json!({"extendedResourceClaimStatus": {"resourceClaimName": name, "requestMappings": []}});
        pod.status = Some(serde_json::from_value(status).unwrap());
        pod
    };
    assert!(charged(&claim, &[earlier.clone()], &given("c")));
    assert!(!charged(&earlier, &[], &given("c")));

    assert_eq!(
        of_devices(&claim, &classes, Some(&pod)),
        [
            "count/resourceclaims.resource.k8s.io=1",
            "gpu.deviceclass.resource.k8s.io/devices=3",
            "requests.deviceclass.resource.kubernetes.io/gpu=3",
            // Two of three are in the pod's account.
            "requests.x.io/gpu=1",
        ]
    );
    let whole = device_claim("c", json!([exactly("gpu", 2)]));
    assert!(!of_devices(&whole, &classes, Some(&pod)).iter().any(|name| name.starts_with("requests.x.io")));
}

#[test]
fn resources_that_classes_stand_for_are_measured_by_pods_and_by_claims() {
    let classes = Classes::of([("gpu", Some("x.io/gpu")), ("nic", None)]);
    for (name, expected, by_claims) in [
        ("requests.x.io/gpu", Some(Measure::Pods), true),
        ("requests.y.io/gpu", Some(Measure::Pods), false),
        ("requests.deviceclass.resource.kubernetes.io/nic", Some(Measure::Pods), true),
        ("requests.deviceclass.resource.kubernetes.io/none", Some(Measure::Pods), false),
        ("requests.kubernetes.io/nic", None, false),
        ("gpu.deviceclass.resource.k8s.io/devices", Some(Measure::Devices), true),
        ("none.deviceclass.resource.k8s.io/devices", Some(Measure::Devices), true),
        ("count/resourceclaims.resource.k8s.io", Some(Measure::Devices), true),
        (
            "count/resourceslices.resource.k8s.io",
            Some(Measure::Number("resourceslices.resource.k8s.io")),
            false,
        ),
        ("pods", Some(Measure::Pods), false),
    ] {
        assert_eq!((measure(name), classes.measure(name)), (expected, by_claims), "{name}");
    }
    let implicit = "deviceclass.resource.kubernetes.io/nic";
    let asks = pod(json!({"containers": [container("c", json!({implicit: "2"}), json!({}))]}));
    assert!(of_pod(&asks).contains(&format!("requests.{implicit}=2")));
}
