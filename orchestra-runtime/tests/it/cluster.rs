//! An API server with one node, for tests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{ContainerStatus, Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use orchestra_apiserver::ApiServer;
use orchestra_net::PodNetwork;
use orchestra_net::local::LocalNetwork;
use orchestra_runtime::agent::{AgentService, NodeAgent, NodeAgentBuilder};
use orchestra_runtime::runtime::ContainerRuntime;
use orchestra_store::MemoryStore;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Longer than anything here takes, on any clock.
const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) pods: Api<Pod>,
    network: Arc<dyn PodNetwork>,
}

pub(crate) struct RunningAgent {
    pub(crate) service: AgentService,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let network = Arc::new(LocalNetwork::new().unwrap());
        let server = ApiServer::builder(Arc::new(MemoryStore::new())).allow_loopback_endpoints(true).build();
        let client = server.await.unwrap().client("default");
        let account: ServiceAccount =
            serde_json::from_value(json!({"metadata": {"name": "default", "namespace": "default"}})).unwrap();
        let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
        let _ = accounts.create(&PostParams::default(), &account).await;
        Self { pods: Api::default_namespaced(client.clone()), client, network }
    }

    pub(crate) fn agent(
        &self,
        runtime: Arc<dyn ContainerRuntime>,
        dir: &Path,
        options: impl FnOnce(NodeAgentBuilder) -> NodeAgentBuilder,
    ) -> RunningAgent {
        let builder = NodeAgent::builder(self.client.clone(), runtime, self.network.clone());
        let agent = options(builder.name("n1").data_dir(dir)).build().unwrap();
        let service = agent.service();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let task = tokio::spawn(async move { agent.run(token).await.unwrap() });
        RunningAgent { service, stop, task }
    }

    /// Creates a pod bound to the node.
    pub(crate) async fn pod(&self, name: &str, spec: Value) -> Pod {
        self.pod_with_grace(name, spec, 1).await
    }

    pub(crate) async fn pod_with_grace(&self, name: &str, mut spec: Value, grace: i64) -> Pod {
        spec["nodeName"] = json!("n1");
        spec["terminationGracePeriodSeconds"] = json!(grace);
        let pod = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        self.pods.create(&PostParams::default(), &pod).await.unwrap()
    }

    /// Waits until the pod is as wanted.
    pub(crate) async fn until(&self, name: &str, what: &str, wanted: impl Fn(&Pod) -> bool + Send) -> Pod {
        let condition = |pod: Option<&Pod>| pod.is_some_and(&wanted);
        match tokio::time::timeout(LONG, await_condition(self.pods.clone(), name, condition)).await {
            Ok(found) => found.unwrap().unwrap(),
            Err(_) => {
                let pod = self.pods.get_opt(name).await.unwrap();
                let status = pod.map(|p| serde_json::to_string_pretty(&p.status).unwrap());
                panic!("{name} is not {what}: {}", status.unwrap_or_default());
            }
        }
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.pods.delete(name, &DeleteParams::default()).await.unwrap();
        let gone = await_condition(self.pods.clone(), name, |pod: Option<&Pod>| pod.is_none());
        tokio::time::timeout(LONG, gone).await.expect("the pod goes").unwrap();
    }

    pub(crate) async fn until_node(&self) -> Node {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let ready = |node: Option<&Node>| {
            let conditions = node.and_then(|n| n.status.as_ref()?.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
        };
        tokio::time::timeout(LONG, await_condition(nodes, "n1", ready))
            .await
            .expect("in time")
            .unwrap()
            .unwrap()
    }
}

impl RunningAgent {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(LONG, self.task).await.expect("the agent stops").unwrap();
    }

    /// What a path answers: the status code and the text.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let request = Request::get(path).body(()).unwrap();
        let response = self.service.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = tokio::time::timeout(LONG, response.into_body().collect()).await.expect("it ends");
        (status, String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap())
    }
}

pub(crate) fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "host", "command": ["sh", "-c", script]})
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> &'a str {
    let all = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    all.into_iter().flatten().find(|c| c.type_ == kind).map_or("", |c| c.status.as_str())
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready") == "True"
}

pub(crate) fn container(pod: &Pod) -> &ContainerStatus {
    &pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0]
}

pub(crate) fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
    statuses.and_then(|s| s.first()).map_or(0, |s| s.restart_count)
}

/// The reason for which the first container waits.
pub(crate) fn waits(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    status.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}
