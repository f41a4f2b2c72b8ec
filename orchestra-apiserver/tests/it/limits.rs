//! What a client may take of the server: time, places, memory. Over real sockets.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use orchestra_apiserver::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{get, post};
use crate::socket::{Gate, Listening, listen};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MOMENT: Duration = Duration::from_millis(100);
/// Longer than any test runs.
const NEVER: Duration = Duration::from_secs(3600);

/// Limits that do not matter, but for those that are set.
fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    limits.stalled = NEVER;
    limits.farewell = NEVER;
    limits.idle = NEVER;
    set(&mut limits);
    limits
}

fn map(name: &str, size: usize) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "x".repeat(size)}})
}

#[tokio::test]
async fn what_is_no_http_is_answered_by_a_status() {
    let listening = listen(limits(|_| ()), |builder| builder).await;
    let long = "x".repeat(70_000);
    let many = "x-h: y\r\n".repeat(200);
    let huge = format!("x-h: {}\r\n", "y".repeat(600_000));
    for (text, code) in [
        ("BLARG\r\n\r\n".to_owned(), 400),
        ("\u{1}\u{2}\u{3}\u{4}\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/9.9\r\nhost: x\r\n\r\n".to_owned(), 400),
        ("GET /healthz HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), 400),
        ("GET /%zz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(), 400),
        (
            "POST /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd"
                .to_owned(),
            400,
        ),
        (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), 414),
        (format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n"), 431),
        (format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{huge}\r\n"), 431),
        ("BREW /api/v1/pods HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(), 403),
        ("GET /what/ever HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(), 403),
    ] {
        let answer = listening.raw(text.as_bytes()).await;
        let start = &text[..text.len().min(60)];
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{start:?}: {answer:?}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {code} ")), "{start:?}: {head}");
        let status: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(code)), "{start:?}");
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked_ends() {
    let listening = listen(limits(|l| l.first_request = MOMENT), |builder| builder).await;
    for begun in ["", "G", "GET /healthz HTTP/1.1\r\nhost:", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(listening.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Closed or reset, both will do.
        let _ended = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{begun:?}");
    }
}

#[tokio::test]
async fn a_connection_without_a_request_ends_after_a_while() {
    let listening = listen(limits(|l| l.idle = MOMENT), |builder| builder).await;
    for begun in ["", "GET /healthz HTTP/1.1\r\n"] {
        let text = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n{begun}");
        let answer = listening.raw(text.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_waited_for_until_the_request_is_over() {
    let listening = listen(limits(|l| l.request_timeout = MOMENT), |builder| builder).await;
    for request in [
        format!("POST {MAPS} HTTP/1.1"),
        // A watch has no end of its own that would help.
        format!("GET {MAPS}?watch=true HTTP/1.1"),
    ] {
        let head = "host: x\r\nx-test-user: admin\r\ncontent-type: application/json\r\ncontent-length: 100";
        let answer = listening.raw(format!("{request}\r\n{head}\r\n\r\n{{").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        let message = "Timeout: request did not complete within the allotted timeout";
        assert!(answer.contains(message) && answer.contains("\"reason\":\"Timeout\""), "{answer}");
    }
    let (_, metrics) = listening.ask("admin", Request::get("/metrics"), "").await;
    let metrics = metrics.as_str().unwrap();
    let terminated =
        metrics.lines().find(|l| l.starts_with("apiserver_request_terminations_total{")).unwrap();
    assert!(terminated.contains("code=\"504\"") && terminated.contains("verb=\"POST\""), "{terminated}");
}

#[tokio::test]
async fn a_client_may_ask_for_less_time() {
    let (gate, mut coming) = Gate::new();
    let listening = listen(limits(|_| ()), |builder| builder.admission(gate.clone())).await;
    let held = map("held", 1).to_string();
    let (parts, status) = listening.ask("admin", Request::post(format!("{MAPS}?timeout=50ms")), held).await;
    coming.recv().await.unwrap();
    assert_eq!((parts.status.as_u16(), &status["reason"]), (504, &json!("Timeout")));
    let (parts, status) = listening.ask("admin", Request::get(format!("{MAPS}?timeout=soon")), "").await;
    assert_eq!(parts.status, 400);
    assert_eq!(
        status["message"],
        "invalid timeout specified in the request URL - time: invalid duration \"soon\""
    );
}

#[tokio::test]
async fn who_comes_when_all_places_are_taken_is_told_to_come_back() {
    let (gate, mut coming) = Gate::new();
    let few = limits(|l| (l.reads, l.writes, l.waiting) = (1, 1, 0));
    let listening = listen(few, |builder| builder.admission(gate.clone())).await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "jane"}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jane"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}});
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(post(&listening.server, path, &binding).await.0, 201);
    assert_eq!(crate::harness::get(&listening.server, path).await.0, 200);
    let write = |name: &str| listening.ask("jane", Request::post(MAPS), map(name, 1).to_string());
    let held = write("held");
    tokio::pin!(held);
    tokio::select! {
        _ = &mut held => panic!("it is to wait"),
        came = coming.recv() => came.unwrap(),
    }
    let (parts, status) = write("other").await;
    assert_eq!((parts.status.as_u16(), &parts.headers["retry-after"]), (429, &"1".parse().unwrap()));
    assert_eq!(status["message"], "Too many requests, please try again later.");
    assert_eq!(status["details"]["retryAfterSeconds"], 1);
    // Reads have places of their own, watches need none, and masters need none either.
    assert_eq!(listening.ask("jane", Request::get(MAPS), "").await.0.status, 200);
    let watch = Request::get(format!("{MAPS}?watch=true&timeoutSeconds=1"));
    assert_eq!(listening.ask("jane", watch, "").await.0.status, 200);
    let (parts, _) = listening.ask("admin", Request::post(MAPS), map("another", 1).to_string()).await;
    assert_eq!(parts.status, 201);
    gate.open.add_permits(1);
    assert_eq!(held.await.0.status, 201);
    assert_eq!(write("other").await.0.status, 201);
    let (_, metrics) = listening.ask("admin", Request::get("/metrics"), "").await;
    let refused =
        metrics.as_str().unwrap().lines().filter(|l| l.starts_with("apiserver_request_total{code=\"429\""));
    assert_eq!(refused.count(), 1);
}

/// Enough that no buffer on the way holds it.
async fn fill(listening: &Listening) {
    for number in 0..24 {
        let (code, _) = post(&listening.server, MAPS, &map(&format!("m{number}"), 900_000)).await;
        assert_eq!(code, 201);
    }
}

#[tokio::test]
async fn who_does_not_read_what_was_asked_for_is_given_up() {
    let listening = listen(limits(|l| l.stalled = MOMENT), |builder| builder).await;
    fill(&listening).await;
    let mut streams = Vec::new();
    for path in [MAPS.to_owned(), format!("{MAPS}?watch=true&resourceVersion=0")] {
        let mut stream = TcpStream::connect(listening.address).await.unwrap();
        let text = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-test-user: admin\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut begun = [0; 12];
        stream.read_exact(&mut begun).await.unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200");
        streams.push(stream);
    }
    // Both are under way, and for requests that are, the server would wait for an hour.
    listening.shutdown.cancel();
    listening.serving.await.unwrap().unwrap();
}

async fn http2(listening: &Listening) -> (http2::SendRequest<Empty<Bytes>>, tokio::task::JoinHandle<bool>) {
    let stream = TcpStream::connect(listening.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(async move { connection.await.is_ok() }))
}

fn from_admin(path: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(format!("http://test{path}")).header("x-test-user", "admin");
    request.body(Empty::new()).unwrap()
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_over_http2_loses_the_connection() {
    let listening = listen(limits(|l| l.request_timeout = 10 * MOMENT), |builder| builder).await;
    fill(&listening).await;
    let (mut sender, ended) = http2(&listening).await;
    let answer = sender.send_request(from_admin(MAPS)).await.unwrap();
    assert_eq!(answer.status(), 200);
    ended.await.unwrap();
    assert!(answer.into_body().collect().await.is_err(), "it was cut");
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn who_resets_what_was_just_opened_is_sent_away() {
    let listening = listen(limits(|_| ()), |builder| builder).await;
    // CVE-2023-44487: requests for nothing, each taken back at once.
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    for number in 0..2000 {
        bytes.extend(frame(1, 5, 2 * number + 1, b"\x82\x86\x84\x41\x01x"));
        bytes.extend(frame(3, 0, 2 * number + 1, &8_u32.to_be_bytes()));
    }
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let mut rest = &answer[..];
    let farewell = loop {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        if rest[3] == 7 {
            break &rest[9..9 + length];
        }
        rest = &rest[9 + length..];
    };
    assert_eq!(farewell[4..8], 11_u32.to_be_bytes(), "ENHANCE_YOUR_CALM");
}

#[tokio::test]
async fn who_asks_is_told_which_flow_schema_and_level_the_request_is_of() {
    let listening = listen(limits(|_| ()), |builder| builder).await;
    const FLOWS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let uid = async |kind: &str, name: &str| {
        let (code, object) = get(&listening.server, &format!("{FLOWS}/{kind}/{name}")).await;
        assert_eq!(code, 200, "{object}");
        object["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    let told = async |user: &str, path: &str| {
        let (parts, _) = listening.ask(user, Request::get(path), "").await;
        let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        [text("x-kubernetes-pf-flowschema-uid"), text("x-kubernetes-pf-prioritylevel-uid")]
    };
    let exempt =
        [Some(uid("flowschemas", "exempt").await), Some(uid("prioritylevelconfigurations", "exempt").await)];
    assert_eq!(told("admin", MAPS).await, exempt);
    let usual = [
        Some(uid("flowschemas", "global-default").await),
        Some(uid("prioritylevelconfigurations", "global-default").await),
    ];
    assert_eq!(told("jane", MAPS).await, usual, "though she may not");
    let own = json!({"metadata": {"name": "janes"}, "spec": {
        "matchingPrecedence": 500, "priorityLevelConfiguration": {"name": "workload-low"},
        "rules": [{"subjects": [{"kind": "User", "user": {"name": "jane"}}],
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/version"]}]}]}});
    let (code, made) = post(&listening.server, &format!("{FLOWS}/flowschemas"), &own).await;
    assert_eq!(code, 201, "{made}");
    let [schema, level] = told("jane", "/version").await;
    assert_eq!(schema.as_deref(), made["metadata"]["uid"].as_str());
    assert_eq!(level, Some(uid("prioritylevelconfigurations", "workload-low").await));
    let exec = format!("{}/p/exec?command=ls", MAPS.replace("configmaps", "pods"));
    assert_eq!(told("jane", &exec).await, [None, None], "a stream is of none");
}

#[tokio::test]
async fn an_event_waits_while_many_others_write() {
    let (gate, mut coming) = Gate::new();
    let listening = listen(limits(|_| ()), |builder| builder.admission(gate.clone())).await;
    let write = |path: &'static str, object: serde_json::Value| {
        listening.ask("admin", Request::post(path), object.to_string())
    };
    let event = |name: &str| {
        let event = json!({"metadata": {"name": name}, "involvedObject": {"namespace": "default"}});
        write("/api/v1/namespaces/default/events", event)
    };
    let others = (0..16).map(|_| write(MAPS, map("held", 1)).left_future());
    let events = (0..2).map(|_| event("held").right_future());
    let mut held: FuturesUnordered<_> = others.chain(events).collect();
    for _ in 0..18 {
        tokio::select! {
            _ = held.next() => panic!("it is to wait"),
            came = coming.recv() => came.unwrap(),
        }
    }
    let third = event("third");
    tokio::pin!(third);
    tokio::select! {
        _ = held.next() => panic!("they are held"),
        _ = &mut third => panic!("it is to let them go first"),
        () = tokio::time::sleep(MOMENT) => {}
    }
    let (parts, _) = write(MAPS, map("another", 1)).await;
    assert_eq!(parts.status, 201, "what is no event waits for none");
    gate.open.add_permits(18);
    let all = async { held.by_ref().count().await };
    let (_, (parts, told)) = tokio::join!(all, third);
    assert_eq!(parts.status, 201, "{told}");
}
