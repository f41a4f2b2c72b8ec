//! What a fork of a cluster costs, and what is asked of one.
//!
//! `cargo run --release -p orchestra-scheduler --example what_if`

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orchestra_scheduler::view::{ClusterView, NodeFacts, NodeName, PodKey, PodUid, PodView};
use orchestra_scheduler::{Profile, WhatIf};
use serde_json::{from_value, json};

const PODS_PER_NODE: usize = 5;
const TIMES: usize = 101;

fn main() -> Result<(), Box<dyn Error>> {
    println!("medians of {TIMES}, {PODS_PER_NODE} pods on each node");
    println!(
        "{:>8} {:>12} {:>22} {:>14} {:>14}",
        "nodes", "fork", "fork and one change", "mark and undo", "ask again"
    );
    for nodes in [1_000, 100_000] {
        let cluster = cluster(nodes)?;
        let newcomer = Arc::new(pod("newcomer")?);
        let place = NodeName::from("n500");
        let fork = median(|| drop(black_box(cluster.clone())));
        let change = median(|| {
            let mut fork = cluster.clone();
            fork.place(newcomer.clone(), &place);
            drop(black_box(fork));
        });
        let mut what_if = WhatIf::new(&cluster, Profile::default());
        // The first question makes the index.
        what_if.ask(&newcomer);
        let undo = median(|| {
            what_if.mark();
            what_if.put(newcomer.clone(), &place);
            what_if.undo();
        });
        let ask = median(|| {
            what_if.mark();
            black_box(what_if.place(&newcomer));
            what_if.undo();
        });
        println!("{nodes:>8} {fork:>12.1?} {change:>22.1?} {undo:>14.1?} {ask:>14.1?}");
    }
    Ok(())
}

fn median(mut act: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let begun = Instant::now();
            act();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(TIMES / 2).copied().unwrap_or_default()
}

fn cluster(nodes: usize) -> Result<ClusterView, Box<dyn Error>> {
    let mut cluster = ClusterView::default();
    let (model, pod) = (node()?, pod("p")?);
    for index in 0..nodes {
        let name = NodeName::from(format!("n{index}").as_str());
        let mut facts = model.clone();
        facts.name = name.clone();
        cluster.set_node(Arc::new(facts));
        for number in 0..PODS_PER_NODE {
            let mut pod = pod.clone();
            let text = format!("p{index}-{number}");
            (pod.uid, pod.key) = (PodUid::from(text.as_str()), PodKey::new("default", &text));
            cluster.place(Arc::new(pod), &name);
        }
    }
    Ok(cluster)
}

fn node() -> Result<NodeFacts, Box<dyn Error>> {
    let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "32", "memory": "128Gi", "pods": "110"}}});
    Ok(NodeFacts::from_api(&from_value(node)?)?)
}

fn pod(name: &str) -> Result<PodView, Box<dyn Error>> {
    let pod = json!({"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": {"containers": [
        {"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]}});
    Ok(PodView::from_api(&from_value(pod)?)?)
}
