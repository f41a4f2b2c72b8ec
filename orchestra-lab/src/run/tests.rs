use std::sync::Arc;

use orchestra_scheduler::view::{ClusterView, PodView};
use orchestra_scheduler::{Placement, Scheduler, Strategy};
use serde_json::{Value, json};

use super::*;
use crate::trace::{BadRows, Source, read};

/// What happened, one line each.
#[derive(Default)]
struct Log(Vec<String>);

impl Sink for Log {
    fn decided(&mut self, one: &Decision<'_>) -> std::io::Result<()> {
        let node = one.node.map(|node| format!(" {node}")).unwrap_or_default();
        self.0.push(format!(
            "{} {} {}{node} queued {} attempt {}",
            one.time,
            one.verb.word(),
            one.pod,
            one.queued,
            one.attempts
        ));
        Ok(())
    }
}

fn workload(trace: &Value) -> Workload {
    let text = trace.to_string();
    read(None, Source { name: "t", text: &text }, BadRows::Stop).unwrap().workload
}

fn live(trace: Value, options: &RunOptions) -> (Vec<String>, Outcome) {
    let mut log = Log::default();
    let decider = Decider::Scheduler(Box::default());
    let outcome = run(&workload(&trace), &decider, options, &mut log).unwrap();
    (log.0, outcome)
}

fn node(name: &str, cpu: &str) -> Value {
    json!({"name": name, "allocatable": {"cpu": cpu, "memory": "8Gi"}})
}

fn pod(name: &str, at: u64, cpu: &str, more: Value) -> Value {
    let mut pod = json!({"name": name, "at": at, "requests": {"cpu": cpu, "memory": "1Mi"}});
    pod.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    pod
}

#[test]
fn a_pod_that_finds_no_room_is_bound_when_another_ends() {
    let trace = json!({"nodes": [node("n", "4")], "pods": [
        pod("a", 0, "3", json!({"duration": 60})),
        pod("b", 10, "3", json!({"duration": 5}))]});
    let (log, outcome) = live(trace, &RunOptions::default());
    assert_eq!(
        log,
        [
            "0 bound a n queued 0 attempt 1",
            "10 refused b queued 0 attempt 1",
            "60 bound b n queued 50 attempt 2"
        ]
    );
    assert_eq!(outcome.end, SimTime::from_secs(65));
    let cpu = &outcome.usage[0];
    assert_eq!((cpu.peak, cpu.mean, cpu.last), (0.75, 0.75, 0.0));
    assert!(outcome.samples.len() > 100);
}

#[test]
fn a_pod_that_never_fits_is_pending_at_the_end_and_the_run_ends() {
    let trace = json!({"nodes": [node("n", "4")], "pods": [pod("big", 0, "64", json!({}))]});
    let (log, outcome) = live(trace, &RunOptions::default());
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[1].contains("pending big"), "{log:?}");
    assert_eq!((outcome.pending, outcome.bound), (1, 0));
}

#[test]
fn pods_of_a_lost_node_are_made_anew_elsewhere_or_when_it_is_back() {
    let trace = json!({"nodes": [node("n", "4")],
        "pods": [pod("a", 0, "3", json!({"duration": 100}))],
        "failures": [{"node": "n", "at": 40, "for": 10}]});
    let (log, outcome) = live(trace, &RunOptions::default());
    assert_eq!(
        log,
        [
            "0 bound a n queued 0 attempt 1",
            "40 lost a n queued 40 attempt 1",
            "40 refused a queued 0 attempt 1",
            "50 bound a n queued 10 attempt 2",
        ]
    );
    assert_eq!((outcome.lost, outcome.pods, outcome.end), (1, 2, SimTime::from_secs(150)));
}

#[test]
fn nodes_come_and_go_by_plan() {
    let mut late = node("late", "4");
    (late["from"], late["until"]) = (json!(20), json!(30));
    let trace = json!({"nodes": [late], "pods": [pod("a", 5, "1", json!({"until": 40}))]});
    let (log, _) = live(trace, &RunOptions::default());
    let verbs: Vec<&str> = log.iter().map(|line| &line[..line.find(" a").unwrap()]).collect();
    assert_eq!(verbs, ["5 refused", "20 bound", "30 lost", "30 refused"]);
}

#[test]
fn a_more_important_pod_gets_the_room_after_the_grace_and_the_victim_comes_back() {
    let trace = json!({"nodes": [node("n", "4")], "pods": [
        pod("low", 0, "3", json!({})),
        pod("high", 10, "3", json!({"priority": 7, "duration": 100}))]});
    let (log, outcome) = live(trace, &RunOptions::default());
    assert_eq!(outcome.evicted, 1);
    let bound: Vec<_> = log.iter().filter(|line| line.contains("bound")).map(String::as_str).collect();
    assert_eq!(bound[0], "0 bound low n queued 0 attempt 1");
    assert!(bound[1].starts_with("40 bound high n queued 30"), "{log:?}");
    assert!(bound[2].starts_with("140 bound low n queued 100"), "{log:?}");
}

#[test]
fn all_refusals_are_recorded_on_request() {
    let trace = json!({"nodes": [node("n", "4")], "pods": [
        pod("a", 0, "4", json!({"duration": 1000})), pod("b", 0, "4", json!({"duration": 1}))]});
    let options = RunOptions { refusals: Refusals::All, ..RunOptions::default() };
    let (log, outcome) = live(trace, &options);
    let refused = log.iter().filter(|line| line.contains("refused b")).count();
    assert_eq!(refused as u64, outcome.refused);
    assert!(refused > 2, "the queue tries again after five minutes: {log:?}");
}

#[test]
fn a_stopped_run_ends_early() {
    let pods: Vec<_> = (0..3000).map(|at| pod(&format!("p{at}"), at, "0", json!({"duration": 1}))).collect();
    let trace = workload(&json!({"nodes": [node("n", "4")], "pods": pods}));
    let options = RunOptions::default();
    options.stop.stop();
    let result = run(&trace, &Decider::Scheduler(Box::default()), &options, &mut ());
    assert!(matches!(result, Err(RunError::Stopped)));
}

#[test]
fn fragmentation_is_what_typical_pods_cannot_use() {
    let trace = json!({"nodes": [node("a", "4"), node("b", "4")], "pods": [
        pod("p", 0, "3", json!({})), pod("q", 100, "3", json!({}))]});
    let (_, outcome) = live(trace, &RunOptions::default());
    let at = |time: u64| {
        let sample = outcome.samples.iter().find(|sample| sample.time >= SimTime::from_secs(time)).unwrap();
        sample.fragmented[0]
    };
    // One core is left on the first node, four on the second, where another pod fits.
    assert_eq!(at(50), 0.2);
    assert_eq!(outcome.samples.last().unwrap().fragmented[0], 1.0);
}

/// Puts every pod on the first node, whatever is there.
#[derive(Debug)]
struct Careless;

impl Strategy for Careless {
    fn place(&self, cluster: &ClusterView, queue: &[Arc<PodView>]) -> Vec<Placement> {
        let first = cluster.nodes().next();
        first.into_iter().flat_map(|node| queue.iter().map(|pod| Placement::new(pod, node.name()))).collect()
    }
}

/// Puts one pod a time on the first node with room.
#[derive(Debug)]
struct OneByOne;

impl Strategy for OneByOne {
    fn place(&self, cluster: &ClusterView, queue: &[Arc<PodView>]) -> Vec<Placement> {
        let room = |pod: &PodView| {
            cluster.nodes().find(|node| {
                node.facts().allocatable.cpu.0 - node.requested().cpu.0 >= pod.demand.requests.cpu.0
            })
        };
        queue.iter().find_map(|pod| Some(Placement::new(pod, room(pod)?.name()))).into_iter().collect()
    }
}

#[test]
fn a_strategy_is_asked_in_batches_and_again_when_something_changed() {
    let trace = workload(&json!({"nodes": [node("n", "4")], "pods": [
        pod("a", 0, "3", json!({"duration": 60})), pod("b", 0, "3", json!({"duration": 5, "priority": 1}))]}));
    let mut log = Log::default();
    let decider = Decider::Strategy(Arc::new(OneByOne));
    let outcome = run(&trace, &decider, &RunOptions::default(), &mut log).unwrap();
    assert_eq!(
        log.0,
        [
            "0 bound b n queued 0 attempt 1",
            "0 refused a queued 0 attempt 1",
            "5 bound a n queued 5 attempt 3",
        ]
    );
    assert_eq!((outcome.bound, outcome.pending), (2, 0));
}

#[test]
fn a_strategy_that_breaks_its_contract_is_told_how() {
    let trace = workload(&json!({"nodes": [node("n", "4")], "pods": [
        pod("a", 0, "3", json!({})), pod("b", 0, "3", json!({}))]}));
    let error =
        run(&trace, &Decider::Strategy(Arc::new(Careless)), &RunOptions::default(), &mut ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "at 0 s: strategy \"Careless\" broke its contract: default/b was placed on node \"n\": \
         it asks for 3000 of cpu, and of 4000 there 3000 are in use"
    );
}

#[test]
fn both_engines_and_every_repetition_decide_alike() {
    let nodes: Vec<_> = (0..10).map(|at| node(&format!("n{at}"), "8")).collect();
    let pods: Vec<_> = (0..150)
        .map(|at| {
            let more = json!({"duration": 20 + at % 90, "priority": at % 3});
            pod(&format!("p{at}"), at, ["1", "2", "3", "5"][at as usize % 4], more)
        })
        .collect();
    let trace =
        workload(&json!({"nodes": nodes, "pods": pods, "failures": [{"node": "n3", "at": 100, "for": 50}]}));
    let told = |kind| {
        let mut log = Log::default();
        let decider = Decider::Scheduler(Box::new(Scheduler::default().engine(kind)));
        run(&trace, &decider, &RunOptions::default(), &mut log).unwrap();
        log.0
    };
    use orchestra_scheduler::engine::EngineKind;
    assert_eq!(told(EngineKind::Fast), told(EngineKind::Fast));
    assert_eq!(told(EngineKind::Fast), told(EngineKind::Reference));
}
