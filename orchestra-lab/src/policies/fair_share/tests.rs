//! Shares of two resources, and gangs.

use std::collections::BTreeMap;

use orchestra_scheduler::Strategy;
use orchestra_scheduler::view::PodGroupView;
use serde_json::json;

use super::*;
use crate::policies::made_up::{answer, cluster, member, pod};

fn counts(placed: &[String]) -> BTreeMap<char, usize> {
    let mut counts = BTreeMap::new();
    placed
        .iter()
        .filter_map(|one| one.chars().next())
        .for_each(|tenant| *counts.entry(tenant).or_default() += 1);
    counts
}

#[test]
fn the_example_of_the_paper_comes_out() {
    // Nine processors and 18 GB; A's tasks want 1 and 4, B's 3 and 1: three of A's and two of B's, each with two thirds of what it uses most of.
    let cluster = cluster(&[("n", "9", 18, json!({}))]);
    let mut queue: Vec<_> = (0..6).map(|number| pod(&format!("a/a{number}"), "1", 4, json!({}))).collect();
    queue.extend((0..6).map(|number| pod(&format!("b/b{number}"), "3", 1, json!({}))));
    assert_eq!(counts(&answer(&FairShare, &cluster, &queue)), BTreeMap::from([('a', 3), ('b', 2)]));
}

#[test]
fn what_a_namespace_has_already_counts() {
    let mut cluster = cluster(&[("n", "10", 100, json!({}))]);
    for number in 0..4 {
        cluster.place(pod(&format!("a/running-{number}"), "1", 1, json!({})), &NodeName::from("n"));
    }
    let queue: Vec<_> = (0..4)
        .flat_map(|number| {
            ["a", "b"].map(|tenant| pod(&format!("{tenant}/{tenant}{number}"), "1", 1, json!({})))
        })
        .collect();
    let placed = answer(&FairShare, &cluster, &queue);
    assert_eq!(counts(&placed), BTreeMap::from([('a', 2), ('b', 4)]));
    assert!(placed[..4].iter().all(|one| one.starts_with('b')), "the poorer first: {placed:?}");
}

#[test]
fn a_gang_is_placed_whole_or_leaves_its_room_to_others() {
    let cluster = cluster(&[("x", "4", 8, json!({})), ("y", "4", 8, json!({}))]);
    let gang: Vec<_> = (0..3).map(|rank| member(&format!("a/rank-{rank}"), "gang", "3")).collect();
    let mut queue = gang.clone();
    queue.push(pod("a/small", "2", 1, json!({})));
    let placed = answer(&FairShare, &cluster, &queue);
    assert_eq!(placed, ["small on x"], "nothing of the gang is left behind");
    assert_eq!(answer(&FairShare, &cluster, &gang[..2]), ["rank-0 on x", "rank-1 on y"]);
}

#[test]
fn a_gang_waits_for_as_many_pods_as_its_group_says() {
    let mut cluster = cluster(&[("x", "8", 8, json!({}))]);
    let group = json!({"metadata": {"namespace": "a", "name": "gang"},
        "spec": {"schedulingPolicy": {"gang": {"minCount": 3}}}});
    cluster.keep(Arc::new(PodGroupView::from_api(&serde_json::from_value(group).unwrap())));
    let gang: Vec<_> = (0..3).map(|rank| member(&format!("a/rank-{rank}"), "gang", "2")).collect();
    assert!(answer(&FairShare, &cluster, &gang[..2]).is_empty());
    assert_eq!(answer(&FairShare, &cluster, &gang).len(), 3);
    // Those that run count: a pod that is made anew comes alone.
    cluster.place(gang[0].clone(), &NodeName::from("x"));
    cluster.place(gang[1].clone(), &NodeName::from("x"));
    assert_eq!(answer(&FairShare, &cluster, &gang[2..]), ["rank-2 on x"]);
}

#[test]
fn groups_of_the_same_name_in_two_namespaces_are_two() {
    let cluster = cluster(&[("x", "4", 8, json!({}))]);
    let queue = [member("a/a0", "gang", "3"), member("b/b0", "gang", "3")];
    assert_eq!(FairShare.place(&cluster, &queue).len(), 1);
}
