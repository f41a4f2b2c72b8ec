//! `/openapi/v2`: that it says all that 3.0 does, and that the real kubectl gets along with it alone.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use orchestra_apiserver::{ApiServer, User};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use tower::ServiceExt;

use crate::custom::{DEFINITIONS, define, lamps};
use crate::harness::{delete, get, send, server};
use crate::kubectl::find_kubectl;

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

#[tokio::test]
async fn every_operation_of_3_0_is_in_2_0_and_every_reference_leads_somewhere() {
    let server = server().await;
    define(&server, &lamps(json!({"subresources": {"status": {}}}))).await;
    let (code, v2) = get(&server, "/openapi/v2").await;
    assert_eq!((code, &v2["swagger"]), (200, &json!("2.0")));
    let mut expected = BTreeSet::new();
    for place in get(&server, "/openapi/v3").await.1["paths"].as_object().unwrap().values() {
        let (_, v3) = get(&server, place["serverRelativeURL"].as_str().unwrap()).await;
        for name in v3["components"]["schemas"].as_object().unwrap().keys() {
            assert!(v2["definitions"][name].is_object(), "{name}");
        }
        expected.extend(operations(&v3));
    }
    assert_eq!(operations(&v2), expected);
    assert!(expected.len() > 500, "{}", expected.len());
    let ids: BTreeSet<&str> = expected.iter().map(|(_, _, id)| id.as_str()).collect();
    assert_eq!(ids.len(), expected.len(), "names of operations are unique");
    assert!(
        ids.contains("patchExampleComV1NamespacedLampStatus") && ids.contains("readCoreV1NamespacedPodLog")
    );
    check_references(&v2, &v2);
}

/// Path, method and name of all operations.
fn operations(document: &Value) -> BTreeSet<(String, String, String)> {
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
            let id = operation["operationId"].as_str().unwrap();
            found.insert((path.clone(), method.clone(), id.to_owned()));
        }
    }
    found
}

fn check_references(value: &Value, document: &Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                let found = document.pointer(target.strip_prefix('#').unwrap());
                assert!(found.is_some(), "{target}");
            }
            map.values().for_each(|below| check_references(below, document));
        }
        Value::Array(items) => items.iter().for_each(|below| check_references(below, document)),
        _ => {}
    }
}

#[tokio::test]
async fn custom_kinds_come_and_go_in_every_form() {
    const NAME: &str = "com.example.v1.Lamp";
    let server = server().await;
    let seen = async || {
        let (_, json) = get(&server, "/openapi/v2").await;
        let response = send(&server, Request::get("/openapi/v2").header("accept", PROTOBUF), "").await;
        assert_eq!(
            response.headers()["content-type"],
            "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
        );
        let tag = response.headers()["etag"].clone();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let in_protobuf = bytes.windows(NAME.len()).any(|window| window == NAME.as_bytes());
        let path = "/apis/example.com/v1/namespaces/{namespace}/lamps/{name}";
        let in_json = json["definitions"][NAME].is_object();
        assert_eq!(json["paths"][path].is_object(), in_json);
        (in_json, in_protobuf, tag)
    };
    let (in_json, in_protobuf, before) = seen().await;
    assert_eq!((in_json, in_protobuf), (false, false));
    define(&server, &lamps(json!({}))).await;
    let (in_json, in_protobuf, between) = seen().await;
    assert_eq!((in_json, in_protobuf), (true, true));
    assert_ne!(before, between);
    let path = format!("{DEFINITIONS}/lamps.example.com");
    delete(&server, &path).await;
    while get(&server, &path).await.0 == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(seen().await, (false, false, before), "the document is what it was");
}

/// A server that knows no 3.0, and a kubectl in front of it.
struct Old {
    dir: TempDir,
    kubectl: PathBuf,
    url: String,
    /// What was asked of `/openapi`, and what the answer was.
    asked: Arc<Mutex<Vec<(String, u16)>>>,
}

/// Whether old servers check fields themselves.
#[derive(Clone, Copy, PartialEq)]
enum Checks {
    /// They do, and say so.
    Server,
    /// The word for it is in no document, so clients do.
    Client,
}

impl Old {
    async fn start(checks: Checks) -> Option<Self> {
        let Some(kubectl) = find_kubectl() else {
            eprintln!("not run: there is no kubectl on the PATH");
            return None;
        };
        let server = server().await;
        define(&server, &lamps(json!({}))).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, asked) = (server.clone(), kept.clone());
                let service = service_fn(move |request| pass(server.clone(), asked.clone(), checks, request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Some(Self { dir: TempDir::new().unwrap(), kubectl, url, asked })
    }

    /// Whether it went well, and all that was said.
    async fn run(&self, args: &[&str]) -> (bool, String) {
        let mut command = Command::new(&self.kubectl);
        command
            .args(["--server", &self.url])
            .args(args)
            .env("KUBECONFIG", "/dev/null")
            .env("KUBECACHEDIR", self.dir.path().join("cache"))
            .env("HOME", self.dir.path())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command.output().await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    async fn ok(&self, args: &[&str]) -> String {
        let (went_well, text) = self.run(args).await;
        assert!(went_well, "{args:?}: {text}");
        text
    }

    /// What is said of a manifest that must be refused.
    async fn refused(&self, manifest: &str) -> String {
        let (went_well, text) = self.run(&["create", "--validate=strict", "-f", manifest]).await;
        assert!(!went_well, "{manifest}: {text}");
        text
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }
}

async fn pass(
    server: ApiServer,
    asked: Arc<Mutex<Vec<(String, u16)>>>,
    checks: Checks,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if path.starts_with("/openapi/v3") {
        asked.lock().unwrap().push((path, 404));
        return Ok(Response::builder().status(404).body(Full::default()).unwrap());
    }
    parts.headers.remove("accept-encoding");
    parts.extensions.insert(User::admin());
    let body = body.collect().await.unwrap().to_bytes();
    let request = Request::from_parts(parts, Full::new(body));
    let (parts, body) = server.oneshot(request).await.unwrap().into_parts();
    let mut bytes = body.collect().await.unwrap().to_bytes();
    if path == "/openapi/v2" {
        assert!(parts.headers["content-type"].to_str().unwrap().ends_with("+protobuf"));
        asked.lock().unwrap().push((path, parts.status.as_u16()));
        if checks == Checks::Client {
            bytes = without(&bytes, b"fieldValidation").into();
        }
    }
    let mut response = Response::from_parts(parts, Full::new(bytes));
    response.headers_mut().insert("connection", HeaderValue::from_static("keep-alive"));
    Ok(response)
}

/// The bytes with another word of the same length for one.
fn without(bytes: &[u8], word: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = bytes
        .windows(word.len())
        .enumerate()
        .filter(|(_, window)| *window == word)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the word was there");
    for at in places {
        bytes[at..at + word.len()].fill(b'x');
    }
    bytes
}

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: a, image: nginx:1}
      - {name: b, image: nginx:1, ports: [{containerPort: 80}], resources: {limits: {cpu: 1}}}
";
const LAMP: &str = "\
apiVersion: example.com/v1
kind: Lamp
metadata: {name: desk, namespace: default}
spec: {watts: 40}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_explains_by_the_older_document() {
    let Some(old) = Old::start(Checks::Server).await else { return };
    let explain = ["explain", "--output=plaintext-openapiv2"];
    let strategy = old.ok(&[explain[0], "deployments.spec.strategy", explain[1]]).await;
    for word in ["KIND:     Deployment", "VERSION:  apps/v1", "rollingUpdate\t<Object>", "type\t<string>"] {
        assert!(strategy.contains(word), "{word}: {strategy}");
    }
    let all = old.ok(&[explain[0], "pods.spec.containers", explain[1], "--recursive"]).await;
    for word in ["RESOURCE: containers <[]Object>", "containerPort\t<integer>", "limits\t<map[string]string>"]
    {
        assert!(all.contains(word), "{word}: {all}");
    }
    let lamp = old.ok(&[explain[0], "lamps.spec", explain[1]]).await;
    for word in ["KIND:     Lamp", "VERSION:  example.com/v1", "watts\t<integer>", "bulbs\t<[]Object>"] {
        assert!(lamp.contains(word), "{word}: {lamp}");
    }
    assert!(old.asked.lock().unwrap().contains(&("/openapi/v2".to_owned(), 200)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_applies_where_there_is_no_3_0() {
    let Some(old) = Old::start(Checks::Server).await else { return };
    old.write("web.yaml", WEB);
    old.write("lamp.yaml", LAMP);
    let apply = ["apply", "--validate=strict", "-f"];
    assert_eq!(old.ok(&[apply[0], apply[1], apply[2], "web.yaml"]).await, "deployment.apps/web created\n");
    assert_eq!(old.ok(&["create", apply[1], apply[2], "lamp.yaml"]).await, "lamp.example.com/desk created\n");
    // By name, as the document says lists of containers are merged, and not as a whole.
    old.write("web.yaml", &WEB.replace("      - {name: a, image: nginx:1}\n", ""));
    assert_eq!(old.ok(&[apply[0], apply[1], apply[2], "web.yaml"]).await, "deployment.apps/web configured\n");
    let names = ["get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[*].name}"];
    assert_eq!(old.ok(&names).await, "b");
    old.write("web.yaml", &WEB.replace("replicas: 2", "replica: 2").replace("name: web", "name: other"));
    old.write("lamp.yaml", &LAMP.replace("watts", "wats").replace("desk", "other"));
    let web = old.refused("web.yaml").await;
    assert!(web.contains("strict decoding error: unknown field \"spec.replica\""), "{web}");
    let lamp = old.refused("lamp.yaml").await;
    assert!(lamp.contains("strict decoding error: unknown field \"spec.wats\""), "{lamp}");
    let asked = old.asked.lock().unwrap();
    assert!(
        asked.contains(&("/openapi/v3".to_owned(), 404)) && asked.contains(&("/openapi/v2".to_owned(), 200))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_itself_checks_fields_by_the_older_document() {
    let Some(old) = Old::start(Checks::Client).await else { return };
    old.write("web.yaml", WEB);
    old.write("lamp.yaml", LAMP);
    let made = old.ok(&["create", "--validate=strict", "-f", "web.yaml", "-f", "lamp.yaml"]).await;
    assert_eq!(made, "deployment.apps/web created\nlamp.example.com/desk created\n");
    for (manifest, wrong, said) in [
        (
            "web.yaml",
            WEB.replace("replicas: 2", "replica: 2"),
            "unknown field \"replica\" in io.k8s.api.apps.v1.DeploymentSpec",
        ),
        (
            "web.yaml",
            WEB.replace("name: b, ", ""),
            "missing required field \"name\" in io.k8s.api.core.v1.Container",
        ),
        (
            "web.yaml",
            WEB.replace("replicas: 2", "replicas: two"),
            "invalid type for io.k8s.api.apps.v1.DeploymentSpec.replicas",
        ),
        ("lamp.yaml", LAMP.replace("watts", "wats"), "unknown field \"wats\" in com.example.v1.Lamp.spec"),
    ] {
        old.write(manifest, &wrong);
        let text = old.refused(manifest).await;
        assert!(text.contains("error validating data") && text.contains(said), "{said}: {text}");
    }
}
