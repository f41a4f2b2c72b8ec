//! A live scheduler on a real API server in this process, on a paused clock, with someone who writes down what happens.
//!
//! Each thing that happens has a moment of its own, so that there is one order of things.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{Config, Event, watcher};
use orchestra_apiserver::{ApiServer, Limits};
use orchestra_lab::SimTime;
use orchestra_scheduler::Scheduler;
use orchestra_store::MemoryStore;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::recording::{Recorded, Recording};

/// Between two things that happen.
const APART: Duration = Duration::from_millis(10);

pub(crate) struct Live {
    server: ApiServer,
    start: Instant,
    shutdown: CancellationToken,
    seen: mpsc::UnboundedReceiver<(SimTime, Recorded)>,
}

impl Live {
    pub(crate) async fn begin() -> Self {
        // Every change is seen at its moment, as the simulator has it.
        let mut limits = Limits::default();
        limits.watch_pace = Duration::ZERO;
        let builder = ApiServer::builder(Arc::new(MemoryStore::new())).limits(limits);
        let server = builder.build().await.unwrap();
        let start = Instant::now();
        let (told, seen) = mpsc::unbounded_channel();
        let client = server.client("default");
        let (pods, nodes) = (Api::<Pod>::all(client.clone()), Api::<Node>::all(client));
        let tell = told.clone();
        tokio::spawn(async move {
            let mut events = watcher(pods, Config::default()).boxed();
            while let Some(Ok(event)) = events.next().await {
                let one = match event {
                    Event::Apply(pod) | Event::InitApply(pod) => Recorded::Pod(Box::new(pod)),
                    Event::Delete(pod) => Recorded::PodGone(Box::new(pod)),
                    Event::Init | Event::InitDone => continue,
                };
                if tell.send((since(start), one)).is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            let mut events = watcher(nodes, Config::default()).boxed();
            while let Some(Ok(event)) = events.next().await {
                let one = match event {
                    Event::Apply(node) | Event::InitApply(node) => Recorded::Node(Box::new(node)),
                    Event::Delete(node) => Recorded::NodeGone(Box::new(node)),
                    Event::Init | Event::InitDone => continue,
                };
                if told.send((since(start), one)).is_err() {
                    return;
                }
            }
        });
        Self { server, start, shutdown: CancellationToken::new(), seen }
    }

    pub(crate) fn schedule(&mut self, scheduler: Scheduler) {
        self.start = Instant::now();
        tokio::spawn(scheduler.run(self.server.client("default"), self.shutdown.clone()));
    }

    /// Lets time pass; everything that follows from what happened before is over then.
    pub(crate) async fn wait(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// A class of pods that are this important.
    pub(crate) async fn class(&mut self, name: &str, value: i32) {
        let classes: Api<PriorityClass> = Api::all(self.server.client("default"));
        let class = json!({"metadata": {"name": name}, "value": value});
        classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
        self.wait(APART).await;
    }

    /// The pods that are told to go and are still there.
    pub(crate) async fn going(&self) -> Vec<String> {
        let pods: Api<Pod> = Api::default_namespaced(self.server.client("default"));
        let all = pods.list(&ListParams::default()).await.unwrap();
        let going = all.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_some());
        going.filter_map(|pod| pod.metadata.name).collect()
    }

    /// The pods on a node.
    pub(crate) async fn on(&self, node: &str) -> Vec<String> {
        let pods: Api<Pod> = Api::default_namespaced(self.server.client("default"));
        let all = pods.list(&ListParams::default()).await.unwrap();
        let there = all
            .into_iter()
            .filter(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node));
        there.filter_map(|pod| pod.metadata.name).collect()
    }

    pub(crate) async fn node(&mut self, name: &str, cpu: &str, labels: Value) {
        let nodes: Api<Node> = Api::all(self.server.client("default"));
        // It comes as agents make nodes: not ready to be scheduled on before its status says what it offers.
        let node = json!({"metadata": {"name": name, "labels": labels}});
        nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
        let status = json!({"status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}}});
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        self.wait(APART).await;
    }

    pub(crate) async fn lose(&mut self, name: &str) {
        let nodes: Api<Node> = Api::all(self.server.client("default"));
        nodes.delete(name, &DeleteParams::default()).await.unwrap();
        self.wait(APART).await;
    }

    /// A pod, and time for what follows from it.
    pub(crate) async fn pod(&mut self, name: &str, cpu: &str, spec: Value, app: &str) {
        self.one_of_many(name, cpu, spec, app).await;
        self.wait(APART).await;
    }

    /// A pod, at the same moment as what comes next.
    pub(crate) async fn one_of_many(&mut self, name: &str, cpu: &str, mut spec: Value, app: &str) {
        spec["containers"] =
            json!([{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}]);
        let pod = json!({"metadata": {"name": name, "labels": {"app": app}}, "spec": spec});
        let pods: Api<Pod> = Api::default_namespaced(self.server.client("default"));
        pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    }

    /// Loses a node and what is on it, at one moment.
    pub(crate) async fn lose_with_pods(&mut self, name: &str) {
        let there = self.on(name).await;
        let nodes: Api<Node> = Api::all(self.server.client("default"));
        nodes.delete(name, &DeleteParams::default()).await.unwrap();
        for pod in there {
            self.end_now(&pod).await;
        }
        self.wait(APART).await;
    }

    /// Deletes a pod at once, and time for what follows from it.
    pub(crate) async fn end(&mut self, name: &str) {
        self.end_now(name).await;
        self.wait(APART).await;
    }

    /// Deletes a pod at once.
    pub(crate) async fn end_now(&mut self, name: &str) {
        let pods: Api<Pod> = Api::default_namespaced(self.server.client("default"));
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        pods.delete(name, &now).await.unwrap();
    }

    /// What was seen since this was last asked.
    pub(crate) fn seen_so_far(&mut self) -> Recording {
        let mut all = Vec::new();
        while let Ok(one) = self.seen.try_recv() {
            all.push(one);
        }
        Recording::new(all, since(self.start))
    }

    /// What was seen.
    pub(crate) async fn recorded(mut self) -> Recording {
        self.shutdown.cancel();
        self.seen_so_far()
    }
}

fn since(start: Instant) -> SimTime {
    SimTime::from_micros(u64::try_from(start.elapsed().as_micros()).unwrap())
}
