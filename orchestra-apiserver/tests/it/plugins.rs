//! The built-in rules about what pods may be and take up.

use std::sync::Arc;

use http::Request;
use orchestra_apiserver::{ApiServer, PodSecurityLevel, PodSecurityOptions, User};
use orchestra_store::MemoryStore;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{delete, get, json as answer, patch, post, put, send, server};

const PODS: &str = "/api/v1/namespaces/default/pods";
const MERGE: &str = "application/merge-patch+json";

fn pod(name: &str, container: Value) -> Value {
    let mut container = container;
    container["name"] = json!("c");
    container["image"] = json!("i");
    json!({"metadata": {"name": name}, "spec": {"containers": [container]}})
}

async fn make(server: &ApiServer, path: &str, object: Value) -> Value {
    let (code, made) = post(server, path, &object).await;
    assert_eq!(code, 201, "{made}");
    made
}

async fn refused(server: &ApiServer, path: &str, object: Value) -> String {
    let (code, status) = post(server, path, &object).await;
    assert_eq!((code, &status["reason"]), (403, &json!("Forbidden")), "{status}");
    status["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_limit_range_fills_in_and_bounds_what_pods_and_claims_ask_for() {
    let server = server().await;
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [
        {"type": "Container", "max": {"cpu": "1"}, "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
    ]}});
    make(&server, "/api/v1/namespaces/default/limitranges", range).await;
    let plain = make(&server, PODS, pod("plain", json!({}))).await;
    assert_eq!(
        plain["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}})
    );
    assert_eq!(
        plain["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    assert_eq!(
        refused(&server, PODS, pod("large", json!({"resources": {"limits": {"cpu": "2"}}}))).await,
        "pods \"large\" is forbidden: maximum cpu usage per Container is 1, but limit is 2"
    );
    let claim = json!({"metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}},
    }});
    assert_eq!(
        refused(&server, "/api/v1/namespaces/default/persistentvolumeclaims", claim).await,
        "persistentvolumeclaims \"c\" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi"
    );
    // A change of labels is not weighed.
    delete(&server, "/api/v1/namespaces/default/limitranges/r").await;
    make(&server, PODS, pod("large", json!({"resources": {"limits": {"cpu": "2"}}}))).await;
}

/// A quota whose status says what is used, as the controller would have it.
async fn quota(server: &ApiServer, name: &str, hard: Value, used: Value) {
    let quotas = "/api/v1/namespaces/default/resourcequotas";
    let mut made = make(server, quotas, json!({"metadata": {"name": name}, "spec": {"hard": hard}})).await;
    made["status"] = json!({"hard": hard, "used": used});
    let (code, answer) = put(server, &format!("{quotas}/{name}/status"), &made).await;
    assert_eq!(code, 200, "{answer}");
}

async fn used(server: &ApiServer, name: &str) -> Value {
    get(server, &format!("/api/v1/namespaces/default/resourcequotas/{name}")).await.1["status"]["used"]
        .clone()
}

#[tokio::test]
async fn a_quota_is_charged_and_then_refuses() {
    let server = server().await;
    quota(&server, "q", json!({"pods": "2", "requests.cpu": "1"}), json!({"pods": "0", "requests.cpu": "0"}))
        .await;
    let asks = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
    assert_eq!(
        refused(&server, PODS, pod("silent", json!({}))).await,
        "pods \"silent\" is forbidden: failed quota: q: must specify requests.cpu for: c"
    );
    make(&server, PODS, pod("a", asks("600m"))).await;
    assert_eq!(used(&server, "q").await, json!({"pods": "1", "requests.cpu": "600m"}));
    assert_eq!(
        refused(&server, PODS, pod("b", asks("500m"))).await,
        "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1"
    );
    let (code, _) = post(&server, &format!("{PODS}?dryRun=All"), &pod("b", asks("400m"))).await;
    assert_eq!((code, used(&server, "q").await), (201, json!({"pods": "1", "requests.cpu": "600m"})));
    make(&server, PODS, pod("b", asks("400m"))).await;
    assert_eq!(used(&server, "q").await, json!({"pods": "2", "requests.cpu": "1"}));
    // What others have to say comes first, and charges nothing.
    let maps = "/api/v1/namespaces/default/configmaps";
    quota(&server, "fresh", json!({"count/configmaps": "1"}), json!({})).await;
    assert_eq!(
        refused(&server, maps, json!({"metadata": {"name": "m"}})).await,
        "configmaps \"m\" is forbidden: status unknown for quota: fresh, resources: count/configmaps"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn however_many_come_at_once_through_two_servers_a_quota_is_never_exceeded() {
    let store = Arc::new(MemoryStore::new());
    let one = ApiServer::builder(store.clone()).seed(1).build().await.unwrap();
    let two = ApiServer::builder(store).seed(2).build().await.unwrap();
    quota(
        &one,
        "q",
        json!({"count/secrets": "10", "secrets": "12"}),
        json!({"count/secrets": "0", "secrets": "0"}),
    )
    .await;
    let secrets = "/api/v1/namespaces/default/secrets";
    // The second server has to have seen the quota.
    while get(&two, &format!("{secrets}?limit=1")).await.0 != 200 {}
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let server = if n % 2 == 0 { one.clone() } else { two.clone() };
            let secret = json!({"metadata": {"name": format!("s{n}")}});
            tokio::spawn(async move { post(&server, secrets, &secret).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        let (code, answer) = task.await.unwrap();
        made += usize::from(code == 201);
        assert!(code == 201 || answer["message"].as_str().unwrap().contains("exceeded quota: q"), "{answer}");
    }
    assert_eq!(made, 10);
    assert_eq!(get(&one, secrets).await.1["items"].as_array().unwrap().len(), 10);
    assert_eq!(used(&one, "q").await, json!({"count/secrets": "10", "secrets": "10"}));
}

#[tokio::test]
async fn a_runtime_class_says_what_its_pods_cost_and_where_they_run() {
    let server = server().await;
    let class = json!({
        "metadata": {"name": "vm"}, "handler": "vm", "overhead": {"podFixed": {"memory": "64Mi"}},
        "scheduling": {"nodeSelector": {"kind": "vm"}, "tolerations": [{"key": "vm", "operator": "Exists"}]},
    });
    make(&server, "/apis/node.k8s.io/v1/runtimeclasses", class).await;
    let mut wanted = pod("p", json!({}));
    wanted["spec"]["runtimeClassName"] = json!("vm");
    let made = make(&server, PODS, wanted.clone()).await;
    assert_eq!(made["spec"]["overhead"], json!({"memory": "64Mi"}));
    assert_eq!(made["spec"]["nodeSelector"], json!({"kind": "vm"}));
    let tolerations = made["spec"]["tolerations"].as_array().unwrap();
    assert!(tolerations.contains(&json!({"key": "vm", "operator": "Exists"})), "{tolerations:?}");
    wanted["metadata"]["name"] = json!("q");
    wanted["spec"]["nodeSelector"] = json!({"kind": "metal"});
    assert_eq!(
        refused(&server, PODS, wanted.clone()).await,
        "pods \"q\" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[kind] = vm; pod.spec.nodeSelector[kind] = metal"
    );
    wanted["spec"]["runtimeClassName"] = json!("none");
    assert_eq!(
        refused(&server, PODS, wanted.clone()).await,
        "pods \"q\" is forbidden: pod rejected: RuntimeClass \"none\" not found"
    );
    wanted["spec"]["runtimeClassName"] = Value::Null;
    wanted["spec"]["overhead"] = json!({"memory": "1Mi"});
    assert_eq!(
        refused(&server, PODS, wanted).await,
        "pods \"q\" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
    );
}

#[tokio::test]
async fn a_bound_pod_says_in_which_zone_it_is() {
    let server = server().await;
    let labels =
        json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "other": "o"});
    make(&server, "/api/v1/nodes", json!({"metadata": {"name": "n", "labels": labels}})).await;
    let mut wanted = pod("p", json!({}));
    wanted["metadata"]["labels"] = json!({"topology.kubernetes.io/region": "own"});
    make(&server, PODS, wanted).await;
    let binding = json!({"target": {"kind": "Node", "name": "n"}});
    assert_eq!(post(&server, &format!("{PODS}/p/binding"), &binding).await.0, 201);
    let bound = get(&server, &format!("{PODS}/p")).await.1;
    assert_eq!(bound["spec"]["nodeName"], "n");
    assert_eq!(bound["metadata"]["labels"]["topology.kubernetes.io/zone"], "z");
    assert_eq!(bound["metadata"]["labels"]["other"], Value::Null);
}

#[tokio::test]
async fn a_new_node_is_kept_free_until_it_is_ready_where_that_is_asked_for() {
    let builder = ApiServer::builder(Arc::new(MemoryStore::new())).seed(1);
    let server = builder.taint_new_nodes(true).build().await.unwrap();
    let node = make(&server, "/api/v1/nodes", json!({"metadata": {"name": "n"}})).await;
    assert_eq!(
        node["spec"]["taints"],
        json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
}

async fn label(server: &ApiServer, labels: Value) -> Vec<String> {
    let labels: serde_json::Map<String, Value> = labels
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), value.clone()))
        .collect();
    let request = Request::patch("/api/v1/namespaces/default").header("content-type", MERGE);
    let response = send(server, request, json!({"metadata": {"labels": labels}}).to_string()).await;
    assert_eq!(response.status().as_u16(), 200);
    warnings(&response)
}

fn warnings<B>(response: &http::Response<B>) -> Vec<String> {
    let headers = response.headers().get_all("warning").iter();
    headers.map(|header| header.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_namespace_is_kept_to_the_standard_of_its_labels() {
    let server = server().await;
    make(&server, PODS, pod("early", json!({"securityContext": {"privileged": true}}))).await;
    let told = label(&server, json!({"enforce": "baseline"})).await;
    assert_eq!(
        told,
        [
            "299 - \"existing pods in namespace \\\"default\\\" violate the new PodSecurity enforce level \\\"baseline:latest\\\"\"",
            "299 - \"early: privileged\"",
        ]
    );
    assert_eq!(
        refused(&server, PODS, pod("late", json!({"securityContext": {"privileged": true}}))).await,
        "pods \"late\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not set \
         securityContext.privileged=true)"
    );
    // What makes such pods is told of it.
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("", json!({"securityContext": {"privileged": true}}))["spec"]});
    let deployment = json!({
        "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    });
    let request = Request::post("/apis/apps/v1/namespaces/default/deployments")
        .header("content-type", "application/json");
    let response = send(&server, request, deployment.to_string()).await;
    assert_eq!(response.status().as_u16(), 201);
    assert_eq!(
        warnings(&response),
        [
            "299 - \"would violate PodSecurity \\\"baseline:latest\\\": privileged (container \\\"c\\\" must not set securityContext.privileged=true)\""
        ]
    );
    // What was there before may still get labels, and no other image.
    let change = json!({"metadata": {"labels": {"x": "y"}}});
    assert_eq!(patch(&server, &format!("{PODS}/early"), MERGE, &change).await.0, 200);
    let change = json!({"spec": {"containers": [{"name": "c", "image": "other", "securityContext": {"privileged": true}}]}});
    let strategic = "application/strategic-merge-patch+json";
    assert_eq!(patch(&server, &format!("{PODS}/early"), strategic, &change).await.0, 403);
    let wrong = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "strict"}}});
    let (code, status) = patch(&server, "/api/v1/namespaces/default", MERGE, &wrong).await;
    assert_eq!(code, 422);
    assert_eq!(
        status["message"],
        "Namespace \"default\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be \
         one of privileged, baseline, restricted"
    );
}

#[tokio::test]
async fn defaults_and_exemptions_are_the_embedding_programs() {
    let options = PodSecurityOptions::new()
        .enforce(PodSecurityLevel::Restricted)
        .exempt_namespaces(["kube-system".to_owned()])
        .exempt_users(["trusted".to_owned()]);
    let builder = ApiServer::builder(Arc::new(MemoryStore::new())).seed(1).pod_security(options);
    let server = builder.build().await.unwrap();
    refused(&server, PODS, pod("p", json!({}))).await;
    make(&server, "/api/v1/namespaces/kube-system/pods", pod("p", json!({}))).await;
    let user = User::new("trusted", ["system:masters".to_owned()]);
    let request = Request::post(PODS).header("content-type", "application/json").extension(user);
    let request = request.body(pod("p", json!({})).to_string()).unwrap();
    assert_eq!(answer(server.clone().oneshot(request).await.unwrap()).await.0, 201);
}
