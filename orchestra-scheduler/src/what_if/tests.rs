//! Whatever was done and undone, what is left is what would have come about without it.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::{asking, cluster, node};

/// One thing that is done.
#[derive(Clone, Debug)]
enum Deed {
    Place(u8),
    Put(u8, u8),
    Evict(u8),
    Node(u8, u8),
    Lose(u8),
    Drain(u8),
    Mark,
    Undo,
    Keep,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0..30_u8).prop_map(Deed::Place),
        2 => (0..30_u8, 0..8_u8).prop_map(|(pod, node)| Deed::Put(pod, node)),
        3 => (0..30_u8).prop_map(Deed::Evict),
        1 => (0..8_u8, 0..3_u8).prop_map(|(node, zone)| Deed::Node(node, zone)),
        1 => (0..8_u8).prop_map(Deed::Lose),
        1 => (0..8_u8).prop_map(Deed::Drain),
        3 => Just(Deed::Mark),
        3 => Just(Deed::Undo),
        1 => Just(Deed::Keep),
    ]
}

fn facts(number: u8, zone: u8) -> Arc<NodeFacts> {
    node(json!({"metadata": {"name": format!("n{number}"), "labels": {
        "topology.kubernetes.io/zone": format!("z{zone}"), "kubernetes.io/hostname": format!("n{number}")}}}))
}

/// Made once, for reading objects takes longer than everything else here.
fn pod(number: u8) -> Arc<PodView> {
    static PODS: LazyLock<Vec<Arc<PodView>>> = LazyLock::new(|| (0..30).map(made).collect());
    PODS[usize::from(number)].clone()
}

fn made(number: u8) -> Arc<PodView> {
    let cpu = ["500m", "1", "2"][usize::from(number) % 3];
    match number % 5 {
        0 => crate::testing::pod(
            json!({"metadata": {"name": format!("p{number}"), "labels": {"app": "web"}}, "spec": {
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}]}},
            "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}),
        ),
        _ => asking(&format!("p{number}"), cpu, "1Gi"),
    }
}

fn fresh() -> WhatIf {
    let mut cluster = ClusterView::default();
    (0..5).for_each(|number| drop(cluster.set_node(facts(number, number % 3))));
    WhatIf::new(&cluster, Profile::default())
}

/// Does something; where a pod went is written into the deed, so that it can be done again as it was.
fn act(what_if: &mut WhatIf, deed: &Deed) -> Option<Deed> {
    match deed {
        Deed::Place(number) => {
            what_if.evict(&pod(*number).uid);
            let Outcome::Chosen(choice) = what_if.place(&pod(*number)) else {
                return Some(Deed::Evict(*number));
            };
            let place = choice.node.trim_start_matches('n').parse().unwrap();
            return Some(Deed::Put(*number, place));
        }
        Deed::Put(number, place) => what_if.put(pod(*number), &facts(*place, 0).name),
        Deed::Evict(number) => drop(what_if.evict(&pod(*number).uid)),
        Deed::Node(number, zone) => what_if.set_node(facts(*number, *zone)),
        Deed::Lose(number) => drop(what_if.remove_node(&facts(*number, 0).name)),
        Deed::Drain(number) => drop(what_if.drain(&facts(*number, 0).name)),
        Deed::Mark | Deed::Undo | Deed::Keep => return None,
    }
    Some(deed.clone())
}

/// All that can be seen of a cluster.
fn seen(cluster: &ClusterView) -> Vec<String> {
    let nodes = cluster.nodes().map(|node| {
        let pods: Vec<_> = node.pods().iter().map(|pod| &*pod.uid).collect();
        let affine: Vec<_> = node.pods_with_affinity().iter().map(|pod| &*pod.uid).collect();
        let facts = (node.name(), node.facts().zone());
        format!("{facts:?} {pods:?} {affine:?} {:?} {:?}", node.requested(), node.occupied())
    });
    let pods = (0..30).map(|number| format!("{number} {:?}", cluster.node_of(&pod(number).uid)));
    let names =
        (0..8).map(|number| format!("{:?}", cluster.node(&format!("n{number}")).map(|node| node.name())));
    let strays = (0..8).flat_map(|place| (0..30).map(move |number| (place, number)));
    let strays = strays.map(|(place, number)| {
        format!("{:?}", cluster.stray(&format!("n{place}"), &pod(number).uid).map(|pod| pod.uid.clone()))
    });
    let counts = format!("{} {}", cluster.node_count(), cluster.pod_count());
    nodes.chain(pods).chain(names).chain(strays).chain([counts]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_left_after_any_deeds_is_what_a_fresh_view_would_be(deeds in prop::collection::vec(deed(), 1..60)) {
        let (mut what_if, mut done, mut marks) = (fresh(), Vec::new(), Vec::new());
        for deed in deeds {
            match deed {
                Deed::Mark => {
                    what_if.mark();
                    marks.push(done.len());
                }
                Deed::Undo => {
                    let mark = marks.pop();
                    prop_assert_eq!(what_if.undo(), mark.is_some());
                    done.truncate(mark.unwrap_or(done.len()));
                }
                Deed::Keep => prop_assert_eq!(what_if.keep(), marks.pop().is_some()),
                deed => {
                    done.extend(act(&mut what_if, &deed));
                    continue;
                }
            }
            let mut again = fresh();
            for deed in &done {
                act(&mut again, deed);
            }
            prop_assert_eq!(seen(what_if.cluster()), seen(again.cluster()));
            // The index followed all of it: it says what one that is made anew says.
            for number in [1, 5, 11] {
                prop_assert_eq!(what_if.ask(&pod(number)), again.ask(&pod(number)));
            }
        }
    }
}

fn four() -> WhatIf {
    let nodes = ["a", "b"].map(|name| json!({"metadata": {"name": name}}));
    WhatIf::new(&cluster(nodes), Profile::default())
}

#[test]
fn a_gang_is_placed_whole_or_not_at_all() {
    let mut what_if = four();
    let gang: Vec<_> = (0..3).map(|rank| asking(&format!("rank-{rank}"), "3", "1Gi")).collect();
    let refused = what_if.place_all(&gang).unwrap_err();
    assert_eq!(refused.to_string(), "there is no room for default/rank-2");
    assert_eq!(what_if.cluster().pod_count(), 0);
    assert_eq!(what_if.place_all(&gang[..2]).unwrap().len(), 2);
    assert_eq!(what_if.cluster().pod_count(), 2);
}

#[test]
fn nodes_are_counted_and_not_left_behind() {
    let (mut what_if, shape) = (four(), node(json!({"metadata": {"name": "new"}})));
    let pods: Vec<_> = (0..9).map(|number| asking(&format!("p{number}"), "2", "1Gi")).collect();
    assert_eq!(what_if.nodes_needed(&shape, &pods[..4], 10).unwrap(), 0);
    assert_eq!(what_if.nodes_needed(&shape, &pods, 10).unwrap(), 3);
    assert_eq!(what_if.nodes_needed(&shape, &pods, 2).unwrap_err().pod.key.to_string(), "default/p8");
    let giant = [asking("giant", "5", "1Gi")];
    assert!(what_if.nodes_needed(&shape, &giant, 10).is_err(), "no node of this shape is large enough");
    assert_eq!((what_if.cluster().node_count(), what_if.cluster().pod_count()), (2, 0));
}

#[test]
fn victims_are_those_that_preemption_would_choose() {
    let mut what_if = four();
    let named = |name: &str, cpu: &str, priority: i32| {
        crate::testing::pod(json!({"metadata": {"name": name}, "spec": {"priority": priority, "containers": [
            {"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}))
    };
    for (pod, node) in [(named("low", "4", 0), "a"), (named("high", "4", 50), "b")] {
        what_if.put(pod, &NodeName::from(node));
    }
    let (node, victims) = what_if.victims(&named("mid", "2", 10)).unwrap();
    assert_eq!((&*node, victims), ("a", BTreeSet::from([PodUid::from("low")])));
    assert_eq!(what_if.victims(&named("lowest", "2", 0)), None);
}
