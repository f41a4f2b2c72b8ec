use super::*;
use crate::synthetic::{Campaign, Happening, History, compare};
use crate::testing::{asking, cluster};
use crate::view::{ClaimReference, ClaimView, CsiNodeView, DeviceSliceView, Mounts, VolumeView};
use serde_json::json;

/// A fixed number of histories; longer campaigns are run with `examples/engines.rs`.
#[test]
fn both_engines_see_and_choose_the_same() {
    let campaign = Campaign::run(1, 6_000).unwrap_or_else(|difference| panic!("{difference}"));
    assert!(campaign.indexed * 3 > campaign.decisions, "the index hardly speaks: {campaign:?}");
    assert!(campaign.placed * 4 > campaign.decisions, "hardly any pod is placed: {campaign:?}");
    assert!(campaign.translated > 20, "hardly any device stands for a resource: {campaign:?}");
}

/// Takes another node than it should whenever there are exactly three to choose from.
#[derive(Debug)]
struct Wayward(ReferenceEngine);

impl Engine for Wayward {
    fn place(&mut self, profile: &Profile, cycle: &mut Cycle<'_>, pod: &PodView) -> Outcome {
        let outcome = self.0.place(profile, cycle, pod);
        match outcome {
            Outcome::Chosen(choice) if choice.feasible == 3 => {
                let other = cycle.cluster().nodes().find(|node| *node.name() != choice.node);
                let node = other.map_or(choice.node.clone(), |node| node.name().clone());
                Outcome::Chosen(Choice { node, ..choice })
            }
            outcome => outcome,
        }
    }

    fn explain<'a>(
        &self,
        profile: &'a Profile,
        cluster: &'a ClusterView,
        pod: &'a PodView,
    ) -> Explanation<'a> {
        self.0.explain(profile, cluster, pod)
    }
}

#[test]
fn an_engine_that_errs_is_found_out_with_a_short_history() {
    let erring = |seed| -> Box<dyn Engine> { Box::new(Wayward(ReferenceEngine::seeded(seed))) };
    let found =
        (0..20).find_map(|seed| compare(&History::seeded(seed, 60), &erring).err()).expect("a difference");
    let happenings = &found.history.happenings;
    let nodes = happenings.iter().filter(|one| matches!(one, Happening::Node(_))).count();
    assert_eq!(nodes, 3, "{found}");
    assert_eq!(happenings.len(), 4, "{found}");
}

#[test]
fn pods_alike_are_placed_from_the_index() {
    let cluster = cluster([json!({})]);
    let mut engine = FastEngine::seeded(0);
    let outcome = engine.place(&Profile::default(), &mut Cycle::new(&cluster), &asking("p", "1", "1"));
    assert!(matches!(outcome, Outcome::Chosen(_)));
    assert_eq!(engine.tally(), Tally { indexed: 1, scanned: 0 });
}

/// Both engines decide about the pod; the outcome, and how the fast one came to it.
fn both(cluster: &ClusterView, pod: &PodView) -> (Outcome, Tally) {
    let (profile, mut fast) = (Profile::default(), FastEngine::seeded(3));
    let outcome = fast.place(&profile, &mut Cycle::new(cluster), pod);
    let expected = ReferenceEngine::seeded(3).place(&profile, &mut Cycle::new(cluster), pod);
    assert_eq!(outcome, expected);
    (outcome, fast.tally())
}

#[test]
fn as_long_as_a_class_stands_for_what_a_pod_asks_for_the_reference_decides() {
    let mut cluster = cluster([
        json!({"status": {"allocatable": {"cpu": "4", "pods": "9", "x.io/gpu": "2"}}}),
        json!({"metadata": {"name": "bare"}}),
    ]);
    let wanting = crate::testing::pod(
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"x.io/gpu": "1"}}}]}}),
    );
    let class = crate::testing::device_class(
        json!({"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "x.io/gpu"}}),
    );
    let (profile, mut fast) = (Profile::default(), FastEngine::seeded(3));
    let mut feasible = |cluster: &ClusterView| {
        let outcome = fast.place(&profile, &mut Cycle::new(cluster), &wanting);
        let Outcome::Chosen(choice) = outcome else { panic!("{outcome:?}") };
        (choice.feasible, fast.tally().indexed, fast.tally().scanned)
    };
    assert_eq!(feasible(&cluster), (1, 1, 0));
    cluster.keep(class.clone());
    let slice = json!({"metadata": {"name": "s"}, "spec": {"driver": "d.io", "allNodes": true, "devices": [{"name": "d"}],
        "pool": {"name": "all", "generation": 1, "resourceSliceCount": 1}}});
    cluster.keep(std::sync::Arc::new(DeviceSliceView::from_api(&serde_json::from_value(slice).unwrap())));
    assert_eq!(feasible(&cluster), (2, 1, 1), "the device is within reach of the other node");
    // What the index holds of such pods is right again.
    cluster.forget::<crate::view::DeviceClassView>(&class.name);
    assert_eq!(feasible(&cluster), (1, 2, 1));
}

fn important(name: &str, cpu: &str, priority: i32) -> PodView {
    let mut pod = PodView::clone(&asking(name, cpu, "1"));
    pod.priority = crate::unit::Priority(priority);
    pod
}

#[test]
fn a_pod_that_no_node_can_take_is_refused_from_the_index_with_the_same_words() {
    let cluster = cluster(["a", "b"].map(|name| json!({"metadata": {"name": name}})));
    let (outcome, tally) = both(&cluster, &asking("p", "900", "1"));
    let Outcome::Rejected(diagnosis) = outcome else { panic!("{outcome:?}") };
    assert_eq!((tally.indexed, tally.scanned, diagnosis.nodes.len()), (1, 0, 2));
}

#[test]
fn victims_are_found_from_the_index_and_are_the_same() {
    let mut cluster = cluster(["a", "b"].map(|name| json!({"metadata": {"name": name}})));
    for (name, node, priority) in [("p", "a", 5), ("q", "a", 0), ("r", "b", 1), ("s", "b", 2)] {
        cluster.place(std::sync::Arc::new(important(name, "2", priority)), &NodeName::from(node));
    }
    let (outcome, tally) = both(&cluster, &important("new", "4", 10));
    let Outcome::Rejected(diagnosis) = outcome else { panic!("{outcome:?}") };
    assert_eq!((diagnosis.nominated.as_deref(), tally.indexed), (Some("b"), 1));
    assert_eq!(diagnosis.victims.len(), 2);
}

/// A cluster of two nodes in zones of their own that take one volume each, with two volumes that only the second reaches.
fn with_volumes() -> ClusterView {
    let node = |name: &str| json!({"metadata": {"name": name, "labels": {"zone": name}}});
    let mut cluster = cluster(["a", "b"].map(node));
    for name in ["a", "b"] {
        let stated = json!({"metadata": {"name": name},
            "spec": {"drivers": [{"name": "d", "nodeID": name, "allocatable": {"count": 1}}]}});
        cluster.keep(std::sync::Arc::new(CsiNodeView::from_api(&serde_json::from_value(stated).unwrap())));
    }
    for name in ["one", "two"] {
        let claim = json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"volumeName": name},
            "status": {"phase": "Bound"}});
        let zone = json!({"key": "zone", "operator": "In", "values": ["b"]});
        let volume = json!({"metadata": {"name": name}, "spec": {"csi": {"driver": "d", "volumeHandle": name},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [zone]}]}}}});
        let claim = ClaimView::from_api(&serde_json::from_value(claim).unwrap()).unwrap();
        let volume = VolumeView::from_api(&serde_json::from_value(volume).unwrap()).unwrap();
        cluster.keep(std::sync::Arc::new(claim));
        cluster.keep(std::sync::Arc::new(volume));
    }
    cluster
}

fn mounting(name: &str, claim: &str) -> PodView {
    let claims = vec![ClaimReference { name: claim.into(), ephemeral: false }];
    let mounts = std::sync::Arc::new(Mounts { claims, disks: Vec::new() });
    PodView { mounts, ..PodView::clone(&asking(name, "1", "1")) }
}

#[test]
fn a_pod_with_a_volume_is_placed_from_the_index_where_its_volume_is_reached() {
    let (outcome, tally) = both(&with_volumes(), &mounting("p", "one"));
    let Outcome::Chosen(choice) = outcome else { panic!("{outcome:?}") };
    assert_eq!((&*choice.node, choice.feasible, tally.indexed), ("b", 1, 1));
}

#[test]
fn volumes_that_a_node_takes_no_more_of_are_seen_when_pods_come_and_nodes_state_other_limits() {
    let (mut cluster, profile) = (with_volumes(), Profile::default());
    let (mut fast, mut reference) = (FastEngine::seeded(3), ReferenceEngine::seeded(3));
    let mut chosen = |cluster: &ClusterView, pod: &PodView| {
        let outcome = fast.place(&profile, &mut Cycle::new(cluster), pod);
        assert_eq!(outcome, reference.place(&profile, &mut Cycle::new(cluster), pod));
        matches!(outcome, Outcome::Chosen(_))
    };
    assert!(chosen(&cluster, &mounting("p", "one")));
    cluster.place(std::sync::Arc::new(mounting("p", "one")), &NodeName::from("b"));
    assert!(!chosen(&cluster, &mounting("q", "two")));
    assert!(chosen(&cluster, &mounting("r", "one")), "the volume is there already");
    cluster.forget::<CsiNodeView>(&NodeName::from("b"));
    assert!(chosen(&cluster, &mounting("q", "two")));
}
