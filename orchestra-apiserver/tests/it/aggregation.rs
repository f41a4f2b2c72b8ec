//! A second API server behind the first: `APIService`, from its availability to its withdrawal.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use jiff::Timestamp;
use orchestra_apiserver::pki::Pki;
use orchestra_apiserver::{ApiServer, Limits, RequestHeaderAuthenticator};
use orchestra_store::MemoryStore;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::extension::tls;
use crate::harness::{delete, get, patch, post};
use crate::socket::{Listening, listen};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const THINGS: &str = "/apis/g.test/v1/namespaces/default/things";

struct Pair {
    front: Listening,
    behind: ApiServer,
    _dir: tempfile::TempDir,
    _stop: DropGuard,
}

/// A definition that only the server behind has.
fn definition() -> Value {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"type": "object", "properties": {"spec": anything}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.g.test"},
        "spec": {
            "group": "g.test", "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "shortNames": ["th"]},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}}}],
        },
    })
}

async fn made(server: &ApiServer, path: &str, object: Value) -> Value {
    let (code, made) = post(server, path, &object).await;
    assert_eq!(code, 201, "{made}");
    made
}

/// The two, with the way from one to the other, but for the `APIService`, which is given.
async fn pair() -> (Pair, Value) {
    let dir = tempfile::tempdir().unwrap();
    let local = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let pki = Pki::load_or_create(dir.path(), &local, Timestamp::now()).unwrap();
    let front = listen(Limits::default(), |builder| {
        builder.front_proxy(pki.front_proxy()).allow_loopback_endpoints(true)
    })
    .await;
    let map = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let (code, map) = get(&front.server, map).await;
    assert_eq!((code, &map["data"]["requestheader-username-headers"]), (200, &json!("[\"X-Remote-User\"]")));
    let allowed: Vec<String> =
        serde_json::from_str(map["data"]["requestheader-allowed-names"].as_str().unwrap()).unwrap();
    let (authority, tls) =
        tls(map["data"]["requestheader-client-ca-file"].as_str().unwrap(), "ext.default.svc");

    let behind = ApiServer::builder(Arc::new(MemoryStore::new()))
        .authenticator(RequestHeaderAuthenticator::new(allowed))
        .build()
        .await
        .unwrap();
    made(&behind, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition()).await;
    let listener = TcpListener::bind((Ipv4Addr::new(127, 64, 7, 1), 0)).await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let (serves, stop) = (behind.clone(), CancellationToken::new());
    let token = stop.clone();
    tokio::spawn(async move { serves.serve(listener, Some(tls), token).await });

    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "ext"},
        "spec": {"ports": [{"port": 443, "targetPort": address.port()}]}});
    made(&front.server, "/api/v1/namespaces/default/services", service).await;
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "ext", "labels": {"kubernetes.io/service-name": "ext"}},
        "endpoints": [{"addresses": [address.ip().to_string()]}],
        "ports": [{"name": "", "port": address.port()}]});
    made(&front.server, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).await;
    let api_service = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.g.test"},
        "spec": {"group": "g.test", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15,
            "service": {"namespace": "default", "name": "ext"}, "caBundle": STANDARD.encode(authority)}});
    (Pair { front, behind, _dir: dir, _stop: stop.drop_guard() }, api_service)
}

/// Waits until the condition says this.
async fn until(server: &ApiServer, reason: &str) -> Value {
    loop {
        let (_, service) = get(server, &format!("{SERVICES}/v1.g.test")).await;
        let condition = &service["status"]["conditions"][0];
        if condition["reason"] == reason {
            return condition.clone();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_group_of_another_server_is_served_as_if_it_were_ones_own() {
    let (pair, api_service) = pair().await;
    let front = &pair.front.server;
    assert_eq!(get(front, THINGS).await.0, 404);
    made(front, SERVICES, api_service).await;
    let condition = until(front, "Passed").await;
    assert_eq!((&condition["status"], &condition["message"]), (&json!("True"), &json!("all checks passed")));

    let thing =
        json!({"apiVersion": "g.test/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"a": 1}});
    made(front, THINGS, thing).await;
    assert_eq!(get(&pair.behind, &format!("{THINGS}/t")).await.1["spec"]["a"], 1, "it is kept behind");
    let (code, list) = get(front, THINGS).await;
    assert_eq!((code, list["items"].as_array().unwrap().len()), (200, 1));

    // Discovery, in both forms, and OpenAPI.
    let (_, groups) = get(front, "/apis").await;
    let groups = groups["groups"].as_array().unwrap();
    let group = groups.iter().find(|group| group["name"] == "g.test").unwrap();
    assert_eq!(group["preferredVersion"]["groupVersion"], "g.test/v1");
    assert_eq!(get(front, "/apis/g.test").await.1["kind"], "APIGroup");
    let (_, own) = get(front, "/apis/g.test/v1").await;
    assert_eq!(own["resources"][0]["shortNames"], json!(["th"]));
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let (_, all) = pair.front.ask("admin", Request::get("/apis").header("accept", accept), "").await;
    let items = all["items"].as_array().unwrap();
    let group = items.iter().find(|group| group["metadata"]["name"] == "g.test").unwrap();
    let version = &group["versions"][0];
    assert_eq!((&version["version"], &version["freshness"]), (&json!("v1"), &json!("Current")));
    assert_eq!(version["resources"][0]["responseKind"]["kind"], "Thing");
    assert_eq!(version["resources"][0]["subresources"][0]["subresource"], "status");
    let (_, index) = get(front, "/openapi/v3").await;
    let place = index["paths"]["apis/g.test/v1"]["serverRelativeURL"].as_str().unwrap();
    let (code, document) = get(front, place).await;
    assert_eq!(code, 200);
    assert!(document["components"]["schemas"].to_string().contains("Thing"), "{place}");
    let swagger = async || {
        let (_, document) = get(front, "/openapi/v2").await;
        let definitions = document["definitions"].as_object().unwrap().clone();
        definitions.into_iter().find(|(_, schema)| {
            schema["x-kubernetes-group-version-kind"]
                == json!([{"group": "g.test", "version": "v1", "kind": "Thing"}])
        })
    };
    let (_, thing) = swagger().await.expect("kinds of the other server are in the older document, too");
    let place = thing["properties"]["metadata"]["$ref"]
        .as_str()
        .and_then(|place| place.strip_prefix("#/definitions/"))
        .unwrap_or_else(|| panic!("it refers to metadata: {thing}"));
    let (_, document) = get(front, "/openapi/v2").await;
    assert!(document["definitions"][place].is_object(), "{place} came with it");

    // Away, and back no more.
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    assert_eq!(delete(front, &format!("{slices}/ext")).await.0, 200);
    let touch = json!({"metadata": {"annotations": {"look": "again"}}});
    let media = "application/merge-patch+json";
    assert_eq!(patch(front, &format!("{SERVICES}/v1.g.test"), media, &touch).await.0, 200);
    let condition = until(front, "MissingEndpoints").await;
    assert_eq!(
        condition["message"],
        "endpoints for service/ext in \"default\" have no addresses with port name \"\""
    );
    let (code, status) = get(front, THINGS).await;
    assert_eq!((code, &status["message"]), (503, &json!("service unavailable")));
    assert_eq!(delete(front, &format!("{SERVICES}/v1.g.test")).await.0, 200);
    while get(front, THINGS).await.0 != 404 {
        tokio::task::yield_now().await;
    }
    assert_eq!(swagger().await, None, "what is withdrawn is in no document");
}

#[tokio::test]
async fn the_other_server_learns_who_asks_and_from_nobody_else() {
    let (pair, api_service) = pair().await;
    let front = &pair.front.server;
    made(front, SERVICES, api_service).await;
    until(front, "Passed").await;
    let (parts, _) = pair.front.ask("jane", Request::get(THINGS), "").await;
    assert_eq!(parts.status, 403, "she is refused in front");
    let rbac = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "jane"}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jane"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}});
    made(front, rbac, binding).await;
    assert_eq!(get(front, rbac).await.0, 200);
    for (name, value) in [
        ("x-nothing", "x"),
        ("x-remote-user", "system:admin"),
        ("x-remote-group", "system:masters"),
        ("x-remote-extra-a", "b"),
        ("connection", "x-remote-user, x-remote-group"),
    ] {
        let (parts, status) = pair.front.ask("jane", Request::get(THINGS).header(name, value), "").await;
        assert_eq!(parts.status, 403, "{name}: {status}");
        let said = status["message"].as_str().unwrap();
        assert!(said.contains("User \"jane\" cannot list resource \"things\""), "{name}: {said}");
    }
    // Behind, her groups count as they are.
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "testers"}, "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "testers"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}});
    made(&pair.behind, rbac, binding).await;
    assert_eq!(get(&pair.behind, rbac).await.0, 200);
    assert_eq!(pair.front.ask("jane", Request::get(THINGS), "").await.0.status, 200);
}

#[tokio::test]
async fn a_refused_upgrade_leaves_the_client_with_the_server_in_front() {
    let (pair, api_service) = pair().await;
    made(&pair.front.server, SERVICES, api_service).await;
    until(&pair.front.server, "Passed").await;
    let head = "host: x\r\nx-test-user: admin";
    let text = format!(
        "GET {THINGS}/absent HTTP/1.1\r\n{head}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\
         GET /api/v1/namespaces/default HTTP/1.1\r\n{head}\r\nconnection: close\r\n\r\n"
    );
    let answer = pair.front.raw(text.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    // The second request is answered in front: behind, nobody would have been let in without a name.
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{answer}");
    assert!(answer.contains("HTTP/1.1 200 OK") && answer.contains("\"Namespace\""), "{answer}");
}

#[tokio::test]
async fn a_server_that_cannot_be_trusted_is_not_asked() {
    let (pair, mut api_service) = pair().await;
    let front = &pair.front.server;
    let map = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let (_, map) = get(front, map).await;
    let (other, _) = tls(map["data"]["requestheader-client-ca-file"].as_str().unwrap(), "ext.default.svc");
    api_service["spec"]["caBundle"] = STANDARD.encode(other).into();
    made(front, SERVICES, api_service).await;
    let condition = until(front, "FailedDiscoveryCheck").await;
    let said = condition["message"].as_str().unwrap();
    assert!(said.starts_with("failing or missing response from https://127.64.7.1:"), "{said}");
    assert!(said.contains("/apis/g.test/v1") && said.contains("certificate"), "{said}");
    assert_eq!(get(front, THINGS).await.0, 503);
}

#[tokio::test]
async fn what_a_server_serves_itself_is_available() {
    let server = crate::harness::server().await;
    let (code, list) = get(&server, SERVICES).await;
    assert_eq!(code, 200);
    let items = list["items"].as_array().unwrap();
    let apps = items.iter().find(|item| item["metadata"]["name"] == "v1.apps").unwrap();
    assert_eq!(apps["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
    assert_eq!(apps["status"]["conditions"][0]["reason"], "Local");
    assert!(items.iter().any(|item| item["metadata"]["name"] == "v1."), "{list}");
}

#[tokio::test]
async fn custom_groups_have_an_object_of_their_own_while_they_are_served() {
    let server = crate::harness::server().await;
    let place = format!("{SERVICES}/v1.example.com");
    let until = async |code: u16| {
        let found = async {
            while get(&server, &place).await.0 != code {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), found).await.expect("it is registered");
    };
    crate::custom::define(&server, &crate::custom::lamps(json!({}))).await;
    until(200).await;
    let (_, object) = get(&server, &place).await;
    assert_eq!(object["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "true");
    assert_eq!(object["status"]["conditions"][0]["reason"], "Local");
    assert_eq!(
        (&object["spec"]["groupPriorityMinimum"], &object["spec"]["versionPriority"]),
        (&json!(1000), &json!(100))
    );
    let definition = format!("{}/lamps.example.com", crate::custom::DEFINITIONS);
    assert_eq!(crate::harness::delete(&server, &definition).await.0, 200);
    until(404).await;
    // What this server serves from its first moment keeps its objects.
    assert_eq!(get(&server, &format!("{SERVICES}/v1.apps")).await.0, 200);
}
