//! Extenders over HTTP: a server on the loopback that answers well, badly, slowly, too much, and not at all.

use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, PostParams};
use orchestra_scheduler::{PluginRegistry, Scheduler};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::cluster::{Cluster, node_of, pod_scheduled};

/// What is answered to a question: code and body; `None` is nothing, for ever.
type Answer = Arc<dyn Fn(&str, Value) -> Option<(u16, String)> + Send + Sync>;

/// An extender that answers from a function, and keeps what it was asked.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Server {
    async fn answering(
        answer: impl Fn(&str, Value) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/extender", listener.local_addr().unwrap());
        let (asked, answer): (Arc<Mutex<Vec<_>>>, Answer) = (Arc::default(), Arc::new(answer));
        let kept = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone(), kept.clone()));
            }
        });
        Self { url, asked }
    }

    /// The same over TLS; also the certificate it shows, PEM.
    async fn secretly(
        answer: impl Fn(&str, Value) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/extender", listener.local_addr().unwrap().port());
        let (asked, answer): (Arc<Mutex<Vec<_>>>, Answer) = (Arc::default(), Arc::new(answer));
        let kept = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, kept) = (acceptor.clone(), answer.clone(), kept.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, answer, kept).await;
                    }
                });
            }
        });
        (Self { url, asked }, made.cert.pem())
    }

    fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }

    /// A scheduler with this extender.
    fn scheduler(&self, more: &str) -> Scheduler {
        let text = format!(
            "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n\
             extenders:\n- urlPrefix: {}\n{more}",
            self.url
        );
        Scheduler::from_config(&text, "s.yaml", &PluginRegistry::default()).unwrap()
    }
}

/// As much of HTTP/1.1 as it takes.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Answer,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
) {
    let mut read = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let mut more = [0; 4096];
            match stream.read(&mut more).await {
                Ok(0) | Err(_) => return,
                Ok(length) => read.extend_from_slice(&more[..length]),
            }
        };
        let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
        let path = text.split(' ').nth(1).unwrap().to_owned();
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok())
            .unwrap_or(0);
        while read.len() < head + length {
            let mut more = [0; 65536];
            match stream.read(&mut more).await {
                Ok(0) | Err(_) => return,
                Ok(length) => read.extend_from_slice(&more[..length]),
            }
        }
        let question: Value = serde_json::from_slice(&read[head..head + length]).unwrap();
        read.drain(..head + length);
        asked.lock().unwrap().push((path.clone(), question.clone()));
        let Some((code, body)) = answer(&path, question) else { return std::future::pending().await };
        let head = format!(
            "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(head.as_bytes()).await.is_err()
            || stream.write_all(body.as_bytes()).await.is_err()
        {
            return;
        }
    }
}

fn ok(answer: Value) -> Option<(u16, String)> {
    Some((200, answer.to_string()))
}

#[tokio::test]
async fn an_extender_filters_and_scores_whole_nodes() {
    let server = Server::answering(|path, question| match path {
        "/extender/filter" => {
            let keep = |node: &&Value| node["metadata"]["name"] != "a";
            let items: Vec<_> =
                question["Nodes"]["items"].as_array().unwrap().iter().filter(keep).cloned().collect();
            ok(json!({"Nodes": {"items": items}, "FailedNodes": {"a": "not this one"}}))
        }
        _ => ok(json!([{"Host": "b", "Score": 0}, {"Host": "c", "Score": 10}])),
    })
    .await;
    let cluster = Cluster::with_nodes(&["a", "b", "c"]).await;
    let _scheduler =
        cluster.schedule(server.scheduler("  filterVerb: filter\n  prioritizeVerb: points\n  weight: 5\n"));
    cluster.pod("x", json!({})).await;
    let pod = cluster.until("x", |pod| node_of(pod).is_some()).await;
    assert_eq!(node_of(&pod), Some("c"));
    let asked = server.asked();
    assert_eq!(asked[0].1["Pod"]["metadata"]["name"], "x");
    assert_eq!(asked[0].1["NodeNames"], Value::Null);
    assert_eq!(asked[0].1["Nodes"]["items"][0]["status"]["allocatable"]["cpu"], "4", "nodes are whole");
    assert_eq!(asked[1].0, "/extender/points");
}

#[tokio::test]
async fn an_extender_that_knows_nodes_is_asked_by_name_and_binds() {
    let cluster = Cluster::with_nodes(&["a", "b"]).await;
    let client: Arc<Mutex<Option<Client>>> = Arc::new(Mutex::new(Some(cluster.client())));
    let server = Server::answering(move |path, question| match path {
        "/extender/filter" => ok(json!({"NodeNames": ["b"]})),
        _ => {
            let client = client.lock().unwrap().clone().unwrap();
            let name = question["PodName"].as_str().unwrap().to_owned();
            let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                "target": {"kind": "Node", "name": question["Node"]}});
            tokio::spawn(async move {
                let pods: Api<Pod> = Api::default_namespaced(client);
                pods.create_subresource::<Value, Value>("binding", &name, &PostParams::default(), &binding)
                    .await
            });
            ok(json!({"Error": ""}))
        }
    })
    .await;
    let _scheduler = cluster
        .schedule(server.scheduler("  filterVerb: filter\n  bindVerb: bind\n  nodeCacheCapable: true\n"));
    cluster.pod("x", json!({})).await;
    let pod = cluster.until("x", |pod| node_of(pod).is_some()).await;
    assert_eq!(node_of(&pod), Some("b"));
    let asked = server.asked();
    let mut names: Vec<_> = asked[0].1["NodeNames"].as_array().unwrap().clone();
    names.sort_by_key(Value::to_string);
    assert_eq!((names, &asked[0].1["Nodes"]), (vec![json!("a"), json!("b")], &Value::Null));
    let uid = pod.metadata.uid.unwrap();
    assert_eq!(asked[1].1, json!({"PodName": "x", "PodNamespace": "default", "PodUID": uid, "Node": "b"}));
}

/// What users are told of a pod whose extender answers like this, and that the scheduler goes on.
async fn told(answer: impl Fn(&str, Value) -> Option<(u16, String)> + Send + Sync + 'static) -> String {
    let server = Server::answering(answer).await;
    let cluster = Cluster::with_nodes(&["a"]).await;
    let managed = "  managedResources: [{name: example.com/x}]\n";
    let scheduler = server.scheduler(&format!("  filterVerb: filter\n  httpTimeout: 300ms\n{managed}"));
    let _scheduler = cluster.schedule(scheduler);
    let node = json!({"metadata": {"name": "rich"}, "status": {"allocatable":
        {"cpu": "4", "memory": "8Gi", "pods": "110", "example.com/x": "9"}}});
    cluster.node(node).await;
    let asking = json!({"containers": [{"name": "c", "image": "i", "resources":
        {"requests": {"example.com/x": "1"}, "limits": {"example.com/x": "1"}}}]});
    cluster.pod("x", asking).await;
    // A first attempt may come before the scheduler has heard what the node has.
    let failed = |pod: &Pod| {
        pod_scheduled(pod).is_some_and(|condition| condition.reason.as_deref() == Some("SchedulerError"))
    };
    let pod = cluster.until("x", failed).await;
    let condition = pod_scheduled(&pod).unwrap();
    cluster.pod("calm", json!({})).await;
    cluster.until("calm", |pod| node_of(pod).is_some()).await;
    condition.message.clone().unwrap().replace(&server.url, "URL")
}

#[tokio::test]
async fn garbage_fails_the_pod_and_not_the_scheduler() {
    let message = told(|_, _| Some((200, "<html>".to_owned()))).await;
    assert_eq!(message, "URL/filter: expected value at line 1 column 1");
    assert_eq!(told(|_, _| ok(json!([1]))).await, "the answer is not an object");
}

#[tokio::test]
async fn a_failing_extender_fails_the_pod_with_its_address_and_code() {
    let message = told(|_, _| Some((500, String::new()))).await;
    assert_eq!(message, "failed filter with extender at URL URL/filter, code 500");
    assert_eq!(told(|_, _| ok(json!({"Error": "no idea"}))).await, "no idea");
}

#[tokio::test]
async fn an_extender_that_does_not_answer_is_not_waited_for_longer_than_its_time() {
    assert_eq!(told(|_, _| None).await, "URL/filter: no answer within 300ms");
}

#[tokio::test]
async fn a_large_answer_is_read_and_names_that_nobody_asked_about_are_refused() {
    let names: Vec<String> = (0..100_000).map(|n| format!("node-{n}")).collect();
    let items: Vec<_> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
    let answer = json!({"Nodes": {"items": items}}).to_string();
    let message = told(move |_, _| Some((200, answer.clone()))).await;
    let text = "extender \"URL\" claims a filtered node \"node-0\" which is not found in the input node list";
    assert_eq!(message, text);
}

#[tokio::test]
async fn pods_are_placed_without_an_extender_that_can_be_ignored() {
    let server = Server::answering(|_, _| Some((503, String::new()))).await;
    let cluster = Cluster::with_nodes(&["a"]).await;
    let _scheduler = cluster.schedule(server.scheduler("  filterVerb: filter\n  ignorable: true\n"));
    cluster.pod("x", json!({})).await;
    cluster.until("x", |pod| node_of(pod).is_some()).await;
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn an_extender_over_tls_is_trusted_by_its_authority_or_where_that_is_said() {
    use base64::Engine as _;
    let pass = |_: &str, _: Value| ok(json!({"NodeNames": ["a"]}));
    let (server, pem) = Server::secretly(pass).await;
    let cluster = Cluster::with_nodes(&["a"]).await;
    let known = base64::engine::general_purpose::STANDARD.encode(pem);
    let more = |tls: &str| format!("  filterVerb: filter\n  nodeCacheCapable: true\n{tls}");
    for (name, tls) in [
        ("known", format!("  tlsConfig: {{caData: {known}}}\n")),
        ("insecure", "  tlsConfig: {insecure: true}\n".to_owned()),
        ("https", "  enableHTTPS: true\n".to_owned()),
    ] {
        let scheduler = cluster.schedule(server.scheduler(&more(&tls)));
        cluster.pod(name, json!({})).await;
        cluster.until(name, |pod| node_of(pod).is_some()).await;
        scheduler.stop().await;
    }
    assert_eq!(server.asked().len(), 3);
    let _scheduler = cluster.schedule(server.scheduler(&more("")));
    cluster.pod("stranger", json!({})).await;
    let pod = cluster.until("stranger", |pod| pod_scheduled(pod).is_some()).await;
    assert_eq!(pod_scheduled(&pod).unwrap().reason.as_deref(), Some("SchedulerError"));
    assert_eq!(server.asked().len(), 3, "who is not trusted is told nothing");
}
