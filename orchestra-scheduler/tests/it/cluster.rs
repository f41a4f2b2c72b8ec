//! A control plane without controllers or nodes, and what tests do with it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, PodCondition};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::wait::await_condition;
use kube::runtime::watcher::{Config, watcher};
use kube::{Client, ResourceExt};
use orchestra_apiserver::ApiServer;
use orchestra_scheduler::Scheduler;
use orchestra_store::MemoryStore;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Long enough for a loaded machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Cluster {
    server: ApiServer,
}

/// A scheduler that ends with the test.
pub(crate) struct Running {
    shutdown: CancellationToken,
    task: Option<JoinHandle<Result<(), orchestra_scheduler::Error>>>,
}

impl Running {
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        if let Some(task) = self.task.take() {
            task.await.unwrap().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Cluster {
    pub(crate) async fn with_nodes(names: &[&str]) -> Self {
        let server = ApiServer::builder(Arc::new(MemoryStore::new())).build().await.unwrap();
        let cluster = Self { server };
        for name in names {
            cluster.node(json!({"metadata": {"name": name}})).await;
        }
        cluster
    }

    pub(crate) fn client(&self) -> Client {
        self.server.client("default")
    }

    pub(crate) fn schedule(&self, scheduler: Scheduler) -> Running {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(scheduler.run(self.client(), shutdown.clone()));
        Running { shutdown, task: Some(task) }
    }

    /// Makes a node; 4 CPUs where nothing is said.
    pub(crate) async fn node(&self, mut node: Value) {
        let nodes: Api<Node> = Api::all(self.client());
        let name = node["metadata"]["name"].as_str().unwrap().to_owned();
        let status = node.as_object_mut().unwrap().remove("status");
        nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
        let status =
            status.unwrap_or_else(|| json!({"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}));
        let patch = Patch::Merge(json!({"status": status}));
        nodes.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Makes a pod; one container without requests where nothing is said.
    pub(crate) async fn pod(&self, name: &str, mut spec: Value) {
        if spec.get("containers").is_none() {
            spec["containers"] = json!([{"name": "c", "image": "i"}]);
        }
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        let pods: Api<Pod> = Api::default_namespaced(self.client());
        pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    }

    /// Waits until a pod fulfils a condition.
    pub(crate) async fn until(&self, name: &str, done: impl Fn(&Pod) -> bool) -> Pod {
        self.until_any(Api::default_namespaced(self.client()), name, done).await
    }

    /// Waits until an object fulfils a condition.
    pub(crate) async fn until_any<K>(&self, api: Api<K>, name: &str, done: impl Fn(&K) -> bool) -> K
    where
        K: kube::Resource<DynamicType = ()> + Clone + Debug + Send + serde::de::DeserializeOwned + 'static,
    {
        let condition = |object: Option<&K>| object.is_some_and(&done);
        let waiting = await_condition(api.clone(), name, condition);
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => found.unwrap().unwrap(),
            Err(_) => panic!("still waiting: {:#?}", api.get(name).await),
        }
    }

    /// The first event with this reason, waited for.
    pub(crate) async fn event(&self, reason: &str) -> Event {
        use futures::{StreamExt, TryStreamExt, pin_mut};
        let events: Api<Event> = Api::default_namespaced(self.client());
        let stream = watcher(events, Config::default()).applied_objects();
        let matching = stream.into_stream().filter(|event| {
            let matches = event.as_ref().is_ok_and(|event| event.reason.as_deref() == Some(reason));
            futures::future::ready(matches)
        });
        pin_mut!(matching);
        tokio::time::timeout(PATIENCE, matching.next()).await.unwrap().unwrap().unwrap()
    }

    /// Which pod is on which node.
    pub(crate) async fn placements(&self) -> BTreeMap<String, String> {
        let pods: Api<Pod> = Api::default_namespaced(self.client());
        let listed = pods.list(&Default::default()).await.unwrap();
        listed.iter().filter_map(|pod| Some((pod.name_any(), node_of(pod)?.to_owned()))).collect()
    }

    /// Does what a provisioner and the volume controller do.
    pub(crate) async fn bind_claim(&self, claim: &str, volume: &str) {
        let volumes: Api<PersistentVolume> = Api::all(self.client());
        let object = json!({"metadata": {"name": volume}, "spec": {"capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp"}, "storageClassName": "late"}});
        volumes.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(self.client());
        let named = Patch::Merge(json!({"spec": {"volumeName": volume}}));
        claims.patch(claim, &PatchParams::default(), &named).await.unwrap();
        let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
        claims.patch_status(claim, &PatchParams::default(), &bound).await.unwrap();
    }
}

pub(crate) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

pub(crate) fn pod_scheduled(pod: &Pod) -> Option<&PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == "PodScheduled")
}
