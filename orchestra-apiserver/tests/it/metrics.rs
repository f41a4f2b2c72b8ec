//! `/metrics` and the health endpoints, read as monitoring reads them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use orchestra_apiserver::{ApiServer, User};
use orchestra_store::lease::{Lease, LeaseId, LeaseStatus};
use orchestra_store::{
    Committed, Entry, Error, Key, KeyRange, MemoryStore, Page, RangeOptions, ReadAt, Result, Revision,
    Snapshot, Store, StoreStatus, Txn, Versioned, WatchStream,
};
use prometheus_client::registry::Registry;
use serde_json::json;
use tower::ServiceExt;

use crate::harness::{post, server};
use crate::socket::serve;

/// Status, content type and text of an answer.
async fn read(server: &ApiServer, user: Option<User>, path: &str, accept: &str) -> (u16, String, String) {
    let mut request = Request::get(path).header("accept", accept);
    if let Some(user) = user {
        request = request.extension(user);
    }
    let response = server.clone().oneshot(request.body(String::new()).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let media = response.headers()["content-type"].to_str().unwrap().to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, media, String::from_utf8(body.to_vec()).unwrap())
}

pub(crate) async fn metrics(server: &ApiServer) -> BTreeMap<String, f64> {
    let (code, media, text) = read(server, Some(User::admin()), "/metrics", "*/*").await;
    assert_eq!((code, media.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    samples(&text)
}

/// Every sample by its name with its labels. Fails where the text is not in Prometheus' form.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut described = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(described.insert(name, kind).is_none(), "{name} is described twice");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.contains(' '), "no words: {line}");
        } else {
            assert!(!line.starts_with('#'), "{line}");
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = name.split('{').next().unwrap();
            let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| family.strip_suffix(end));
            let known = described.get(family).is_some_and(|kind| *kind != "histogram")
                || histogram.is_some_and(|family| described.get(family) == Some(&"histogram"));
            assert!(known, "{family} is not described before its sample");
            let is_called_so = family.ends_with("_total") || family.starts_with("authenticat");
            assert!(described.get(family) != Some(&"counter") || is_called_so, "{family}");
            assert!(
                samples.insert(name.to_owned(), value.parse().unwrap()).is_none(),
                "{name} is there twice"
            );
        }
    }
    samples
}

#[tokio::test]
async fn the_store_is_seen_in_the_metrics() {
    let server = server().await;
    let before = metrics(&server).await;
    for name in ["a", "b"] {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        assert_eq!(post(&server, "/api/v1/namespaces/default/configmaps", &map).await.0, 201);
    }
    let after = metrics(&server).await;
    let grown = |name: &str| after[name] - before.get(name).copied().unwrap_or_default();
    let maps = r#"operation="create",group="",resource="configmaps""#;
    assert_eq!(grown(&format!("etcd_requests_total{{{maps}}}")), 2.0);
    assert_eq!(grown(&format!("etcd_request_duration_seconds_count{{{maps}}}")), 2.0);
    assert_eq!(grown(&format!("etcd_request_errors_total{{{maps}}}")), 0.0);
    assert_eq!((grown("orchestra_store_keys"), grown("orchestra_store_revision")), (2.0, 2.0));
    assert_eq!(after["orchestra_store_up"], 1.0);
    assert_eq!(before[r#"apiserver_storage_objects{resource="namespaces"}"#], 4.0);
    assert_eq!(
        before[r#"apiserver_resource_objects{group="scheduling.k8s.io",resource="priorityclasses"}"#],
        2.0
    );
    assert_eq!(before[r#"apiserver_storage_objects{resource="deployments.apps"}"#], 0.0);
    assert_eq!(before[r#"apiserver_storage_size_bytes{storage_cluster_id="etcd-0"}"#], 0.0);
}

#[tokio::test]
async fn objects_are_counted_now_and_then() {
    tokio::time::pause();
    let server = server().await;
    let namespaces = r#"apiserver_storage_objects{resource="namespaces"}"#;
    assert_eq!(metrics(&server).await[namespaces], 4.0);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "more"}});
    assert_eq!(post(&server, "/api/v1/namespaces", &namespace).await.0, 201);
    assert_eq!(metrics(&server).await[namespaces], 4.0);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(metrics(&server).await[namespaces], 5.0);
}

#[tokio::test]
async fn a_registry_of_ones_own_is_served_with_it() {
    let (mut registry, store) = (Registry::default(), MemoryStore::new());
    store.metrics().register(&mut registry);
    let server = ApiServer::builder(Arc::new(store)).metrics(registry).build().await.unwrap();
    assert_eq!(metrics(&server).await["orchestra_store_watchers"], 1.0, "the server follows its store");
    let (code, media, text) =
        read(&server, Some(User::admin()), "/metrics", "application/openmetrics-text; version=1.0.0").await;
    assert_eq!((code, media.as_str()), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn metrics_are_not_for_everybody() {
    let server = server().await;
    assert_eq!(read(&server, None, "/metrics", "*/*").await.0, 403);
    let somebody = User::new("ann", ["readers".to_owned()]);
    assert_eq!(read(&server, Some(somebody), "/metrics", "*/*").await.0, 403);
    assert_eq!(read(&server, Some(User::admin()), "/metrics/cadvisor", "*/*").await.0, 404);
}

/// A store that can be told to be unwell.
#[derive(Clone, Debug)]
struct Unwell {
    store: MemoryStore,
    is_unwell: Arc<AtomicBool>,
    /// Whether it leaves open what it is asked for.
    is_stuck: Arc<AtomicBool>,
    /// How often it was asked how it is.
    asked: Arc<AtomicUsize>,
}

impl Unwell {
    fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            is_unwell: Arc::default(),
            is_stuck: Arc::default(),
            asked: Arc::default(),
        }
    }
}

#[async_trait]
impl Store for Unwell {
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
        self.store.get(key, at).await
    }

    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
        if self.is_stuck.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        self.store.range(range, options).await
    }

    async fn commit(&self, txn: Txn) -> Result<Committed> {
        self.store.commit(txn).await
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        self.store.watch(range, from).await
    }

    async fn compact(&self, to: Revision) -> Result<()> {
        self.store.compact(to).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        self.store.grant(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration> {
        self.store.renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision> {
        self.store.revoke(lease).await
    }

    async fn leases(&self) -> Result<Versioned<Vec<LeaseStatus>>> {
        self.store.leases().await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.store.snapshot().await
    }

    async fn status(&self) -> Result<StoreStatus> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        // As over a network, where others come meanwhile.
        tokio::task::yield_now().await;
        if self.is_unwell.load(Ordering::Relaxed) {
            return Err(Error::Unavailable("writing to /some/where failed".to_owned()));
        }
        self.store.status().await
    }
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_for_health_cost_the_store_one_question_a_second() {
    let store = Unwell::new();
    let server = ApiServer::builder(Arc::new(store.clone())).build().await.unwrap();
    let before = store.asked.load(Ordering::Relaxed);
    let asked = || store.asked.load(Ordering::Relaxed) - before;
    let many = async || {
        let asking = (0..50).map(|_| read(&server, None, "/readyz", "*/*"));
        assert!(futures::future::join_all(asking).await.iter().all(|(code, ..)| *code == 200));
    };
    many().await;
    many().await;
    assert_eq!(asked(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    many().await;
    assert_eq!(asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn health_follows_the_store_and_tells_strangers_no_reason() {
    let store = Unwell::new();
    let server = ApiServer::builder(Arc::new(store.clone())).build().await.unwrap();
    let ask = async |path: &str| {
        let (code, media, text) = read(&server, None, path, "*/*").await;
        assert!(code == 404 || media == "text/plain; charset=utf-8", "{media}");
        (code, text)
    };
    let ok = |text: &str| (200, text.to_owned());
    assert_eq!(ask("/readyz").await, ok("ok"));
    assert_eq!(ask("/readyz/etcd").await, ok("ok"));
    assert_eq!(ask("/livez?verbose").await, ok("[+]ping ok\n[+]etcd ok\nlivez check passed\n"));
    assert_eq!(
        ask("/readyz?verbose").await,
        ok("[+]ping ok\n[+]etcd ok\n[+]shutdown ok\nreadyz check passed\n")
    );
    assert_eq!(
        ask("/livez?verbose&exclude=etcd&exclude=nonsense").await,
        ok(
            "[+]ping ok\n[+]etcd excluded: ok\nwarn: some health checks cannot be excluded: no matches for \"nonsense\"\nlivez check passed\n"
        )
    );
    assert_eq!(ask("/livez/nonsense").await.0, 404);
    assert_eq!(ask("/livez/shutdown").await.0, 404);
    store.is_unwell.store(true, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(1)).await;
    let failed = (500, "[+]ping ok\n[-]etcd failed: reason withheld\nlivez check failed\n".to_owned());
    assert_eq!(ask("/livez").await, failed);
    for path in ["/healthz", "/readyz", "/readyz/etcd", "/readyz/store"] {
        let (code, text) = ask(path).await;
        assert!(code == 500 && text.contains("reason withheld") && !text.contains("/some"), "{path}: {text}");
    }
    assert_eq!(ask("/readyz?exclude=etcd").await, ok("ok"));
    assert_eq!(ask("/readyz/ping").await, ok("ok"));
    let (_, _, text) = read(&server, Some(User::admin()), "/metrics", "*/*").await;
    assert_eq!(samples(&text)["orchestra_store_up"], 0.0);
}

#[tokio::test]
async fn who_comes_over_a_connection_hears_of_health_while_nothing_can_be_read() {
    let store = Unwell::new();
    let server = ApiServer::builder(Arc::new(store.clone())).build().await.unwrap();
    let listening = serve(server).await;
    store.is_stuck.store(true, Ordering::Relaxed);
    let classed = async || {
        let request = Request::get("/livez").header("host", "test").body(Full::new(Bytes::new())).unwrap();
        let (parts, _) = listening.connect().await.send_request(request).await.unwrap().into_parts();
        assert_eq!(parts.status, 200);
        parts.headers.contains_key("x-kubernetes-pf-flowschema-uid")
    };
    assert!(!classed().await, "it cannot be known");
    store.is_stuck.store(false, Ordering::Relaxed);
    assert!(classed().await);
}

#[tokio::test]
async fn authorizers_and_the_standards_of_pods_are_counted() {
    let server = server().await;
    let jane = User::new("jane", []);
    assert_eq!(read(&server, Some(jane), "/apis", "*/*").await.0, 200);
    assert_eq!(read(&server, Some(User::node("n1")), "/api/v1/nodes/n1", "*/*").await.0, 404);
    assert_eq!(read(&server, Some(User::node("n1")), "/api/v1/secrets", "*/*").await.0, 403);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kept", "labels": {
        "pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/enforce-version": "v1.30",
        "pod-security.kubernetes.io/warn": "restricted",
    }}});
    assert_eq!(post(&server, "/api/v1/namespaces", &namespace).await.0, 201);
    for (namespace, is_privileged, code) in
        [("default", true, 201), ("kept", true, 403), ("kept", false, 201), ("kept", false, 201)]
    {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "p-"}, "spec": {
            "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "i", "securityContext": {"privileged": is_privileged}}],
        }});
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        post(&server, &format!("/api/v1/namespaces/{namespace}/serviceaccounts"), &account).await;
        let (found, answer) = post(&server, &format!("/api/v1/namespaces/{namespace}/pods"), &pod).await;
        assert_eq!(found, code, "{answer}");
    }
    let counted = metrics(&server).await;
    let evaluated = |decision: &str, mode: &str, level: &str, version: &str| {
        format!(
            "pod_security_evaluations_total{{decision=\"{decision}\",mode=\"{mode}\",policy_level=\"{level}\",\
             policy_version=\"{version}\",request_operation=\"create\",resource=\"pod\",subresource=\"\"}}"
        )
    };
    for (name, count) in [
        (evaluated("allow", "enforce", "privileged", "latest"), 1.0),
        (evaluated("deny", "enforce", "baseline", "v1.30"), 1.0),
        (evaluated("allow", "enforce", "baseline", "v1.30"), 2.0),
        (evaluated("deny", "warn", "restricted", "latest"), 2.0),
        (
            "apiserver_authorization_decisions_total{decision=\"allowed\",name=\"rbac\",type=\"RBAC\"}"
                .to_owned(),
            1.0,
        ),
        (
            "apiserver_authorization_decisions_total{decision=\"allowed\",name=\"node\",type=\"Node\"}"
                .to_owned(),
            1.0,
        ),
    ] {
        assert_eq!(counted.get(&name), Some(&count), "{name}");
    }
}
