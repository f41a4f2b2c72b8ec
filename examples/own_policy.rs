//! A scheduling policy of your own: compared with others on a load that is made up, then placing a pod in a live cluster.
//! `docs/research.md` walks through it.
//!
//! `cargo run --release --example own_policy [-- DIR]`

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kube::Api;
use kube::api::PostParams;
use kube::runtime::wait::await_condition;
use orchestra::Cluster;
use orchestra::lab::experiment::{Experiment, Load};
use orchestra::lab::output::table;
use orchestra::lab::run::{Decider, RunOptions};
use orchestra::lab::strategy::{Named, known};
use orchestra::lab::trace::Source;
use orchestra::lab::workload::GenerateSpec;
use orchestra::scheduler::plugin::{Cycle, Plugin, Score};
use orchestra::scheduler::view::{NodeView, PodView};
use orchestra::scheduler::{Points, Profile, Registration, Scheduler};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Prefers small nodes, so that large ones stay free for pods that can go nowhere else.
#[derive(Debug)]
struct SmallNodes;

impl Plugin for SmallNodes {
    fn name(&self) -> &str {
        "SmallNodes"
    }
}

impl Score for SmallNodes {
    fn score(&self, _: &Cycle<'_>, _: &PodView, node: &NodeView) -> Points {
        let cores = node.facts().allocatable.cpu.0 / 1000;
        Points((100 - cores).clamp(0, 100))
    }
}

/// Kubernetes' own plugins, and this score beside theirs.
fn profile() -> Profile {
    Profile::default().register(Registration::of(SmallNodes).score(10).local().into())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let named = std::env::args().nth(1).map(PathBuf::from);
    compare(&named.unwrap_or_else(|| temporary.path().join("results")))?;
    live().await
}

/// The policy beside Kubernetes' own scores and best fit, ten seeds each.
fn compare(out: &Path) -> Result<(), Box<dyn Error>> {
    let mut strategies = known(Scheduler::default());
    strategies.retain(|strategy| ["default", "bestfit"].contains(&strategy.name()));
    strategies.push(Named::new("smallnodes", |context| {
        Decider::Scheduler(Box::new(Scheduler::default().profiles(vec![profile()]).seed(context.seed)))
    }));
    let (name, text) = ("overload.json", include_str!("simulations/overload.json"));
    let spec = Arc::new(GenerateSpec::read(Source { name, text })?);
    let experiment = Experiment {
        load: Load::Generated { spec, nodes: Arc::default() },
        strategies,
        seeds: (1..=10).collect(),
        options: RunOptions::default(),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let recorded = experiment.record(out, experiment.manifest(), 0, threads, &|_| {})?;
    print!("{}", table(&recorded.strategies));
    Ok(())
}

/// The same policy in a cluster of a large node and a small one.
async fn live() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::builder().without_nodes().without_scheduler().start().await?;
    let client = cluster.client();
    let nodes: Api<Node> = Api::all(client.clone());
    for (name, cpu) in [("large", "64"), ("small", "16")] {
        let offered = json!({"cpu": cpu, "memory": "64Gi", "pods": "110"});
        let node = json!({
            "metadata": {"name": name},
            "status": {"capacity": offered, "allocatable": offered, "conditions": [{"type": "Ready", "status": "True"}]},
        });
        nodes.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
    }
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    await_condition(accounts, "default", |account: Option<&ServiceAccount>| account.is_some()).await?;

    let shutdown = CancellationToken::new();
    let scheduler = Scheduler::default().profiles(vec![profile()]);
    let scheduling = tokio::spawn(scheduler.run(client.clone(), shutdown.clone()));
    let pods: Api<Pod> = Api::default_namespaced(client);
    let pod = json!({
        "metadata": {"name": "web"},
        "spec": {
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "web", "image": "web", "resources": {"requests": {"cpu": "2", "memory": "1Gi"}}}],
        },
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    let bound = |pod: Option<&Pod>| node_of(pod).is_some();
    let pod = await_condition(pods, "web", bound).await?;
    println!("live, web was given the node {}", node_of(pod.as_ref()).unwrap_or_default());

    shutdown.cancel();
    scheduling.await??;
    cluster.stop().await?;
    Ok(())
}

fn node_of(pod: Option<&Pod>) -> Option<&str> {
    pod?.spec.as_ref()?.node_name.as_deref()
}
