//! Tests of VolumeBinding against the statements about it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::testing::{cluster, pod};
use crate::view::{ClassView, VolumeView};

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
    Arc::new(VolumeView::from_api(&serde_json::from_value(object).unwrap()))
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
