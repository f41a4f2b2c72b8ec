//! What a server can be given: users, rules, nodes, clocks; and what it answers in.

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use orchestra_apiserver::{
    AccessRequest, ApiServer, Authorizer, Body, Decision, NodeTransport, RuntimeClock, StatusError, User,
};
use orchestra_store::{MemoryStore, Store};
use serde_json::{Value, json};
use tower::{BoxError, ServiceExt};

use crate::harness::{get, json, post, put, send, server};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn builder() -> orchestra_apiserver::ApiServerBuilder {
    ApiServer::builder(Arc::new(MemoryStore::new()))
}

async fn ask(server: &ApiServer, user: Option<User>, path: &str) -> (u16, Value) {
    let mut request = Request::get(path).body(String::new()).unwrap();
    if let Some(user) = user {
        request.extensions_mut().insert(user);
    }
    json(server.clone().oneshot(request).await.unwrap()).await
}

#[derive(Debug)]
struct ReadersMayList;

#[async_trait]
impl Authorizer for ReadersMayList {
    async fn authorize(&self, request: AccessRequest<'_>) -> Result<Decision, StatusError> {
        let allowed = request.user.is_in("readers") && request.verb == "list";
        Ok(if allowed { Decision::Allow(String::new()) } else { Decision::Deny(String::new()) })
    }
}

#[tokio::test]
async fn who_is_unknown_sees_health_and_nothing_else() {
    let server = server().await;
    let (code, status) = ask(&server, None, CONFIG_MAPS).await;
    assert_eq!((code, &status["reason"]), (403, &json!("Forbidden")));
    assert_eq!(ask(&server, None, "/apis").await.0, 403);
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(ask(&server, None, path).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn an_authorizer_decides_for_everyone_else() {
    let server = builder().authorizer(ReadersMayList).build().await.unwrap();
    let reader = User::new("ann", ["readers".to_owned()]);
    assert_eq!(ask(&server, Some(reader.clone()), CONFIG_MAPS).await.0, 200);
    let (code, status) = ask(&server, Some(reader), &format!("{CONFIG_MAPS}/x")).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "configmaps \"x\" is forbidden: User \"ann\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
}

#[tokio::test]
async fn a_snapshot_of_everything_is_not_for_everyone() {
    let server = builder().authorizer(ReadersMayList).build().await.unwrap();
    let path = "/orchestra/v1/snapshot";
    assert_eq!(ask(&server, None, path).await.0, 403);
    let (code, status) = ask(&server, Some(User::new("ann", ["readers".to_owned()])), path).await;
    assert_eq!(code, 403);
    assert_eq!(status["message"], "forbidden: User \"ann\" cannot get path \"/orchestra/v1/snapshot\"");
}

#[tokio::test]
async fn anybody_known_may_ask_what_they_may_do() {
    let server = builder().authorizer(ReadersMayList).build().await.unwrap();
    let ask = async |verb: &str| {
        let review = json!({"spec": {"resourceAttributes": {"verb": verb, "resource": "pods", "namespace": "default"}}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let request =
            Request::post(path).extension(User::new("ann", ["readers".to_owned()])).body(review.to_string());
        json(server.clone().oneshot(request.unwrap()).await.unwrap()).await
    };
    assert_eq!(ask("list").await.1["status"], json!({"allowed": true}));
    assert_eq!(ask("delete").await.1["status"], json!({"allowed": false}));
}

#[tokio::test]
async fn a_restart_finds_everything_and_moves_the_servers_own_endpoint() {
    let store = Arc::new(MemoryStore::new());
    let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    let mut seen = Vec::new();
    for port in [6443, 7443] {
        let address = ([10, 0, 0, 1], port).into();
        let server = ApiServer::builder(store.clone()).advertise(address).build().await.unwrap();
        let (code, slice) = get(&server, path).await;
        assert_eq!((code, &slice["ports"][0]["port"]), (200, &json!(port)), "{slice}");
        seen.push(get(&server, "/api/v1/namespaces/default").await.1);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_closure_is_an_admission_rule() {
    let rule = |map: &mut ConfigMap| {
        if map.metadata.name.as_deref() == Some("bad") {
            return Err("no bad maps".into());
        }
        map.data.get_or_insert_default().insert("by".into(), "rule".into());
        Ok(())
    };
    let server = builder().admission(rule).build().await.unwrap();
    let (_, made) = post(&server, CONFIG_MAPS, &json!({"metadata": {"name": "x"}})).await;
    assert_eq!(made["data"], json!({"by": "rule"}));
    let (code, status) = post(&server, CONFIG_MAPS, &json!({"metadata": {"name": "bad"}})).await;
    let why = "configmaps \"bad\" is forbidden: admission plugin \"closure over ConfigMap\" denied the request: no bad maps";
    assert_eq!((code, &status["message"]), (403, &json!(why)));
}

#[derive(Debug, Default)]
struct Node(Mutex<Vec<String>>);

#[async_trait]
impl NodeTransport for Node {
    async fn send(&self, node: &str, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        self.0.lock().unwrap().push(format!("{node} {}", request.uri()));
        let body = http_body_util::Full::new(Bytes::from_static(b"hello\n"));
        Ok(Response::new(body.map_err(|never| match never {}).boxed_unsync()))
    }
}

#[tokio::test]
async fn logs_come_from_the_node() {
    let node = Arc::new(Node::default());
    let server = builder().nodes(node.clone()).build().await.unwrap();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    let (code, made) = post(&server, "/api/v1/namespaces/default/pods", &pod).await;
    assert_eq!(code, 201, "{made}");
    let path = "/api/v1/namespaces/default/pods/p/log?follow=true&tailLines=5&container=c";
    let response = send(&server, Request::get(path), "").await;
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello\n");
    assert_eq!(*node.0.lock().unwrap(), ["n1 /containerLogs/default/p/c?follow=true&tailLines=5"]);
    let (code, status) = get(&server, "/api/v1/namespaces/default/pods/p/log?container=d").await;
    assert_eq!((code, &status["message"]), (400, &json!("container d is not valid for pod p")));
}

#[tokio::test]
async fn loopback_endpoints_need_the_relaxation() {
    let slice = json!({
        "metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": ["127.64.0.1"]}], "ports": [],
    });
    let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let (code, status) = post(&server().await, path, &slice).await;
    assert_eq!(code, 422, "{status}");
    let relaxed = builder().allow_loopback_endpoints(true).build().await.unwrap();
    let (code, status) = post(&relaxed, path, &slice).await;
    assert_eq!(code, 201, "{status}");
}

#[tokio::test(start_paused = true)]
async fn time_comes_from_outside_and_old_events_go() {
    let server = builder().clock(RuntimeClock::starting_at(Timestamp::UNIX_EPOCH)).build().await.unwrap();
    let event = json!({
        "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "R", "message": "m", "type": "Normal",
    });
    let path = "/api/v1/namespaces/default/events";
    let (code, made) = post(&server, path, &event).await;
    assert_eq!(
        (code, &made["metadata"]["creationTimestamp"]),
        (201, &json!("1970-01-01T00:00:00Z")),
        "{made}"
    );
    tokio::time::sleep(std::time::Duration::from_secs(3500)).await;
    assert_eq!(get(&server, path).await.1["items"].as_array().unwrap().len(), 1);
    tokio::time::sleep(std::time::Duration::from_secs(500)).await;
    assert_eq!(get(&server, path).await.1["items"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_happens_again_is_kept_for_another_hour_and_shares_its_lease() {
    let store = MemoryStore::new();
    let server = ApiServer::builder(Arc::new(store.clone())).build().await.unwrap();
    let path = "/api/v1/namespaces/default/events";
    let event = |name: &str, count: u32| {
        json!({
            "metadata": {"name": name}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
            "reason": "R", "message": "m", "type": "Normal", "count": count,
        })
    };
    let names = async || -> Vec<String> {
        let list = get(&server, path).await.1;
        let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
        list["items"].as_array().unwrap().iter().map(name).collect()
    };
    for name in ["again", "once", "other"] {
        assert_eq!(post(&server, path, &event(name, 1)).await.0, 201);
    }
    let leases = store.leases().await.unwrap().value;
    assert_eq!((leases.len(), leases[0].keys.len()), (1, 3));
    tokio::time::sleep(Duration::from_secs(1800)).await;
    let (code, _) = put(&server, &format!("{path}/again"), &event("again", 2)).await;
    assert_eq!(code, 200);
    // Somebody ends the lease that would be shared next.
    let shared = store.leases().await.unwrap().value.pop().unwrap().lease.id;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(post(&server, path, &event("late", 1)).await.0, 201);
    assert_eq!(store.leases().await.unwrap().value.len(), 2);
    tokio::time::sleep(Duration::from_secs(3000)).await;
    assert_eq!(names().await, ["again", "late"]);
    store.revoke(shared).await.unwrap();
    assert_eq!(post(&server, path, &event("new", 1)).await.0, 201);
    tokio::time::sleep(Duration::from_secs(3500)).await;
    assert_eq!(names().await, ["new"]);
}

#[tokio::test]
async fn a_long_list_is_compressed_when_asked_for() {
    let server = server().await;
    for n in 0..4 {
        let map = json!({"metadata": {"name": format!("m{n}")}, "data": {"a": "x".repeat(60_000)}});
        post(&server, CONFIG_MAPS, &map).await;
    }
    let response = send(&server, Request::get(CONFIG_MAPS).header("accept-encoding", "gzip"), "").await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let packed = response.into_body().collect().await.unwrap().to_bytes();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_ref()).read_to_string(&mut text).unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 4);
    assert_eq!(get(&server, CONFIG_MAPS).await.1, list);
}

#[tokio::test]
async fn unchanged_discovery_is_not_sent_again() {
    let server = server().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let first = send(&server, Request::get("/apis").header("accept", accept), "").await;
    let media = first.headers()["content-type"].to_str().unwrap();
    assert_eq!(media, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let tag = first.headers()["etag"].clone();
    let (_, list) = json(first).await;
    assert_eq!(list["kind"], "APIGroupDiscoveryList");
    let again = Request::get("/apis").header("accept", accept).header("if-none-match", tag);
    assert_eq!(send(&server, again, "").await.status(), 304);
    assert_eq!(get(&server, "/apis").await.1["kind"], "APIGroupList");
    assert_eq!(get(&server, "/apis/apps").await.1["kind"], "APIGroup");
    let (_, core) = get(&server, "/api/v1").await;
    let eviction =
        core["resources"].as_array().unwrap().iter().find(|r| r["name"] == "pods/eviction").unwrap();
    assert_eq!((&eviction["group"], &eviction["version"]), (&json!("policy"), &json!("v1")));
}

#[tokio::test(start_paused = true)]
async fn a_version_from_the_future_times_out() {
    let server = server().await;
    let (code, status) = get(&server, &format!("{CONFIG_MAPS}?resourceVersion=999999")).await;
    assert_eq!((code, &status["reason"]), (504, &json!("Timeout")));
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

#[tokio::test]
async fn limits_and_media_types_hold() {
    let server = server().await;
    let post = |media: &'static str, body: String| {
        let server = server.clone();
        async move {
            json(send(&server, Request::post(CONFIG_MAPS).header("content-type", media), body).await).await
        }
    };
    let (code, status) = post("application/json", " ".repeat(4 << 20)).await;
    assert_eq!((code, &status["reason"]), (413, &json!("RequestEntityTooLarge")));
    assert_eq!(post("text/plain", "{}".into()).await.0, 415);
    assert_eq!(post("application/json", "{".into()).await.0, 400);
    assert_eq!(post("application/yaml", "metadata:\n  name: yam\n".into()).await.0, 201);
    let (code, status) = post("application/yaml", "metadata:\n\tname: y\n".into()).await;
    assert_eq!(code, 400, "{status}");
    let accept = |accept: &'static str| {
        let server = server.clone();
        async move { json(send(&server, Request::get(CONFIG_MAPS).header("accept", accept), "").await).await }
    };
    assert_eq!(accept("application/*").await.0, 406);
    let (_, list) = accept("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").await;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"]["name"], "yam");
    let (_, table) = accept("application/json;as=Table;g=meta.k8s.io;v=v1").await;
    assert_eq!(table["rows"][0]["cells"][0], "yam");
    let odd = Request::patch(format!("{CONFIG_MAPS}/yam")).header("content-type", "application/yaml");
    assert_eq!(json(send(&server, odd, "{}").await).await.0, 415);
}
