//! Nodes that beat, fall silent and come back, in virtual time.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use orchestra_controllers::{Clock, Controllers};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cluster::{TestCluster, until_within};

/// Longer than any toleration here.
pub(crate) const LONG: Duration = Duration::from_secs(1000);

/// Keeps the Lease of a node as its agent would, for ever.
pub(crate) async fn beat(client: Client, node: &'static str) {
    let leases: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    let clock = Clock::ticking_from("2026-01-01T00:00:00Z".parse().unwrap());
    let new = serde_json::from_value(json!({"metadata": {"name": node}})).unwrap();
    if leases.get_opt(node).await.unwrap().is_none() {
        leases.create(&Default::default(), &new).await.unwrap();
    }
    loop {
        let renewed = Patch::Merge(json!({"spec": {"renewTime": format!("{:.6}", clock.now())}}));
        leases.patch(node, &PatchParams::default(), &renewed).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

/// What the agent of a node says when it is well.
pub(crate) async fn say_ready(client: &Client, node: &str) {
    let nodes: Api<Node> = Api::all(client.clone());
    let status = Patch::Merge(json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
    nodes.patch_status(node, &PatchParams::default(), &status).await.unwrap();
}

fn ready(node: &Node) -> &str {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().find(|held| held.type_ == "Ready").map_or("", |held| held.status.as_str())
}

/// How a node says it is, and its taints.
fn state(nodes: &[Node], name: &str) -> String {
    let node = nodes.iter().find(|node| node.metadata.name.as_deref() == Some(name)).unwrap();
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let taints = taints
        .map(|taint| format!(" {}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect));
    format!("{}{}", ready(node), taints.collect::<String>())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.clone().any(|held| held.type_ == "Ready" && held.status == "True")
}

fn names(pods: &[Pod]) -> Vec<&str> {
    let mut names: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
    names.sort_unstable();
    names
}

const GIVEN_UP: &str = "Unknown unreachable:NoSchedule unreachable:NoExecute";

struct Nodes {
    cluster: TestCluster,
    api: Api<Node>,
    agents: Vec<JoinHandle<()>>,
}

impl Nodes {
    /// Nodes that beat, each with a patient and an eternal pod.
    async fn start(names: &[&'static str]) -> Self {
        let clock = Clock::ticking_from("2026-01-01T00:00:00Z".parse().unwrap());
        let cluster = TestCluster::with(Controllers::all().clock(clock)).await;
        let mut agents = Vec::new();
        for name in names {
            cluster.create_node(name).await;
            agents.push(tokio::spawn(beat(cluster.client.clone(), name)));
            for (kind, tolerations) in [("patient", json!([])), ("eternal", json!([{"operator": "Exists"}]))]
            {
                let spec = json!({
                    "nodeName": name, "tolerations": tolerations, "containers": [{"name": "c", "image": "i"}],
                });
                cluster
                    .create::<Pod>(json!({"metadata": {"name": format!("{kind}-{name}")}, "spec": spec}))
                    .await;
            }
        }
        let count = 2 * names.len();
        let all_ready = |pods: &[Pod]| pods.len() == count && pods.iter().all(is_ready);
        until_within(LONG, &cluster.api::<Pod>(), "ready pods", all_ready).await;
        let api = Api::all(cluster.client.clone());
        Self { cluster, api, agents }
    }

    async fn until(&self, node: &str, wished: &str) {
        until_within(LONG, &self.api, wished, |nodes| state(nodes, node) == wished).await;
    }

    async fn pods(&self, wished: &[&str]) -> Vec<Pod> {
        until_within(LONG, &self.cluster.api::<Pod>(), "pods", |pods| names(pods) == wished).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_unknown_after_50_seconds_and_loses_its_pods_after_their_patience() {
    let nodes = Nodes::start(&["n1", "n2"]).await;
    nodes.agents[1].abort();
    let start = Instant::now();
    nodes.until("n2", GIVEN_UP).await;
    let silence = start.elapsed();
    assert!((40..=51).contains(&silence.as_secs()), "the last beat was up to 10 s earlier; {silence:?}");
    let held = until_within(LONG, &nodes.cluster.api::<Pod>(), "pods not ready", |pods| {
        pods.iter().filter(|pod| !is_ready(pod)).count() == 2
    })
    .await;
    let on_n2 = |pod: &&Pod| pod.spec.as_ref().unwrap().node_name.as_deref() == Some("n2");
    assert!(held.iter().filter(on_n2).all(|pod| !is_ready(pod)));
    let tainted = Instant::now();
    nodes.pods(&["eternal-n1", "eternal-n2", "patient-n1"]).await;
    assert!((299..=301).contains(&tainted.elapsed().as_secs()), "{:?}", tainted.elapsed());
    let all = nodes.api.list(&Default::default()).await.unwrap().items;
    assert_eq!(state(&all, "n1"), "True");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_in_time_keeps_its_pods() {
    let nodes = Nodes::start(&["n1", "n2"]).await;
    nodes.agents[1].abort();
    nodes.until("n2", GIVEN_UP).await;
    tokio::time::sleep(Duration::from_secs(290)).await;
    say_ready(&nodes.cluster.client, "n2").await;
    tokio::spawn(beat(nodes.cluster.client.clone(), "n2"));
    nodes.until("n2", "True").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let pods = nodes.cluster.api::<Pod>().list(&Default::default()).await.unwrap().items;
    assert_eq!(names(&pods), ["eternal-n1", "eternal-n2", "patient-n1", "patient-n2"]);
}

#[tokio::test(start_paused = true)]
async fn while_no_node_is_heard_no_pod_is_driven_out() {
    let nodes = Nodes::start(&["n1", "n2"]).await;
    nodes.agents.iter().for_each(JoinHandle::abort);
    for node in ["n1", "n2"] {
        nodes.until(node, "Unknown unreachable:NoSchedule").await;
    }
    tokio::time::sleep(LONG).await;
    let pods = nodes.cluster.api::<Pod>().list(&Default::default()).await.unwrap().items;
    assert_eq!(pods.len(), 4);
    say_ready(&nodes.cluster.client, "n1").await;
    tokio::spawn(beat(nodes.cluster.client.clone(), "n1"));
    nodes.until("n2", GIVEN_UP).await;
    nodes.pods(&["eternal-n1", "eternal-n2", "patient-n1"]).await;
}
