//! Pods on their way to nodes where devices stand for what they ask for.

use super::*;
use crate::view::{DeviceClaimView, DeviceClassView, DeviceSliceView, NamespacedName};

/// A dispatcher with one node that has two devices of a class which stands for `x.io/gpu`.
fn with_devices(more: serde_json::Value) -> Dispatcher {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    let class = json!({"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "x.io/gpu"}});
    dispatcher.applied(DeviceClassView::from_api(&serde_json::from_value(class).unwrap()), START);
    let devices = ["a", "b"].map(|name| {
        let mut device = json!({"name": name});
        device.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        device
    });
    let slice = json!({"metadata": {"name": "s"}, "spec": {"driver": "d.io", "nodeName": "n", "devices": devices,
        "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1}}});
    dispatcher.applied(DeviceSliceView::from_api(&serde_json::from_value(slice).unwrap()), START);
    dispatcher
}

fn wanting(name: &str) -> PodView {
    PodView::clone(&testing::pod(json!({"metadata": {"name": name}, "spec": {"containers": [
        {"name": "app", "resources": {"requests": {"x.io/gpu": "1"}}}]}})))
}

/// The job of a pod for which a claim is to be made, and the claim as it is written.
fn making(dispatcher: &mut Dispatcher, now: Moment) -> (DeviceClaimView, NamespacedName) {
    let Some(Step::Perform(job)) = dispatcher.next(now) else { panic!("nothing to do") };
    let [Effect::MakeClaim(new)] = job.effects.as_slice() else { panic!("{job:?}") };
    let name = format!("{}-extended-resources-x", new.pod.name);
    let claim = json!({"metadata": {"name": name, "namespace": "default",
        "annotations": {"resource.kubernetes.io/extended-resource-claim": "true"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": &*new.pod.name, "uid": &*new.uid, "controller": true}]},
        "spec": {"devices": {"requests": new.wanted.requests}},
        "status": {"allocation": new.allocation.result, "reservedFor": [
            {"resource": "pods", "name": &*new.pod.name, "uid": &*new.uid}]}});
    let claim = DeviceClaimView::from_api(&serde_json::from_value(claim).unwrap());
    let key = claim.key.clone();
    (claim, key)
}

fn dropped(step: Option<Step>) -> Vec<String> {
    let Some(Step::Repair { effects, .. }) = step else { panic!("{step:?}") };
    let named = effects.into_iter().map(|effect| match effect {
        Effect::DropClaim { claim, .. } => claim.name.to_string(),
        other => panic!("{other:?}"),
    });
    named.collect()
}

#[test]
fn a_claim_is_made_once_and_the_pod_is_bound_when_it_is_seen() {
    let mut dispatcher = with_devices(json!({}));
    dispatcher.pod_applied(wanting("p"), START);
    let (claim, name) = making(&mut dispatcher, START);
    // Something else changes before the claim is seen: it is not made again.
    dispatcher.node_applied(node("other"), START);
    dispatcher.made(&uid("p"), &name);
    dispatcher.performed(&uid("p"), Ok(()), START);
    assert!(dispatcher.next(START).is_none());
    dispatcher.applied(claim, START);
    assert_eq!(binding(dispatcher.next(START)), pair("p", "n"));
    dispatcher.performed(&uid("p"), Ok(()), START);
    assert!(matches!(dispatcher.next(START), Some(Step::Bound { .. })));
    assert_eq!(dispatcher.cluster().promised_resources().count(), 0);
}

#[test]
fn a_claim_that_cannot_be_made_fails_the_pod_and_its_devices_are_had_by_others() {
    let mut dispatcher = with_devices(json!({}));
    dispatcher.pod_applied(wanting("p"), START);
    making(&mut dispatcher, START);
    dispatcher.performed(&uid("p"), Err("forbidden".into()), START);
    assert_eq!(report(dispatcher.next(START)), (ReportReason::SchedulerError, "forbidden".into()));
    for name in ["q", "r"] {
        dispatcher.pod_applied(wanting(name), START);
        making(&mut dispatcher, START);
    }
}

#[test]
fn a_flight_that_ends_before_binding_takes_its_claim_away() {
    let mut dispatcher = with_devices(json!({}));
    dispatcher.pod_applied(wanting("p"), START);
    let (_, name) = making(&mut dispatcher, START);
    dispatcher.made(&uid("p"), &name);
    dispatcher.performed(&uid("p"), Ok(()), START);
    assert!(dispatcher.next(START).is_none());
    // It is never seen.
    let late = seconds(601);
    assert_eq!(dropped(dispatcher.next(late)), ["p-extended-resources-x"]);
    assert_eq!(report(dispatcher.next(late)).0, ReportReason::SchedulerError);
}

#[test]
fn a_binding_without_an_answer_leaves_the_claim_to_the_next_attempt() {
    let mut dispatcher = with_devices(json!({}));
    dispatcher.pod_applied(wanting("p"), START);
    let (claim, name) = making(&mut dispatcher, START);
    dispatcher.made(&uid("p"), &name);
    dispatcher.applied(claim, START);
    dispatcher.performed(&uid("p"), Ok(()), START);
    assert_eq!(binding(dispatcher.next(START)), pair("p", "n"));
    dispatcher.performed(&uid("p"), Err("no answer for 30 s".into()), START);
    assert_eq!(report(dispatcher.next(START)).0, ReportReason::SchedulerError);
    let later = seconds(20);
    assert_eq!(dropped(dispatcher.next(later)), ["p-extended-resources-x"], "it is not bound");
    let message = report(dispatcher.next(later)).1;
    assert!(message.contains("1 cannot schedule extended resource claim"), "{message}");
    // The claim is gone, and the pod is tried again for that.
    dispatcher.deleted::<DeviceClaimView>(&name, later);
    making(&mut dispatcher, seconds(60));
}

#[test]
fn what_a_pod_waits_for_is_announced_once() {
    let mut dispatcher = with_devices(json!({"bindingConditions": ["Attached"]}));
    dispatcher.pod_applied(wanting("p"), START);
    let (claim, name) = making(&mut dispatcher, START);
    dispatcher.made(&uid("p"), &name);
    dispatcher.performed(&uid("p"), Ok(()), START);
    assert!(dispatcher.next(START).is_none(), "nothing is said before it has its devices");
    dispatcher.applied(claim.clone(), START);
    let Some(Step::Announce { pod, notice }) = dispatcher.next(START) else { panic!("nothing is said") };
    assert_eq!((&*pod.key.name, notice.reason), ("p", "BindingConditionsPending"));
    assert_eq!(notice.note, "waiting for binding conditions for device on node n");
    dispatcher.node_applied(node("other"), START);
    assert!(dispatcher.next(START).is_none(), "it is asked again, and said once");
    let mut attached = claim;
    let device = attached.allocation.as_ref().unwrap().devices().next().unwrap();
    let condition = json!({"driver": device.driver, "pool": device.pool, "device": device.device, "conditions": [
        {"type": "Attached", "status": "True", "reason": "r", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    attached.devices = vec![serde_json::from_value(condition).unwrap()];
    dispatcher.applied(attached, START);
    assert_eq!(binding(dispatcher.next(START)), pair("p", "n"));
}
