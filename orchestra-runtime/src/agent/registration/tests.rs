use jiff::Timestamp;
use kube::runtime::wait::{Condition, await_condition};
use orchestra_apiserver::ApiServer;
use orchestra_store::MemoryStore;
use tokio::task::JoinHandle;

use super::*;
use crate::agent::node_object::tests::facts;
use crate::clock::TokioClock;

struct Running {
    facts: watch::Sender<NodeFacts>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(client: &Client, told: NodeFacts) -> Self {
        let (facts, told) = watch::channel(told);
        let clock = Arc::new(TokioClock::starting_at(Timestamp::from_second(1_800_000_000).unwrap()));
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(Registration::new(told, clock).run(client.clone(), shutdown.clone()));
        Self { facts, shutdown, task }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

async fn client() -> Client {
    let server = ApiServer::builder(Arc::new(MemoryStore::new())).build().await.unwrap();
    server.client("default")
}

/// Time is paused, so this fails only when nothing is left to happen.
async fn node_when(client: &Client, name: &str, is: impl Condition<Node>) -> Node {
    let wait = await_condition(Api::<Node>::all(client.clone()), name, is);
    tokio::time::timeout(Duration::from_secs(3600), wait).await.unwrap().unwrap().unwrap()
}

async fn lease_when(client: &Client, name: &str, is: impl Condition<Lease>) -> Lease {
    let api = Api::<Lease>::namespaced(client.clone(), LEASE_NAMESPACE);
    let wait = await_condition(api, name, is);
    tokio::time::timeout(Duration::from_secs(3600), wait).await.unwrap().unwrap().unwrap()
}

fn ready_is(wanted: &'static str) -> impl Condition<Node> {
    move |node: Option<&Node>| {
        let conditions = node.and_then(|n| n.status.as_ref()).and_then(|s| s.conditions.as_ref());
        conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == wanted)
    }
}

fn renewed(lease: &Lease) -> Option<Timestamp> {
    lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0)
}

#[tokio::test(start_paused = true)]
async fn a_node_is_ready_without_waiting() {
    let client = client().await;
    let start = Instant::now();
    let agent = Running::start(&client, facts("n"));
    node_when(&client, "n", ready_is("True")).await;
    assert!(start.elapsed() < Duration::from_millis(50), "took {:?}", start.elapsed());
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_agents_share_a_process() {
    let client = client().await;
    let names: Vec<String> = (0..100).map(|n| format!("n{n}")).collect();
    let agents: Vec<Running> = names.iter().map(|name| Running::start(&client, facts(name))).collect();
    for name in &names {
        node_when(&client, name, ready_is("True")).await;
        lease_when(&client, name, |lease: Option<&Lease>| lease.is_some()).await;
    }
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_made_again() {
    let client = client().await;
    let agent = Running::start(&client, facts("n"));
    let first = lease_when(&client, "n", |lease: Option<&Lease>| lease.is_some()).await;
    let leases = Api::<Lease>::namespaced(client.clone(), LEASE_NAMESPACE);
    leases.delete("n", &Default::default()).await.unwrap();
    let other = move |lease: Option<&Lease>| lease.is_some_and(|l| l.metadata.uid != first.metadata.uid);
    lease_when(&client, "n", other).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_lease_belongs_to_the_node_and_is_renewed() {
    let client = client().await;
    let agent = Running::start(&client, facts("n"));
    let node = node_when(&client, "n", ready_is("True")).await;
    let first = lease_when(&client, "n", |lease: Option<&Lease>| lease.is_some()).await;
    assert_eq!(first.metadata.owner_references.as_ref().unwrap()[0].uid, node.metadata.uid.unwrap());
    assert_eq!(first.spec.as_ref().unwrap().lease_duration_seconds, Some(40));
    let before = renewed(&first);
    let later = |lease: Option<&Lease>| lease.is_some_and(|lease| renewed(lease) > before);
    let second = lease_when(&client, "n", later).await;
    let pause = renewed(&second).unwrap().duration_since(before.unwrap());
    assert!((10_000..=10_500).contains(&pause.as_millis()), "renewed after {pause:?}");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_is_written_only_every_five_minutes() {
    let client = client().await;
    let agent = Running::start(&client, facts("n"));
    let node = node_when(&client, "n", ready_is("True")).await;
    sleep(Duration::from_secs(290)).await;
    let nodes = Api::<Node>::all(client.clone());
    let version = |node: &Node| node.metadata.resource_version.clone();
    assert_eq!(version(&nodes.get("n").await.unwrap()), version(&node));
    sleep(Duration::from_secs(30)).await;
    assert_ne!(version(&nodes.get("n").await.unwrap()), version(&node));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_problem_is_told_at_once_and_so_is_its_end() {
    let client = client().await;
    let agent = Running::start(&client, facts("n"));
    node_when(&client, "n", ready_is("True")).await;
    let start = Instant::now();
    agent.facts.send_modify(|facts| facts.problem = Some("container runtime is down".to_owned()));
    node_when(&client, "n", ready_is("False")).await;
    agent.facts.send_modify(|facts| facts.problem = None);
    node_when(&client, "n", ready_is("True")).await;
    assert!(start.elapsed() < Duration::from_secs(1), "took {:?}", start.elapsed());
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_keeps_what_users_set_and_corrects_its_own() {
    let client = client().await;
    let nodes = Api::<Node>::all(client.clone());
    let agent = Running::start(&client, facts("n"));
    let first = node_when(&client, "n", ready_is("True")).await;
    agent.stop().await;
    let patch = json!({
        "metadata": { "labels": { "mine": "yes", "tier": "changed", "kubernetes.io/arch": null } },
        "spec": { "unschedulable": true, "taints": [{ "key": "k", "effect": "NoSchedule" }] },
    });
    nodes.patch("n", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();

    let agent = Running::start(&client, NodeFacts { addresses: vec![[10, 0, 0, 2].into()], ..facts("n") });
    let moved = |node: Option<&Node>| {
        let addresses = node.and_then(|n| n.status.as_ref()).and_then(|s| s.addresses.as_ref());
        addresses.is_some_and(|list| list.iter().any(|a| a.address == "10.0.0.2"))
    };
    let node = node_when(&client, "n", moved).await;
    assert_eq!(node.metadata.uid, first.metadata.uid);
    let labels = node.metadata.labels.unwrap();
    let label = |key: &str| labels.get(key).map(String::as_str);
    assert_eq!(
        (label("mine"), label("tier"), label("kubernetes.io/arch")),
        (Some("yes"), Some("changed"), Some("amd64"))
    );
    let spec = node.spec.unwrap();
    assert_eq!(spec.unschedulable, Some(true));
    assert!(spec.taints.unwrap().iter().any(|taint| taint.key == "k"));
    assert_eq!(node.status.unwrap().addresses.unwrap().len(), 2);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_status_somebody_else_spoiled_is_put_right() {
    let client = client().await;
    let agent = Running::start(&client, facts("n"));
    node_when(&client, "n", ready_is("True")).await;
    let unknown = json!({ "status": { "conditions": [{ "type": "Ready", "status": "Unknown" }] } });
    let nodes = Api::<Node>::all(client.clone());
    nodes.patch_status("n", &PatchParams::default(), &Patch::Strategic(unknown)).await.unwrap();
    node_when(&client, "n", ready_is("True")).await;
    agent.stop().await;
}
