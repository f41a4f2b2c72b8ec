//! What the audit log says of what people did.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use orchestra_apiserver::{
    ApiServer, AuditLog, AuditLogOptions, AuditPolicy, AuditRefused, AuditSink, Limits, User,
};
use orchestra_store::MemoryStore;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::harness::{get, post, put};
use crate::socket::{Listening, listen};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Keeps events in memory, as long as there is room.
#[derive(Clone, Debug, Default)]
struct Kept {
    events: Arc<Mutex<Vec<Value>>>,
    is_full: bool,
}

#[async_trait]
impl AuditSink for Kept {
    fn offer(&self, event: Bytes) -> Result<(), AuditRefused> {
        if self.is_full {
            return Err(AuditRefused);
        }
        self.events.lock().unwrap().push(serde_json::from_slice(&event).unwrap());
        Ok(())
    }

    async fn ready(&self) {
        if self.is_full {
            std::future::pending::<()>().await;
        }
    }

    async fn flush(&self) {}
}

impl Kept {
    fn take(&self) -> Vec<Value> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }
}

const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ['/readyz*']
- level: Metadata
  resources: [{group: '', resources: [secrets]}]
- level: RequestResponse
  resources: [{group: '', resources: [configmaps]}]
  omitManagedFields: true
- level: Metadata
  omitStages: [ResponseComplete]
  userGroups: ['system:unauthenticated']
- level: Metadata
";

async fn audited() -> (Listening, Kept) {
    let (kept, policy) = (Kept::default(), AuditPolicy::parse(POLICY).unwrap());
    let listening = listen(Limits::default(), |builder| builder.audit(policy, kept.clone())).await;
    (listening, kept)
}

#[tokio::test]
async fn an_event_says_who_did_what_and_how_it_ended() {
    let (listening, kept) = audited().await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "m-"}, "data": {"a": "b"}});
    let request = Request::post(format!("{MAPS}?fieldManager=test"))
        .header("user-agent", "tester/1")
        .header("x-forwarded-for", "10.1.1.1, nonsense")
        .header("audit-id", "chosen");
    let (parts, made) = listening.ask("admin", request, map.to_string()).await;
    assert_eq!((parts.status.as_u16(), parts.headers["audit-id"].to_str().unwrap()), (201, "chosen"));
    let events = kept.take();
    let [event] = &events[..] else { panic!("{events:#?}") };
    assert_eq!(event["user"]["username"], "system:admin");
    for (field, expected) in [
        ("kind", json!("Event")),
        ("apiVersion", json!("audit.k8s.io/v1")),
        ("level", json!("RequestResponse")),
        ("auditID", json!("chosen")),
        ("stage", json!("ResponseComplete")),
        ("requestURI", json!(format!("{MAPS}?fieldManager=test"))),
        ("verb", json!("create")),
        ("sourceIPs", json!(["10.1.1.1", "127.0.0.1"])),
        ("userAgent", json!("tester/1")),
        ("responseStatus", json!({"metadata": {}, "code": 201})),
        ("requestObject", map),
        ("annotations", json!({"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""})),
    ] {
        assert_eq!(event[field], expected, "{field}");
    }
    let about = json!({"resource": "configmaps", "namespace": "default", "apiVersion": "v1"});
    assert_eq!(event["objectRef"], about);
    assert_eq!(event["responseObject"]["metadata"]["name"], made["metadata"]["name"]);
    assert!(made["metadata"]["managedFields"].is_array());
    assert!(event["responseObject"]["metadata"].get("managedFields").is_none());
    let (received, told) = (&event["requestReceivedTimestamp"], &event["stageTimestamp"]);
    assert!(received.as_str().unwrap().len() == "2026-01-01T00:00:00.000000Z".len(), "{received}");
    assert!(received.as_str() <= told.as_str());
}

#[tokio::test]
async fn a_secret_stays_one_when_the_policy_says_so() {
    let (listening, kept) = audited().await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "hidden"}});
    let path = "/api/v1/namespaces/default/secrets";
    assert_eq!(post(&listening.server, path, &secret).await.0, 201);
    assert_eq!(get(&listening.server, &format!("{path}/s")).await.0, 200);
    let events = kept.take();
    assert_eq!(events.len(), 2);
    let text = json!(events).to_string();
    assert!(!text.contains("hidden") && !text.contains("aGlkZGVu"), "{text}");
    assert_eq!(events[1]["objectRef"]["name"], "s");
}

#[tokio::test]
async fn refusals_are_told_with_their_reasons() {
    let (listening, kept) = audited().await;
    let (parts, _) = listening.ask("jane", Request::get(format!("{MAPS}/absent")), "").await;
    assert_eq!(parts.status, 403);
    let (parts, _) = listening.ask("admin", Request::get(format!("{MAPS}/absent")), "").await;
    assert_eq!(parts.status, 404);
    let token = Request::get(MAPS).header("authorization", "Bearer nonsense");
    let server = listening.server.clone();
    let answer = tower::ServiceExt::oneshot(server, token.body(String::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 401);
    let acting = Request::get(format!("{MAPS}/absent")).header("impersonate-user", "joe");
    assert_eq!(listening.ask("admin", acting, "").await.0.status, 403);
    let events = kept.take();
    let [forbidden, absent, unknown, acting] = &events[..] else { panic!("{events:#?}") };
    assert_eq!(forbidden["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(forbidden["responseStatus"]["reason"], "Forbidden");
    assert_eq!(forbidden["responseStatus"]["code"], 403);
    assert_eq!(absent["responseStatus"]["details"]["name"], "absent");
    assert_eq!(absent["responseObject"]["kind"], "Status");
    assert_eq!(unknown["stage"], "ResponseStarted");
    assert_eq!(unknown["responseStatus"]["message"], "Authentication failed, attempted: bearer");
    assert_eq!(unknown["user"], json!({}));
    assert_eq!(
        (&acting["user"]["username"], &acting["impersonatedUser"]["username"]),
        (&json!("system:admin"), &json!("joe"))
    );
}

#[tokio::test]
async fn a_watch_is_told_when_it_opens_and_when_it_ends() {
    let (listening, kept) = audited().await;
    let request =
        Request::get(format!("{MAPS}?watch=true")).header("host", "x").header("x-test-user", "admin");
    let mut sender = listening.connect().await;
    let answer = sender.send_request(request.body("".into()).unwrap()).await.unwrap();
    let events = kept.take();
    let [started] = &events[..] else { panic!("{events:#?}") };
    assert_eq!((&started["stage"], &started["verb"]), (&json!("ResponseStarted"), &json!("watch")));
    listening.server.stop_watches();
    answer.into_body().collect().await.unwrap();
    // The server is done with a body a moment after its reader.
    let ended = loop {
        if let Some(event) = kept.take().pop() {
            break event;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&ended["stage"], &ended["auditID"]), (&json!("ResponseComplete"), &started["auditID"]));
    assert_eq!(ended["responseStatus"]["code"], 200);
    assert!(ended.get("responseObject").is_none());
}

#[tokio::test]
async fn what_the_policy_leaves_out_is_left_out() {
    let (listening, kept) = audited().await;
    assert_eq!(listening.ask("admin", Request::get("/readyz/ping"), "").await.0.status, 200);
    assert_eq!(kept.take().len(), 0);
    let anonymous = listening.raw(b"GET /api HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(anonymous.starts_with("HTTP/1.1 403"), "{anonymous}");
    assert_eq!(kept.take().len(), 0, "its only stage is left out");
    let (_, metrics) = listening.ask("admin", Request::get("/metrics"), "").await;
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("apiserver_audit_level_total{level=\"None\"} 1"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_full_holds_nobody_up_for_long() {
    let full = Kept { is_full: true, ..Kept::default() };
    let builder = orchestra_apiserver::ApiServer::builder(Arc::new(orchestra_store::MemoryStore::new()));
    let server = builder.audit(AuditPolicy::metadata(), full).build().await.unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(get(&server, MAPS).await.0, 200);
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
    let metrics = crate::harness::send(&server, Request::get("/metrics"), "").await;
    let metrics = metrics.into_body().collect().await.unwrap().to_bytes();
    let metrics = String::from_utf8_lossy(&metrics);
    assert!(metrics.contains("apiserver_audit_error_total{plugin=\"log\"} 3"), "{metrics}");
}

#[tokio::test]
async fn the_log_is_on_disk_when_the_server_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let log = AuditLog::open(AuditLogOptions::new(&path)).unwrap();
    let listening = listen(Limits::default(), |builder| builder.audit(AuditPolicy::metadata(), log)).await;
    for _ in 0..100 {
        assert_eq!(get(&listening.server, MAPS).await.0, 200);
    }
    listening.shutdown.cancel();
    listening.serving.await.unwrap().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 200, "each as it came and as it was answered");
    assert_eq!(events[199]["stage"], "ResponseComplete");
}

#[tokio::test]
async fn what_rules_about_writes_say_is_told_with_the_request() {
    let (kept, policy) = (Kept::default(), AuditPolicy::metadata());
    let rule = |_: &k8s_openapi::api::core::v1::ConfigMap,
                request: &orchestra_apiserver::AdmissionRequest<'_>| {
        request.annotate("rule.test/seen", "yes");
        Ok(())
    };
    let listening =
        listen(Limits::default(), |builder| builder.audit(policy, kept.clone()).admission(rule)).await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    assert_eq!(post(&listening.server, MAPS, &map).await.0, 201);
    let events = kept.take();
    assert_eq!(events.last().unwrap()["annotations"]["rule.test/seen"], "yes");
}

#[tokio::test]
async fn a_tunnel_is_told_when_it_opens_and_when_it_ends() {
    let (kept, policy) = (Kept::default(), AuditPolicy::parse(POLICY).unwrap());
    let builder = ApiServer::builder(Arc::new(MemoryStore::new())).allow_loopback_endpoints(true);
    let server = builder.audit(policy, kept.clone()).build().await.unwrap();
    let pods = "/api/v1/namespaces/default/pods";
    let account = json!({"metadata": {"name": "default"}});
    post(&server, "/api/v1/namespaces/default/serviceaccounts", &account).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    let (_, mut pod) = post(&server, pods, &pod).await;
    pod["status"] = json!({"phase": "Running", "podIP": "127.64.0.10", "podIPs": [{"ip": "127.64.0.10"}]});
    assert_eq!(put(&server, &format!("{pods}/p/status"), &pod).await.0, 200);
    kept.take();

    let target = TcpListener::bind((Ipv4Addr::new(127, 64, 0, 10), 0)).await.unwrap();
    let port = target.local_addr().unwrap().port();
    let (mut client, far) = tokio::io::duplex(4096);
    // The connection gives its server up when it becomes a tunnel, and a server that nobody has ends its tunnels.
    let served = server.clone();
    let serving = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(User::admin());
        served.clone().oneshot(request)
    });
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(far), serving).with_upgrades());
    let upgrade = "HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    client.write_all(format!("GET {pods}/p:{port}/proxy/ {upgrade}").as_bytes()).await.unwrap();
    let (mut other, _) = target.accept().await.unwrap();
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    other.write_all(agreed.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    let stage = |event: &Value| (event["stage"].clone(), event["responseStatus"]["code"].clone());
    let opened: Vec<_> = kept.take().iter().map(stage).collect();
    assert_eq!(opened, [(json!("ResponseStarted"), json!(101))]);
    drop((client, other));
    let ended = async {
        loop {
            let ended: Vec<_> = kept.take().iter().map(stage).collect();
            if !ended.is_empty() {
                return ended;
            }
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await.expect("its end is told");
    assert_eq!(ended, [(json!("ResponseComplete"), json!(101))]);
    drop(server);
}
