//! Watches and logs over a WebSocket, as browsers take them, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use orchestra_apiserver::{Body, Limits, NodeTransport};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tower::BoxError;

use crate::harness::{delete, post};
use crate::socket::{Listening, listen};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PATIENCE: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<TcpStream>;
type Opened = Result<(Socket, Response<Option<Vec<u8>>>), Error>;

/// Opens a WebSocket; what the server answered to the handshake comes along.
async fn open(listening: &Listening, path: &str, headers: &[(&'static str, &str)]) -> Opened {
    let stream = TcpStream::connect(listening.address).await.unwrap();
    let mut request = format!("ws://{}{path}", listening.address).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    client_async(request, stream).await
}

async fn next(socket: &mut Socket) -> Message {
    timeout(PATIENCE, socket.next()).await.expect("in time").expect("a message").unwrap()
}

async fn event(socket: &mut Socket) -> Value {
    let Message::Text(text) = next(socket).await else { panic!("no text") };
    assert!(text.ends_with('\n'), "as upstream");
    serde_json::from_str(&text).unwrap()
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

fn refused(outcome: Opened) -> (u16, String) {
    let Err(Error::Http(answer)) = outcome else { panic!("{outcome:?}") };
    let body = answer.body().clone().unwrap_or_default();
    (answer.status().as_u16(), String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn each_event_of_a_watch_is_a_message() {
    let listening = listen(Limits::default(), |builder| builder).await;
    let server = &listening.server;
    post(server, MAPS, &map("a")).await;
    let admin = ("x-test-user", "admin");
    let (mut socket, _) = open(&listening, &format!("{MAPS}?watch=true"), &[admin]).await.unwrap();
    assert_eq!(event(&mut socket).await["object"]["metadata"]["name"], "a");
    post(server, MAPS, &map("b")).await;
    delete(server, &format!("{MAPS}/a")).await;
    let added = event(&mut socket).await;
    assert_eq!((&added["type"], &added["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("b")));
    let gone = event(&mut socket).await;
    assert_eq!((&gone["type"], &gone["object"]["metadata"]["name"]), (&json!("DELETED"), &json!("a")));

    let protobuf = ("accept", "application/vnd.kubernetes.protobuf;stream=watch");
    let path = format!("{MAPS}?watch=true&timeoutSeconds=1");
    let (mut socket, _) = open(&listening, &path, &[admin, protobuf]).await.unwrap();
    let Message::Binary(frame) = next(&mut socket).await else { panic!("no bytes") };
    assert!(frame.windows(5).any(|bytes| bytes == b"ADDED"), "{frame:?}");
    assert!(matches!(next(&mut socket).await, Message::Close(Some(_))), "it ends as a watch does");

    let (code, said) = refused(open(&listening, &format!("{MAPS}?watch=true"), &[]).await);
    assert_eq!(code, 403, "{said}");
    let bad = ("sec-websocket-version", "8");
    let (code, said) = refused(open(&listening, &format!("{MAPS}?watch=true"), &[admin, bad]).await);
    assert!(code == 400 && said.contains("bad WebSocket version"), "{said}");
    let (code, said) =
        refused(open(&listening, &format!("{MAPS}?watch=true&resourceVersion=x"), &[admin]).await);
    assert!(code == 500 && said.contains("strconv.ParseUint"), "{code} {said}");
}

#[tokio::test]
async fn a_watch_over_a_web_socket_ends_with_its_client_and_with_the_server() {
    let listening = listen(Limits::default(), |builder| builder).await;
    let admin = ("x-test-user", "admin");
    let path = format!("{MAPS}?watch=true");
    let (mut left, _) = open(&listening, &path, &[admin]).await.unwrap();
    left.close(None).await.unwrap();
    let (mut socket, _) = open(&listening, &path, &[admin]).await.unwrap();
    listening.shutdown.cancel();
    assert!(matches!(next(&mut socket).await, Message::Close(_)));
    timeout(PATIENCE, listening.serving).await.expect("the server ends").unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_takes_nothing_does_not_keep_the_server_from_ending() {
    let mut limits = Limits::default();
    (limits.stalled, limits.farewell) = (Duration::from_secs(3600), Duration::from_secs(3600));
    let listening = listen(limits, |builder| builder).await;
    let mut large = map("");
    large["data"] = json!({"a": "x".repeat(900_000)});
    // More than the buffers of a connection hold.
    for n in 0..24 {
        large["metadata"]["name"] = format!("m{n}").into();
        assert_eq!(post(&listening.server, MAPS, &large).await.0, 201);
    }
    let path = format!("{MAPS}?watch=true");
    let (_socket, _) = open(&listening, &path, &[("x-test-user", "admin")]).await.unwrap();
    listening.shutdown.cancel();
    timeout(PATIENCE, listening.serving).await.expect("the server ends").unwrap().unwrap();
}

/// Writes a log of two lines, however it is asked.
#[derive(Debug)]
struct Node;

#[async_trait]
impl NodeTransport for Node {
    async fn send(&self, _node: &str, _request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let body = http_body_util::Full::from("one\ntwo\n").map_err(|never| match never {});
        Ok(Response::new(body.boxed_unsync()))
    }
}

/// Upstream: "Pods should support retrieving logs from the container over websockets".
#[tokio::test]
async fn a_log_is_read_over_a_web_socket() {
    let listening = listen(Limits::default(), |builder| builder.nodes(Arc::new(Node))).await;
    let account = json!({"metadata": {"name": "default"}});
    post(&listening.server, "/api/v1/namespaces/default/serviceaccounts", &account).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    let (code, made) = post(&listening.server, "/api/v1/namespaces/default/pods", &pod).await;
    assert_eq!(code, 201, "{made}");
    let path = "/api/v1/namespaces/default/pods/p/log";
    let admin = ("x-test-user", "admin");
    let protocol = |name: &'static str| ("sec-websocket-protocol", name);
    let (mut socket, answer) = open(&listening, path, &[admin, protocol("binary.k8s.io")]).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "binary.k8s.io");
    let mut read = Vec::new();
    loop {
        match next(&mut socket).await {
            Message::Binary(piece) => read.extend_from_slice(&piece),
            Message::Close(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read, b"one\ntwo\n");
    let (mut socket, _) = open(&listening, path, &[admin, protocol("base64.binary.k8s.io")]).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::text(""), "the way is open");
    assert_eq!(next(&mut socket).await, Message::text("b25lCnR3bwo="));
    let (code, said) = refused(open(&listening, path, &[admin, protocol("v9.example.com")]).await);
    assert!(code == 400 && said.contains("no subprotocol is supported"), "{said}");
}

#[tokio::test]
async fn a_browser_shows_its_token_among_the_subprotocols() {
    let listening = listen(Limits::default(), |builder| builder).await;
    let server = &listening.server;
    post(server, "/api/v1/namespaces/default/serviceaccounts", &json!({"metadata": {"name": "viewer"}}))
        .await;
    let token = json!({"spec": {"expirationSeconds": 600}});
    let path = "/api/v1/namespaces/default/serviceaccounts/viewer/token";
    let (_, made) = post(server, path, &token).await;
    let token = made["status"]["token"].as_str().unwrap();
    let binding = json!({"metadata": {"name": "viewer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "viewer", "namespace": "default"}]});
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    assert_eq!(post(server, bindings, &binding).await.0, 201);
    post(server, MAPS, &map("a")).await;
    let path = format!("{MAPS}?watch=true");
    let shown = |token: &str| {
        format!("base64url.bearer.authorization.k8s.io.{}", BASE64_URL_SAFE_NO_PAD.encode(token))
    };
    let protocols = format!("{}, mine", shown(token));
    let (mut socket, answer) =
        open(&listening, &path, &[("sec-websocket-protocol", &protocols)]).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "mine", "the token is not sent back");
    assert_eq!(event(&mut socket).await["object"]["metadata"]["name"], "a");
    for wrong in [
        shown(token),
        format!("{}, mine", shown("a.b.c")),
        format!("{}, {}, mine", shown(token), shown(token)),
        "base64url.bearer.authorization.k8s.io.!, mine".to_owned(),
    ] {
        let outcome = open(&listening, &path, &[("sec-websocket-protocol", &wrong)]).await;
        assert_eq!(refused(outcome).0, 401, "{wrong}");
    }
}
