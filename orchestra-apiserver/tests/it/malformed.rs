//! Whatever a client sends, it is answered: requests that are made of odd pieces, from a seed, over a real socket.
//!
//! `MALFORMED_REQUESTS=100000 cargo nextest run -p orchestra-apiserver malformed` tries more of them.

use std::time::Duration;

use futures::StreamExt;
use orchestra_apiserver::Limits;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::post;
use crate::socket::{Listening, listen};

/// How many are tried where nobody says otherwise.
const REQUESTS: u64 = 1500;
/// Requests under way at once.
const AT_ONCE: usize = 8;
/// Longer than any answer takes.
const LONG: Duration = Duration::from_secs(30);

const METHODS: &[&str] = &[
    "GET", "GET", "POST", "POST", "PUT", "PATCH", "PATCH", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE",
    "BREW", "get",
];

const PATHS: &[&str] = &[
    "/",
    "/api",
    "/api/v1",
    "/apis/apps/v1",
    "/apis/apps/v1/namespaces/default/deployments",
    "/apis/apps/v1/namespaces/default/deployments/d/scale",
    "/apis/authentication.k8s.io/v1/tokenreviews",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin",
    "/apis/no.such/v1/things",
    "/api/v1/namespaces/default/configmaps",
    "/api/v1/namespaces/default/configmaps/m",
    "/api/v1/namespaces/default/configmaps/m",
    "/api/v1/namespaces/default/pods/p/status",
    "/api/v1/namespaces/default/pods/p/eviction",
    "/api/v1/namespaces/default/pods/p/binding",
    "/api/v1/namespaces/default/pods/p/log",
    "/api/v1/namespaces/default/pods/p/exec",
    "/api/v1/namespaces/default/services",
    "/api/v1/namespaces/default/serviceaccounts/default/token",
    "/api/v1/namespaces/default/finalize",
    "/api/v1/nodes",
    "/api/v1/watch/pods",
    "/healthz",
    "/livez/ping",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3/apis/apps/v1",
    "/version",
];

const SEGMENTS: &[&str] = &[
    "..",
    ".",
    "%2e%2e",
    "%2F",
    "%00",
    "%zz",
    "%",
    "a%25b",
    "%ff%fe",
    "",
    "*",
    "namespaces",
    "watch",
    "status",
    "proxy",
    "\u{f6}",
    "x;y",
    "a=b",
    "{name}",
    "-",
    "UPPER",
];

const QUERIES: &[&str] = &[
    "labelSelector=a%20in%20(",
    "labelSelector=,,,&fieldSelector=%3D%3D",
    "fieldSelector=metadata.name%3Dm,no.such!%3Dx",
    "limit=-1",
    "limit=99999999999999999999",
    "limit=1&continue=AAAA",
    "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MCwic3RhcnQiOiIuLi8uLiJ9",
    "resourceVersion=x",
    "resourceVersion=18446744073709551616&resourceVersionMatch=Exact",
    "resourceVersionMatch=Perhaps",
    "watch=maybe&timeoutSeconds=x",
    "dryRun=Some",
    "dryRun=All&fieldValidation=Strict",
    "fieldValidation=Whatever",
    "fieldManager=%00",
    "fieldManager=m&force=true",
    "force=perhaps",
    "timeout=1x",
    "timeout=-5s",
    "pretty=%f0%9f",
    "gracePeriodSeconds=-9223372036854775808",
    "propagationPolicy=Never",
    "orphanDependents=true&propagationPolicy=Orphan",
    "includeObject=All",
    "container=&command=%00&stdin=x",
    "sendInitialEvents=true",
    "&&&==&%=%",
];

const HEADERS: &[&str] = &[
    "accept: */*;q=x",
    "accept: application/json;as=Table;g=meta.k8s.io;v=v1",
    "accept: application/json;as=Nothing;g=meta.k8s.io;v=v1,application/yaml",
    "accept: application/vnd.kubernetes.protobuf",
    "accept: application/cbor",
    "accept: ;;;,,,",
    "accept-encoding: gzip;q=0, *, gzip",
    "content-encoding: gzip",
    "content-encoding: br",
    "authorization: Bearer x",
    "authorization: Bearer eyJhbGciOiJub25lIn0.e30.",
    "authorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOjF9.AAAA",
    "authorization: Basic Og==",
    "authorization: ",
    "impersonate-user: a",
    "impersonate-group: b",
    "impersonate-extra-%zz: c",
    "upgrade: SPDY/3.1",
    "upgrade: websocket",
    "expect: 200-maybe",
    "audit-id: \u{e9}",
    "x-remote-user: system:admin",
    "range: bytes=0-",
    "if-match: \"x\"",
    "cookie: a=b; c",
];

const CONTENT_TYPES: &[&str] = &[
    "application/json",
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
    "text/plain",
    "application/json; charset=\u{e9}",
    ";",
    "*/*",
];

const BODIES: &[&str] = &[
    "",
    "null",
    "[]",
    "{}",
    "\"\"",
    "{",
    r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"a":"b"}}"#,
    r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m","name":"n","labels":[]},"data":{"a":1}}"#,
    r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":"many","template":null}}"#,
    r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","managedFields":[{"fieldsV1":{"k:{":{}}}]},"spec":{"containers":[{"name":"c","image":"i"}]}}"#,
    r#"[{"op":"copy","from":"","path":"/data"},{"op":"test","path":"/a/b/-1","value":{}},{"op":"remove","path":"/~2"}]"#,
    r#"{"metadata":null,"$patch":"delete","data":{"$patch":"replace"},"$setElementOrder/x":[{}],"$retainKeys":3}"#,
    r#"{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":7},"gracePeriodSeconds":"x"}"#,
    r#"{"kind":"Status","apiVersion":"v1","code":200}"#,
    r#"{"spec":{"token":"a.b.c","resourceAttributes":{"verb":"\u0000"}}}"#,
    "apiVersion: v1\nkind: ConfigMap\nmetadata: &a {name: m, labels: *a}\n",
    "a: &x [*x]\n---\n--- !!python/object {}\n\tb",
    "\u{1f}\u{8b}\u{8}\u{0}",
    "k8s\0\n\u{c}\n\u{2}v1\u{12}\u{6}ConfigMapX\u{12}\u{7f}",
];

/// Chance from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn path(&mut self) -> String {
        let mut path = self.one(PATHS).to_owned();
        for _ in 0..self.below(3) {
            let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
            let at = if slashes.is_empty() { 0 } else { slashes[self.below(slashes.len())] };
            path.insert_str(at, &format!("/{}", self.one(SEGMENTS)));
        }
        if self.below(2) == 0 {
            path = format!("{path}?{}&{}", self.one(QUERIES), self.one(QUERIES));
        }
        path
    }

    fn body(&mut self) -> Vec<u8> {
        let mut body = match self.below(20) {
            0 => [r#"{"data":"#.repeat(40_000), "1".to_owned(), "}".repeat(40_000)].concat().into_bytes(),
            1 => "[".repeat(100_000).into_bytes(),
            _ => self.one(BODIES).as_bytes().to_vec(),
        };
        for _ in 0..self.below(3) {
            if body.is_empty() {
                break;
            }
            let at = self.below(body.len());
            body[at] = self.below(256) as u8;
        }
        body
    }

    fn request(&mut self) -> Vec<u8> {
        let (method, path, body) = (self.one(METHODS), self.path(), self.body());
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        if self.below(5) > 0 {
            head += "x-test-user: admin\r\n";
        }
        for _ in 0..self.below(4) {
            head += &format!("{}\r\n", self.one(HEADERS));
        }
        if self.below(10) > 0 {
            head += &format!("content-type: {}\r\n", self.one(CONTENT_TYPES));
        }
        let body = if method == "TRACE" { Vec::new() } else { body };
        head += &format!("content-length: {}\r\n\r\n", body.len());
        [head.into_bytes(), body].concat()
    }
}

/// Sends the bytes and gives back the answer: of what is a success, as much as there is at once; of a refusal, all of it.
async fn answer(listening: &Listening, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    // The server may have seen enough before all is sent.
    let _sent = stream.write_all(request).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        answer.extend_from_slice(&buffer[..read]);
        // A watch goes on and on.
        if answer.starts_with(b"HTTP/1.1 200") && answer.windows(4).any(|four| four == b"\r\n\r\n") {
            break;
        }
    }
    answer
}

/// What is wrong with the answer, if anything is.
fn fault(request: &[u8], answer: &[u8]) -> Option<String> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Some("no answer".to_owned());
    };
    let (head, body) = (String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase(), &answer[end + 4..]);
    let Some(code) = head.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()) else {
        return Some(format!("no code: {head}"));
    };
    if code < 400 || request.starts_with(b"HEAD ") || head.contains("content-type: text/plain") {
        return None;
    }
    let text = String::from_utf8_lossy(body);
    if head.contains("protobuf") {
        return (!body.windows(4).any(|four| four == b"k8s\0")).then(|| format!("no message: {text}"));
    }
    if head.contains("yaml") {
        return (!text.contains("kind: Status")).then(|| format!("no Status: {text}"));
    }
    let json = text.find('{').zip(text.rfind('}')).and_then(|(from, to)| text.get(from..=to));
    let status: Value = json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let is_status = status["kind"] == "Status" && status["code"] == code && status["message"].is_string();
    // Upstream foresees some mistakes as little as we do, and says so in words of its own; a panic is never one of them.
    let is_panic = text.contains("panick") || text.contains("This request caused apiserver to panic");
    (!is_status || is_panic).then(|| format!("{code}: {text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_client_sends_is_answered_by_a_status() {
    let listening = listen(Limits::default(), |builder| builder.seed(1)).await;
    let map = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "b"}});
    assert_eq!(post(&listening.server, "/api/v1/namespaces/default/configmaps", &map).await.0, 201);
    let asked = std::env::var("MALFORMED_REQUESTS").ok().and_then(|count| count.parse().ok());
    let count: u64 = asked.unwrap_or(REQUESTS);
    let one = |seed: u64| {
        let listening = &listening;
        async move {
            // Seeds side by side would begin alike.
            let mut dice = Dice((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let request = dice.request();
            let answered = tokio::time::timeout(LONG, answer(listening, &request)).await;
            let fault = match answered {
                Ok(answer) => fault(&request, &answer),
                Err(_) => Some("it hangs".to_owned()),
            };
            fault.map(|what| {
                let start = &request[..request.len().min(700)];
                format!("seed {seed}: {}\n--> {what}", String::from_utf8_lossy(start))
            })
        }
    };
    let faults: Vec<String> = futures::stream::iter(0..count)
        .map(one)
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(
        faults.is_empty(),
        "{} of {count}:\n{}",
        faults.len(),
        faults[..faults.len().min(8)].join("\n\n")
    );
}
