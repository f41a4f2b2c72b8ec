//! Where pods go.

use orchestra::runtime::backend::sim::SimRuntime;
use orchestra::{Cluster, Node};
use serde_json::{Value, json};

use crate::kind::{Kind, items, name, number, version};
use crate::world::{STRATEGIC_PATCH, World, with, world};

#[tokio::test]
async fn limitrange_should_list_patch_and_delete_a_limitrange_by_collection() {
    let world = world().await;
    world.make_namespace("other").await;
    let kind = Kind::namespaced(&world, "v1", "LimitRange", "limitranges");
    let elsewhere = Kind::namespaced(&world, "v1", "LimitRange", "limitranges").inside("other");
    let range = || {
        json!({
            "metadata": { "name": "e2e-limitrange", "labels": { "e2e-limitrange": "created" } },
            "spec": { "limits": [{
                "type": "Container",
                "min": resources(["50m", "100Mi", "100Gi"]),
                "max": resources(["500m", "500Mi", "500Gi"]),
                "default": resources(["500m", "500Mi", "500Gi"]),
                "defaultRequest": resources(["100m", "200Mi", "200Gi"]),
            }] },
        })
    };
    kind.create(range()).await;
    elsewhere.create(range()).await;
    let created = "labelSelector=e2e-limitrange%3Dcreated";
    assert_eq!(items(&kind.list_everywhere(created).await).len(), 2);

    let smaller = resources(["9m", "49Mi", "49Gi"]);
    let mut limits = kind.get("e2e-limitrange").await["spec"]["limits"].clone();
    limits[0]["min"] = smaller.clone();
    let patched = kind
        .strategic(
            "e2e-limitrange",
            json!({
                "metadata": { "labels": { "e2e-limitrange": "patched" } },
                "spec": { "limits": limits },
            }),
        )
        .await;
    assert_eq!(patched["metadata"]["labels"]["e2e-limitrange"], "patched");
    assert_eq!(patched["spec"]["limits"][0]["min"], smaller);
    kind.delete_collection("labelSelector=e2e-limitrange%3Dpatched").await;
    kind.emptied("labelSelector=e2e-limitrange%3Dpatched").await;
    let left = kind.list_everywhere(created).await;
    assert_eq!(items(&left).len(), 1);
    assert_eq!(items(&left)[0]["metadata"]["namespace"], "other");
    world.end().await;
}

#[tokio::test]
async fn limitrange_should_create_a_limitrange_with_defaults_and_ensure_pod_has_those_defaults_applied() {
    let world = world().await;
    let kind = Kind::namespaced(&world, "v1", "LimitRange", "limitranges");
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    let selector = "labelSelector=name%3Dfoo";
    let list = kind.list(selector).await;
    let version = crate::kind::version(&list);
    let mut watch =
        world.watch(&format!("{}?watch=true&resourceVersion={version}&{selector}", kind.collection())).await;
    let default = resources(["500m", "500Mi", "500Gi"]);
    let request = resources(["100m", "200Mi", "200Gi"]);
    let range = kind
        .create(json!({
            "metadata": { "name": "limit-range", "labels": { "name": "foo" } },
            "spec": { "limits": [{
                "type": "Container",
                "min": resources(["50m", "100Mi", "100Gi"]),
                "max": resources(["500m", "500Mi", "500Gi"]),
                "default": default,
                "defaultRequest": request,
            }] },
        }))
        .await;
    watch.expect_named("ADDED", "limit-range").await;
    let held = kind.get("limit-range").await;
    assert_eq!(held["spec"], range["spec"]);
    let item = &held["spec"]["limits"][0];
    assert_eq!((&item["default"], &item["defaultRequest"]), (&default, &request));

    pods.create(pod("pod-no-resources", json!({}))).await;
    let given = pods.get("pod-no-resources").await["spec"]["containers"][0]["resources"].clone();
    assert_eq!(given, json!({ "requests": request, "limits": default }));

    // A limit without a request is the request.
    let partial = json!({
        "requests": { "memory": "150Mi", "ephemeral-storage": "150Gi" },
        "limits": { "cpu": "300m" },
    });
    pods.create(pod("pod-partial-resources", partial)).await;
    let given = pods.get("pod-partial-resources").await["spec"]["containers"][0]["resources"].clone();
    let requests = resources(["300m", "150Mi", "150Gi"]);
    let limits = resources(["300m", "500Mi", "500Gi"]);
    assert_eq!(given, json!({ "requests": requests, "limits": limits }));

    let little = json!({ "requests": resources(["10m", "50Mi", "50Gi"]) });
    let much = json!({ "requests": resources(["600m", "600Mi", "600Gi"]) });
    for refused in [&little, &much] {
        let (code, message) = pods.refused(pod("refused", refused.clone())).await;
        assert!(matches!(code, 403 | 422), "{code} {message}");
    }

    let smaller = resources(["9m", "49Mi", "49Gi"]);
    kind.update("limit-range", |range| range["spec"]["limits"][0]["min"] = smaller.clone()).await;
    let seen = watch.expect_named("MODIFIED", "limit-range").await;
    assert_eq!(seen["spec"]["limits"][0]["min"], smaller);
    pods.create(pod("pod-less-than-former-min", little)).await;
    let (code, message) = pods.refused(pod("refused", much.clone())).await;
    assert!(matches!(code, 403 | 422), "{code} {message}");

    kind.delete("limit-range").await;
    watch.expect_named("DELETED", "limit-range").await;
    assert_eq!(kind.count(selector).await, 0);
    pods.create(pod("pod-more-than-former-max", much)).await;
    world.end().await;
}

fn resources([cpu, memory, storage]: [&str; 3]) -> Value {
    json!({ "cpu": cpu, "memory": memory, "ephemeral-storage": storage })
}

fn pod(name: &str, resources: Value) -> Value {
    let container = json!({ "name": "pause", "image": "pause", "resources": resources });
    json!({ "metadata": { "name": name }, "spec": { "containers": [container] } })
}

#[tokio::test]
async fn schedulerpreemption_priorityclass_endpoints_verify_priorityclass_endpoints_can_be_operated_with_different_http_methods()
 {
    let world = world().await;
    let kind = Kind::cluster(&world, "scheduling.k8s.io/v1", "PriorityClass", "priorityclasses");
    let mut made = Vec::new();
    for (name, value) in [("p1", 1), ("p2", 2)] {
        let class = json!({ "metadata": { "name": name, "labels": { "e2e": "classes" } }, "value": value });
        made.push(kind.create(class).await);
    }
    // The value is for ever, however one tries to change it.
    let (patched, _) =
        world.raw("PATCH", &kind.path("p1"), &[("content-type", STRATEGIC_PATCH)], r#"{"value":10}"#).await;
    assert_eq!(patched, 422);
    let mut second = kind.get("p2").await;
    second["value"] = 20.into();
    let (updated, answer) = world.ask("PUT", &kind.path("p2"), second).await;
    assert_eq!((updated, &answer["reason"]), (422, &json!("Invalid")));

    kind.strategic("p1", json!({ "description": "updated description" })).await;
    kind.update("p2", |class| class["description"] = "updated description".into()).await;
    let list = kind.list("").await;
    for class in &made {
        assert!(items(&list).iter().any(|one| name(one) == name(class)), "{list}");
        let found = kind.get(name(class)).await;
        assert_eq!(
            (&found["value"], &found["description"]),
            (&class["value"], &json!("updated description"))
        );
        assert!(number(version(class)) < number(version(&found)), "{found}");
    }
    kind.delete_collection("labelSelector=e2e%3Dclasses").await;
    for class in &made {
        assert!(!kind.exists(name(class)).await);
    }
    world.end().await;
}

async fn with_a_node() -> World {
    with(Cluster::builder().node(Node::named("node-1").runtime(SimRuntime::default()))).await
}

/// A pod that asks for nothing but a label of its node.
fn choosy(name: &str, label: &str) -> Value {
    let mut pod = pod(name, json!({}));
    pod["spec"]["nodeSelector"] = json!({ label: "42" });
    pod
}

#[tokio::test]
async fn schedulerpredicates_validates_that_nodeselector_is_respected_if_matching() {
    let world = with_a_node().await;
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    let nodes = Kind::cluster(&world, "v1", "Node", "nodes");
    pods.create(pod("without-label", json!({}))).await;
    let found = pods.eventually("without-label", |pod| pod["spec"]["nodeName"].is_string()).await;
    let node = found["spec"]["nodeName"].as_str().expect("a node").to_owned();
    pods.delete("without-label").await;
    let label = "kubernetes.io/e2e-conformance";
    nodes.strategic(&node, json!({ "metadata": { "labels": { label: "42" } } })).await;
    pods.create(choosy("with-labels", label)).await;
    let found = pods.eventually("with-labels", |pod| pod["status"]["phase"] == "Running").await;
    assert_eq!(found["spec"]["nodeName"], node.as_str());
    nodes.strategic(&node, json!({ "metadata": { "labels": { label: null } } })).await;
    world.end().await;
}

#[tokio::test]
async fn schedulerpredicates_validates_that_nodeselector_is_respected_if_not_matching() {
    let world = with_a_node().await;
    let nodes = Kind::cluster(&world, "v1", "Node", "nodes");
    nodes.eventually("node-1", |node| node["status"]["allocatable"]["pods"].is_string()).await;
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    pods.create(choosy("restricted-pod", "label")).await;
    // The scheduler says why.
    let events =
        "/api/v1/namespaces/conformance/events?watch=true&fieldSelector=involvedObject.name%3Drestricted-pod";
    let event =
        world.watch(events).await.until(|event| event["object"]["reason"] == "FailedScheduling").await;
    assert_eq!(event["type"], "Warning");
    let list = pods.list("").await;
    assert_eq!(items(&list).len(), 1);
    assert!(items(&list)[0]["spec"]["nodeName"].is_null(), "{list}");
    world.end().await;
}

/// A resource of which the suite gives nodes some, to fill them with.
const FOO: &str = "scheduling.k8s.io/foo";

/// Gives the node so much of it.
async fn stocked(world: &World, amount: &str) {
    let nodes = Kind::cluster(world, "v1", "Node", "nodes");
    nodes.eventually("node-1", |node| node["status"]["allocatable"]["pods"].is_string()).await;
    let stock = json!({ FOO: amount });
    // A patch made from a whole Node, which empties all that the node says of itself until it says it again.
    let whole = json!({
        "metadata": {},
        "spec": {},
        "status": {
            "capacity": stock,
            "allocatable": stock,
            "daemonEndpoints": { "kubeletEndpoint": { "Port": 0 } },
            "nodeInfo": {
                "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "",
                "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "",
                "operatingSystem": "", "architecture": "",
            },
        },
    });
    let patched = nodes.strategic("node-1/status", whole).await;
    assert!(patched["status"]["allocatable"][FOO].is_string(), "{patched}");
    assert!(patched["status"]["allocatable"]["pods"].is_string(), "the rest stays: {patched}");
}

async fn classes(world: &World) {
    let kind = Kind::cluster(world, "scheduling.k8s.io/v1", "PriorityClass", "priorityclasses");
    for (name, value) in [("p-low", 1), ("p-medium", 100), ("p-high", 1000)] {
        kind.create(json!({ "metadata": { "name": name }, "value": value })).await;
    }
}

/// A pod of a class that wants so much of the resource.
fn wanting(name: &str, class: &str, amount: &str) -> Value {
    let mut pod = pod(name, json!({ "requests": { FOO: amount }, "limits": { FOO: amount } }));
    pod["spec"]["priorityClassName"] = class.into();
    pod["spec"]["terminationGracePeriodSeconds"] = 0.into();
    pod
}

async fn runs(pods: &Kind<'_>, name: &str) -> Value {
    pods.eventually(name, |pod| pod["status"]["phase"] == "Running").await
}

/// Waits until the scheduler has said that this pod fits nowhere.
async fn fits_nowhere(world: &World, pods: &Kind<'_>, pod: &str) {
    let events =
        format!("/api/v1/namespaces/conformance/events?watch=true&fieldSelector=involvedObject.name%3D{pod}");
    world.watch(&events).await.until(|event| event["object"]["reason"] == "FailedScheduling").await;
    assert!(pods.get(pod).await["spec"]["nodeName"].is_null());
}

#[tokio::test]
async fn schedulerpredicates_validates_resource_limits_of_pods_that_are_allowed_to_run() {
    let world = with_a_node().await;
    let nodes = Kind::cluster(&world, "v1", "Node", "nodes");
    let node = nodes.eventually("node-1", |node| node["status"]["allocatable"]["cpu"].is_string()).await;
    let amount = node["status"]["allocatable"]["cpu"].as_str().expect("an amount").to_owned();
    let milli = match amount.strip_suffix('m') {
        Some(milli) => milli.parse::<u64>().expect("a number"),
        None => amount.parse::<u64>().expect("a number") * 1000,
    };
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    let cpu = |milli: u64| {
        let amount = json!({ "cpu": format!("{milli}m") });
        json!({ "requests": amount, "limits": amount })
    };
    pods.create(pod("filler-pod", cpu(milli * 7 / 10))).await;
    runs(&pods, "filler-pod").await;
    pods.create(pod("additional-pod", cpu(milli / 2))).await;
    fits_nowhere(&world, &pods, "additional-pod").await;
    world.end().await;
}

#[tokio::test]
async fn schedulerpredicates_validates_that_there_exists_conflict_between_pods_with_same_hostport_and_protocol_but_one_using_0_0_0_0_hostip()
 {
    let world = with_a_node().await;
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    let listening = |name: &str, address: &str| {
        let mut pod = pod(name, json!({}));
        pod["spec"]["containers"][0]["ports"] =
            json!([{ "hostPort": 54322, "containerPort": 8080, "protocol": "TCP", "hostIP": address }]);
        pod
    };
    pods.create(listening("pod4", "0.0.0.0")).await;
    runs(&pods, "pod4").await;
    pods.create(listening("pod5", "127.0.0.1")).await;
    fits_nowhere(&world, &pods, "pod5").await;
    world.end().await;
}

#[tokio::test]
async fn schedulerpreemption_validates_basic_preemption_works() {
    let world = with_a_node().await;
    stocked(&world, "5").await;
    classes(&world).await;
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    for (name, class) in [("pod0-low", "p-low"), ("pod1-medium", "p-medium")] {
        pods.create(wanting(name, class, "2")).await;
        runs(&pods, name).await;
    }
    pods.create(wanting("preemptor-pod", "p-high", "2")).await;
    runs(&pods, "preemptor-pod").await;
    pods.gone("pod0-low").await;
    assert_eq!(pods.get("pod1-medium").await["metadata"]["deletionTimestamp"], Value::Null);
    world.end().await;
}

#[tokio::test]
async fn schedulerpreemption_validates_lower_priority_pod_preemption_by_critical_pod() {
    let world = with_a_node().await;
    stocked(&world, "5").await;
    classes(&world).await;
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    for (name, class) in [("pod0-low", "p-low"), ("pod1-medium", "p-medium")] {
        pods.create(wanting(name, class, "2")).await;
        runs(&pods, name).await;
    }
    let system = Kind::namespaced(&world, "v1", "Pod", "pods").inside("kube-system");
    system.create(wanting("critical-pod", "system-cluster-critical", "2")).await;
    runs(&system, "critical-pod").await;
    pods.gone("pod0-low").await;
    assert_eq!(pods.get("pod1-medium").await["metadata"]["deletionTimestamp"], Value::Null);
    world.end().await;
}

#[tokio::test]
async fn schedulerpreemption_validates_pod_disruption_condition_is_added_to_the_preempted_pod() {
    let world = with_a_node().await;
    stocked(&world, "1").await;
    classes(&world).await;
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    let mut victim = wanting("victim-pod", "p-low", "1");
    victim["metadata"]["finalizers"] = json!(["example.com/test-finalizer"]);
    pods.create(victim).await;
    runs(&pods, "victim-pod").await;
    pods.create(wanting("preemptor-pod", "p-high", "1")).await;
    let victim = pods
        .eventually("victim-pod", |pod| {
            pod["metadata"]["deletionTimestamp"].is_string()
                && crate::kind::condition(pod, "DisruptionTarget").is_some()
        })
        .await;
    let target = crate::kind::condition(&victim, "DisruptionTarget").expect("the condition");
    assert_eq!((&target["status"], &target["reason"]), (&json!("True"), &json!("PreemptionByScheduler")));
    pods.merge("victim-pod", json!({ "metadata": { "finalizers": null } })).await;
    pods.gone("victim-pod").await;
    runs(&pods, "preemptor-pod").await;
    world.end().await;
}

#[tokio::test]
async fn schedulerpreemption_preemptionexecutionpath_runs_replicasets_to_verify_preemption_running_path() {
    let world = with_a_node().await;
    stocked(&world, "1000").await;
    let classes = Kind::cluster(&world, "scheduling.k8s.io/v1", "PriorityClass", "priorityclasses");
    let sets = Kind::namespaced(&world, "apps/v1", "ReplicaSet", "replicasets");
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    for number in 1..=4 {
        classes.create(json!({ "metadata": { "name": format!("p{number}") }, "value": number })).await;
    }
    let mut watch = world.watch(&format!("{}?watch=true", pods.collection())).await;
    // Three sets that fill the node but for a twentieth, then a pod that needs the place of two of them.
    for (number, amount) in [(1, "200"), (2, "300"), (3, "450")] {
        let called = format!("rs-pod{number}");
        let mut template = wanting("none", &format!("p{number}"), amount);
        template["metadata"] = json!({ "labels": { "name": called } });
        template["spec"]["nodeSelector"] = json!({ "kubernetes.io/hostname": "node-1" });
        let selector = json!({ "matchLabels": { "name": called } });
        let spec = json!({ "replicas": 1, "selector": selector, "template": template });
        sets.create(json!({ "metadata": { "name": called }, "spec": spec })).await;
        sets.eventually(&called, |set| set["status"]["availableReplicas"] == 1).await;
    }
    let mut preemptor = wanting("pod4", "p4", "500");
    preemptor["spec"]["nodeSelector"] = json!({ "kubernetes.io/hostname": "node-1" });
    pods.create(preemptor).await;
    // The node is promised to it before there is room, and then it has it.
    pods.eventually("pod4", |pod| pod["status"]["nominatedNodeName"] == "node-1").await;
    runs(&pods, "pod4").await;
    // The sets of the two lowest have made one more pod each, which waits; the third is let alone.
    let waits = |pod: &Value| pod["status"]["phase"] == "Pending" && pod["spec"]["nodeName"].is_null();
    let mut removed = [false; 2];
    while removed != [true; 2] {
        let gone = watch.until(|event| event["type"] == "DELETED").await;
        for (seen, prefix) in removed.iter_mut().zip(["rs-pod1-", "rs-pod2-"]) {
            *seen |= name(&gone).starts_with(prefix);
        }
    }
    for number in [1, 2] {
        sets.eventually(&format!("rs-pod{number}"), |set| {
            set["status"]["replicas"] == 1 && set["status"]["readyReplicas"].as_i64().unwrap_or_default() == 0
        })
        .await;
    }
    let list = pods.list("").await;
    let of = |number: u32| {
        let prefix = format!("rs-pod{number}-");
        items(&list).iter().filter(|pod| name(pod).starts_with(&prefix)).cloned().collect::<Vec<_>>()
    };
    assert!(of(1).iter().chain(&of(2)).all(waits), "{list}");
    assert_eq!((of(1).len(), of(2).len(), of(3).len()), (1, 1, 1), "{list}");
    assert_eq!(of(3)[0]["status"]["phase"], "Running");
    world.end().await;
}
