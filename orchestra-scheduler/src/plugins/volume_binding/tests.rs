//! Tests of VolumeBinding against the statements about it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::plan::{NO_ROOM, NO_VOLUME, VOLUME_GONE, WRONG_NODE};
use super::*;
use crate::testing::{cluster, pod};
use crate::view::{CapacityView, ClaimKey, ClassView, CsiDriverView, VolumeView};

fn claim(spec: Value, annotations: Value, phase: &str) -> Arc<ClaimView> {
    let object = json!({"metadata": {"name": "data", "namespace": "default", "annotations": annotations},
        "spec": spec, "status": {"phase": phase}});
    Arc::new(ClaimView::from_api(&serde_json::from_value(object).unwrap()).unwrap())
}

fn class(name: &str, mode: &str, provisioner: &str) -> Arc<ClassView> {
    let object = json!({"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode});
    Arc::new(ClassView::from_api(&serde_json::from_value(object).unwrap()))
}

fn volume(name: &str, host: &str) -> Arc<VolumeView> {
    let object = json!({"metadata": {"name": name}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "host", "operator": "In", "values": [host]}]}]}}}});
    Arc::new(VolumeView::from_api(&serde_json::from_value(object).unwrap()).unwrap())
}

fn two_hosts() -> ClusterView {
    let mut cluster =
        cluster(["a", "b"].map(|name| json!({"metadata": {"name": name, "labels": {"host": name}}})));
    cluster.keep(class("late", "WaitForFirstConsumer", "x.io/local"));
    cluster.keep(class("now", "Immediate", "x.io/local"));
    cluster.keep(class("by-hand", "WaitForFirstConsumer", "kubernetes.io/no-provisioner"));
    cluster
}

fn consumer() -> Arc<PodView> {
    pod(json!({"spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}}))
}

fn before(cluster: &ClusterView) -> PreFiltered {
    VolumeBinding::default().pre_filter(&mut Cycle::new(cluster), &consumer())
}

fn on(cluster: &ClusterView, node: &str) -> Verdict {
    VolumeBinding::default().filter(&Cycle::new(cluster), &consumer(), cluster.node(node).unwrap())
}

fn preparation(cluster: &ClusterView, node: &str) -> Preparation {
    VolumeBinding::default().pre_bind(cluster, &consumer(), &NodeName::from(node))
}

fn refused(text: &'static str) -> PreFiltered {
    PreFiltered::Reject(Rejection::unresolvable(text))
}

#[test]
fn missing_lost_and_deleting_claims_reject_the_pod_before_filtering() {
    let mut cluster = two_hosts();
    assert_eq!(before(&cluster), refused("persistentvolumeclaim \"data\" not found"));
    cluster.keep(claim(json!({"volumeName": "pv"}), json!({}), "Lost"));
    let lost = "persistentvolumeclaim \"data\" bound to non-existent persistentvolume \"pv\"";
    assert_eq!(before(&cluster), refused(lost));
    let object = json!({"metadata": {"name": "data", "namespace": "default",
        "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}});
    cluster.keep(Arc::new(ClaimView::from_api(&serde_json::from_value(object).unwrap()).unwrap()));
    assert_eq!(before(&cluster), refused("persistentvolumeclaim \"data\" is being deleted"));
}

#[test]
fn an_ephemeral_claim_is_waited_for() {
    let cluster = two_hosts();
    let pod = pod(json!({"metadata": {"name": "p"}, "spec": {"volumes": [{"name": "v", "ephemeral": {}}]}}));
    let answer = VolumeBinding::default().pre_filter(&mut Cycle::new(&cluster), &pod);
    assert_eq!(
        answer,
        refused("waiting for ephemeral volume controller to create the persistentvolumeclaim \"p-v\"")
    );
}

#[test]
fn unbound_immediate_claims_make_the_pod_wait() {
    let mut cluster = two_hosts();
    for spec in [
        json!({}),
        json!({"storageClassName": "now"}),
        json!({"storageClassName": "late", "volumeName": "pv"}),
    ] {
        cluster.keep(claim(spec, json!({}), "Pending"));
        assert_eq!(before(&cluster), refused(UNBOUND));
    }
}

#[test]
fn a_bound_claim_ties_the_pod_to_the_nodes_of_its_volume() {
    let mut cluster = two_hosts();
    cluster.keep(claim(json!({"volumeName": "pv"}), json!({}), "Bound"));
    assert_eq!(before(&cluster), PreFiltered::All);
    assert_eq!(on(&cluster, "a"), Verdict::unresolvable(VOLUME_GONE));
    cluster.keep(volume("pv", "b"));
    assert_eq!(on(&cluster, "a"), Verdict::unresolvable(WRONG_NODE));
    assert_eq!(on(&cluster, "b"), Verdict::Pass);
    assert_eq!(preparation(&cluster, "b"), Preparation::Ready);
}

#[test]
fn a_late_claim_with_a_selected_node_fits_only_that_node() {
    let mut cluster = two_hosts();
    cluster.keep(claim(json!({"storageClassName": "late"}), json!({(SELECTED_NODE): "b"}), "Pending"));
    assert_eq!(before(&cluster), PreFiltered::All);
    assert_eq!(on(&cluster, "a"), Verdict::unresolvable(NO_VOLUME));
    assert_eq!(on(&cluster, "b"), Verdict::Pass);
    assert_eq!(preparation(&cluster, "b"), Preparation::Wait);
}

#[test]
fn a_late_claim_is_annotated_before_the_pod_is_bound() {
    let mut cluster = two_hosts();
    cluster.keep(claim(json!({"storageClassName": "late"}), json!({}), "Pending"));
    assert_eq!(on(&cluster, "a"), Verdict::Pass);
    let Preparation::Perform(effects) = preparation(&cluster, "a") else { panic!("nothing to do") };
    let key = ClaimKey { namespace: "default".into(), name: "data".into() };
    assert_eq!(effects, [Effect::AnnotateClaim { claim: key, key: SELECTED_NODE, value: "a".into() }]);
}

#[test]
fn a_late_claim_needs_a_class_that_makes_volumes_for_the_node() {
    let mut cluster = two_hosts();
    cluster.keep(claim(json!({"storageClassName": "by-hand"}), json!({}), "Pending"));
    assert_eq!(on(&cluster, "a"), Verdict::unresolvable(NO_VOLUME));
    let object = json!({"metadata": {"name": "late"}, "provisioner": "x", "volumeBindingMode": "WaitForFirstConsumer",
        "allowedTopologies": [{"matchLabelExpressions": [{"key": "host", "values": ["b"]}]}]});
    cluster.keep(Arc::new(ClassView::from_api(&serde_json::from_value(object).unwrap())));
    cluster.keep(claim(json!({"storageClassName": "late"}), json!({}), "Pending"));
    assert_eq!(on(&cluster, "a"), Verdict::unresolvable(NO_VOLUME));
    assert_eq!(on(&cluster, "b"), Verdict::Pass);
}

#[test]
fn a_claim_on_its_way_to_its_volume_is_waited_for_in_whatever_order_the_news_come() {
    let mut cluster = two_hosts();
    cluster.keep(claim(json!({"storageClassName": "late", "volumeName": "pv"}), json!({}), "Pending"));
    assert_eq!(preparation(&cluster, "a"), Preparation::Wait);
    cluster.keep(claim(json!({"storageClassName": "late", "volumeName": "pv"}), json!({}), "Bound"));
    assert_eq!(preparation(&cluster, "a"), Preparation::Wait);
    cluster.keep(volume("pv", "a"));
    assert_eq!(preparation(&cluster, "a"), Preparation::Ready);
    assert!(matches!(preparation(&cluster, "b"), Preparation::Fail(_)));
}

/// A free volume of the class "by-hand" that only one host reaches.
fn free(name: &str, host: &str, size: &str, more: Value) -> Arc<VolumeView> {
    let mut spec = json!({"capacity": {"storage": size}, "storageClassName": "by-hand",
        "accessModes": ["ReadWriteOnce"], "nodeAffinity": {"required": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "host", "operator": "In", "values": [host]}]}]}}});
    more.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
    let object = json!({"metadata": {"name": name, "labels": {"disk": name}}, "spec": spec, "status": {"phase": "Available"}});
    Arc::new(VolumeView::from_api(&serde_json::from_value(object).unwrap()).unwrap())
}

fn wanting(name: &str, size: &str, more: Value) -> Arc<ClaimView> {
    let mut spec = json!({"storageClassName": "by-hand", "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}}});
    more.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
    let object = json!({"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": spec});
    Arc::new(ClaimView::from_api(&serde_json::from_value(object).unwrap()).unwrap())
}

fn planned(
    cluster: &ClusterView,
    pod: &PodView,
    node: &str,
) -> Result<Vec<(String, String)>, Vec<&'static str>> {
    let plan = plan(cluster, pod, cluster.node(node).unwrap().facts())?;
    Ok(plan
        .bind
        .iter()
        .map(|(claim, volume)| (claim.key.name.to_string(), volume.name.to_string()))
        .collect())
}

fn pair(claim: &str, volume: &str) -> (String, String) {
    (claim.to_owned(), volume.to_owned())
}

#[test]
fn the_claim_that_asks_least_gets_the_smallest_volume_that_suits() {
    let mut cluster = two_hosts();
    for (name, size) in [("five", "5Gi"), ("three", "3Gi"), ("nine", "9Gi")] {
        cluster.keep(free(name, "a", size, json!({})));
    }
    cluster.keep(wanting("big", "2Gi", json!({})));
    cluster.keep(wanting("small", "1Gi", json!({})));
    let pod = pod(json!({"spec": {"volumes": [
        {"name": "x", "persistentVolumeClaim": {"claimName": "big"}},
        {"name": "y", "persistentVolumeClaim": {"claimName": "small"}}]}}));
    assert_eq!(planned(&cluster, &pod, "a"), Ok(vec![pair("small", "three"), pair("big", "five")]));
    assert_eq!(planned(&cluster, &pod, "b"), Err(vec![NO_VOLUME]));
    cluster.keep(wanting("big", "5Gi", json!({})));
    cluster.keep(wanting("small", "3Gi", json!({})));
    assert_eq!(
        planned(&cluster, &pod, "a"),
        Ok(vec![pair("small", "three"), pair("big", "five")]),
        "to the byte"
    );
}

#[test]
fn volumes_suit_by_mode_access_selector_phase_and_owner() {
    let owner = json!({"namespace": "default", "name": "other", "uid": "u"});
    for (more, claim, suits) in [
        (json!({}), json!({}), true),
        (json!({"volumeMode": "Block"}), json!({}), false),
        (json!({"accessModes": ["ReadOnlyMany"]}), json!({}), false),
        (json!({}), json!({"selector": {"matchLabels": {"disk": "pv"}}}), true),
        (json!({}), json!({"selector": {"matchLabels": {"disk": "x"}}}), false),
        (json!({"storageClassName": "other"}), json!({}), false),
        (json!({"claimRef": owner}), json!({}), false),
    ] {
        let mut cluster = two_hosts();
        cluster.keep(free("pv", "a", "5Gi", more.clone()));
        cluster.keep(wanting("data", "1Gi", claim.clone()));
        assert_eq!(planned(&cluster, &consumer(), "a").is_ok(), suits, "{more} {claim}");
    }
}

#[test]
fn a_volume_set_aside_for_a_claim_is_the_only_one_it_may_get() {
    let mut cluster = two_hosts();
    let aside = json!({"claimRef": {"namespace": "default", "name": "data"}});
    cluster.keep(free("aside", "b", "5Gi", aside));
    cluster.keep(free("any", "a", "5Gi", json!({})));
    cluster.keep(wanting("data", "1Gi", json!({})));
    assert_eq!(planned(&cluster, &consumer(), "b"), Ok(vec![pair("data", "aside")]));
}

#[test]
fn what_is_promised_to_one_pod_is_not_had_by_another_until_it_is_given_back() {
    let mut cluster = two_hosts();
    cluster.keep(free("pv", "a", "5Gi", json!({})));
    cluster.keep(wanting("data", "1Gi", json!({})));
    cluster.keep(wanting("other", "1Gi", json!({})));
    let mut cycle = Cycle::new(&cluster);
    let promises = match VolumeBinding::default().reserve(&mut cycle, &consumer(), &NodeName::from("a")) {
        Reservation::Promise(promises) => promises,
        other => panic!("{other:?}"),
    };
    let mut promised = cluster.clone();
    promises.iter().for_each(|promise| promised.promise(promise.clone()));
    let other =
        pod(json!({"spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "other"}}]}}));
    assert_eq!(planned(&promised, &other, "a"), Err(vec![NO_VOLUME]));
    assert_eq!(planned(&promised, &consumer(), "a"), Ok(vec![pair("data", "pv")]));
    promises.iter().for_each(|promise| promised.release(promise));
    assert!(planned(&promised, &other, "a").is_ok());
}

#[test]
fn a_volume_is_bound_from_its_side_and_then_waited_for() {
    let mut cluster = two_hosts();
    cluster.keep(free("pv", "a", "5Gi", json!({})));
    cluster.keep(wanting("data", "1Gi", json!({})));
    let Preparation::Perform(effects) = preparation(&cluster, "a") else { panic!("nothing to do") };
    assert!(
        matches!(effects.as_slice(), [Effect::BindVolume { uid, .. }] if **uid == *"data"),
        "{effects:?}"
    );
    let taken = json!({"claimRef": {"namespace": "default", "name": "data", "uid": "data"}});
    cluster.keep(free("pv", "a", "5Gi", taken));
    assert_eq!(preparation(&cluster, "a"), Preparation::Wait);
}

#[test]
fn a_driver_that_publishes_its_room_needs_enough_of_it_for_class_and_node() {
    let mut cluster = two_hosts();
    let of_class = json!({"storageClassName": "late"});
    cluster.keep(wanting("data", "5Gi", of_class));
    assert_eq!(on(&cluster, "a"), Verdict::Pass);
    let driver = json!({"metadata": {"name": "x.io/local"}, "spec": {"storageCapacity": true}});
    cluster.keep(Arc::new(CsiDriverView::from_api(&serde_json::from_value(driver).unwrap())));
    assert_eq!(on(&cluster, "a"), Verdict::unresolvable(NO_ROOM));
    for (capacity, passes) in [
        (json!({"capacity": "9Gi"}), true),
        (json!({"capacity": "5Gi"}), true),
        (json!({"capacity": "4Gi"}), false),
        (json!({"capacity": "9Gi", "maximumVolumeSize": "4Gi"}), false),
        (json!({"capacity": "9Gi", "storageClassName": "now"}), false),
        (json!({}), false),
    ] {
        let mut object = json!({"metadata": {"name": "c", "namespace": "kube-system"}, "storageClassName": "late",
            "nodeTopology": {"matchLabels": {"host": "a"}}});
        capacity.as_object().unwrap().iter().for_each(|(field, value)| object[field] = value.clone());
        cluster.keep(Arc::new(CapacityView::from_api(&serde_json::from_value(object).unwrap()).unwrap()));
        assert_eq!(on(&cluster, "a") == Verdict::Pass, passes, "{capacity}");
        assert_eq!(on(&cluster, "b"), Verdict::unresolvable(NO_ROOM));
    }
}
