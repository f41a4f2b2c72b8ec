//! An API server, the controllers, and a kubelet that makes every pod ready at once.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use orchestra_apiserver::ApiServer;
use orchestra_controllers::Controllers;
use orchestra_store::MemoryStore;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longer than anything here takes; only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestCluster {
    pub(crate) client: Client,
    _tasks: JoinSet<()>,
    _shutdown: DropGuard,
}

impl TestCluster {
    /// All controllers and a kubelet.
    pub(crate) async fn start() -> Self {
        Self::with(Controllers::all()).await
    }

    pub(crate) async fn with(controllers: Controllers) -> Self {
        let server = ApiServer::builder(Arc::new(MemoryStore::new())).build().await.unwrap();
        let client = server.client("default");
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (controlled, stop) = (client.clone(), shutdown.clone());
        tasks.spawn(async move { controllers.run(controlled, stop).await.unwrap() });
        tasks.spawn(kubelet(client.clone(), shutdown.clone()));
        let namespaces: Api<Namespace> = Api::all(client.clone());
        if namespaces.get_opt("default").await.unwrap().is_none() {
            let namespace = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
            namespaces.create(&Default::default(), &namespace).await.unwrap();
        }
        Self { client, _tasks: tasks, _shutdown: shutdown.drop_guard() }
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + serde::Serialize
            + DeserializeOwned
            + Clone
            + Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api::<K>().create(&Default::default(), &object).await.unwrap()
    }

    pub(crate) async fn create_node(&self, name: &str) {
        let api: Api<Node> = Api::all(self.client.clone());
        let node = serde_json::from_value(
            json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}),
        );
        api.create(&Default::default(), &node.unwrap()).await.unwrap();
        let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }
}

/// Waits until the objects of a kind are as wished.
pub(crate) async fn until<K>(api: &Api<K>, what: &str, wished: impl Fn(&[K]) -> bool) -> Vec<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    until_within(PATIENCE, api, what, wished).await
}

/// Waits, in virtual time if it is paused, until the objects of a kind are as wished.
pub(crate) async fn until_within<K>(
    patience: Duration,
    api: &Api<K>,
    what: &str,
    wished: impl Fn(&[K]) -> bool,
) -> Vec<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut held: Vec<K> = Vec::new();
    let wait = async {
        let mut events = std::pin::pin!(watcher::watcher(api.clone(), watcher::Config::default()));
        let mut listed = false;
        while let Some(event) = events.next().await {
            let same =
                |a: &K, b: &K| a.meta().name == b.meta().name && a.meta().namespace == b.meta().namespace;
            match event.unwrap() {
                watcher::Event::Init => held.clear(),
                watcher::Event::InitDone => listed = true,
                watcher::Event::InitApply(new) | watcher::Event::Apply(new) => {
                    held.retain(|old| !same(old, &new));
                    held.push(new);
                }
                watcher::Event::Delete(gone) => held.retain(|old| !same(old, &gone)),
            }
            if listed && wished(&held) {
                return;
            }
        }
    };
    if tokio::time::timeout(patience, wait).await.is_err() {
        panic!("never came to be: {what}; held {held:#?}");
    }
    held
}

/// Makes every pod run and ready on the node it names (or some node), and lets deleted ones go.
pub(crate) async fn kubelet(client: Client, shutdown: CancellationToken) {
    let pods: Api<Pod> = Api::all(client.clone());
    let mut events = std::pin::pin!(watcher::watcher(pods, watcher::Config::default()));
    let mut number = 0_u32;
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.next() => event,
        };
        let (Some(Ok(watcher::Event::Apply(pod))) | Some(Ok(watcher::Event::InitApply(pod)))) = event else {
            continue;
        };
        let api: Api<Pod> = Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap());
        let name = pod.metadata.name.as_deref().unwrap();
        if pod.metadata.deletion_timestamp.is_some() {
            let _ = api.delete(name, &DeleteParams::default().grace_period(0)).await;
            continue;
        }
        if pod.status.as_ref().is_some_and(|status| status.phase.as_deref() != Some("Pending")) {
            continue;
        }
        if pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key("test/stuck"))
        {
            continue;
        }
        number += 1;
        if let Some(fate) = pod.metadata.annotations.as_ref().and_then(|held| held.get("test/ends-with")) {
            let _ = api.patch_status(name, &PatchParams::default(), &Patch::Merge(ended(&pod, fate))).await;
            continue;
        }
        let now = jiff_now();
        let ip = format!("10.1.{}.{}", number / 250, number % 250 + 1);
        let status = json!({"metadata": {"uid": pod.metadata.uid}, "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        }});
        let _ = api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await;
    }
}

/// The status of a pod whose container ended: with the code that the annotation lists at the
/// number of failures that the pod's index has behind it.
fn ended(pod: &Pod, fate: &str) -> Value {
    let failures = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|held| held.get("batch.kubernetes.io/job-index-failure-count"));
    let attempt: usize = failures.and_then(|text| text.parse().ok()).unwrap_or(0);
    let codes: Vec<i32> = fate.split(',').map(|code| code.parse().unwrap()).collect();
    let code = codes[attempt.min(codes.len() - 1)];
    let state = json!({"terminated": {"exitCode": code, "startedAt": jiff_now(), "finishedAt": jiff_now()}});
    json!({"metadata": {"uid": pod.metadata.uid}, "status": {
        "phase": if code == 0 { "Succeeded" } else { "Failed" },
        "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state}],
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": jiff_now()}],
    }})
}

fn jiff_now() -> String {
    "2026-01-01T00:00:00Z".to_owned()
}

/// The highest resourceVersion of anything controllers could have written, without events.
pub(crate) async fn fingerprint(client: &Client) -> Vec<String> {
    let mut all = Vec::new();
    for group in kube::discovery::Discovery::new(client.clone()).run().await.unwrap().groups() {
        for (resource, capabilities) in group.recommended_resources() {
            let listable = capabilities.supports_operation(kube::discovery::verbs::LIST);
            if !listable || matches!(resource.plural.as_str(), "events" | "leases" | "componentstatuses") {
                continue;
            }
            let api: Api<kube::api::DynamicObject> = Api::all_with(client.clone(), &resource);
            for object in api.list_metadata(&ListParams::default()).await.unwrap() {
                let meta = object.metadata;
                all.push(format!(
                    "{} {} {} {}",
                    resource.plural,
                    meta.namespace.unwrap_or_default(),
                    meta.name.unwrap_or_default(),
                    meta.resource_version.unwrap_or_default()
                ));
            }
        }
    }
    all.sort();
    all
}
