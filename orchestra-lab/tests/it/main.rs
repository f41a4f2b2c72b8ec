//! The simulator held against the live scheduler.
#![allow(clippy::unwrap_used, reason = "all of this binary is tests")]

mod live;
mod recording;
mod strategies;

use orchestra_lab::run::{Decider, Decision, Refusals, RunOptions, Sink, Verb, run};
use orchestra_scheduler::Scheduler;
use serde_json::json;
use std::time::Duration;

use live::Live;
use recording::Decided;

/// What the simulator decides, as a recording has it.
#[derive(Default)]
struct Log(Vec<Decided>);

impl Sink for Log {
    fn decided(&mut self, decision: &Decision<'_>) -> std::io::Result<()> {
        let said = match decision.verb {
            Verb::Bound => format!("on {}", decision.node.unwrap()),
            Verb::Refused => decision.reason.to_owned(),
            _ => return Ok(()),
        };
        self.0.push(Decided { at: decision.time, pod: decision.pod.to_owned(), said });
        Ok(())
    }
}

/// A live run with all that can happen to pods and nodes: rooms that fill, pods that come back from their pause, pods that
/// are more important, nodes that come late and go.
async fn story() -> Live {
    let mut live = Live::begin().await;
    live.node("a", "4", json!({"topology.kubernetes.io/zone": "east"})).await;
    live.node("b", "4", json!({"topology.kubernetes.io/zone": "west"})).await;
    live.node("c", "2", json!({})).await;
    // Nobody fits here, so nobody is lost with it: whoever cleans up after lost nodes does not run.
    live.node("tiny", "100m", json!({})).await;
    live.schedule(Scheduler::default());
    let mut taken = 0;
    for number in 0..60_u64 {
        let cpu = ["500m", "1", "250m", "2", "3"][number as usize % 5];
        let mut spec = json!({"priority": 0});
        if number % 4 == 1 {
            spec["nodeSelector"] = json!({"topology.kubernetes.io/zone": "west"});
        }
        if number % 7 == 3 {
            spec["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "spread"}}}]);
        }
        live.pod(&format!("p{number}"), cpu, spec, if number % 7 == 3 { "spread" } else { "plain" }).await;
        live.wait(Duration::from_millis(700 + 130 * (number % 6))).await;
        // Pods end, the first first.
        if number % 3 == 2 {
            live.end(&format!("p{taken}")).await;
            taken += 1;
        }
        match number {
            18 => live.node("late", "8", json!({"topology.kubernetes.io/zone": "east"})).await,
            30 => live.lose("tiny").await,
            _ => {}
        }
    }
    // Long enough for pods that were left over to be tried again by time alone.
    live.wait(Duration::from_secs(400)).await;
    for number in taken..40 {
        live.end(&format!("p{number}")).await;
        live.wait(Duration::from_secs(3)).await;
    }
    live.wait(Duration::from_secs(60)).await;
    live
}

#[tokio::test(start_paused = true)]
async fn the_simulator_decides_as_the_live_scheduler_did() {
    let recording = story().await.recorded().await;
    let workload = recording.workload();
    assert_eq!(workload.nodes.len(), 5);
    let mut options = RunOptions::default();
    options.refusals = Refusals::All;
    let mut log = Log::default();
    run(&workload, &Decider::Scheduler(Box::default()), &options, &mut log).unwrap();
    let live = recording.decisions();
    let simulated = recording::settled(log.0);
    assert!(live.len() > 60, "much was decided: {}", live.len());
    assert!(live.iter().any(|one| one.said.contains("Insufficient cpu")), "not all fitted at once");
    for (live, simulated) in live.iter().zip(&simulated) {
        assert_eq!(live, simulated);
    }
    assert_eq!(live.len(), simulated.len());
}

/// A live run of what makes schedulers differ: bursts at one moment, pods that want each other near or away, spread, and
/// more important ones that make others go; a node that is lost with who is on it, and one that comes.
async fn hard_story() -> Live {
    const ZONE: &str = "topology.kubernetes.io/zone";
    const HOST: &str = "kubernetes.io/hostname";
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let mut live = Live::begin().await;
    live.class("vip", 1000).await;
    for (name, zone) in [("a", "east"), ("b", "west"), ("c", "west"), ("d", "east")] {
        live.node(name, "4", json!({ZONE: zone, HOST: name})).await;
    }
    live.schedule(Scheduler::default());
    live.wait(Duration::from_secs(1)).await;
    let selected = |app: &str| json!({"matchLabels": {"app": app}});
    for burst in 0..5_u64 {
        for number in 0..4_u64 {
            let (name, app) = (format!("p{burst}-{number}"), ["web", "db", "web", "batch"][number as usize]);
            let spec = match number {
                0 => json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": ZONE,
                    "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selected("web")}]}),
                1 => json!({"affinity": {"podAntiAffinity": {REQUIRED: [
                    {"topologyKey": HOST, "labelSelector": selected("db")}]}}}),
                2 => json!({"affinity": {"podAffinity": {REQUIRED: [
                    {"topologyKey": ZONE, "labelSelector": selected("web")}]}}}),
                _ => json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": HOST,
                    "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selected("batch")}]}),
            };
            live.one_of_many(&name, ["500m", "1", "750m", "250m"][number as usize], spec, app).await;
        }
        live.wait(Duration::from_millis(1_500 + 300 * burst)).await;
    }
    // Somebody has to go, and no more than one: of two that end at one moment the live scheduler sees one first.
    live.pod("vip", "2500m", json!({"priorityClassName": "vip"}), "vip").await;
    live.wait(Duration::from_millis(29_990)).await;
    let going = live.going().await;
    assert_eq!(going.len(), 1, "{going:?}");
    for pod in going {
        live.end_now(&pod).await;
    }
    live.wait(Duration::from_secs(12)).await;
    live.node("late", "4", json!({ZONE: "east", HOST: "late"})).await;
    live.wait(Duration::from_secs(20)).await;
    // One pod is on it and no more: it wants all of it.
    live.node("own", "6", json!({ZONE: "north", HOST: "own"})).await;
    live.pod("large", "5500m", json!({}), "large").await;
    live.wait(Duration::from_secs(20)).await;
    live.lose_with_pods("own").await;
    live.wait(Duration::from_secs(30)).await;
    live
}

#[ignore = "compared up to the preemption only so far; what follows it has not been seen to agree yet"]
#[tokio::test(start_paused = true)]
async fn bursts_preemption_affinity_and_losses_are_decided_as_they_were_live() {
    let recording = hard_story().await.recorded().await;
    let mut options = RunOptions::default();
    options.refusals = Refusals::All;
    let mut log = Log::default();
    run(&recording.workload(), &Decider::Scheduler(Box::default()), &options, &mut log).unwrap();
    let live = recording::last_words(recording.decisions());
    let simulated = recording::last_words(recording::settled(log.0));
    let says = |words: &str| live.iter().any(|one| one.said.contains(words));
    assert!(says("anti-affinity") && live.len() > 20, "{live:#?}");
    assert!(live.iter().any(|one| one.pod == "vip" && one.said.starts_with("on ")), "{live:#?}");
    for (live, simulated) in live.iter().zip(&simulated) {
        assert_eq!(live, simulated);
    }
    assert_eq!(live.len(), simulated.len());
}
