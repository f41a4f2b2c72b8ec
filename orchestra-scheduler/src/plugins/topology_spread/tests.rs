//! Tests of topology spread against the statements about it, with values worked out by hand.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::plugin::{Adjust, Cycle, Filter, Normalise, PreFilter, PreScore, Score};
use crate::testing::{cluster, node, pod};
use crate::unit::Points;
use crate::verdict::{PreFiltered, PreScored, Verdict};
use crate::view::{NodeName, PodUid};

const UNEVEN: &str = "node(s) didn't match pod topology spread constraints";
const UNLABELLED: &str = "node(s) didn't match pod topology spread constraints (missing required label)";

/// Nodes by name and zone; an empty zone is no label.
fn zoned(nodes: &[(&str, &str)]) -> ClusterView {
    cluster(nodes.iter().map(|(name, zone)| {
        let mut labels = json!({(HOSTNAME): name});
        if !zone.is_empty() {
            labels[ZONE] = json!(zone);
        }
        json!({"metadata": {"name": name, "labels": labels}})
    }))
}

/// Puts a pod of the group `app=a` on a node.
fn occupy(cluster: &mut ClusterView, name: &str, node: &str) {
    let pod = pod(json!({"metadata": {"name": name, "labels": {"app": "a"}}, "spec": {"nodeName": node}}));
    cluster.place(pod, &NodeName::from(node));
}

fn constraint(key: &str, more: Value) -> Value {
    let mut constraint = json!({"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "a"}}});
    for (field, value) in more.as_object().unwrap() {
        constraint[field] = value.clone();
    }
    constraint
}

fn soft() -> Value {
    json!({"whenUnsatisfiable": "ScheduleAnyway"})
}

fn spreading(constraints: Value) -> Arc<PodView> {
    pod(
        json!({"metadata": {"name": "new", "labels": {"app": "a"}}, "spec": {"topologySpreadConstraints": constraints}}),
    )
}

fn verdict(cluster: &ClusterView, pod: &PodView, node: &str) -> Verdict {
    let (plugin, mut cycle) = (PodTopologySpread::default(), Cycle::new(cluster));
    assert_eq!(plugin.pre_filter(&mut cycle, pod), PreFiltered::All);
    plugin.filter(&cycle, pod, cluster.node(node).unwrap())
}

/// Raw and normalised scores of all nodes in snapshot order.
fn scores(plugin: &PodTopologySpread, cluster: &ClusterView, pod: &PodView) -> Option<(Vec<i64>, Vec<i64>)> {
    let nodes: Vec<&NodeView> = cluster.nodes().map(Arc::as_ref).collect();
    let mut cycle = Cycle::new(cluster);
    if plugin.pre_score(&mut cycle, pod, &nodes) == PreScored::Skip {
        return None;
    }
    let mut points: Vec<Points> = nodes.iter().map(|node| plugin.score(&cycle, pod, node)).collect();
    let raw = points.iter().map(|points| points.0).collect();
    plugin.normalise(&cycle, pod, &nodes, &mut points);
    Some((raw, points.iter().map(|points| points.0).collect()))
}

#[test]
fn a_domain_that_would_be_more_than_max_skew_above_the_emptiest_is_refused() {
    let mut cluster = zoned(&[("a1", "a"), ("a2", "a"), ("b1", "b")]);
    occupy(&mut cluster, "p", "a1");
    let pod = spreading(json!([constraint(ZONE, json!({}))]));
    // a: 1 + 1 − 0 = 2; b: 0 + 1 − 0 = 1
    assert_eq!(verdict(&cluster, &pod, "a2"), Verdict::unschedulable(UNEVEN));
    assert_eq!(verdict(&cluster, &pod, "b1"), Verdict::Pass);
    let lax = spreading(json!([constraint(ZONE, json!({"maxSkew": 2}))]));
    assert_eq!(verdict(&cluster, &lax, "a2"), Verdict::Pass);
}

#[test]
fn a_pod_outside_its_own_selector_does_not_count_itself() {
    let mut cluster = zoned(&[("a1", "a"), ("b1", "b")]);
    occupy(&mut cluster, "p", "a1");
    let constraints = json!([constraint(ZONE, json!({}))]);
    let pod = pod(json!({"metadata": {"name": "new"}, "spec": {"topologySpreadConstraints": constraints}}));
    assert_eq!(verdict(&cluster, &pod, "a1"), Verdict::Pass);
}

#[test]
fn a_node_without_the_label_is_unresolvable_and_makes_no_domain() {
    let mut cluster = zoned(&[("a1", "a"), ("bare", "")]);
    occupy(&mut cluster, "p", "a1");
    let pod = spreading(json!([constraint(ZONE, json!({}))]));
    assert_eq!(verdict(&cluster, &pod, "bare"), Verdict::unresolvable(UNLABELLED));
    // The only domain is the emptiest: 1 + 1 − 1 = 1.
    assert_eq!(verdict(&cluster, &pod, "a1"), Verdict::Pass);
}

#[test]
fn with_fewer_domains_than_min_domains_the_emptiest_counts_as_having_none() {
    let mut cluster = zoned(&[("a1", "a"), ("b1", "b")]);
    occupy(&mut cluster, "p", "a1");
    occupy(&mut cluster, "q", "b1");
    let least = |domains: i32| spreading(json!([constraint(ZONE, json!({"minDomains": domains}))]));
    assert_eq!(verdict(&cluster, &least(2), "a1"), Verdict::Pass);
    assert_eq!(verdict(&cluster, &least(3), "a1"), Verdict::unschedulable(UNEVEN));
}

#[test]
fn an_empty_selector_counts_nobody_but_the_pod_itself_and_an_absent_one_not_even_that() {
    let mut cluster = zoned(&[("a1", "a"), ("b1", "b")]);
    occupy(&mut cluster, "p", "a1");
    occupy(&mut cluster, "q", "a1");
    let everybody = spreading(json!([constraint(ZONE, json!({"labelSelector": {}}))]));
    // 0 + 1 − 0 in both
    assert_eq!(verdict(&cluster, &everybody, "a1"), Verdict::Pass);
    let nobody = spreading(json!([constraint(ZONE, json!({"labelSelector": null}))]));
    assert_eq!(verdict(&cluster, &nobody, "a1"), Verdict::Pass);
}

#[test]
fn terminating_pods_and_those_of_other_namespaces_do_not_count() {
    let mut cluster = zoned(&[("a1", "a"), ("b1", "b")]);
    let metadata = [
        json!({"name": "p", "labels": {"app": "a"}, "deletionTimestamp": "2026-01-01T00:00:00Z"}),
        json!({"name": "q", "labels": {"app": "a"}, "namespace": "other"}),
    ];
    for metadata in metadata {
        let pod = pod(json!({"metadata": metadata, "spec": {"nodeName": "a1"}}));
        cluster.place(pod, &NodeName::from("a1"));
    }
    assert_eq!(verdict(&cluster, &spreading(json!([constraint(ZONE, json!({}))])), "a1"), Verdict::Pass);
}

#[test]
fn nodes_ruled_out_by_affinity_make_domains_only_when_ignored() {
    let mut cluster = zoned(&[("a1", "a"), ("b1", "b")]);
    occupy(&mut cluster, "p", "a1");
    for (policy, expected) in [("Honor", Verdict::Pass), ("Ignore", Verdict::unschedulable(UNEVEN))] {
        let constraints = json!([constraint(ZONE, json!({"nodeAffinityPolicy": policy}))]);
        let pod = pod(json!({"metadata": {"name": "new", "labels": {"app": "a"}},
            "spec": {"nodeSelector": {(ZONE): "a"}, "topologySpreadConstraints": constraints}}));
        assert_eq!(verdict(&cluster, &pod, "a1"), expected, "{policy}");
    }
}

#[test]
fn tainted_nodes_make_domains_unless_taints_are_honoured() {
    let mut cluster = zoned(&[("a1", "a")]);
    cluster.set_node(node(json!({"metadata": {"name": "b1", "labels": {(ZONE): "b"}},
        "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}})));
    occupy(&mut cluster, "p", "a1");
    for (policy, expected) in [("Ignore", Verdict::unschedulable(UNEVEN)), ("Honor", Verdict::Pass)] {
        let pod = spreading(json!([constraint(ZONE, json!({"nodeTaintsPolicy": policy}))]));
        assert_eq!(verdict(&cluster, &pod, "a1"), expected, "{policy}");
    }
}

#[test]
fn a_node_outside_the_domains_that_carries_the_key_is_judged_by_its_domains_count() {
    let cluster = zoned(&[("a1", "a"), ("c1", "c")]);
    let constraints = json!([constraint(ZONE, json!({}))]);
    let pod = pod(json!({"metadata": {"name": "new", "labels": {"app": "a"}},
        "spec": {"nodeSelector": {(HOSTNAME): "a1"}, "topologySpreadConstraints": constraints}}));
    assert_eq!(verdict(&cluster, &pod, "c1"), Verdict::Pass);
}

#[test]
fn domains_are_made_only_by_nodes_with_the_labels_of_all_hard_constraints() {
    let mut cluster = zoned(&[("a1", "a"), ("bare", "")]);
    occupy(&mut cluster, "p", "a1");
    let constraints = json!([constraint(ZONE, json!({})), constraint(HOSTNAME, json!({}))]);
    // "bare" is no host domain, so the emptiest host has one pod: 1 + 1 − 1.
    assert_eq!(verdict(&cluster, &spreading(constraints), "a1"), Verdict::Pass);
}

#[test]
fn pods_that_come_and_go_in_thought_shift_the_counts_of_the_fork_alone() {
    let mut cluster = zoned(&[("a1", "a"), ("b1", "b")]);
    occupy(&mut cluster, "p", "a1");
    let (plugin, pod) = (PodTopologySpread::default(), spreading(json!([constraint(ZONE, json!({}))])));
    let mut cycle = Cycle::new(&cluster);
    plugin.pre_filter(&mut cycle, &pod);
    let node = cluster.node("a1").unwrap();
    let victim = node.pods()[0].clone();
    let mut fork = cycle.fork();
    plugin.removed(&mut fork, &pod, &victim, node);
    assert_eq!(plugin.filter(&fork, &pod, node), Verdict::Pass);
    plugin.added(&mut fork, &pod, &victim, node);
    assert_eq!(plugin.filter(&fork, &pod, node), Verdict::unschedulable(UNEVEN));
    assert_eq!(plugin.filter(&cycle, &pod, node), Verdict::unschedulable(UNEVEN));
}

#[test]
fn the_score_weighs_each_pod_by_the_logarithm_of_the_number_of_domains() {
    let mut cluster = zoned(&[("a1", "a"), ("b1", "b"), ("c1", "c")]);
    for (name, node) in [("p", "a1"), ("q", "a1"), ("r", "b1")] {
        occupy(&mut cluster, name, node);
    }
    let pod = spreading(json!([constraint(ZONE, soft())]));
    // ln 5 = 1.609: round(3.22) = 3, round(1.61) = 2, 0; normalised ⌊100·(3 + 0 − raw)/3⌋
    let expected = (vec![3, 2, 0], vec![0, 33, 100]);
    assert_eq!(scores(&PodTopologySpread::default(), &cluster, &pod), Some(expected));
}

#[test]
fn max_skew_adds_its_excess_over_one_and_nodes_alike_get_what_the_formula_says() {
    let cluster = zoned(&[("a1", "a"), ("b1", "b")]);
    let pod =
        spreading(json!([constraint(ZONE, json!({"maxSkew": 4, "whenUnsatisfiable": "ScheduleAnyway"}))]));
    // 0·ln 4 + 3 on both; ⌊100·(3 + 3 − 3)/3⌋
    assert_eq!(scores(&PodTopologySpread::default(), &cluster, &pod), Some((vec![3, 3], vec![100, 100])));
    let even = spreading(json!([constraint(ZONE, soft())]));
    assert_eq!(scores(&PodTopologySpread::default(), &cluster, &even), Some((vec![0, 0], vec![100, 100])));
}

#[test]
fn host_names_are_counted_per_node_with_as_many_domains_as_nodes_left() {
    let mut cluster = zoned(&[("a", "z"), ("b", "z"), ("c", "")]);
    occupy(&mut cluster, "p", "a");
    let pod = spreading(json!([constraint(HOSTNAME, soft())]));
    // ln(3 + 2) = 1.609: round = 2
    assert_eq!(
        scores(&PodTopologySpread::default(), &cluster, &pod),
        Some((vec![2, 0, 0], vec![0, 100, 100]))
    );
    // With the zone demanded as well, c is left out: hosts ln(2 + 2) = 1.386, zone ln(1 + 2)·1 = 1.099.
    let both = spreading(json!([constraint(HOSTNAME, soft()), constraint(ZONE, soft())]));
    // a: round(1.386 + 1.099) = 2, b: round(1.099) = 1; snapshot order is a, c, b
    let expected = (vec![2, 0, 1], vec![50, 0, 100]);
    assert_eq!(scores(&PodTopologySpread::default(), &cluster, &both), Some(expected));
}

#[test]
fn pods_without_constraints_are_spread_by_their_services_and_owner_under_system_defaults() {
    let mut cluster = zoned(&[("a1", "a"), ("b1", "b"), ("bare", "")]);
    occupy(&mut cluster, "p", "a1");
    let plain = pod(json!({"metadata": {"name": "new", "labels": {"app": "a"}, "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "u", "controller": true}]}}));
    assert_eq!(scores(&PodTopologySpread::default(), &cluster, &plain), None, "nobody knows its group");
    let service =
        json!({"metadata": {"name": "s", "namespace": "default"}, "spec": {"selector": {"app": "a"}}});
    cluster.keep(Arc::new(ServiceView::from_api(&serde_json::from_value(service).unwrap())));
    // Hosts: weight ln(3 + 2), skew 3; zones a, b and "": ln(3 + 2), skew 5.
    // a1: 1.609 + 2 + 1.609 + 4 = 9.22; b1: 2 + 4; bare: host only, 2. max 9, min 2; snapshot order a1, b1, bare.
    let expected = (vec![9, 6, 2], vec![22, 55, 100]);
    assert_eq!(scores(&PodTopologySpread::default(), &cluster, &plain), Some(expected));
    let owner = json!({"metadata": {"name": "rs", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"tier": "x"}}}});
    cluster.keep(Arc::new(OwnerView::from_replica_set(&serde_json::from_value(owner).unwrap())));
    let expected = (vec![6, 6, 2], vec![33, 33, 100]);
    assert_eq!(scores(&PodTopologySpread::default(), &cluster, &plain), Some(expected), "the owner narrows");
}

#[test]
fn configured_defaults_leave_out_nodes_without_the_labels() {
    let mut cluster = zoned(&[("a1", "a"), ("bare", "")]);
    let service =
        json!({"metadata": {"name": "s", "namespace": "default"}, "spec": {"selector": {"app": "a"}}});
    cluster.keep(Arc::new(ServiceView::from_api(&serde_json::from_value(service).unwrap())));
    let plain = pod(json!({"metadata": {"name": "new", "labels": {"app": "a"}}}));
    let plugin = PodTopologySpread::with_defaults(vec![SpreadConstraint::preferring(1, ZONE)]);
    assert_eq!(scores(&plugin, &cluster, &plain), Some((vec![0, 0], vec![100, 0])));
    let none = PodTopologySpread::with_defaults(Vec::new());
    assert_eq!(scores(&none, &cluster, &plain), None);
}

#[test]
fn hints_look_at_the_group_and_at_the_labels_of_nodes() {
    let plugin = PodTopologySpread::default();
    let waiting = spreading(json!([constraint(ZONE, json!({}))]));
    let member = |app: &str| {
        pod(json!({"metadata": {"name": "m", "labels": {"app": app}}, "spec": {"nodeName": "n"}}))
    };
    let labelled = |zone: &str| node(json!({"metadata": {"labels": {(ZONE): zone}}}));
    let bare = || node(json!({"metadata": {"name": "node"}}));
    for (event, expected) in [
        (ClusterEvent::AssignedPodAdded(member("a")), Hint::Queue),
        (ClusterEvent::AssignedPodAdded(member("b")), Hint::Skip),
        (ClusterEvent::AssignedPodDeleted(member("a")), Hint::Queue),
        (ClusterEvent::AssignedPodUpdated { old: member("b"), new: member("a") }, Hint::Queue),
        (ClusterEvent::AssignedPodUpdated { old: member("b"), new: member("c") }, Hint::Skip),
        (ClusterEvent::NodeAdded(labelled("a")), Hint::Queue),
        (ClusterEvent::NodeAdded(bare()), Hint::Skip),
        (ClusterEvent::NodeDeleted(labelled("a")), Hint::Queue),
        (ClusterEvent::NodeUpdated { old: labelled("a"), new: labelled("b") }, Hint::Queue),
        (ClusterEvent::NodeUpdated { old: labelled("a"), new: labelled("a") }, Hint::Skip),
        (ClusterEvent::NodeUpdated { old: bare(), new: labelled("a") }, Hint::Queue),
    ] {
        assert_eq!(plugin.hint(&ClusterView::default(), &waiting, &event), expected, "{event:?}");
    }
}

proptest! {
    #[test]
    fn scores_stay_in_range_and_removing_a_pod_never_closes_its_own_node(
        placed in prop::collection::vec(0_usize..6, 0..20),
        skew in 1_i64..4,
        domains in 1_i32..5,
    ) {
        let names = [("n0", "a"), ("n1", "a"), ("n2", "b"), ("n3", "b"), ("n4", "c"), ("n5", "")];
        let mut cluster = zoned(&names);
        for (index, at) in placed.iter().enumerate() {
            occupy(&mut cluster, &format!("p{index}"), names[*at].0);
        }
        let pod = spreading(json!([
            constraint(ZONE, json!({"maxSkew": skew, "minDomains": domains})),
            constraint(HOSTNAME, json!({"maxSkew": skew, "whenUnsatisfiable": "ScheduleAnyway"})),
        ]));
        let (_, normalised) = scores(&PodTopologySpread::default(), &cluster, &pod).unwrap();
        prop_assert!(normalised.iter().all(|points| (0..=100).contains(points)), "{normalised:?}");
        for (index, at) in placed.iter().enumerate() {
            let before = verdict(&cluster, &pod, names[*at].0);
            let mut without = cluster.clone();
            without.take(&PodUid::from(format!("p{index}").as_str()));
            prop_assert!(before != Verdict::Pass || verdict(&without, &pod, names[*at].0) == Verdict::Pass);
        }
    }
}

/// The raw scores of some nodes, the only ones that are left.
fn raw_of(cluster: &ClusterView, pod: &PodView, left: &[&str]) -> Vec<i64> {
    let nodes: Vec<&NodeView> = left.iter().map(|name| &**cluster.node(name).unwrap()).collect();
    let (plugin, mut cycle) = (PodTopologySpread::default(), Cycle::new(cluster));
    assert_eq!(plugin.pre_score(&mut cycle, pod, &nodes), PreScored::Score);
    nodes.iter().map(|node| plugin.score(&cycle, pod, node).0).collect()
}

#[test]
fn domains_are_those_of_the_nodes_left_and_the_pods_on_all_their_nodes_count() {
    let mut cluster = zoned(&[("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c")]);
    for (name, node) in [("p", "a1"), ("q", "a1"), ("r", "a1"), ("s", "c1")] {
        occupy(&mut cluster, name, node);
    }
    let pod = spreading(json!([constraint(ZONE, soft())]));
    // Two domains: 3·ln 4 = 4.16 (with three it would be 3·ln 5 = 4.83).
    assert_eq!(raw_of(&cluster, &pod, &["a2", "b1"]), [4, 0]);
}

#[test]
fn scores_count_only_the_nodes_that_the_policies_include() {
    let mut cluster = zoned(&[("a1", "a"), ("b1", "b")]);
    cluster.set_node(node(json!({"metadata": {"name": "a2", "labels": {(ZONE): "a"}},
        "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}})));
    for (name, node) in [("p", "a1"), ("q", "a2"), ("r", "a2")] {
        occupy(&mut cluster, name, node);
    }
    for (policy, expected) in [("Honor", 1), ("Ignore", 4)] {
        let more = json!({"whenUnsatisfiable": "ScheduleAnyway", "nodeTaintsPolicy": policy});
        let pod = spreading(json!([constraint(ZONE, more)]));
        assert_eq!(raw_of(&cluster, &pod, &["a1", "b1"]), [expected, 0], "{policy}");
    }
}

#[test]
fn a_taint_that_is_only_a_preference_takes_no_node_out_of_the_domains() {
    let mut cluster = zoned(&[("a1", "a")]);
    cluster.set_node(node(json!({"metadata": {"name": "b1", "labels": {(ZONE): "b"}},
        "spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}})));
    occupy(&mut cluster, "p", "a1");
    let pod = spreading(json!([constraint(ZONE, json!({"nodeTaintsPolicy": "Honor"}))]));
    assert_eq!(verdict(&cluster, &pod, "a1"), Verdict::unschedulable(UNEVEN));
}

#[test]
fn a_pod_with_any_constraint_of_its_own_gets_none_of_the_defaults() {
    let mut cluster = zoned(&[("a1", "a"), ("b1", "b")]);
    let service =
        json!({"metadata": {"name": "s", "namespace": "default"}, "spec": {"selector": {"app": "a"}}});
    cluster.keep(Arc::new(ServiceView::from_api(&serde_json::from_value(service).unwrap())));
    let hard = spreading(json!([constraint(ZONE, json!({}))]));
    assert_eq!(scores(&PodTopologySpread::default(), &cluster, &hard), None);
}

#[test]
fn where_no_node_makes_a_domain_only_the_pod_itself_counts() {
    let cluster = zoned(&[("a1", "a")]);
    for labels in [json!({"app": "a"}), json!({})] {
        let pod = pod(json!({"metadata": {"name": "new", "labels": labels}, "spec": {
            "nodeSelector": {"nowhere": "x"}, "topologySpreadConstraints": [constraint(ZONE, json!({}))]}}));
        assert_eq!(verdict(&cluster, &pod, "a1"), Verdict::Pass);
    }
}
