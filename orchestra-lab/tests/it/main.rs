//! The simulator held against the live scheduler.
#![allow(clippy::unwrap_used, reason = "all of this binary is tests")]

mod live;
mod recording;

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
