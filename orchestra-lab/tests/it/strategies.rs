//! Strategies in a live scheduler on a real API server: the values that run in the simulator, without a change.

use std::sync::Arc;
use std::time::Duration;

use orchestra_lab::policies::{FairShare, Flow};
use orchestra_lab::run::{Decider, Refusals, RunOptions, run};
use orchestra_scheduler::view::{ClusterView, PodView};
use orchestra_scheduler::{Placement, Scheduler, Strategy};
use serde_json::json;

use crate::live::Live;
use crate::{Log, recording};

/// Which pod is where, in words.
fn bound(decided: &[recording::Decided]) -> Vec<String> {
    let bound = decided.iter().filter(|one| one.said.starts_with("on "));
    bound.map(|one| format!("{} {}", one.pod, one.said)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_gang_is_bound_live_when_all_of_it_fits_and_not_before() {
    let mut live = Live::begin().await;
    live.node("a", "4", json!({})).await;
    live.node("b", "4", json!({})).await;
    for rank in 0..3 {
        let spec = json!({"schedulingGroup": {"podGroupName": "gang"}});
        live.pod(&format!("rank-{rank}"), "3", spec, "job").await;
    }
    live.pod("alone", "1", json!({}), "plain").await;
    live.schedule(Scheduler::default().strategy("fairshare", Arc::new(FairShare)));
    live.wait(Duration::from_secs(20)).await;
    let early = live.seen_so_far().decisions();
    assert_eq!(bound(&early), ["alone on a"], "two of the gang would fit: {early:?}");
    let told = early.iter().find(|one| one.pod == "rank-0").unwrap();
    assert_eq!(told.said, "0/2 nodes are available: strategy \"fairshare\" did not place the pod.");
    live.node("c", "4", json!({})).await;
    live.wait(Duration::from_secs(20)).await;
    let mut all = bound(&live.recorded().await.decisions());
    all.sort();
    all.retain(|one| one.starts_with("rank"));
    assert_eq!(all, ["rank-0 on a", "rank-1 on b", "rank-2 on c"]);
}

#[tokio::test(start_paused = true)]
async fn a_strategy_decides_live_as_it_does_in_the_simulator() {
    let mut live = Live::begin().await;
    live.node("a", "4", json!({"disk": "ssd"})).await;
    live.node("b", "4", json!({})).await;
    live.schedule(Scheduler::default().strategy("Flow", Arc::new(Flow::default())));
    live.wait(Duration::from_secs(5)).await;
    for number in 0..24_u64 {
        let cpu = ["500m", "1", "2", "3"][number as usize % 4];
        let spec = if number % 3 == 0 { json!({"nodeSelector": {"disk": "ssd"}}) } else { json!({}) };
        live.pod(&format!("p{number}"), cpu, spec, "plain").await;
        live.wait(Duration::from_millis(290 + 170 * (number % 5))).await;
        if number == 0 {
            // From here on no pod comes at the very moment at which the strategy is asked: who is first then is for nobody to say.
            live.wait(Duration::from_millis(7)).await;
        }
        if number % 2 == 1 {
            live.end(&format!("p{}", number / 2)).await;
        }
    }
    live.wait(Duration::from_secs(60)).await;
    let recording = live.recorded().await;
    let mut options = RunOptions::default();
    options.refusals = Refusals::All;
    let mut log = Log::default();
    run(&recording.workload(), &Decider::Strategy(Arc::new(Flow::default())), &options, &mut log).unwrap();
    let (live, simulated) = (recording.decisions(), recording::settled(log.0));
    assert!(bound(&live).len() > 12, "{live:?}");
    assert_eq!(live, simulated);
}

/// Puts everything on the first node, whether there is room or not, and breaks down over a pod named `curse`.
#[derive(Debug)]
struct Careless;

impl Strategy for Careless {
    fn place(&self, cluster: &ClusterView, queue: &[Arc<PodView>]) -> Vec<Placement> {
        assert!(queue.iter().all(|pod| &*pod.key.name != "curse"), "cursed");
        let first = cluster.nodes().next();
        first.into_iter().flat_map(|node| queue.iter().map(|pod| Placement::new(pod, node.name()))).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_strategy_does_wrong_is_told_to_the_pod_and_the_scheduler_goes_on() {
    let mut live = Live::begin().await;
    live.node("a", "4", json!({})).await;
    live.pod("fits", "3", json!({}), "plain").await;
    live.pod("not", "3", json!({}), "plain").await;
    live.schedule(Scheduler::default().strategy("careless", Arc::new(Careless)));
    live.wait(Duration::from_secs(10)).await;
    live.pod("curse", "1", json!({}), "plain").await;
    live.wait(Duration::from_secs(10)).await;
    live.end("curse").await;
    live.end("fits").await;
    live.wait(Duration::from_secs(10)).await;
    let decided = live.recorded().await.decisions();
    let said = |pod: &str| -> Vec<&str> {
        decided.iter().filter(|one| one.pod == pod).map(|one| one.said.as_str()).collect()
    };
    assert_eq!(said("fits"), ["on a"]);
    assert_eq!(said("curse"), ["strategy \"careless\" panicked in Strategy: cursed"]);
    let not = said("not");
    assert!(
        not[0].starts_with("strategy \"careless\" broke its contract: default/not was placed"),
        "{not:?}"
    );
    assert_eq!(not.last(), Some(&"on a"), "{not:?}");
}
