//! Tests of room, of scores and of hints.

use super::*;
use crate::testing::{asking, cluster, device_class, pod};
use crate::view::{DeviceClaimView, DeviceSliceView, NodeName};
use serde_json::{Value, json};

fn refusals(allocatable: Value, on_it: &[&str], asked: Value) -> Verdict {
    let mut cluster = cluster([json!({"status": {"allocatable": allocatable}})]);
    for (index, cpu) in on_it.iter().enumerate() {
        cluster.place(asking(&format!("old-{index}"), cpu, "0"), &NodeName::from("node"));
    }
    let pod = pod(json!({"spec": {"containers": [{"name": "c", "resources": {"requests": asked}}]}}));
    NodeResourcesFit::default().filter(&Cycle::new(&cluster), &pod, cluster.node("node").unwrap())
}

fn reject(kind: RejectionKind, reasons: &[&'static str]) -> Verdict {
    Verdict::Reject(Rejection {
        kind,
        reasons: reasons.iter().map(|reason| Cow::Borrowed(*reason)).collect(),
    })
}

#[test]
fn every_failing_resource_is_listed() {
    let verdict = refusals(
        json!({"cpu": "1", "memory": "1Gi", "pods": "1"}),
        &["900m"],
        json!({"cpu": "200m", "memory": "1Gi", "x.io/a": "0"}),
    );
    assert_eq!(verdict, reject(RejectionKind::Unschedulable, &["Too many pods", "Insufficient cpu"]));
}

#[test]
fn above_allocatable_is_unresolvable() {
    let verdict = refusals(json!({"cpu": "1", "pods": "9"}), &[], json!({"cpu": "2", "x.io/a": "1"}));
    let reasons = ["Insufficient cpu", "Insufficient x.io/a"];
    assert_eq!(verdict, reject(RejectionKind::Unresolvable, &reasons));
}

#[test]
fn zero_requests_are_never_checked_so_an_over_committed_node_takes_them() {
    let allocatable = json!({"cpu": "1", "memory": "1Gi", "pods": "9"});
    assert_eq!(refusals(allocatable.clone(), &["2"], json!({"memory": "1Gi"})), Verdict::Pass);
    assert_eq!(refusals(allocatable, &["2"], json!({})), Verdict::Pass);
}

#[test]
fn ignored_resources_and_groups_are_left_to_others() {
    let cluster = cluster([json!({})]);
    let plugin = NodeResourcesFit::default().ignoring(vec!["a.io/x".into()], vec!["b.io".into()]);
    let pod = pod(json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {
        "a.io/x": "1", "b.io/y": "1", "a.io/z": "1"}}}]}}));
    let verdict = plugin.filter(&Cycle::new(&cluster), &pod, cluster.node("node").unwrap());
    assert_eq!(verdict, reject(RejectionKind::Unresolvable, &["Insufficient a.io/z"]));
}

fn score(plugin: &NodeResourcesFit, allocatable: Value, used: (&str, &str), asked: (&str, &str)) -> i64 {
    let mut cluster = cluster([json!({"status": {"allocatable": allocatable}})]);
    cluster.place(asking("old", used.0, used.1), &NodeName::from("node"));
    plugin.score(&Cycle::new(&cluster), &asking("new", asked.0, asked.1), cluster.node("node").unwrap()).0
}

#[test]
fn least_allocated_truncates_each_resource_and_the_mean() {
    let plugin = NodeResourcesFit::default();
    for (allocatable, used, asked, expected) in [
        // cpu ⌊(4000−2000)·100/4000⌋ = 50, memory ⌊(10000−5000)·100/10000⌋ = 50
        (json!({"cpu": "4", "memory": "10000"}), ("1", "2000"), ("1", "3000"), 50),
        // cpu ⌊1000·100/3000⌋ = 33, memory ⌊2·100/3⌋ = 66, mean ⌊99/2⌋ = 49
        (json!({"cpu": "3", "memory": "3"}), ("1", "0"), ("1", "1"), 49),
        // cpu over-committed gives 0, memory 100
        (json!({"cpu": "1", "memory": "3"}), ("1", "0"), ("1", "0"), 50),
        (json!({"cpu": "1"}), ("1", "0"), ("1", "0"), 0),
        // memory is not offered and drops out of both sums
        (json!({"cpu": "4"}), ("1", "0"), ("1", "0"), 50),
        (json!({"pods": "1"}), ("1", "0"), ("1", "0"), 0),
    ] {
        assert_eq!(
            score(&plugin, allocatable.clone(), used, asked),
            expected,
            "{allocatable} {used:?} {asked:?}"
        );
    }
}

#[test]
fn most_allocated_clips_use_to_what_is_offered() {
    let plugin = NodeResourcesFit::with_strategy(ScoringStrategy::MostAllocated, cpu_and_memory());
    let allocatable = json!({"cpu": "3", "memory": "3"});
    // cpu ⌊2000·100/3000⌋ = 66, memory clipped = 100, mean 83
    assert_eq!(score(&plugin, allocatable, ("1", "2"), ("1", "2")), 83);
}

#[test]
fn requested_to_capacity_ratio_rounds_the_mean_and_leaves_worthless_resources_out() {
    let points = [(0, 0), (50, 0), (100, 10)].map(|(utilization, score)| ShapePoint { utilization, score });
    let shape = Shape::new(points.into()).unwrap();
    let ratio = ScoringStrategy::RequestedToCapacityRatio(shape);
    let mut scored = cpu_and_memory();
    let plugin = NodeResourcesFit::with_strategy(ratio.clone(), scored.clone());
    let allocatable = json!({"cpu": "4", "memory": "100"});
    // cpu 75 % is worth 50, memory 20 % nothing and does not count
    assert_eq!(score(&plugin, allocatable.clone(), ("2", "10"), ("1", "10")), 50);
    // cpu 50, memory beyond what there is 100, weights 1 and 3: 87.5 rounds to 88
    scored[1].weight = 3;
    let plugin = NodeResourcesFit::with_strategy(ratio, scored);
    assert_eq!(score(&plugin, allocatable, ("2", "90"), ("1", "90")), 88);
}

#[test]
fn a_scalar_that_the_pod_does_not_request_is_left_out() {
    let gpu = ScoredResource { name: ResourceName::Scalar("x.io/gpu".into()), weight: 10 };
    let mut scored = cpu_and_memory();
    scored.push(gpu);
    let plugin = NodeResourcesFit::with_strategy(ScoringStrategy::LeastAllocated, scored);
    let allocatable = json!({"cpu": "4", "memory": "4", "x.io/gpu": "8"});
    assert_eq!(score(&plugin, allocatable, ("1", "1"), ("1", "1")), 50);
}

#[test]
fn containers_without_requests_count_100m_and_200_mib_in_scoring() {
    let cluster = cluster([json!({"status": {"allocatable": {"cpu": "1", "memory": "2000Mi"}}})]);
    let plugin = NodeResourcesFit::default();
    let points = plugin.score(&Cycle::new(&cluster), &pod(json!({})), cluster.node("node").unwrap());
    assert_eq!(points, Points(90));
}

#[test]
fn hints_wake_a_pod_for_nodes_it_fits_and_for_freed_requests() {
    use crate::testing::node;
    let plugin = NodeResourcesFit::default();
    let pod = asking("p", "2", "0");
    let sized = |cpu: &str| node(json!({"status": {"allocatable": {"cpu": cpu, "pods": "10"}}}));
    for (event, expected) in [
        (ClusterEvent::NodeAdded(sized("1")), Hint::Skip),
        (ClusterEvent::NodeAdded(sized("2")), Hint::Queue),
        (ClusterEvent::NodeUpdated { old: sized("2"), new: sized("2") }, Hint::Skip),
        (ClusterEvent::NodeUpdated { old: sized("2"), new: sized("3") }, Hint::Queue),
        (ClusterEvent::AssignedPodDeleted(asking("q", "1", "0")), Hint::Queue),
        (
            ClusterEvent::AssignedPodUpdated { old: asking("q", "2", "0"), new: asking("q", "1", "0") },
            Hint::Queue,
        ),
        (
            ClusterEvent::AssignedPodUpdated { old: asking("q", "1", "9"), new: asking("q", "1", "1") },
            Hint::Skip,
        ),
    ] {
        assert_eq!(plugin.hint(&ClusterView::default(), &pod, &event), expected, "{event:?}");
    }
}

#[test]
fn pods_on_the_node_that_ask_for_nothing_count_100m_and_200_mib_as_well() {
    let mut cluster = cluster([json!({"status": {"allocatable": {"cpu": "1", "memory": "2000Mi"}}})]);
    cluster.place(pod(json!({"metadata": {"name": "old"}})), &NodeName::from("node"));
    let plugin = NodeResourcesFit::default();
    let points = plugin.score(&Cycle::new(&cluster), &pod(json!({})), cluster.node("node").unwrap());
    assert_eq!(points, Points(80));
}

#[test]
fn storage_and_extended_resources_count_as_they_are_requested() {
    let gpu = ResourceName::Scalar("x.io/gpu".into());
    for (field, name) in [("ephemeral-storage", ResourceName::EphemeralStorage), ("x.io/gpu", gpu)] {
        let wanting = |pod_name: &str, amount: &str| {
            pod(json!({"metadata": {"name": pod_name}, "spec": {"containers": [
                {"name": "c", "resources": {"requests": {(field): amount}}}]}}))
        };
        let mut cluster = cluster([json!({"status": {"allocatable": {(field): "10"}}})]);
        cluster.place(wanting("old", "3"), &NodeName::from("node"));
        let scored = vec![ScoredResource { name, weight: 1 }];
        let plugin = NodeResourcesFit::with_strategy(ScoringStrategy::LeastAllocated, scored);
        let node = cluster.node("node").unwrap();
        assert_eq!(plugin.score(&Cycle::new(&cluster), &wanting("new", "2"), node), Points(50), "{field}");
    }
}

/// Nodes that offer 4 of `x.io/gpu`, none, and say nothing of it; the class `gpu` stands for it, and the last has two devices
/// of which one is had.
fn with_devices() -> ClusterView {
    let offering = |name: &str, more: Value| {
        let mut allocatable = json!({"cpu": "4", "memory": "4", "pods": "9"});
        allocatable.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"metadata": {"name": name}, "status": {"allocatable": allocatable}})
    };
    let mut cluster = cluster([
        offering("own", json!({"x.io/gpu": "4"})),
        offering("zero", json!({"x.io/gpu": "0"})),
        offering("bare", json!({})),
    ]);
    cluster
        .keep(device_class(json!({"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "x.io/gpu",
        "selectors": [{"cel": {"expression": "device.driver == 'd.io'"}}]}})));
    for driver in ["d.io", "other.io"] {
        let slice = json!({"metadata": {"name": driver}, "spec": {"driver": driver, "nodeName": "bare",
            "pool": {"name": "bare", "generation": 1, "resourceSliceCount": 1}, "devices": [{"name": "a"}, {"name": "b"}]}});
        cluster.keep(Arc::new(DeviceSliceView::from_api(&serde_json::from_value(slice).unwrap())));
    }
    let claim = json!({"metadata": {"name": "c"}, "spec": {}, "status": {"allocation": {"devices": {"results": [
        {"driver": "d.io", "pool": "bare", "device": "a", "request": "r"}]}}}});
    cluster.keep(Arc::new(DeviceClaimView::from_api(&serde_json::from_value(claim).unwrap())));
    cluster
}

fn wanting_gpus(count: &str) -> Arc<PodView> {
    pod(
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1", "x.io/gpu": count}}}]}}),
    )
}

#[test]
fn a_resource_that_a_class_stands_for_is_left_to_devices_where_a_node_offers_none_of_it() {
    let cluster = with_devices();
    let said = |plugin: &NodeResourcesFit, count: &str| {
        let pod = wanting_gpus(count);
        let filter = |name: &str| plugin.filter(&Cycle::new(&cluster), &pod, cluster.node(name).unwrap());
        ["own", "zero", "bare"].map(filter)
    };
    let refused = reject(RejectionKind::Unresolvable, &["Insufficient x.io/gpu"]);
    let plugin = NodeResourcesFit::default();
    assert_eq!(said(&plugin, "4"), [Verdict::Pass, Verdict::Pass, Verdict::Pass]);
    assert_eq!(said(&plugin, "5"), [refused.clone(), Verdict::Pass, Verdict::Pass]);
    let before = NodeResourcesFit::default().as_of(Version::V1_35);
    assert_eq!(said(&before, "4"), [Verdict::Pass, refused.clone(), refused]);
}

#[test]
fn devices_that_stand_for_a_resource_count_in_scoring() {
    let cluster = with_devices();
    let gpu = || vec![ScoredResource { name: ResourceName::Scalar("x.io/gpu".into()), weight: 1 }];
    let points = |plugin: &NodeResourcesFit| {
        let (mut cycle, pod) = (Cycle::new(&cluster), wanting_gpus("1"));
        assert_eq!(plugin.pre_score(&mut cycle, &pod, &[]), PreScored::Score);
        ["own", "zero", "bare"].map(|name| plugin.score(&cycle, &pod, cluster.node(name).unwrap()).0)
    };
    // Of four one would be used, which is 25; of two devices of the class one is had and one would be, which is all.
    let plugin = || NodeResourcesFit::with_strategy(ScoringStrategy::MostAllocated, gpu());
    assert_eq!(points(&plugin()), [25, 0, 100]);
    assert_eq!(points(&plugin().as_of(Version::V1_35)), [25, 0, 0]);
    let balanced = |version| {
        let mut both = gpu();
        both.push(ScoredResource { name: ResourceName::Cpu, weight: 1 });
        let plugin = crate::plugins::NodeResourcesBalancedAllocation::over(version, both);
        let (mut cycle, pod) = (Cycle::new(&cluster), wanting_gpus("1"));
        plugin.pre_score(&mut cycle, &pod, &[]);
        plugin.score(&cycle, &pod, cluster.node("bare").unwrap()).0
    };
    // cpu 0 and devices 0.5 before, 0.25 and 1 after: 75 and 62, so 50 + (50 − 13)/2.
    assert_eq!((balanced(Version::V1_36), balanced(Version::V1_35)), (68, 100));
}

#[test]
fn a_class_that_comes_to_stand_for_a_resource_wakes_those_who_ask_for_it() {
    use crate::testing::node;
    let cluster = with_devices();
    let class = |name: &str, resource: &str| {
        device_class(json!({"metadata": {"name": name}, "spec": {"extendedResourceName": resource}}))
    };
    let by_name = pod(json!({"spec": {"containers": [{"name": "c",
        "resources": {"requests": {"deviceclass.resource.kubernetes.io/new": "1"}}}]}}));
    let wants = wanting_gpus("1");
    let came = |new| ClusterEvent::DeviceClassChanged { old: None, new };
    let changed = |old, new| ClusterEvent::DeviceClassChanged { old: Some(old), new };
    for (pod, event, expected) in [
        (&wants, came(class("new", "x.io/gpu")), Hint::Queue),
        (&wants, came(class("new", "x.io/other")), Hint::Skip),
        (&wants, changed(class("new", "x.io/other"), class("new", "x.io/gpu")), Hint::Queue),
        (&wants, changed(class("new", "x.io/gpu"), class("new", "x.io/gpu")), Hint::Skip),
        (&by_name, came(class("new", "x.io/other")), Hint::Queue),
        (&by_name, changed(class("new", "a.io/a"), class("new", "b.io/b")), Hint::Skip),
        // A node that offers none is one that may have devices, if a class stands for them.
        (&wants, ClusterEvent::NodeAdded(node(json!({}))), Hint::Queue),
    ] {
        assert_eq!(NodeResourcesFit::default().hint(&cluster, pod, &event), expected, "{event:?}");
    }
    let event = ClusterEvent::NodeAdded(node(json!({})));
    let nothing = ClusterView::default();
    assert_eq!(NodeResourcesFit::default().hint(&nothing, &wants, &event), Hint::Skip);
    let before = NodeResourcesFit::default().as_of(Version::V1_35);
    assert_eq!(before.hint(&cluster, &wants, &came(class("new", "x.io/gpu"))), Hint::Skip);
}

#[test]
fn a_weight_of_zero_counts_as_one() {
    let mut scored = cpu_and_memory();
    scored[0].weight = 0;
    let plugin = NodeResourcesFit::with_strategy(ScoringStrategy::LeastAllocated, scored);
    // cpu 50, memory 100
    assert_eq!(score(&plugin, json!({"cpu": "4", "memory": "4"}), ("1", "0"), ("1", "0")), 75);
}
