//! Nodes that pods are promised.

use super::*;

#[test]
fn a_nominated_node_that_still_fits_is_taken_without_looking_at_others() {
    let cluster = nodes(&["a", "b"]);
    let pod = pod(json!({"status": {"nominatedNodeName": "b"}}));
    let Outcome::Chosen(choice) = place(&Profile::default(), &cluster, &pod) else { panic!() };
    assert_eq!((&*choice.node, choice.evaluated), ("b", 1));
}

#[test]
fn room_promised_to_pods_of_at_least_the_same_priority_is_kept_free() {
    let mut cluster = nodes(&["a"]);
    let vip = pod(json!({"metadata": {"name": "vip"}, "spec": {"priority": 5, "containers": [
        {"name": "c", "resources": {"requests": {"cpu": "4"}}}]}}));
    cluster.nominate(vip, &NodeName::from("a"));
    let with = |priority: i32| {
        pod(json!({"metadata": {"name": "p"}, "spec": {"priority": priority, "containers": [
            {"name": "c", "resources": {"requests": {"cpu": "1"}}}]}}))
    };
    assert_eq!(
        message(&place(&Profile::default(), &cluster, &with(5))),
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to \
         deallocate, preemption: 0/1 nodes are available: 1 No preemption \
         victims found for incoming pod."
    );
    assert_eq!(chosen(&place(&Profile::default(), &cluster, &with(6))), "a");
}

#[test]
fn promised_pods_count_as_neighbours_and_are_not_relied_on() {
    let labels = json!({"kubernetes.io/hostname": "a"});
    let mut cluster = cluster([json!({"metadata": {"name": "a", "labels": labels}})]);
    let db = pod(json!({"metadata": {"name": "db", "labels": {"app": "db"}}, "spec": {"priority": 5}}));
    cluster.nominate(db, &NodeName::from("a"));
    let told = |kind: &str| {
        let terms = json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}]);
        let affinity = json!({(kind): {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
        message(&place(&Profile::default(), &cluster, &pod(json!({"spec": {"affinity": affinity}}))))
    };
    for (kind, reason) in [
        ("podAffinity", "1 node(s) didn't match pod affinity rules."),
        ("podAntiAffinity", "1 node(s) didn't match pod anti-affinity rules."),
    ] {
        assert!(told(kind).starts_with(&format!("0/1 nodes are available: {reason}")), "{}", told(kind));
    }
}

#[test]
fn a_pod_is_not_in_its_own_way_where_it_is_promised_room() {
    let mut cluster = nodes(&["a"]);
    let pod = asking("p", "3", "0");
    cluster.nominate(pod.clone(), &NodeName::from("a"));
    assert_eq!(chosen(&place(&Profile::default(), &cluster, &pod)), "a");
}

#[test]
fn a_nominated_node_that_is_gone_or_does_not_fit_is_no_reason_to_stop() {
    let cluster = cluster([
        json!({"metadata": {"name": "a"}}),
        json!({"metadata": {"name": "b"}, "spec": {"unschedulable": true}}),
    ]);
    for nominated in ["gone", "b"] {
        let pod = pod(json!({"status": {"nominatedNodeName": nominated}}));
        assert_eq!(chosen(&place(&Profile::default(), &cluster, &pod)), "a", "{nominated}");
    }
}
