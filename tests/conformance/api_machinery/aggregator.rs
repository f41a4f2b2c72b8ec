//! The sample API server behind the cluster's own. What the suite runs in a pod is here a server in this process.

use std::net::Ipv4Addr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orchestra::apiserver::{ApiServer, RequestHeaderAuthenticator};
use orchestra::store::MemoryStore;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::definition::{DEFINITIONS, Definition, is};
use crate::extension::tls;
use crate::world::{self, MERGE_PATCH, World};

const GROUP: &str = "wardle.example.com";
const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const NAME: &str = "v1alpha1.wardle.example.com";
/// Where pods of the local network might be: what is the machine's own is no target.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 64, 7, 1);
const FLUNDERS: &str = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders";

/// Starts the sample server, and puts it behind a service of the test's namespace; the `APIService` to register.
async fn deploy(world: &World) -> (Value, DropGuard) {
    let map = world.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication").await;
    let data = |key: &str| map["data"][key].as_str().unwrap().to_owned();
    let allowed: Vec<String> = serde_json::from_str(&data("requestheader-allowed-names")).unwrap();
    let (authority, tls) = tls(&data("requestheader-client-ca-file"), "sample-api.conformance.svc");
    let sample = ApiServer::builder(Arc::new(MemoryStore::new()))
        .authenticator(RequestHeaderAuthenticator::new(allowed))
        .build()
        .await
        .unwrap();
    let schema = super::definition::allow_all();
    let definition = Definition::named("Flunder", GROUP).namespaced().versions(&[("v1alpha1", schema)]);
    let request = http::Request::post(DEFINITIONS).header("content-type", "application/json");
    let request = request.body(kube::client::Body::from(definition.0.to_string().into_bytes())).unwrap();
    assert_eq!(sample.client("default").send(request).await.unwrap().status(), 201);
    let listener = TcpListener::bind((ADDRESS, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move { sample.serve(listener, Some(tls), token).await });

    let service = json!({
        "metadata": {"name": "sample-api", "labels": {"test": "aggregator"}},
        "spec": {"ports": [{"protocol": "TCP", "port": 7443, "targetPort": port}]},
    });
    world.post("/api/v1/namespaces/conformance/services", service).await;
    let slice = json!({
        "metadata": {"name": "sample-api", "labels": {"kubernetes.io/service-name": "sample-api"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": port}],
        "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": true}}],
    });
    world.post("/apis/discovery.k8s.io/v1/namespaces/conformance/endpointslices", slice).await;
    let registration = json!({
        "metadata": {"name": NAME},
        "spec": {
            "service": {"namespace": "conformance", "name": "sample-api", "port": 7443},
            "group": GROUP, "version": "v1alpha1", "caBundle": STANDARD.encode(authority),
            "groupPriorityMinimum": 2000, "versionPriority": 200,
        },
    });
    (registration, stop.drop_guard())
}

/// Creates an object, lists it, deletes it, and lists nothing.
async fn use_it(world: &World, name: &str) {
    let flunder = json!({
        "apiVersion": "wardle.example.com/v1alpha1", "kind": "Flunder",
        "metadata": {"labels": {"sample-label": "true"}, "name": name, "namespace": "default"},
    });
    world.post(FLUNDERS, flunder).await;
    assert_eq!(world.get(FLUNDERS).await["items"].as_array().unwrap().len(), 1);
    world.delete(&format!("{FLUNDERS}/{name}")).await;
    assert_eq!(world.get(FLUNDERS).await["items"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn aggregator_should_be_able_to_support_the_1_17_sample_api_server_using_the_current_aggregator() {
    let listening = orchestra::Cluster::builder().without_nodes().listen(([127, 0, 0, 1], 0).into());
    let world = world::with(listening).await;
    let (registration, _stop) = deploy(&world).await;
    world.post(SERVICES, registration).await;
    world.eventually(SERVICES, NAME, |service| is(service, "Available")).await;
    // Until the group is served it is unknown or unavailable, and nothing else.
    loop {
        let (status, answer) = world.ask("GET", FLUNDERS, Value::Null).await;
        if status == 200 {
            break;
        }
        assert!([404, 503].contains(&status), "{answer}");
        tokio::task::yield_now().await;
    }
    use_it(&world, "rest-flunder").await;

    // Other clients find it by discovery.
    let groups = world.get("/apis").await;
    let found = groups["groups"].as_array().unwrap().iter().find(|group| group["name"] == GROUP).unwrap();
    assert_eq!(found["preferredVersion"]["version"], "v1alpha1");
    let resources = world.get(&format!("/apis/{GROUP}/v1alpha1")).await;
    let resource = resources["resources"].as_array().unwrap().iter().find(|one| one["name"] == "flunders");
    assert_eq!(resource.unwrap()["namespaced"], true);
    use_it(&world, "dynamic-flunder").await;

    // The registration itself.
    let path = format!("{SERVICES}/{NAME}");
    let status = format!("{path}/status");
    assert_eq!(world.get(&status).await["metadata"]["name"], NAME);
    world.patch(&path, MERGE_PATCH, json!({"spec": {"versionPriority": 400}})).await;
    let list = world.get(SERVICES).await;
    let listed = list["items"].as_array().unwrap().iter().find(|one| one["metadata"]["name"] == NAME);
    assert_eq!(listed.unwrap()["spec"]["versionPriority"], 400);
    let labelled = world
        .update(&path, &path, |object| object["metadata"]["labels"] = json!({"apiservice": "patched"}))
        .await;
    assert_eq!(labelled["metadata"]["labels"]["apiservice"], "patched");
    let selected = format!("{SERVICES}?labelSelector=apiservice%3Dpatched");
    let condition =
        |name: &str| json!({"type": name, "status": "True", "reason": "E2E", "message": "Set from e2e test"});
    world
        .update(&path, &status, |object| {
            object["status"]["conditions"].as_array_mut().unwrap().push(condition("StatusUpdated"));
        })
        .await;
    assert!(is(&world.get(&selected).await["items"][0], "StatusUpdated"));
    let patch = json!({"status": {"conditions": [condition("StatusPatched")]}});
    let patched = world.patch(&status, MERGE_PATCH, patch).await;
    assert!(is(&patched, "StatusPatched"), "{patched}");
    world.delete(&selected).await;
    world.gone(SERVICES, NAME).await;
    assert_eq!(world.get(&selected).await["items"], json!([]));
    world.end().await;
}
