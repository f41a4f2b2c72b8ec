//! Tests of the dispatcher: facts in, steps out.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::Scheduler;
use crate::effect::Effect;
use crate::plugin::{Permit, Plugin};
use crate::profile::Registration;
use crate::testing;
use crate::verdict::{Permission, Rejection};
use crate::view::{ClaimView, ClassView, NodeFacts, NodeView};

mod chance;
mod devices;
mod ends;
mod preemption;

const START: Moment = Moment(Duration::ZERO);

fn dispatcher() -> Dispatcher {
    Scheduler::default().dispatcher().unwrap()
}

fn seconds(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn pod(object: Value) -> PodView {
    PodView::clone(&testing::pod(object))
}

fn asking(name: &str, cpu: &str) -> PodView {
    PodView::clone(&testing::asking(name, cpu, "0"))
}

fn bound_to(name: &str, node: &str, cpu: &str) -> PodView {
    pod(json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [
        {"name": "app", "resources": {"requests": {"cpu": cpu}}}]}}))
}

fn node(name: &str) -> NodeFacts {
    NodeFacts::clone(&testing::node(json!({"metadata": {"name": name}})))
}

fn binding(step: Option<Step>) -> (String, String) {
    match step {
        Some(Step::Perform(Job { effects, .. })) => match effects.as_slice() {
            [Effect::Bind { pod, node, .. }] => (pod.name.to_string(), node.to_string()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn report(step: Option<Step>) -> (ReportReason, String) {
    match step {
        Some(Step::Report(report)) => (report.reason, report.message),
        other => panic!("{other:?}"),
    }
}

fn uid(name: &str) -> PodUid {
    PodUid::from(name)
}

fn pair(pod: &str, node: &str) -> (String, String) {
    (pod.to_owned(), node.to_owned())
}

fn important(name: &str, priority: i32, cpu: &str) -> PodView {
    PodView { priority: crate::Priority(priority), ..asking(name, cpu) }
}

/// The evictions among the next steps, as victim and whether nothing was to delete.
fn evictions(dispatcher: &mut Dispatcher, now: Moment) -> Vec<(String, bool)> {
    let steps = std::iter::from_fn(|| dispatcher.next(now));
    let evicted = steps.filter_map(|step| match step {
        Step::Evict(eviction) => Some((eviction.victim.key.name.to_string(), eviction.in_memory)),
        _ => None,
    });
    evicted.collect()
}

#[test]
fn a_pod_is_bound_and_told_of() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    dispatcher.pod_applied(asking("p", "1"), START);
    assert_eq!(binding(dispatcher.next(START)), pair("p", "n"));
    assert!(dispatcher.next(START).is_none());
    dispatcher.performed(&uid("p"), Ok(()), START);
    assert!(matches!(dispatcher.next(START), Some(Step::Bound { .. })));
    assert_eq!(dispatcher.counts(), QueueCounts::default());
    assert_eq!(dispatcher.cluster().node("n").unwrap().requested().cpu.0, 1000);
}

#[test]
fn assumed_pods_count_before_their_binding_is_confirmed() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    dispatcher.pod_applied(asking("p", "3"), START);
    dispatcher.pod_applied(asking("q", "3"), START);
    assert_eq!(binding(dispatcher.next(START)), pair("p", "n"));
    let expected = "0/1 nodes are available: 1 Insufficient cpu. no new claims to \
         deallocate, preemption: 0/1 nodes are available: \
                    1 No preemption victims found for incoming pod."
        .to_owned();
    assert_eq!(report(dispatcher.next(START)), (ReportReason::Unschedulable, expected));
}

#[test]
fn more_important_pods_are_decided_first() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    for (name, priority) in [("low", 1), ("high", 9), ("middle", 5)] {
        dispatcher
            .pod_applied(pod(json!({"metadata": {"name": name}, "spec": {"priority": priority}})), START);
    }
    let order: Vec<_> = (0..3).map(|_| binding(dispatcher.next(START)).0).collect();
    assert_eq!(order, ["high", "middle", "low"]);
}

#[test]
fn without_nodes_the_pod_waits_and_the_first_node_wakes_it_at_once() {
    let mut dispatcher = dispatcher();
    dispatcher.pod_applied(asking("p", "1"), START);
    let expected = "no nodes available to schedule pods".to_owned();
    assert_eq!(report(dispatcher.next(START)), (ReportReason::Unschedulable, expected));
    assert!(dispatcher.next(seconds(100)).is_none());
    dispatcher.node_applied(node("n"), START);
    assert_eq!(dispatcher.counts().active, 1);
    assert_eq!(binding(dispatcher.next(START)), pair("p", "n"));
}

#[test]
fn an_unschedulable_pod_is_woken_by_what_can_help_it_only() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    dispatcher.pod_applied(bound_to("old", "n", "4"), START);
    dispatcher.pod_applied(asking("p", "1"), START);
    report(dispatcher.next(START));
    dispatcher.node_applied(NodeFacts { unschedulable: true, ..node("m") }, START);
    dispatcher.pod_applied(asking("p", "1"), START);
    assert_eq!(dispatcher.counts().unschedulable, 0, "a node it would fit on was added");
    report(dispatcher.next(START));
    dispatcher.pod_applied(asking("p", "1"), seconds(20));
    assert_eq!(dispatcher.counts().unschedulable, 1, "an update that changes nothing is no reason");
    dispatcher.pod_deleted(&PodKey::new("default", "old"), seconds(20));
    assert_eq!(binding(dispatcher.next(seconds(20))), pair("p", "n"));
}

#[test]
fn a_finished_pod_gives_its_room_back() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    let old = bound_to("old", "n", "4");
    dispatcher.pod_applied(old.clone(), START);
    dispatcher.pod_applied(PodView { finished: true, ..old }, START);
    assert!(dispatcher.cluster().node("n").unwrap().pods().is_empty());
}

#[test]
fn a_failed_binding_gives_the_room_back_and_is_tried_again_after_a_pause() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    dispatcher.pod_applied(asking("p", "1"), START);
    binding(dispatcher.next(START));
    dispatcher.performed(&uid("p"), Err("connection lost".into()), START);
    assert_eq!(report(dispatcher.next(START)), (ReportReason::SchedulerError, "connection lost".to_owned()));
    assert!(dispatcher.cluster().node("n").unwrap().pods().is_empty());
    assert!(dispatcher.next(START).is_none());
    assert_eq!(dispatcher.next_due(), Some(seconds(1)));
    assert_eq!(binding(dispatcher.next(seconds(1))), pair("p", "n"));
}

#[test]
fn a_pod_seen_bound_is_not_bound_again_whatever_the_answer_was() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    dispatcher.pod_applied(asking("p", "1"), START);
    binding(dispatcher.next(START));
    dispatcher.pod_applied(bound_to("p", "n", "1"), START);
    dispatcher.performed(&uid("p"), Err("timed out".into()), START);
    dispatcher.pod_applied(asking("p", "1"), START);
    assert!(dispatcher.next(seconds(60)).is_none());
    assert_eq!(dispatcher.cluster().node("n").unwrap().pods().len(), 1);
}

#[test]
fn pods_of_other_schedulers_are_left_alone_but_occupy_their_node() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    let other = json!({"metadata": {"name": "p"}, "spec": {"schedulerName": "other"}});
    dispatcher.pod_applied(pod(other), START);
    assert!(dispatcher.next(START).is_none());
    let bound = json!({"metadata": {"name": "p"}, "spec": {"schedulerName": "other", "nodeName": "n"}});
    dispatcher.pod_applied(pod(bound), START);
    assert_eq!(dispatcher.cluster().node("n").unwrap().pods().len(), 1);
}

#[test]
fn a_pod_made_again_under_its_name_replaces_the_old_one() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    dispatcher.pod_applied(bound_to("p", "n", "4"), START);
    dispatcher.pod_applied(pod(json!({"metadata": {"name": "p", "uid": "second"}})), START);
    assert_eq!(binding(dispatcher.next(START)), pair("p", "n"));
    assert_eq!(dispatcher.cluster().node("n").unwrap().pods().len(), 1);
}

#[test]
fn a_pod_deleted_while_it_is_bound_leaves_nothing_behind() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    dispatcher.pod_applied(asking("p", "1"), START);
    binding(dispatcher.next(START));
    dispatcher.pod_deleted(&PodKey::new("default", "p"), START);
    dispatcher.performed(&uid("p"), Err("pods \"p\" not found".into()), START);
    assert!(dispatcher.next(seconds(60)).is_none());
    assert!(dispatcher.cluster().node("n").unwrap().pods().is_empty());
}

#[test]
fn gated_pods_wait_for_their_last_gate() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    dispatcher.pod_applied(
        pod(json!({"metadata": {"name": "p"}, "spec": {"schedulingGates": [{"name": "g"}]}})),
        START,
    );
    assert!(dispatcher.next(START).is_none());
    assert_eq!(dispatcher.counts().gated, 1);
    dispatcher.pod_applied(pod(json!({"metadata": {"name": "p"}})), START);
    assert_eq!(binding(dispatcher.next(START)), pair("p", "n"));
}

#[test]
fn a_deleting_pod_is_skipped_with_an_event() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    dispatcher.pod_applied(PodView { terminating: true, ..asking("p", "1") }, START);
    let expected = "skip schedule deleting pod: default/p".to_owned();
    assert_eq!(report(dispatcher.next(START)), (ReportReason::Deleting, expected));
}

fn claim(annotations: Value, volume: Option<&str>, phase: &str) -> ClaimView {
    let object = json!({"metadata": {"name": "data", "namespace": "default", "annotations": annotations},
        "spec": {"storageClassName": "late", "volumeName": volume}, "status": {"phase": phase}});
    ClaimView::from_api(&serde_json::from_value(object).unwrap()).unwrap()
}

#[test]
fn a_late_claim_is_selected_bound_and_only_then_the_pod() {
    let mut dispatcher = dispatcher();
    let class = json!({"metadata": {"name": "late"}, "provisioner": "x", "volumeBindingMode": "WaitForFirstConsumer"});
    dispatcher.applied(ClassView::from_api(&serde_json::from_value(class).unwrap()), START);
    dispatcher.node_applied(node("n"), START);
    dispatcher.pod_applied(
        pod(json!({"metadata": {"name": "p"}, "spec": {"volumes": [
            {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}})),
        START,
    );
    let expected = "0/1 nodes are available: persistentvolumeclaim \"data\" not found. not found";
    assert_eq!(report(dispatcher.next(START)).1, expected);
    dispatcher.applied(claim(json!({}), None, "Pending"), START);
    let Some(Step::Perform(job)) = dispatcher.next(START) else { panic!("nothing to do") };
    assert!(matches!(job.effects.as_slice(), [Effect::AnnotateClaim { value, .. }] if value == "n"));
    dispatcher.performed(&uid("p"), Ok(()), START);
    assert!(dispatcher.next(START).is_none());
    dispatcher.applied(claim(json!({"volume.kubernetes.io/selected-node": "n"}), None, "Pending"), START);
    assert!(dispatcher.next(START).is_none());
    let volume = json!({"metadata": {"name": "pv"}, "spec": {}});
    dispatcher
        .applied(crate::view::VolumeView::from_api(&serde_json::from_value(volume).unwrap()).unwrap(), START);
    dispatcher.applied(claim(json!({}), Some("pv"), "Bound"), START);
    assert_eq!(binding(dispatcher.next(START)), pair("p", "n"));
}

#[test]
fn a_claim_that_is_never_bound_ends_the_wait_after_ten_minutes() {
    let mut dispatcher = dispatcher();
    let class = json!({"metadata": {"name": "late"}, "provisioner": "x", "volumeBindingMode": "WaitForFirstConsumer"});
    dispatcher.applied(ClassView::from_api(&serde_json::from_value(class).unwrap()), START);
    dispatcher.node_applied(node("n"), START);
    dispatcher.applied(claim(json!({"volume.kubernetes.io/selected-node": "n"}), None, "Pending"), START);
    dispatcher.pod_applied(
        pod(json!({"metadata": {"name": "p"}, "spec": {"volumes": [
            {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}})),
        START,
    );
    assert!(dispatcher.next(START).is_none());
    assert_eq!(dispatcher.next_due(), Some(seconds(600)));
    assert_eq!(report(dispatcher.next(seconds(600))).0, ReportReason::SchedulerError);
    assert!(dispatcher.cluster().node("n").unwrap().pods().is_empty());
}

/// Lets pods through once two of them are assumed.
#[derive(Debug)]
struct Pairs;

impl Plugin for Pairs {
    fn name(&self) -> &str {
        "Pairs"
    }
}

impl Permit for Pairs {
    fn permit(&self, cluster: &ClusterView, pod: &PodView, _: &NodeName) -> Permission {
        if pod.labels.contains_key("banned") {
            return Permission::Reject(Rejection::unschedulable("banned"));
        }
        let assumed: usize = cluster.nodes().map(|node| node.pods().len()).sum();
        if assumed >= 2 { Permission::Allow } else { Permission::Wait }
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }
}

fn pairing() -> Dispatcher {
    let profile = Profile::default().register(Registration::of(Pairs).permit().into());
    let mut dispatcher = Scheduler::default().profile(profile).dispatcher().unwrap();
    dispatcher.node_applied(node("n"), START);
    dispatcher
}

#[test]
fn permit_holds_a_pod_until_another_one_is_assumed() {
    let mut dispatcher = pairing();
    dispatcher.pod_applied(asking("p", "1"), START);
    assert!(dispatcher.next(START).is_none());
    dispatcher.pod_applied(asking("q", "1"), START);
    let mut bound = [binding(dispatcher.next(START)).0, binding(dispatcher.next(START)).0];
    bound.sort();
    assert_eq!(bound, ["p", "q"]);
}

#[test]
fn a_permit_that_waits_too_long_or_refuses_rejects_the_pod() {
    let mut dispatcher = pairing();
    dispatcher.pod_applied(asking("p", "1"), START);
    assert!(dispatcher.next(START).is_none());
    let timeout = "0/1 nodes are available: 1 timed out while waiting on permit.".to_owned();
    assert_eq!(report(dispatcher.next(seconds(30))), (ReportReason::Unschedulable, timeout));
    dispatcher.pod_deleted(&PodKey::new("default", "p"), seconds(30));
    dispatcher.pod_applied(pod(json!({"metadata": {"name": "q", "labels": {"banned": ""}}})), seconds(30));
    let banned = "0/1 nodes are available: 1 banned.".to_owned();
    assert_eq!(report(dispatcher.next(seconds(30))), (ReportReason::Unschedulable, banned));
    assert!(dispatcher.cluster().node("n").unwrap().pods().is_empty());
}

#[test]
fn profiles_that_contradict_each_other_are_refused() {
    let twice = Scheduler::default().profiles(vec![Profile::default(), Profile::default()]);
    assert!(twice.dispatcher().is_err());
    let unbound = Scheduler::default().profiles(vec![Profile::empty("x")]);
    assert_eq!(unbound.dispatcher().unwrap_err().to_string(), "profile \"x\": no plugin binds pods");
}

fn gang_member(name: &str) -> PodView {
    PodView { group: Some("team".into()), ..asking(name, "1") }
}

fn ganging() -> Dispatcher {
    let profile = Profile::default().register(crate::plugins::gangs());
    let mut dispatcher = Scheduler::default().profile(profile).dispatcher().unwrap();
    dispatcher.node_applied(node("n"), START);
    dispatcher
}

fn gang(min_count: i32) -> crate::view::PodGroupView {
    let group = json!({"metadata": {"name": "team", "namespace": "default"},
        "spec": {"schedulingPolicy": {"gang": {"minCount": min_count}}}});
    crate::view::PodGroupView::from_api(&serde_json::from_value(group).unwrap())
}

#[test]
fn a_gang_is_bound_together_or_gives_its_room_back() {
    let mut dispatcher = ganging();
    dispatcher.pod_applied(gang_member("p"), START);
    let waiting = report(dispatcher.next(START)).1;
    assert!(
        waiting.starts_with("0/1 nodes are available: waiting for pod group \"team\" to be created."),
        "{waiting}"
    );
    dispatcher.applied(gang(2), START);
    assert!(dispatcher.next(seconds(1)).is_none(), "one of two holds its node and waits");
    assert_eq!(dispatcher.cluster().node("n").unwrap().pods().len(), 1);
    dispatcher.pod_applied(gang_member("q"), seconds(2));
    let mut bound = [binding(dispatcher.next(seconds(2))).0, binding(dispatcher.next(seconds(2))).0];
    bound.sort();
    assert_eq!(bound, ["p", "q"]);
    let mut alone = ganging();
    alone.applied(gang(2), START);
    alone.pod_applied(gang_member("p"), START);
    assert!(alone.next(START).is_none());
    assert_eq!(report(alone.next(seconds(300))).0, ReportReason::Unschedulable);
    assert!(alone.cluster().node("n").unwrap().pods().is_empty());
}

#[test]
fn a_free_volume_is_bound_for_one_pod_only_and_had_by_the_next_if_that_fails() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    let class = json!({"metadata": {"name": "hand"}, "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer"});
    dispatcher.applied(ClassView::from_api(&serde_json::from_value(class).unwrap()), START);
    let volume = json!({"metadata": {"name": "pv"}, "spec": {"capacity": {"storage": "1Gi"},
        "storageClassName": "hand"}, "status": {"phase": "Available"}});
    dispatcher
        .applied(crate::view::VolumeView::from_api(&serde_json::from_value(volume).unwrap()).unwrap(), START);
    for name in ["p", "q"] {
        let claim = json!({"metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"storageClassName": "hand", "resources": {"requests": {"storage": "1Gi"}}}});
        dispatcher.applied(ClaimView::from_api(&serde_json::from_value(claim).unwrap()).unwrap(), START);
        let mounting = json!({"metadata": {"name": name}, "spec": {"volumes": [
            {"name": "v", "persistentVolumeClaim": {"claimName": name}}]}});
        dispatcher.pod_applied(pod(mounting), START);
    }
    let Some(Step::Perform(job)) = dispatcher.next(START) else { panic!("nothing to do") };
    assert!(matches!(job.effects.as_slice(), [Effect::BindVolume { uid, .. }] if **uid == *"p"), "{job:?}");
    let refused = report(dispatcher.next(START)).1;
    assert!(refused.contains("1 node(s) didn't find available persistent volumes to bind"), "{refused}");
    dispatcher.performed(&uid("p"), Err("conflict".into()), START);
    assert_eq!(report(dispatcher.next(START)).0, ReportReason::SchedulerError);
    dispatcher.queue.activate(&uid("q"), START);
    let Some(Step::Perform(job)) = dispatcher.next(START) else { panic!("nothing to do") };
    assert!(matches!(job.effects.as_slice(), [Effect::BindVolume { uid, .. }] if **uid == *"q"), "{job:?}");
}

#[test]
fn what_a_pod_and_its_node_are_called_is_held_once() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    dispatcher.pod_applied(asking("p", "1"), START);
    dispatcher.pod_applied(bound_to("p", "n", "1"), START);
    let pod = dispatcher.cluster.node("n").unwrap().pods()[0].clone();
    let (key, held) = dispatcher.by_key.get_key_value(&pod.key).unwrap();
    let same = |left: &str, right: &str| std::ptr::eq(left.as_ptr(), right.as_ptr());
    assert!(same(&key.name, &pod.key.name), "the second view has the name of the first");
    assert!(same(held, &pod.uid));
    let node = dispatcher.cluster.node("n").unwrap().name();
    assert!(same(node, pod.node.as_ref().unwrap()), "the node is called as it calls itself");
    assert!(same(node, dispatcher.cluster.node_of(&pod.uid).unwrap()));
}
