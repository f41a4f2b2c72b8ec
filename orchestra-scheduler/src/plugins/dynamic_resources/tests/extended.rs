//! Tests of extended resources that devices stand for.

use super::*;
use crate::effect::NewClaim;
use crate::engine::{Engine, ReferenceEngine};
use crate::outcome::Outcome;

const RESOURCE: &str = "x.io/gpu";

/// A pod that asks for so many of the resource.
fn asking_for(name: &str, count: &str) -> Arc<PodView> {
    pod(json!({"metadata": {"name": name}, "spec": {"containers": [
        {"name": "app", "resources": {"requests": {"cpu": "1", (RESOURCE): count}}}]}}))
}

/// Nodes `own`, which offers two of the resource itself, `zero`, which says that it has none, and `bare`, which says nothing;
/// the class `gpu` stands for it, and the last two have a device each.
fn with_class() -> ClusterView {
    let offering = |name: &str, more: Value| {
        let mut allocatable = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
        allocatable.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"metadata": {"name": name}, "status": {"allocatable": allocatable}})
    };
    let mut cluster = cluster([
        offering("own", json!({(RESOURCE): "2"})),
        offering("zero", json!({(RESOURCE): "0"})),
        offering("bare", json!({})),
    ]);
    let mut class = (*class(GPU)).clone();
    class.spec.extended_resource_name = Some(RESOURCE.to_owned());
    cluster.keep(Arc::new(class));
    ["zero", "bare"].into_iter().for_each(|node| drop(cluster.keep(slice(node, GPU, json!({})))));
    cluster
}

fn said_by(plugin: &DynamicResources, cluster: &ClusterView, pod: &PodView) -> [Verdict; 3] {
    let mut cycle = Cycle::new(cluster);
    plugin.pre_filter(&mut cycle, pod);
    ["own", "zero", "bare"].map(|node| plugin.filter(&cycle, pod, cluster.node(node).unwrap()))
}

fn promise(cluster: &ClusterView, pod: &PodView, node: &str) -> Option<PromisedResources> {
    let mut cycle = Cycle::new(cluster);
    assert_eq!(plugin().pre_filter(&mut cycle, pod), PreFiltered::All);
    match plugin().reserve(&mut cycle, pod, &NodeName::from(node)) {
        Reservation::Promise(promises) => promises.into_iter().find_map(|one| match one {
            Promise::Resources(promised) => Some(promised),
            _ => None,
        }),
        Reservation::Made => None,
        other => panic!("{other:?}"),
    }
}

/// The claim that was made for a pod, with this status.
fn made_for(pod: &PodView, name: &str, status: Value) -> Arc<DeviceClaimView> {
    let claim = json!({"metadata": {"name": name, "namespace": "default",
        "annotations": {"resource.kubernetes.io/extended-resource-claim": "true"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": &*pod.key.name, "uid": &*pod.uid, "controller": true}]},
        "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": GPU}}]}}, "status": status});
    Arc::new(DeviceClaimView::from_api(&serde_json::from_value(claim).unwrap()))
}

#[test]
fn extended_resources_are_looked_for_among_devices_where_nodes_offer_none() {
    let mut cluster = with_class();
    let one = asking_for("p", "1");
    assert_eq!(said_by(&plugin(), &cluster, &one), [Verdict::Pass, Verdict::Pass, Verdict::Pass]);
    let too_few = Verdict::unresolvable("cannot allocate all claims");
    // What the node offers itself is for NodeResourcesFit to count, and no device is looked for.
    let nine = asking_for("p", "9");
    assert_eq!(said_by(&plugin(), &cluster, &nine), [Verdict::Pass, too_few.clone(), too_few]);
    cluster.forget::<DeviceClassView>(&GPU.into());
    let answer = plugin().pre_filter(&mut Cycle::new(&cluster), &one);
    assert_eq!(answer, PreFiltered::Skip, "without the class they are none of its business");
    assert_eq!(plugin().pre_filter(&mut Cycle::new(&with_class()), &asking_for("p", "0")), PreFiltered::Skip);
}

#[test]
fn a_class_stands_for_its_own_name_too() {
    let cluster = with_class();
    let pod = pod(json!({"spec": {"containers": [{"name": "app",
        "resources": {"requests": {"deviceclass.resource.kubernetes.io/gpu": "1"}}}]}}));
    // The node that offers the other name has no device.
    let expected = [Verdict::unresolvable("cannot allocate all claims"), Verdict::Pass, Verdict::Pass];
    assert_eq!(said_by(&plugin(), &cluster, &pod), expected);
}

#[test]
fn before_1_36_extended_resources_are_no_devices() {
    let cluster = with_class();
    for version in [Version::V1_34, Version::V1_35] {
        let plugin = DynamicResources::for_version(version);
        let mut cycle = Cycle::new(&cluster);
        assert_eq!(plugin.pre_filter(&mut cycle, &asking_for("p", "1")), PreFiltered::Skip);
    }
}

#[test]
fn a_resource_that_neither_a_class_nor_the_node_knows_does_not_fit() {
    let cluster = with_class();
    let both = pod(json!({"spec": {"containers": [{"name": "app",
        "resources": {"requests": {(RESOURCE): "1", "x.io/unknown": "1"}}}]}}));
    let refused = Verdict::unresolvable("cannot fit resource");
    assert_eq!(said_by(&plugin(), &cluster, &both), [refused.clone(), refused.clone(), refused]);
}

#[test]
fn the_devices_for_a_resource_are_promised_and_the_claim_is_made_once_and_waited_for() {
    let mut cluster = with_class();
    let (user, node) = (asking_for("p", "1"), NodeName::from("bare"));
    let mut promised = promise(&cluster, &user, "bare").expect("a promise");
    assert_eq!(promised.wanted.requests[0].name, "container-0-request-1");
    assert_eq!(promised.wanted.mappings[0].container_name, "app");
    assert_eq!(promised.allocation.devices().map(|device| &*device.device).collect::<Vec<_>>(), ["dev"]);
    cluster.promise(Promise::Resources(promised.clone()));
    let taken = said_by(&plugin(), &cluster, &asking_for("q", "1"));
    assert_eq!(taken[2], Verdict::unresolvable("cannot allocate all claims"), "it is promised");
    assert_eq!(taken[1], Verdict::Pass);
    let Preparation::Perform(effects) = plugin().pre_bind(&cluster, &user, &node) else {
        panic!("nothing to do")
    };
    let [Effect::MakeClaim(made)] = effects.as_slice() else { panic!("{effects:?}") };
    let expected = NewClaim {
        pod: user.key.clone(),
        uid: user.uid.clone(),
        wanted: promised.wanted.clone(),
        allocation: promised.allocation.clone(),
    };
    assert_eq!(**made, expected);
    // It is made, and is not seen yet; then it is seen, without its devices at first.
    cluster.release(&Promise::Resources(promised.clone()));
    promised.made = Some(NamespacedName::new("default", "p-extended-resources-x"));
    cluster.promise(Promise::Resources(promised.clone()));
    assert_eq!(plugin().pre_bind(&cluster, &user, &node), Preparation::Wait);
    cluster.keep(made_for(&user, "p-extended-resources-x", json!({})));
    assert_eq!(plugin().pre_bind(&cluster, &user, &node), Preparation::Wait);
    let status = json!({"allocation": promised.allocation.result, "reservedFor": [{"resource": "pods", "name": "p", "uid": "p"}]});
    cluster.keep(made_for(&user, "p-extended-resources-x", status));
    assert_eq!(plugin().pre_bind(&cluster, &user, &node), Preparation::Ready);
    cluster.release(&Promise::Resources(promised));
    let taken = said_by(&plugin(), &cluster, &asking_for("q", "1"));
    assert_eq!(taken[2], Verdict::unresolvable("cannot allocate all claims"), "it has them");
}

#[test]
fn where_a_node_offers_the_resource_itself_no_claim_is_made() {
    let mut cluster = with_class();
    let node = NodeName::from("own");
    assert_eq!(promise(&cluster, &asking_for("p", "1"), "own"), None);
    assert_eq!(plugin().pre_bind(&cluster, &asking_for("p", "1"), &node), Preparation::Ready);
    // Nor beside a claim of the pod's own.
    cluster.keep(slice("own", GPU, json!({})));
    cluster.keep(wanting(&[], json!({})));
    let both = pod(json!({"metadata": {"name": "p"}, "spec": {
        "resourceClaims": [{"name": "dev", "resourceClaimName": "gpu"}],
        "containers": [{"name": "app", "resources": {"requests": {(RESOURCE): "1"}}}]}}));
    assert_eq!(promise(&cluster, &both, "own"), None);
    let too_few = Verdict::unresolvable("cannot allocate all claims");
    assert_eq!(
        said_by(&plugin(), &cluster, &both),
        [Verdict::Pass, too_few.clone(), too_few],
        "one device is not two"
    );
}

#[test]
fn a_claim_left_of_an_earlier_attempt_is_deleted_before_the_next() {
    let mut cluster = with_class();
    let user = asking_for("p", "1");
    cluster.keep(made_for(&user, "left", json!({})));
    let profile = crate::Profile::empty("one").register(crate::plugins::devices(plugin()));
    let mut engine = ReferenceEngine::seeded(1);
    let mut place =
        |cluster: &ClusterView, pod: &PodView| engine.place(&profile, &mut Cycle::new(cluster), pod);
    let Outcome::Rejected(diagnosis) = place(&cluster, &user) else { panic!("placed") };
    let message = diagnosis.message();
    assert!(message.contains("3 cannot schedule extended resource claim"), "{message}");
    assert!(message.ends_with("deletion of ResourceClaim completed"), "{message}");
    let expected = Effect::DropClaim { claim: NamespacedName::new("default", "left"), pod: user.uid.clone() };
    assert_eq!(diagnosis.repairs, [expected]);
    // A claim of a pod that had the same name is somebody else's.
    let namesake = pod(json!({"metadata": {"name": "p", "uid": "later"}, "spec": {"containers": [
        {"name": "app", "resources": {"requests": {(RESOURCE): "1"}}}]}}));
    assert!(matches!(place(&cluster, &namesake), Outcome::Chosen(_)));
}

#[test]
fn an_attempt_that_ends_takes_its_claim_away_even_if_it_was_not_seen() {
    let mut cluster = with_class();
    let (user, node) = (asking_for("p", "1"), NodeName::from("bare"));
    let undone = |cluster: &ClusterView| plugin().unreserve(&mut Cycle::new(cluster), &user, &node);
    let mut promised = promise(&cluster, &user, "bare").unwrap();
    assert!(undone(&cluster).is_empty(), "nothing was made");
    promised.made = Some(NamespacedName::new("default", "unseen"));
    cluster.promise(Promise::Resources(promised));
    cluster.keep(made_for(&user, "seen", json!({})));
    let expected = ["seen", "unseen"]
        .map(|name| Effect::DropClaim { claim: NamespacedName::new("default", name), pod: user.uid.clone() });
    assert_eq!(undone(&cluster), expected);
    let left = "resourceclaim \"seen\" is left of an earlier attempt";
    assert_eq!(plugin().pre_bind(&cluster, &user, &node), Preparation::Fail(left.into()));
}

#[test]
fn hints_know_pods_that_may_want_devices_by_the_names_of_resources() {
    let cluster = with_class();
    let (wants, other) = (asking_for("p", "1"), pod(json!({})));
    let said =
        |plugin: DynamicResources, pod: &PodView, event: &ClusterEvent| plugin.hint(&cluster, pod, event);
    let node = |cpu: &str| crate::testing::node(json!({"status": {"allocatable": {"cpu": cpu}}}));
    let class = cluster.class_for(RESOURCE).unwrap().clone();
    for event in [
        ClusterEvent::DevicesChanged,
        ClusterEvent::DeviceClassChanged { old: None, new: class },
        ClusterEvent::DevicesFreed(made_for(&other, "gone", json!({}))),
        ClusterEvent::AssignedPodDeleted(asking_for("q", "1")),
    ] {
        assert_eq!(said(plugin(), &wants, &event), Hint::Queue, "{event:?}");
        assert_eq!(said(plugin(), &other, &event), Hint::Skip, "{event:?}");
        let before = DynamicResources::for_version(Version::V1_35);
        assert_eq!(said(before, &wants, &event), Hint::Skip, "{event:?}");
    }
    let offers = ClusterEvent::NodeUpdated { old: node("1"), new: node("2") };
    assert_eq!(said(plugin(), &wants, &offers), Hint::Queue, "what it offers decides who looks for devices");
    assert_eq!(said(DynamicResources::for_version(Version::V1_35), &wants, &offers), Hint::Skip);
    let same = ClusterEvent::NodeUpdated { old: node("1"), new: node("1") };
    assert_eq!(said(plugin(), &wants, &same), Hint::Skip);
}

#[test]
fn devices_that_have_to_be_prepared_are_announced() {
    let result = json!({"driver": "d.io", "pool": "a", "device": "dev", "request": "r", "bindingConditions": ["Attached"]});
    let with = |status: &str| {
        let condition = json!({"type": "Attached", "status": status, "reason": "r", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        wanting(
            &[],
            json!({"allocation": {"devices": {"results": [result]}},
            "reservedFor": [{"resource": "pods", "name": "p", "uid": "p"}],
            "devices": [{"driver": "d.io", "pool": "a", "device": "dev", "conditions": [condition]}]}),
        )
    };
    for (status, then) in [("False", Preparation::Wait), ("True", Preparation::Ready)] {
        let answer = plugin().pre_bind(&with_devices(with(status), &[]), &user(), &NodeName::from("a"));
        let Preparation::Announced { notice, then: said } = answer else { panic!("{answer:?}") };
        assert_eq!(notice.reason, "BindingConditionsPending");
        assert_eq!(notice.note, "waiting for binding conditions for device on node a");
        assert_eq!(*said, then, "as upstream it is said of devices that are prepared already, too");
    }
}
