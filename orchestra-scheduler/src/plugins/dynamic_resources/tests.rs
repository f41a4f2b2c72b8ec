//! Tests of claims on their way to devices.

mod extended;

use super::*;
use crate::testing::{cluster, pod};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::view::DeviceSliceView;

fn claim(status: Value) -> Arc<DeviceClaimView> {
    let claim = json!({"metadata": {"name": "gpu", "namespace": "default", "resourceVersion": "7"}, "spec": {},
        "status": status});
    Arc::new(DeviceClaimView::from_api(&serde_json::from_value(claim).unwrap()))
}

fn allocated_on(host: &str, users: Value) -> Value {
    json!({"reservedFor": users, "allocation": {"nodeSelector": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "host", "operator": "In", "values": [host]}]}]}}})
}

fn hosts() -> ClusterView {
    cluster(["a", "b"].map(|name| json!({"metadata": {"name": name, "labels": {"host": name}}})))
}

fn user() -> Arc<PodView> {
    pod(json!({"metadata": {"name": "p", "uid": "p"},
        "spec": {"resourceClaims": [{"name": "dev", "resourceClaimName": "gpu"}]}}))
}

fn plugin() -> DynamicResources {
    DynamicResources::default()
}

fn on(cluster: &ClusterView, node: &str) -> Verdict {
    plugin().filter(&Cycle::new(cluster), &user(), cluster.node(node).unwrap())
}

#[test]
fn pods_without_claims_are_none_of_its_business() {
    let cluster = hosts();
    let answer = plugin().pre_filter(&mut Cycle::new(&cluster), &pod(json!({})));
    assert_eq!(answer, PreFiltered::Skip);
}

#[test]
fn missing_and_unmade_claims_reject_the_pod() {
    let cluster = hosts();
    let refused = |text: &'static str| PreFiltered::Reject(Rejection::unresolvable(text));
    let mut cycle = Cycle::new(&cluster);
    let missing = refused("resourceclaim.resource.k8s.io \"gpu\" not found");
    assert_eq!(plugin().pre_filter(&mut cycle, &user()), missing);
    let templated = json!({"metadata": {"name": "p"},
        "spec": {"resourceClaims": [{"name": "dev", "resourceClaimTemplateName": "t"}]}});
    let unmade = refused("pod \"default/p\": ResourceClaim not created yet");
    assert_eq!(plugin().pre_filter(&mut cycle, &pod(templated)), unmade);
}

#[test]
fn an_allocated_claim_ties_the_pod_to_its_nodes() {
    let mut cluster = hosts();
    cluster.keep(claim(allocated_on("a", json!([]))));
    assert_eq!(on(&cluster, "a"), Verdict::Pass);
    assert_eq!(on(&cluster, "b"), Verdict::unresolvable("resourceclaim not available on the node"));
    cluster.keep(claim(json!({"allocation": {}})));
    assert_eq!(on(&cluster, "b"), Verdict::Pass, "devices that can be used everywhere");
}

#[test]
fn the_pod_is_entered_among_the_users_before_it_is_bound() {
    let mut cluster = hosts();
    let other = json!({"resource": "pods", "name": "q", "uid": "q"});
    let itself = json!({"resource": "pods", "name": "p", "uid": "p"});
    cluster.keep(claim(allocated_on("a", json!([other]))));
    let Preparation::Perform(effects) = plugin().pre_bind(&cluster, &user(), &NodeName::from("a")) else {
        panic!("nothing to do");
    };
    assert!(
        matches!(effects.as_slice(), [Effect::ReserveClaim { version, users, .. }]
        if **version == *"7" && users.len() == 2),
        "{effects:?}"
    );
    cluster.keep(claim(allocated_on("a", json!([other, itself]))));
    assert_eq!(plugin().pre_bind(&cluster, &user(), &NodeName::from("a")), Preparation::Ready);
}

#[test]
fn a_claim_with_all_users_it_may_have_is_in_use() {
    let mut cluster = hosts();
    let users: Vec<_> = (0..256)
        .map(|n| json!({"resource": "pods", "name": format!("q{n}"), "uid": format!("q{n}")}))
        .collect();
    cluster.keep(claim(allocated_on("a", json!(users))));
    let answer = plugin().pre_filter(&mut Cycle::new(&cluster), &user());
    assert_eq!(answer, PreFiltered::Reject(Rejection::unresolvable("resourceclaim in use")));
    let mut users = users;
    users[7]["uid"] = json!(&*user().uid);
    cluster.keep(claim(allocated_on("a", json!(users))));
    assert_eq!(
        plugin().pre_filter(&mut Cycle::new(&cluster), &user()),
        PreFiltered::All,
        "it is one of them"
    );
}

const GPU: &str = "gpu";

/// A claim `gpu` for one device of class `gpu`, or for the alternatives.
fn wanting(alternatives: &[&str], status: Value) -> Arc<DeviceClaimView> {
    let options: Vec<_> =
        alternatives.iter().map(|class| json!({"name": class, "deviceClassName": class})).collect();
    let request = match options.is_empty() {
        true => json!({"name": "r", "exactly": {"deviceClassName": GPU}}),
        false => json!({"name": "r", "firstAvailable": options}),
    };
    let claim = json!({"metadata": {"name": "gpu", "namespace": "default", "resourceVersion": "7"},
        "spec": {"devices": {"requests": [request]}}, "status": status});
    Arc::new(DeviceClaimView::from_api(&serde_json::from_value(claim).unwrap()))
}

/// A class that selects devices of this kind.
fn class(name: &str) -> Arc<DeviceClassView> {
    let expression = format!("device.attributes['d.io'].kind == '{name}'");
    let class =
        json!({"metadata": {"name": name}, "spec": {"selectors": [{"cel": {"expression": expression}}]}});
    Arc::new(DeviceClassView::from_api(&serde_json::from_value(class).unwrap()))
}

/// A slice of one device on a node.
fn slice(node: &str, kind: &str, more: Value) -> Arc<DeviceSliceView> {
    let mut device = json!({"name": "dev", "attributes": {"kind": {"string": kind}}});
    device.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let slice = json!({"metadata": {"name": format!("{node}-slice")}, "spec": {"driver": "d.io", "nodeName": node,
        "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}, "devices": [device]}});
    Arc::new(DeviceSliceView::from_api(&serde_json::from_value(slice).unwrap()))
}

fn with_devices(claim: Arc<DeviceClaimView>, kinds: &[(&str, &str)]) -> ClusterView {
    let mut cluster = hosts();
    cluster.keep(class(GPU));
    cluster.keep(class("fpga"));
    kinds.iter().for_each(|(node, kind)| drop(cluster.keep(slice(node, kind, json!({})))));
    cluster.keep(claim);
    cluster
}

/// What the filter says of both hosts.
fn both(cluster: &ClusterView) -> [Verdict; 2] {
    let mut cycle = Cycle::new(cluster);
    assert_eq!(plugin().pre_filter(&mut cycle, &user()), PreFiltered::All);
    ["a", "b"].map(|node| plugin().filter(&cycle, &user(), cluster.node(node).unwrap()))
}

fn promises(cluster: &ClusterView, node: &str) -> Vec<Promise> {
    let mut cycle = Cycle::new(cluster);
    plugin().pre_filter(&mut cycle, &user());
    match plugin().reserve(&mut cycle, &user(), &NodeName::from(node)) {
        Reservation::Promise(promises) => promises,
        other => panic!("{other:?}"),
    }
}

#[test]
fn devices_are_looked_for_on_each_node() {
    let cluster = with_devices(wanting(&[], json!({})), &[("a", "fpga"), ("b", "gpu")]);
    assert_eq!(both(&cluster), [Verdict::unresolvable("cannot allocate all claims"), Verdict::Pass]);
}

#[test]
fn a_class_that_is_not_there_rejects_the_pod() {
    let mut cluster = hosts();
    cluster.keep(wanting(&[GPU, "fpga"], json!({})));
    let refused = |text: &'static str| PreFiltered::Reject(Rejection::unresolvable(text));
    let mut cycle = Cycle::new(&cluster);
    let expected = refused("request r/gpu: device class gpu does not exist");
    assert_eq!(plugin().pre_filter(&mut cycle, &user()), expected);
    cluster.keep(wanting(&[], json!({})));
    let mut cycle = Cycle::new(&cluster);
    let expected = refused("request r: device class gpu does not exist");
    assert_eq!(plugin().pre_filter(&mut cycle, &user()), expected);
}

#[test]
fn the_devices_of_the_chosen_node_are_promised_and_written_before_binding() {
    let mut cluster = with_devices(wanting(&[], json!({})), &[("b", "gpu")]);
    let promised = promises(&cluster, "b");
    promised.iter().cloned().for_each(|promise| cluster.promise(promise));
    let answer = plugin().pre_filter(&mut Cycle::new(&cluster), &user());
    let text = "resource claim default/gpu is in the process of being allocated";
    assert_eq!(answer, PreFiltered::Reject(Rejection::unresolvable(text)), "another pod has to wait");
    let Preparation::Perform(effects) = plugin().pre_bind(&cluster, &user(), &NodeName::from("b")) else {
        panic!("nothing to do");
    };
    let [Effect::AllocateClaim { allocation, guarded: false, users, version, .. }] = effects.as_slice()
    else {
        panic!("{effects:?}");
    };
    assert_eq!((users.len(), &**version), (1, "7"));
    // What was written comes back.
    let written = json!({"allocation": allocation.result, "reservedFor": [{"resource": "pods", "name": "p", "uid": "p"}]});
    cluster.keep(wanting(&[], written));
    assert_eq!(plugin().pre_bind(&cluster, &user(), &NodeName::from("b")), Preparation::Ready);
    assert_eq!(both(&cluster)[0], Verdict::unresolvable("resourceclaim not available on the node"));
    promised.iter().for_each(|promise| cluster.release(promise));
    cluster.keep(wanting(&[], json!({})));
    let lost = plugin().pre_bind(&cluster, &user(), &NodeName::from("b"));
    assert_eq!(lost, Preparation::Fail("resourceclaim \"gpu\" lost its devices".into()));
}

#[test]
fn devices_that_somebody_else_gave_it_elsewhere_fail_the_pod() {
    let cluster = with_devices(wanting(&[], allocated_on("a", json!([]))), &[]);
    let answer = plugin().pre_bind(&cluster, &user(), &NodeName::from("b"));
    assert_eq!(answer, Preparation::Fail("resourceclaim \"gpu\" got devices elsewhere".into()));
}

#[test]
fn earlier_alternatives_score_higher_and_pods_without_claims_are_not_scored() {
    let cluster = with_devices(wanting(&["fpga", GPU], json!({})), &[("a", "gpu"), ("b", "fpga")]);
    let mut cycle = Cycle::new(&cluster);
    plugin().pre_filter(&mut cycle, &user());
    let nodes = ["a", "b"].map(|name| &**cluster.node(name).unwrap());
    assert_eq!(plugin().pre_score(&mut cycle, &user(), &nodes), PreScored::Score);
    let mut scores = nodes.map(|node| plugin().score(&cycle, &user(), node));
    assert_eq!(scores, [Points(7), Points(8)]);
    plugin().normalise(&cycle, &user(), &nodes, &mut scores);
    assert_eq!(scores, [Points(87), Points(100)]);
    assert_eq!(plugin().pre_score(&mut cycle, &pod(json!({})), &nodes), PreScored::Skip);
}

#[test]
fn a_device_that_has_to_be_prepared_is_waited_for_and_given_back_if_it_fails() {
    let result = json!({"driver": "d.io", "pool": "a", "device": "dev", "request": "r",
        "bindingConditions": ["Attached"], "bindingFailureConditions": ["Broken"]});
    let with = |condition: Value| {
        wanting(
            &[],
            json!({"allocation": {"devices": {"results": [result]}},
            "reservedFor": [{"resource": "pods", "name": "p", "uid": "p"}],
            "devices": [{"driver": "d.io", "pool": "a", "device": "dev", "conditions": [condition]}]}),
        )
    };
    let condition = |name: &str, status: &str| json!({"type": name, "status": status, "reason": "r", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let asked = |condition: Value| {
        let cluster = with_devices(with(condition), &[]);
        match plugin().pre_bind(&cluster, &user(), &NodeName::from("a")) {
            Preparation::Announced { then, .. } => *then,
            other => panic!("unheard of: {other:?}"),
        }
    };
    assert_eq!(asked(condition("Attached", "False")), Preparation::Wait);
    assert_eq!(asked(condition("Attached", "True")), Preparation::Ready);
    let failed = "claim default/gpu: binding of device dev failed: Broken";
    assert_eq!(asked(condition("Broken", "True")), Preparation::Fail(failed.into()));
    let cluster = with_devices(with(condition("Broken", "True")), &[]);
    assert_eq!(both(&cluster)[0], Verdict::unresolvable("resourceclaim not available on the node"));
}

#[test]
fn a_pod_whose_own_devices_are_in_the_way_gives_them_back() {
    use crate::engine::{Engine, ReferenceEngine};
    use crate::outcome::Outcome;
    let users = json!([{"resource": "pods", "name": "p", "uid": "p"}]);
    let cluster = with_devices(wanting(&[], allocated_on("elsewhere", users)), &[("a", "gpu")]);
    let profile = crate::Profile::empty("one").register(crate::plugins::devices(plugin()));
    let mut engine = ReferenceEngine::seeded(1);
    let Outcome::Rejected(diagnosis) = engine.place(&profile, &mut Cycle::new(&cluster), &user()) else {
        panic!("placed");
    };
    assert!(
        diagnosis.message().ends_with("deallocation of ResourceClaim completed"),
        "{}",
        diagnosis.message()
    );
    assert!(matches!(diagnosis.repairs.as_slice(), [Effect::FreeClaim { .. }]));
    let others = json!([{"resource": "pods", "name": "q", "uid": "q"}]);
    let cluster = with_devices(wanting(&[], allocated_on("elsewhere", others)), &[("a", "gpu")]);
    let Outcome::Rejected(diagnosis) = engine.place(&profile, &mut Cycle::new(&cluster), &user()) else {
        panic!("placed");
    };
    assert!(diagnosis.message().ends_with("still not schedulable"), "what others use is not taken");
}

#[test]
fn a_search_that_takes_too_long_is_an_error_from_1_36_on() {
    let cluster = with_devices(wanting(&[], json!({})), &[("a", "fpga"), ("b", "gpu")]);
    let quick = |version| DynamicResources { steps: 0, ..DynamicResources::for_version(version) };
    let said = |plugin: DynamicResources| {
        let mut cycle = Cycle::new(&cluster);
        plugin.pre_filter(&mut cycle, &user());
        plugin.filter(&cycle, &user(), cluster.node("a").unwrap())
    };
    let text = "node a: timed out trying to allocate devices";
    assert_eq!(said(quick(Version::V1_36)), Verdict::Fail(text.into()));
    let text = "timed out trying to allocate devices";
    assert_eq!(said(quick(Version::V1_35)), Verdict::unresolvable(text));
}

#[test]
fn hints_look_at_own_claims_freed_devices_and_new_offers() {
    let said = |event: ClusterEvent| plugin().hint(&hosts(), &user(), &event);
    let (own, mut other) = (wanting(&[], json!({})), (*wanting(&[], json!({}))).clone());
    other.key = NamespacedName::new("default", "other");
    assert_eq!(said(ClusterEvent::DeviceClaimChanged(own)), Hint::Queue);
    assert_eq!(said(ClusterEvent::DeviceClaimChanged(Arc::new(other.clone()))), Hint::Skip);
    assert_eq!(said(ClusterEvent::DevicesFreed(Arc::new(other))), Hint::Queue);
    assert_eq!(said(ClusterEvent::DevicesChanged), Hint::Queue);
    assert_eq!(plugin().hint(&hosts(), &pod(json!({})), &ClusterEvent::DevicesChanged), Hint::Skip);
    assert_eq!(said(ClusterEvent::AssignedPodDeleted(user())), Hint::Queue);
    assert_eq!(said(ClusterEvent::AssignedPodDeleted(pod(json!({})))), Hint::Skip);
}
