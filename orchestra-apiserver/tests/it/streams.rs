//! Requests that go on to nodes, with a node that only the test knows.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use orchestra_apiserver::{ApiServer, Body, NodeTransport, User};
use orchestra_store::MemoryStore;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tower::{BoxError, ServiceExt};

use crate::harness::{get, json as read, post, put};

/// Answers everything with one status, and remembers what it was asked.
#[derive(Debug)]
struct Node {
    answer: StatusCode,
    asked: Mutex<Vec<(String, HeaderMap)>>,
}

#[async_trait]
impl NodeTransport for Node {
    async fn send(&self, node: &str, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let asked = (format!("{node} {}", request.uri()), request.headers().clone());
        self.asked.lock().unwrap().push(asked);
        let body = Full::from("container not found (\"c\")").map_err(|never| match never {});
        let mut answer = Response::new(body.boxed_unsync());
        *answer.status_mut() = self.answer;
        Ok(answer)
    }
}

async fn server(answer: StatusCode) -> (ApiServer, Arc<Node>) {
    let node = Arc::new(Node { answer, asked: Mutex::default() });
    let server = ApiServer::builder(Arc::new(MemoryStore::new())).seed(1).nodes(node.clone());
    let server = server.build().await.unwrap();
    let account = json!({"metadata": {"name": "default"}});
    post(&server, "/api/v1/namespaces/default/serviceaccounts", &account).await;
    for (name, node) in [("p", Some("n1")), ("waiting", None)] {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "c", "image": "i"}]}});
        if let Some(node) = node {
            pod["spec"]["nodeName"] = json!(node);
        }
        let (code, created) = post(&server, "/api/v1/namespaces/default/pods", &pod).await;
        assert_eq!(code, 201, "{created}");
    }
    (server, node)
}

fn upgrade(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("connection", "Upgrade")
        .header("upgrade", if method == "GET" { "websocket" } else { "SPDY/3.1" })
        .header("authorization", "Bearer secret")
}

async fn ask(server: &ApiServer, request: http::request::Builder, user: User) -> (u16, Value) {
    let request: Request<String> = request.extension(user).body(String::new()).unwrap();
    read(server.clone().oneshot(request).await.unwrap()).await
}

const EXEC: &str = "/api/v1/namespaces/default/pods/p/exec?command=ls&command=a%26b&stdout=true&tty=true";

const ATTACH: &str = "/api/v1/namespaces/default/pods/p/attach?stdin=true&stdout=true&container=c";

#[tokio::test]
async fn a_node_that_refuses_leaves_an_ordinary_answer() {
    let (server, node) = server(StatusCode::INTERNAL_SERVER_ERROR).await;
    for method in ["GET", "POST"] {
        let (code, status) = ask(&server, upgrade(method, EXEC), User::admin()).await;
        assert_eq!(code, 500);
        assert_eq!(
            status["message"],
            "Internal error occurred: unable to upgrade connection: container not found (\"c\")"
        );
    }
    let (code, status) = ask(&server, upgrade("GET", ATTACH), User::admin()).await;
    assert_eq!(code, 500, "{status}");
    let asked = node.asked.lock().unwrap();
    assert_eq!(asked[2].0, "n1 /attach/default/p/c?input=1&output=1");
    let (path, headers) = asked.first().unwrap();
    assert_eq!(path, "n1 /exec/default/p/c?output=1&tty=1&command=ls&command=a%26b");
    assert!(headers.contains_key("upgrade") && !headers.contains_key("authorization"));
}

#[tokio::test]
async fn what_makes_no_sense_does_not_reach_a_node() {
    let (server, node) = server(StatusCode::SWITCHING_PROTOCOLS).await;
    let pods = "/api/v1/namespaces/default/pods";
    for (request, code, message) in [
        (upgrade("GET", &format!("{pods}/absent/exec")), 404, "pods \"absent\" not found"),
        (upgrade("GET", &format!("{pods}/waiting/exec")), 400, "pod waiting does not have a host assigned"),
        (upgrade("GET", &format!("{pods}/p/exec?container=x")), 400, "container x is not valid for pod p"),
        (upgrade("GET", &format!("{pods}/p/portforward?ports=x")), 400, "\"x\" is not a port"),
        (Request::get(EXEC), 400, "Upgrade request required"),
        (Request::get(ATTACH), 400, "Upgrade request required"),
        (upgrade("GET", &format!("{pods}/p/attach?container=x")), 400, "container x is not valid for pod p"),
        (Request::delete(EXEC), 405, "the server does not allow this method on the requested resource"),
    ] {
        let (got, status) = ask(&server, request, User::admin()).await;
        assert_eq!((got, status["message"].as_str()), (code, Some(message)));
    }
    assert!(node.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn opening_a_stream_is_create_also_with_get() {
    let (server, node) = server(StatusCode::INTERNAL_SERVER_ERROR).await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    for (user, verbs) in
        [("reader", vec!["get"]), ("writer", vec!["create"]), ("both", vec!["get", "create"])]
    {
        let resources = ["pods/exec", "pods/attach", "pods/portforward"];
        let role = json!({"metadata": {"name": user}, "rules": [
            {"apiGroups": [""], "resources": resources, "verbs": verbs}]});
        let binding = json!({"metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
        assert_eq!(post(&server, &format!("{roles}/roles"), &role).await.0, 201);
        assert_eq!(post(&server, &format!("{roles}/rolebindings"), &binding).await.0, 201);
    }
    for stream in ["exec?stdout=1", "attach?stdout=1", "portforward"] {
        let path = format!("/api/v1/namespaces/default/pods/p/{stream}");
        for (user, with_get, with_post) in
            [("reader", 403, 403), ("writer", 403, 500), ("both", 500, 500), ("nobody", 403, 403)]
        {
            node.asked.lock().unwrap().clear();
            for (method, wanted) in [("GET", with_get), ("POST", with_post)] {
                let (code, status) = ask(&server, upgrade(method, &path), User::new(user, [])).await;
                assert_eq!(code, wanted, "{user} {method} {stream}: {status}");
            }
            let reached = usize::from(with_get == 500) + usize::from(with_post == 500);
            assert_eq!(node.asked.lock().unwrap().len(), reached, "{user} {stream}");
        }
    }
    let (_, status) = ask(&server, upgrade("GET", EXEC), User::new("reader", [])).await;
    let said = status["message"].as_str().unwrap();
    assert!(said.contains("User \"reader\" cannot create resource \"pods/exec\""), "{said}");
}

#[tokio::test]
async fn a_proxy_reaches_no_address_of_the_machine_and_changes_no_protocol_unasked() {
    let (server, _) = server(StatusCode::OK).await;
    let pods = "/api/v1/namespaces/default/pods";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for ip in ["127.0.0.1", "169.254.169.254", "::1", "0.0.0.0"] {
        let (_, mut pod) = get(&server, &format!("{pods}/p")).await;
        pod["status"]["podIP"] = json!(ip);
        pod["status"]["podIPs"] = json!([{"ip": ip}]);
        let (code, answer) = put(&server, &format!("{pods}/p/status"), &pod).await;
        assert_eq!(code, 200, "{answer}");
        let (code, status) = get(&server, &format!("{pods}/p:{port}/proxy/")).await;
        assert_eq!((code, status["message"].as_str()), (400, Some("address not allowed")), "{ip}");
    }
    // Of the local network's addresses it may, and there somebody answers with another protocol.
    let loopback = ApiServer::builder(Arc::new(MemoryStore::new())).allow_loopback_endpoints(true);
    let loopback = loopback.build().await.unwrap();
    let account = json!({"metadata": {"name": "default"}});
    post(&loopback, "/api/v1/namespaces/default/serviceaccounts", &account).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    let (_, mut pod) = post(&loopback, pods, &pod).await;
    pod["status"] = json!({"phase": "Running", "podIP": "127.64.0.9", "podIPs": [{"ip": "127.64.0.9"}]});
    assert_eq!(put(&loopback, &format!("{pods}/p/status"), &pod).await.0, 200);
    let listener = TcpListener::bind((Ipv4Addr::new(127, 64, 0, 9), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream
    });
    let (code, status) = get(&loopback, &format!("{pods}/p:{port}/proxy/")).await;
    assert_eq!((code, &status["reason"]), (503, &json!("ServiceUnavailable")), "{status}");
    drop(answering.await.unwrap());
}

#[tokio::test]
async fn whoever_may_only_read_through_an_agents_proxy_runs_no_commands_by_it() {
    let (server, node) = server(StatusCode::OK).await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    for (user, verbs) in [("reader", vec!["get"]), ("both", vec!["get", "create"])] {
        let role = json!({"metadata": {"name": user}, "rules": [
            {"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": verbs}]});
        let binding = json!({"metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
        assert_eq!(post(&server, &format!("{rbac}/clusterroles"), &role).await.0, 201);
        assert_eq!(post(&server, &format!("{rbac}/clusterrolebindings"), &binding).await.0, 201);
    }
    let node_object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    assert_eq!(post(&server, "/api/v1/nodes", &node_object).await.0, 201);
    let path = "/api/v1/nodes/n1/proxy/exec/default/p/c?command=id&output=1";
    for (user, reached) in [("reader", 0), ("both", 1)] {
        let request = upgrade("GET", path).extension(User::new(user, [])).body(String::new()).unwrap();
        let answer = server.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status() == StatusCode::FORBIDDEN, reached == 0, "{user}: {}", answer.status());
        assert_eq!(node.asked.lock().unwrap().len(), reached, "{user}");
    }
    let plain = Request::get("/api/v1/nodes/n1/proxy/metrics").extension(User::new("reader", []));
    let answer = server.clone().oneshot(plain.body(String::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}
