//! Quotas: what they count, and what they refuse.

use serde_json::{Value, json};

use crate::world::{self, STRATEGIC_PATCH, World};

const QUOTAS: &str = "/api/v1/namespaces/conformance/resourcequotas";
const PODS: &str = "/api/v1/namespaces/conformance/pods";
const SERVICES: &str = "/api/v1/namespaces/conformance/services";
const NAME: &str = "test-quota";

/// Creates the suite's quota about everything, with other limits for some of it.
async fn make_quota(world: &World, other: Value) {
    let mut hard = json!({
        "pods": "5", "services": "10", "services.nodeports": "1", "services.loadbalancers": "1",
        "replicationcontrollers": "10", "resourcequotas": "1", "cpu": "1", "memory": "500Mi", "configmaps": "10",
        "secrets": "10", "persistentvolumeclaims": "10", "requests.storage": "10Gi", "ephemeral-storage": "50Gi",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "10",
        "gold.storageclass.storage.k8s.io/requests.storage": "10Gi",
        "count/replicasets.apps": "5", "requests.example.com/dongle": "3",
    });
    hard.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    world.post(QUOTAS, json!({"metadata": {"name": NAME}, "spec": {"hard": hard}})).await;
    used(world, NAME, json!({"resourcequotas": "1"})).await;
}

/// Waits until a quota counts so much.
async fn used(world: &World, name: &str, used: Value) {
    world
        .eventually(QUOTAS, name, |quota| {
            let counted = &quota["status"]["used"];
            used.as_object().unwrap().iter().all(|(resource, amount)| counted[resource] == *amount)
        })
        .await;
}

/// A pod that fits on no node.
fn pod(name: &str, requests: Value, limits: Value) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "nodeSelector": {"x-test.k8s.io/unsatisfiable": "not-schedulable"},
            "containers": [{
                "name": "pause", "image": "registry.k8s.io/pause:3.10",
                "resources": {"requests": requests, "limits": limits},
            }],
        },
    })
}

async fn refused(world: &World, path: &str, object: Value) {
    let (status, answer) = world.ask("POST", path, object).await;
    assert_eq!((status, &answer["reason"]), (403, &json!("Forbidden")), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("exceeded quota"), "{answer}");
}

async fn delete_at_once(world: &World, name: &str) {
    world.delete_with(&format!("{PODS}/{name}"), json!({"gracePeriodSeconds": 0})).await;
}

#[tokio::test]
async fn resourcequota_should_create_a_resourcequota_and_ensure_its_status_is_promptly_calculated() {
    let world = world::world().await;
    make_quota(&world, json!({})).await;
    world.end().await;
}

#[tokio::test]
async fn resourcequota_should_create_a_resourcequota_and_capture_the_life_of_a_service() {
    let world = world::world().await;
    make_quota(&world, json!({})).await;
    let service = |name: &str, kind: &str, ports: bool| {
        let mut service = json!({
            "metadata": {"name": name},
            "spec": {"type": kind, "ports": [{"port": 80, "targetPort": 80}]},
        });
        if kind == "LoadBalancer" {
            service["spec"]["allocateLoadBalancerNodePorts"] = ports.into();
        }
        service
    };
    world.post(SERVICES, service("test-service", "ClusterIP", false)).await;
    world.post(SERVICES, service("test-service-np", "NodePort", false)).await;
    refused(&world, SERVICES, service("test-service-lb", "LoadBalancer", true)).await;
    used(&world, NAME, json!({"resourcequotas": "1", "services": "2", "services.nodeports": "1"})).await;
    for name in ["test-service", "test-service-np"] {
        world.delete(&format!("{SERVICES}/{name}")).await;
    }
    used(&world, NAME, json!({"resourcequotas": "1", "services": "0", "services.nodeports": "0"})).await;
    world.end().await;
}

/// The life of an object that a quota counts by number, beside those that are there by default.
async fn counted(world: &World, resource: &str, path: &str, object: Value, before: usize) {
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    used(world, NAME, json!({"resourcequotas": "1", resource: before.to_string()})).await;
    world.post(path, object).await;
    used(world, NAME, json!({resource: (before + 1).to_string()})).await;
    world.delete_with(&format!("{path}/{name}"), json!({"propagationPolicy": "Background"})).await;
    used(world, NAME, json!({resource: before.to_string()})).await;
}

#[tokio::test]
async fn resourcequota_should_create_a_resourcequota_and_capture_the_life_of_a_secret() {
    let world = world::world().await;
    make_quota(&world, json!({"secrets": "1"})).await;
    let secret = json!({"metadata": {"name": "test-secret"}, "data": {"data-1": "dmFsdWUtMQo=", "data-2": "dmFsdWUtMgo="}});
    counted(&world, "secrets", "/api/v1/namespaces/conformance/secrets", secret, 0).await;
    world.end().await;
}

#[tokio::test]
async fn resourcequota_should_create_a_resourcequota_and_capture_the_life_of_a_configmap() {
    // Namespaces have the ConfigMap of the cluster's authority when the API is served to others.
    let listening = orchestra::Cluster::builder().without_nodes().listen(([127, 0, 0, 1], 0).into());
    let world = world::with(listening).await;
    let maps = "/api/v1/namespaces/conformance/configmaps";
    world.eventually(maps, "kube-root-ca.crt", |_| true).await;
    make_quota(&world, json!({"configmaps": "2"})).await;
    let map = json!({"metadata": {"name": "test-configmap"}, "data": {"a": "b"}});
    counted(&world, "configmaps", maps, map, 1).await;
    world.end().await;
}

fn template() -> Value {
    json!({"metadata": {"labels": {"name": "nginx"}}, "spec": {"containers": [{"name": "nginx", "image": "nginx"}]}})
}

#[tokio::test]
async fn resourcequota_should_create_a_resourcequota_and_capture_the_life_of_a_replication_controller() {
    let world = world::world().await;
    make_quota(&world, json!({})).await;
    let controller = json!({
        "metadata": {"name": "test-rc"},
        "spec": {"replicas": 0, "selector": {"name": "nginx"}, "template": template()},
    });
    let path = "/api/v1/namespaces/conformance/replicationcontrollers";
    counted(&world, "replicationcontrollers", path, controller, 0).await;
    world.end().await;
}

#[tokio::test]
async fn resourcequota_should_create_a_resourcequota_and_capture_the_life_of_a_replica_set() {
    let world = world::world().await;
    make_quota(&world, json!({})).await;
    let set = json!({
        "metadata": {"name": "test-rs"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"name": "nginx"}}, "template": template()},
    });
    let path = "/apis/apps/v1/namespaces/conformance/replicasets";
    counted(&world, "count/replicasets.apps", path, set, 0).await;
    world.end().await;
}

#[tokio::test]
async fn resourcequota_should_create_a_resourcequota_and_capture_the_life_of_a_pod() {
    let world = world::world().await;
    make_quota(&world, json!({})).await;
    let dongles = json!({"example.com/dongle": "2"});
    let requests =
        json!({"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", "example.com/dongle": "2"});
    world.post(PODS, pod("test-pod", requests, dongles.clone())).await;
    let counted = json!({
        "resourcequotas": "1", "pods": "1", "cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi",
        "requests.example.com/dongle": "2",
    });
    used(&world, NAME, counted.clone()).await;

    refused(&world, PODS, pod("fail-pod", json!({"cpu": "600m", "memory": "100Mi"}), json!({}))).await;
    let requests =
        json!({"cpu": "500m", "memory": "100Mi", "ephemeral-storage": "30Gi", "example.com/dongle": "2"});
    refused(&world, PODS, pod("fail-pod-for-extended-resource", requests, dongles)).await;

    // What a pod requests does not change by an update.
    let (status, answer) = loop {
        let mut smaller = world.get(&format!("{PODS}/test-pod")).await;
        smaller["spec"]["containers"][0]["resources"]["requests"] =
            json!({"cpu": "100m", "memory": "100Mi", "ephemeral-storage": "10Gi"});
        let (status, answer) = world.ask("PUT", &format!("{PODS}/test-pod"), smaller).await;
        if status != 409 {
            break (status, answer);
        }
    };
    assert_eq!(status, 422, "{answer}");
    used(&world, NAME, counted).await;

    delete_at_once(&world, "test-pod").await;
    let released = json!({
        "resourcequotas": "1", "pods": "0", "cpu": "0", "memory": "0", "ephemeral-storage": "0",
        "requests.example.com/dongle": "0",
    });
    used(&world, NAME, released).await;
    world.end().await;
}

/// Creates a quota of this scope.
async fn scoped(world: &World, name: &str, scope: &str, about_compute: bool) {
    let mut hard = json!({"pods": "5"});
    if about_compute {
        for (resource, amount) in [
            ("requests.cpu", "1"),
            ("requests.memory", "500Mi"),
            ("limits.cpu", "2"),
            ("limits.memory", "1Gi"),
        ] {
            hard[resource] = amount.into();
        }
    }
    let quota = json!({"metadata": {"name": name}, "spec": {"hard": hard, "scopes": [scope]}});
    world.post(QUOTAS, quota).await;
    used(world, name, json!({"pods": "0"})).await;
}

fn burstable(name: &str) -> Value {
    pod(name, json!({"cpu": "500m", "memory": "200Mi"}), json!({"cpu": "1", "memory": "400Mi"}))
}

#[tokio::test]
async fn resourcequota_should_verify_resourcequota_with_terminating_scopes() {
    let world = world::world().await;
    scoped(&world, "quota-terminating", "Terminating", true).await;
    scoped(&world, "quota-not-terminating", "NotTerminating", true).await;
    let one = json!({
        "pods": "1", "requests.cpu": "500m", "requests.memory": "200Mi", "limits.cpu": "1", "limits.memory": "400Mi",
    });
    let none = json!({
        "pods": "0", "requests.cpu": "0", "requests.memory": "0", "limits.cpu": "0", "limits.memory": "0",
    });
    let mut ends = burstable("terminating-pod");
    ends["spec"]["activeDeadlineSeconds"] = 3600.into();
    for (object, name, counts, ignores) in [
        (burstable("test-pod"), "test-pod", "quota-not-terminating", "quota-terminating"),
        (ends, "terminating-pod", "quota-terminating", "quota-not-terminating"),
    ] {
        world.post(PODS, object).await;
        used(&world, counts, one.clone()).await;
        used(&world, ignores, none.clone()).await;
        delete_at_once(&world, name).await;
        used(&world, counts, none.clone()).await;
    }
    world.end().await;
}

#[tokio::test]
async fn resourcequota_should_verify_resourcequota_with_best_effort_scope() {
    let world = world::world().await;
    scoped(&world, "quota-besteffort", "BestEffort", false).await;
    scoped(&world, "quota-not-besteffort", "NotBestEffort", true).await;
    let best = pod("pfpod", json!({}), json!({}));
    for (object, name, counts, ignores) in [
        (best, "pfpod", "quota-besteffort", "quota-not-besteffort"),
        (burstable("burstable-pod"), "burstable-pod", "quota-not-besteffort", "quota-besteffort"),
    ] {
        world.post(PODS, object).await;
        used(&world, counts, json!({"pods": "1"})).await;
        used(&world, ignores, json!({"pods": "0"})).await;
        delete_at_once(&world, name).await;
        used(&world, counts, json!({"pods": "0"})).await;
    }
    world.end().await;
}

fn compute(name: &str, cpu: &str, memory: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"e2e-rq-label": name}},
        "spec": {"hard": {"cpu": cpu, "memory": memory}},
    })
}

#[tokio::test]
async fn resourcequota_should_be_able_to_update_and_delete_resourcequota() {
    let world = world::world().await;
    let path = format!("{QUOTAS}/{NAME}");
    world.post(QUOTAS, compute(NAME, "1", "500Mi")).await;
    assert_eq!(world.get(&path).await["spec"]["hard"], json!({"cpu": "1", "memory": "500Mi"}));
    let updated = world.put(&path, compute(NAME, "2", "1Gi")).await;
    for quota in [updated, world.get(&path).await] {
        assert_eq!(quota["spec"]["hard"], json!({"cpu": "2", "memory": "1Gi"}));
    }
    world.delete(&path).await;
    assert_eq!(world.ask("GET", &path, Value::Null).await.0, 404);
    world.end().await;
}

#[tokio::test]
async fn resourcequota_should_manage_the_lifecycle_of_a_resourcequota() {
    let world = world::world().await;
    let path = format!("{QUOTAS}/{NAME}");
    world.post(QUOTAS, compute(NAME, "1", "500Mi")).await;
    assert_eq!(world.get(&path).await["spec"]["hard"], json!({"cpu": "1", "memory": "500Mi"}));
    let selector = format!("labelSelector=e2e-rq-label%3D{NAME}");
    let everywhere = world.get(&format!("/api/v1/resourcequotas?{selector}")).await;
    assert_eq!(everywhere["items"].as_array().unwrap().len(), 1);
    let patch = json!({"metadata": {"labels": {NAME: "patched"}}, "spec": {"hard": {"memory": "750Mi"}}});
    let patched = world.patch(&path, STRATEGIC_PATCH, patch).await;
    assert_eq!(patched["metadata"]["labels"][NAME], "patched");
    assert_eq!(patched["spec"]["hard"]["memory"], "750Mi");
    world.delete(&format!("{QUOTAS}?{selector}")).await;
    assert_eq!(world.ask("GET", &path, Value::Null).await.0, 404);
    world.end().await;
}

#[tokio::test]
async fn resourcequota_should_apply_changes_to_a_resourcequota_status() {
    let world = world::world().await;
    let (path, status) = (format!("{QUOTAS}/{NAME}"), format!("{QUOTAS}/{NAME}/status"));
    let selector = format!("labelSelector=e2e-rq-label%3D{NAME}");
    let version = async || {
        let list = world.get(&format!("/api/v1/resourcequotas?{selector}")).await;
        list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    };
    // Seen from this version on, the status must come to say this.
    let confirm = async |from: String, hard: Value| {
        let path = format!("{QUOTAS}?watch=true&allowWatchBookmarks=true&{selector}&resourceVersion={from}");
        let mut watch = world.watch(&path).await;
        watch.until(|event| event["object"]["status"]["hard"] == hard).await;
    };
    let from = version().await;
    world.post(QUOTAS, compute(NAME, "500m", "500Mi")).await;
    let hard = json!({"cpu": "500m", "memory": "500Mi"});
    assert_eq!(world.get(&path).await["spec"]["hard"], hard);
    world.update(&path, &status, |quota| quota["status"] = json!({"hard": hard})).await;
    confirm(from, hard.clone()).await;

    let from = version().await;
    let hard = json!({"cpu": "1", "memory": "1Gi"});
    let patched = world.patch(&path, STRATEGIC_PATCH, json!({"spec": {"hard": hard}})).await;
    assert_eq!(patched["spec"]["hard"], hard);
    world.patch(&status, STRATEGIC_PATCH, json!({"status": {"hard": hard}})).await;
    confirm(from, hard.clone()).await;
    assert_eq!(world.get(&status).await["status"]["hard"], hard);

    let from = version().await;
    let other = json!({"cpu": "2", "memory": "2Gi"});
    let repatched = world.patch(&status, STRATEGIC_PATCH, json!({"status": {"hard": other}})).await;
    assert_eq!(repatched["status"]["hard"], other);
    assert_eq!(repatched["spec"]["hard"], hard);
    // The controller puts it right.
    confirm(from, hard).await;
    world.end().await;
}
