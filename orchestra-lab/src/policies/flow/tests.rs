//! What the flow does that one pod after the other cannot, and what no flow may do.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::policies::FairShare;
use crate::policies::made_up::{answer, cluster, member, pod};

#[test]
fn a_pod_that_could_go_anywhere_makes_way_for_one_that_could_not() {
    let cluster = cluster(&[("x", "4", 8, json!({"disk": "ssd"})), ("y", "4", 8, json!({}))]);
    let queue = [
        pod("one/easy", "3", 1, json!({})),
        pod("one/picky", "3", 1, json!({"nodeSelector": {"disk": "ssd"}})),
    ];
    let mut flow = answer(&Flow::default(), &cluster, &queue);
    flow.sort();
    assert_eq!(flow, ["easy on y", "picky on x"]);
    // Whoever takes one pod after the other puts the first on the first of equally good nodes, and the second waits.
    assert_eq!(answer(&FairShare, &cluster, &queue), ["easy on x"]);
}

#[test]
fn of_placements_of_as_many_pods_the_cheapest_is_taken() {
    // The first pod is a little better off on x than the second is; the second is far worse off on y.
    let cost = |pod: &PodView, node: &NodeView| match (&*pod.key.name, &**node.name()) {
        ("p", "x") => 1,
        ("p", _) => 2,
        (_, "x") => 3,
        _ => 50,
    };
    let cluster = cluster(&[("x", "4", 8, json!({})), ("y", "4", 8, json!({}))]);
    let queue = [pod("one/p", "3", 1, json!({})), pod("one/q", "3500m", 1, json!({}))];
    let mut placed = answer(&Flow::new(cost), &cluster, &queue);
    placed.sort();
    assert_eq!(placed, ["p on y", "q on x"]);
}

#[test]
fn more_important_pods_flow_first() {
    let cluster = cluster(&[("x", "4", 8, json!({}))]);
    let queue = [
        pod("one/many-1", "2", 1, json!({})),
        pod("one/many-2", "2", 1, json!({})),
        pod("one/vip", "4", 1, json!({"priority": 10})),
    ];
    assert_eq!(answer(&Flow::default(), &cluster, &queue), ["vip on x"]);
}

#[test]
fn a_node_is_filled_in_one_round_or_in_several() {
    let cluster = cluster(&[("x", "8", 32, json!({})), ("y", "8", 32, json!({}))]);
    let mut queue: Vec<_> =
        (0..12).map(|number| pod(&format!("one/small-{number}"), "1", 1, json!({}))).collect();
    queue.push(pod("one/large", "4", 4, json!({})));
    assert_eq!(answer(&Flow::default(), &cluster, &queue).len(), 13, "all sixteen processors are used");
}

#[test]
fn a_group_that_does_not_fit_leaves_its_place_to_others() {
    let cluster = cluster(&[("x", "4", 8, json!({})), ("y", "4", 8, json!({}))]);
    let gang: Vec<_> = (0..3).map(|rank| member(&format!("one/rank-{rank}"), "gang", "3")).collect();
    let mut queue = gang.clone();
    queue.push(pod("one/alone", "4", 1, json!({})));
    assert_eq!(answer(&Flow::default(), &cluster, &queue).len(), 1);
    assert_eq!(answer(&Flow::default(), &cluster, &gang[..2]).len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_placed_where_it_does_not_fit_and_every_answer_repeats(
        nodes in prop::collection::vec((1..9_u32, 1..17_u32, 0..3_u8), 1..8),
        pods in prop::collection::vec((1..6_u32, 1..9_u32, 0..4_u8, 0..3_i32, 0..5_u8), 0..24),
    ) {
        let nodes: Vec<_> = nodes.iter().enumerate().map(|(at, (cpu, memory, disk))| {
            (format!("n{at}"), cpu.to_string(), *memory, json!({"disk": disk.to_string()}))
        }).collect();
        let nodes: Vec<_> =
            nodes.iter().map(|(name, cpu, memory, labels)| (&**name, &**cpu, *memory, labels.clone())).collect();
        let cluster = cluster(&nodes);
        let queue: Vec<_> = pods.iter().enumerate().map(|(at, (cpu, memory, disk, priority, group))| {
            let mut spec = json!({"priority": priority});
            if *disk < 3 {
                spec["nodeSelector"] = json!({"disk": disk.to_string()});
            }
            if *group < 2 {
                spec["schedulingGroup"] = json!({"podGroupName": format!("g{group}")});
            }
            pod(&format!("one/p{at}"), &format!("{}m", cpu * 500), *memory, spec)
        }).collect();
        let placed = answer(&Flow::default(), &cluster, &queue);
        for group in 0..2 {
            let named = |pod: &&Arc<PodView>| pod.group.as_deref() == Some(&*format!("g{group}"));
            let names: Vec<_> = queue.iter().filter(named).map(|pod| pod.key.name.to_string()).collect();
            let there = names.iter().filter(|name| placed.iter().any(|one| one.starts_with(&format!("{name} ")))).count();
            prop_assert!(there == 0 || there == names.len(), "{} of {}", there, names.len());
        }
        // Nobody is left out who would still fit.
        let mut fork = cluster.clone();
        for one in orchestra_scheduler::Strategy::place(&Flow::default(), &cluster, &queue) {
            let pod = queue.iter().find(|pod| pod.uid == one.pod).unwrap();
            fork.place(pod.clone(), &one.node);
        }
        for pod in queue.iter().filter(|pod| pod.group.is_none() && fork.node_of(&pod.uid).is_none()) {
            prop_assert!(fork.nodes().all(|node| !node.has_room_for(pod)), "{} was left out", pod.key);
        }
    }
}
