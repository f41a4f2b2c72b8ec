//! Strategies behind the dispatcher: what they are asked, and what happens to answers that cannot be.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::queue::BackoffOptions;
use crate::testing::{asking, node, pod};
use crate::{ReportReason, Scheduler, Step, Strategy};

/// Answers what it was told to, and remembers what it was asked.
#[derive(Debug, Default)]
struct Scripted {
    answer: Vec<(&'static str, &'static str)>,
    asked: Mutex<Vec<Vec<String>>>,
}

impl Strategy for Scripted {
    fn place(&self, _: &ClusterView, queue: &[Arc<PodView>]) -> Vec<Placement> {
        assert!(self.answer.first() != Some(&("panic", "")), "out of paper");
        self.asked.lock().unwrap().push(queue.iter().map(|pod| pod.key.name.to_string()).collect());
        let placed = self.answer.iter();
        placed.map(|(pod, node)| Placement { pod: PodUid::from(*pod), node: NodeName::from(*node) }).collect()
    }
}

fn at(millis: u64) -> Moment {
    Moment(Duration::from_millis(millis))
}

fn with(answer: &[(&'static str, &'static str)]) -> (Dispatcher, Arc<Scripted>) {
    let strategy = Arc::new(Scripted { answer: answer.to_vec(), asked: Mutex::default() });
    let scheduler =
        Scheduler::default().backoff(BackoffOptions::default()).strategy("scripted", strategy.clone());
    let mut dispatcher = scheduler.dispatcher().unwrap();
    for name in ["a", "b"] {
        dispatcher.node_applied((*node(json!({"metadata": {"name": name}}))).clone(), at(0));
    }
    (dispatcher, strategy)
}

fn add(dispatcher: &mut Dispatcher, pods: &[Arc<PodView>]) {
    pods.iter().for_each(|pod| dispatcher.pod_applied((**pod).clone(), at(0)));
}

fn grouped(name: &str, cpu: &str) -> Arc<PodView> {
    pod(
        json!({"metadata": {"name": name}, "spec": {"schedulingGroup": {"podGroupName": "gang"}, "containers": [
        {"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}),
    )
}

/// What is done until nothing is left to do, in words.
fn steps(dispatcher: &mut Dispatcher, now: Moment) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(step) = dispatcher.next(now) {
        told.push(match step {
            Step::Perform(job) => format!("{} on {}", job.pod.key.name, job.node),
            Step::Report(report) => {
                let word = if report.reason == ReportReason::Unschedulable { "refused" } else { "failed" };
                format!("{} {word}: {}", report.pod.key.name, report.message)
            }
            other => format!("{other:?}"),
        });
    }
    told
}

#[test]
fn all_waiting_pods_are_asked_about_at_once_and_carried_out_in_the_order_of_the_answer() {
    let (mut dispatcher, strategy) = with(&[("q", "b"), ("p", "a")]);
    add(&mut dispatcher, &[asking("p", "1", "1Gi"), asking("q", "1", "1Gi"), asking("r", "1", "1Gi")]);
    assert_eq!(
        steps(&mut dispatcher, at(0)),
        [
            "q on b",
            "p on a",
            "r refused: 0/2 nodes are available: strategy \"scripted\" did not place the pod."
        ]
    );
    assert_eq!(*strategy.asked.lock().unwrap(), [["p", "q", "r"]]);
    assert_eq!(dispatcher.counts().active, 1, "who is left waits for the next question without a pause");
}

#[test]
fn a_strategy_is_asked_again_when_something_changed_and_its_pause_is_over() {
    let (mut dispatcher, strategy) = with(&[]);
    add(&mut dispatcher, &[asking("p", "1", "1Gi")]);
    steps(&mut dispatcher, at(0));
    assert_eq!(dispatcher.next_due(), None, "nothing changed");
    steps(&mut dispatcher, at(5_000));
    assert_eq!(strategy.asked.lock().unwrap().len(), 1);
    add(&mut dispatcher, &[asking("q", "1", "1Gi")]);
    steps(&mut dispatcher, at(5_000));
    add(&mut dispatcher, &[asking("r", "1", "1Gi")]);
    steps(&mut dispatcher, at(5_500));
    assert_eq!(dispatcher.next_due(), Some(at(6_000)));
    steps(&mut dispatcher, at(6_000));
    assert_eq!(strategy.asked.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_placement_that_breaks_the_contract_fails_its_pod_with_the_name_of_the_strategy() {
    let (mut dispatcher, _) =
        with(&[("p", "a"), ("q", "a"), ("r", "moon"), ("s", "b"), ("s", "a"), ("stranger", "a"), ("t", "b")]);
    let pods = ["p", "q", "r", "s", "t"].map(|name| asking(name, "3", "1Gi"));
    add(&mut dispatcher, &pods[..3]);
    add(&mut dispatcher, &[asking("s", "1", "1Gi"), asking("t", "1", "1Gi")]);
    let broke = "failed: strategy \"scripted\" broke its contract:";
    assert_eq!(
        steps(&mut dispatcher, at(0)),
        [
            "p on a".to_owned(),
            "t on b".to_owned(),
            format!(
                "q {broke} default/q was placed on node \"a\": it asks for 3000 of cpu, and of 4000 there 3000 are in use"
            ),
            format!("r {broke} default/r was placed on node \"moon\": it is not there"),
            format!("s {broke} default/s was placed twice"),
        ]
    );
}

#[test]
fn a_panic_fails_the_pods_and_the_scheduler_goes_on() {
    let (mut dispatcher, _) = with(&[("panic", "")]);
    add(&mut dispatcher, &[asking("p", "1", "1Gi")]);
    let told = steps(&mut dispatcher, at(0));
    assert_eq!(told, ["p failed: strategy \"scripted\" panicked in Strategy: out of paper"]);
    add(&mut dispatcher, &[asking("q", "1", "1Gi")]);
    assert_eq!(steps(&mut dispatcher, at(2_000)).len(), 2);
}

#[test]
fn a_pod_group_is_carried_out_whole_or_not_at_all() {
    let gang = [grouped("g0", "3"), grouped("g1", "3")];
    let (mut dispatcher, _) = with(&[("g0", "a"), ("g1", "b")]);
    add(&mut dispatcher, &gang);
    assert_eq!(steps(&mut dispatcher, at(0)), ["g0 on a", "g1 on b"]);
    // Of a group of which one is misplaced nobody is placed.
    let (mut dispatcher, _) = with(&[("g0", "a"), ("g1", "a")]);
    add(&mut dispatcher, &gang);
    let told = steps(&mut dispatcher, at(0));
    assert!(told.len() == 2 && told.iter().all(|one| one.contains("broke its contract")), "{told:?}");
    assert_eq!(dispatcher.cluster().pod_count(), 0);
}

#[test]
fn the_filters_have_the_last_word_and_take_the_group_with_them() {
    let (mut dispatcher, _) = with(&[("g0", "a"), ("g1", "b"), ("p", "a")]);
    let tainted =
        node(json!({"metadata": {"name": "b"}, "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}));
    dispatcher.node_applied((*tainted).clone(), at(0));
    add(&mut dispatcher, &[grouped("g0", "3"), grouped("g1", "3"), asking("p", "1", "1Gi")]);
    assert_eq!(
        steps(&mut dispatcher, at(0)),
        [
            "g0 refused: 0/2 nodes are available: g1 of the same pod group could not have its node.",
            "g1 refused: 0/1 nodes are available: 1 node(s) had untolerated taint(s). strategy \"scripted\" chose node \"b\"",
            "p on a",
        ]
    );
    assert_eq!(dispatcher.cluster().node("a").unwrap().pods().len(), 1);
}
