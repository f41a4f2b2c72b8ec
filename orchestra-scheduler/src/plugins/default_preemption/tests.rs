//! Tests of preemption against the statements about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Profile;
use crate::engine::{Engine, ReferenceEngine};
use crate::outcome::Outcome;
use crate::testing::{cluster, pod};
use crate::view::{ClusterView, NodeName};

/// A pod with a priority that asks for CPUs; `more` is added to it.
fn made(name: &str, priority: i32, cpu: i64, more: Value) -> Arc<PodView> {
    let mut object = json!({"metadata": {"name": name, "labels": {"app": name.split('-').next()}},
        "spec": {"priority": priority, "containers": [
            {"name": "c", "resources": {"requests": {"cpu": cpu.to_string()}}}]}});
    for (field, value) in more.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(fields) => fields.iter().for_each(|(key, value)| object[field][key] = value.clone()),
            None => object[field] = value.clone(),
        }
    }
    pod(object)
}

fn preemptor() -> Arc<PodView> {
    made("new", 100, 4, json!({}))
}

/// Nodes of 4 CPUs with these pods on each.
fn full(nodes: &[(&str, Vec<Arc<PodView>>)]) -> ClusterView {
    let mut cluster = cluster(nodes.iter().map(|(name, _)| json!({"metadata": {"name": name}})));
    for (name, pods) in nodes {
        pods.iter().for_each(|pod| cluster.place(pod.clone(), &NodeName::from(*name)));
    }
    cluster
}

fn attempt(cluster: &ClusterView, pod: &PodView) -> Diagnosis {
    match ReferenceEngine::seeded(1).place(&Profile::default(), &mut Cycle::new(cluster), pod) {
        Outcome::Rejected(diagnosis) => diagnosis,
        other => panic!("{other:?}"),
    }
}

/// The node and the victims, by name.
fn preempted(cluster: &ClusterView, pod: &PodView) -> Option<(String, Vec<String>)> {
    let diagnosis = attempt(cluster, pod);
    let victims = diagnosis.victims.iter().map(|victim| victim.key.name.to_string()).collect();
    diagnosis.nominated.map(|node| (node.to_string(), victims))
}

fn expected(node: &str, victims: &[&str]) -> Option<(String, Vec<String>)> {
    Some((node.to_owned(), victims.iter().map(ToString::to_string).collect()))
}

fn started(second: u32) -> Value {
    json!({"status": {"startTime": format!("2026-01-01T00:00:{second:02}Z")}})
}

fn budget(app: &str, allowed: i32) -> Arc<BudgetView> {
    let budget = json!({"metadata": {"name": app, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}});
    Arc::new(BudgetView::from_api(&serde_json::from_value(budget).unwrap()))
}

#[test]
fn as_many_as_possible_of_the_lesser_pods_stay_the_important_ones_first() {
    let on_it = vec![
        made("low", 1, 1, json!({})),
        made("mid", 5, 1, json!({})),
        made("high", 9, 1, json!({})),
        made("above", 200, 1, json!({})),
    ];
    let cluster = full(&[("a", on_it)]);
    assert_eq!(preempted(&cluster, &made("new", 100, 1, json!({}))), expected("a", &["low"]));
    assert_eq!(preempted(&cluster, &made("new", 100, 2, json!({}))), expected("a", &["mid", "low"]));
    assert_eq!(preempted(&cluster, &preemptor()), None, "the more important pod cannot go");
}

#[test]
fn of_equal_priority_the_pod_that_started_last_goes_first() {
    let on_it = vec![
        made("waiting", 1, 1, json!({})),
        made("young", 1, 1, started(9)),
        made("old", 1, 2, started(1)),
    ];
    let cluster = full(&[("a", on_it)]);
    assert_eq!(preempted(&cluster, &made("new", 9, 1, json!({}))), expected("a", &["waiting"]));
    assert_eq!(preempted(&cluster, &made("new", 9, 2, json!({}))), expected("a", &["young", "waiting"]));
}

#[test]
fn pods_that_a_budget_protects_are_put_back_first() {
    let mut cluster = full(&[("a", vec![made("web", 1, 2, json!({})), made("db", 5, 2, json!({}))])]);
    cluster.keep(budget("web", 0));
    assert_eq!(preempted(&cluster, &made("new", 9, 2, json!({}))), expected("a", &["db"]));
}

#[test]
fn a_budget_is_used_up_in_the_order_of_importance() {
    let on_it = vec![made("web-1", 1, 2, json!({})), made("web-2", 2, 2, json!({}))];
    let mut cluster = full(&[("a", on_it), ("b", vec![made("db", 50, 4, json!({}))])]);
    cluster.keep(budget("web", 1));
    // On a the second of the two breaks the budget, so b is less harmful in spite of its priority.
    assert_eq!(preempted(&cluster, &preemptor()), expected("b", &["db"]));
    cluster.keep(budget("web", 2));
    assert_eq!(preempted(&cluster, &preemptor()), expected("a", &["web-2", "web-1"]));
}

#[test]
fn an_empty_selector_and_pods_counted_already_do_not_use_a_budget_up() {
    let object = json!({"metadata": {"name": "b", "namespace": "default"}, "spec": {"selector": {}}});
    let everybody = BudgetView::from_api(&serde_json::from_value(object).unwrap());
    assert!(!everybody.protects(&preemptor()));
    let object = json!({"metadata": {"name": "b", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "new"}}},
        "status": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
            "disruptedPods": {"new": "2026-01-01T00:00:00Z"}}});
    let counted = BudgetView::from_api(&serde_json::from_value(object).unwrap());
    assert!(!counted.protects(&preemptor()));
    assert!(budget("new", 0).protects(&preemptor()));
}

#[test]
fn the_least_important_foremost_victim_decides_next() {
    let cluster = full(&[
        ("a", vec![made("p", 9, 4, json!({}))]),
        ("b", vec![made("q", 5, 1, json!({})), made("r", 5, 3, json!({}))]),
    ]);
    assert_eq!(preempted(&cluster, &preemptor()).map(|(node, _)| node), Some("b".into()));
}

#[test]
fn then_the_least_sum_of_priorities_then_the_fewest_victims() {
    let cluster = full(&[
        ("a", vec![made("p", 5, 2, started(30)), made("q", 3, 2, started(30))]),
        ("b", vec![made("r", 5, 2, started(1)), made("s", 2, 2, started(1))]),
    ]);
    assert_eq!(preempted(&cluster, &preemptor()).map(|(node, _)| node), Some("b".into()));
    // Two negative priorities do not add up to less than one.
    let cluster = full(&[
        ("a", vec![made("p", -5, 2, json!({})), made("q", -5, 2, json!({}))]),
        ("b", vec![made("r", -5, 4, json!({}))]),
    ]);
    assert_eq!(preempted(&cluster, &preemptor()), expected("b", &["r"]));
}

#[test]
fn last_the_foremost_victims_that_have_run_the_shortest() {
    let cluster = full(&[
        ("a", vec![made("p", 5, 4, started(1))]),
        ("b", vec![made("q", 5, 4, started(30))]),
        ("c", vec![made("r", 5, 4, started(20))]),
    ]);
    assert_eq!(preempted(&cluster, &preemptor()), expected("b", &["q"]));
}

#[test]
fn when_evicting_helps_nowhere_the_message_says_why_node_by_node() {
    let mut cluster = full(&[("a", vec![made("vip", 900, 4, json!({}))]), ("b", Vec::new())]);
    cluster.set_node(crate::testing::node(json!({"metadata": {"name": "b"},
        "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}})));
    assert_eq!(
        attempt(&cluster, &preemptor()).message(),
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s). no new claims to \
         deallocate, preemption: \
         0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for \
         scheduling."
    );
}

#[test]
fn a_node_that_would_not_do_even_without_its_lesser_pods_says_what_is_missing() {
    let cluster = full(&[("a", vec![made("vip", 900, 2, json!({})), made("low", 1, 2, json!({}))])]);
    assert_eq!(
        attempt(&cluster, &preemptor()).message(),
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to \
         deallocate, preemption: 0/1 nodes are available: 1 Insufficient cpu."
    );
}

#[test]
fn a_pod_that_never_preempts_waits() {
    let cluster = full(&[("a", vec![made("low", 1, 4, json!({}))])]);
    let pod = made("new", 100, 4, json!({"spec": {"preemptionPolicy": "Never"}}));
    let diagnosis = attempt(&cluster, &pod);
    assert_eq!(diagnosis.nominated, None);
    assert_eq!(
        diagnosis.message(),
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to \
         deallocate, preemption: not eligible due to preemptionPolicy=Never."
    );
}

#[test]
fn a_pod_whose_victims_are_still_leaving_waits_for_them() {
    let leaving = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}});
    let cluster =
        full(&[("a", vec![made("leaving", 1, 4, leaving)]), ("b", vec![made("low", 1, 4, json!({}))])]);
    let pod = made("new", 100, 4, json!({"status": {"nominatedNodeName": "a"}}));
    let diagnosis = attempt(&cluster, &pod);
    assert_eq!((diagnosis.nominated.clone(), diagnosis.withdrawn), (None, false));
    assert!(diagnosis.message().ends_with("not eligible due to a terminating pod on the nominated node."));
}

#[test]
fn evicting_makes_peace_with_anti_affinity_and_spread() {
    let away = json!({"spec": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "foe"}}}]}}}});
    let mut cluster = full(&[("a", vec![made("foe", 1, 1, json!({})), made("bystander", 1, 1, json!({}))])]);
    cluster.set_node(crate::testing::node(
        json!({"metadata": {"name": "a", "labels": {"kubernetes.io/hostname": "a"}}}),
    ));
    assert_eq!(preempted(&cluster, &made("new", 9, 1, away)), expected("a", &["foe"]));
    // The emptiest zone has none, so the group may have one pod more here only if one goes.
    let spread = json!({"spec": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule", "minDomains": 5, "labelSelector": {"matchLabels": {"app": "foe"}}}]},
        "metadata": {"labels": {"app": "foe"}}});
    assert_eq!(preempted(&cluster, &made("new", 9, 1, spread)), expected("a", &["foe"]));
}

#[test]
fn enough_candidates_are_a_tenth_of_the_nodes_and_at_least_a_hundred() {
    let plugin = DefaultPreemption::default();
    for (nodes, wanted) in [(7, 7), (100, 100), (500, 100), (5000, 500)] {
        assert_eq!(plugin.wanted(nodes), wanted);
    }
}

proptest! {
    #[test]
    fn without_its_victims_the_node_would_do_and_every_victim_is_needed(
        pods in prop::collection::vec((0_usize..3, -3_i32..12, 1_i64..3), 0..12),
        cpu in 1_i64..5,
    ) {
        let names = ["a", "b", "c"];
        let mut nodes: BTreeMap<usize, Vec<Arc<PodView>>> = (0..3).map(|index| (index, Vec::new())).collect();
        for (index, (at, priority, cpu)) in pods.iter().enumerate() {
            nodes.get_mut(at).unwrap().push(made(&format!("p-{index}"), *priority, *cpu, json!({})));
        }
        let cluster = full(&nodes.into_iter().map(|(at, pods)| (names[at], pods)).collect::<Vec<_>>());
        let pod = made("new", 8, cpu, json!({}));
        let outcome = ReferenceEngine::seeded(1).place(&Profile::default(), &mut Cycle::new(&cluster), &pod);
        let Outcome::Rejected(diagnosis) = outcome else { return Ok(()) };
        let Some(node) = diagnosis.nominated else { return Ok(()) };
        prop_assert!(diagnosis.victims.iter().all(|victim| victim.priority < pod.priority));
        let free = |cluster: &ClusterView| 4000 - cluster.node(&node).unwrap().requested().cpu.0;
        let mut without = cluster.clone();
        diagnosis.victims.iter().for_each(|victim| drop(without.take(&victim.uid)));
        prop_assert!(free(&without) >= cpu * 1000);
        for victim in &diagnosis.victims {
            prop_assert!(free(&without) - victim.demand.requests.cpu.0 < cpu * 1000, "{} may stay", victim.key);
        }
    }
}

#[test]
fn pods_of_the_same_priority_are_not_evicted() {
    assert_eq!(preempted(&full(&[("a", vec![made("equal", 100, 4, json!({}))])]), &preemptor()), None);
}

#[test]
fn of_equal_sums_the_fewest_victims_are_chosen() {
    // The least priority there is adds nothing to the sum.
    let least = i32::MIN;
    let cluster = full(&[
        ("a", vec![made("p", 5, 2, started(30)), made("q", least, 2, started(30))]),
        ("b", vec![made("r", 5, 4, started(1))]),
    ]);
    assert_eq!(preempted(&cluster, &preemptor()), expected("b", &["r"]));
}

#[test]
fn a_node_is_judged_by_the_foremost_victim_that_has_run_the_longest() {
    let cluster = full(&[
        ("a", vec![made("p", 5, 2, started(1)), made("q", 5, 2, started(50))]),
        ("b", vec![made("r", 5, 2, started(10)), made("s", 5, 2, started(11))]),
    ]);
    assert_eq!(preempted(&cluster, &preemptor()).map(|(node, _)| node), Some("b".into()));
    // How long the lesser ones have run does not matter.
    let cluster = full(&[
        ("a", vec![made("p", 5, 2, started(20)), made("q", 3, 2, started(1))]),
        ("b", vec![made("r", 5, 2, started(10)), made("s", 3, 2, started(30))]),
    ]);
    assert_eq!(preempted(&cluster, &preemptor()).map(|(node, _)| node), Some("a".into()));
}

#[test]
fn only_lesser_victims_of_the_scheduler_on_a_node_that_may_still_do_are_waited_for() {
    let leaving =
        |why: Value| json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": why});
    let evicted = json!({"conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]});
    let drained = json!({"conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]});
    for (priority, why, tainted, waits) in [
        (1, evicted.clone(), false, true),
        (1, drained, false, false),
        (1, json!({}), false, false),
        (200, evicted.clone(), false, false),
        (1, evicted, true, false),
    ] {
        let on_a = made("leaving", priority, 4, leaving(why.clone()));
        let mut cluster = full(&[("a", vec![on_a]), ("b", vec![made("low", 1, 4, json!({}))])]);
        if tainted {
            cluster.set_node(crate::testing::node(json!({"metadata": {"name": "a"},
                "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}})));
        }
        let pod = made("new", 100, 4, json!({"status": {"nominatedNodeName": "a"}}));
        let preempts = attempt(&cluster, &pod).nominated.is_some();
        assert_eq!(preempts, !waits, "{priority} {why} {tainted}");
    }
}

#[test]
fn the_search_for_candidates_goes_on_until_one_breaks_no_budget() {
    let candidate = |violations: usize| {
        let victims = vec![made("p", 1, 1, json!({}))];
        let harm = Candidate { node: NodeName::from("a"), victims, violations }.harm();
        Ok(Some((harm, violations)))
    };
    let tried = [1, 2, 3, 0, 4, 0].map(candidate).into_iter();
    let found = DefaultPreemption::trying(0, 2).candidates(6, tried).unwrap();
    let found: Vec<_> = found.into_iter().map(|(_, violations)| violations).collect();
    assert_eq!(found, [0, 1, 2, 3]);
}

#[test]
fn which_of_equal_nodes_gives_room_is_left_to_chance() {
    let cluster =
        full(&["a", "b", "c", "d"].map(|name| (name, vec![made(&format!("{name}-low"), 1, 4, json!({}))])));
    let chosen: std::collections::BTreeSet<String> = (0..64)
        .filter_map(|seed| {
            let mut engine = ReferenceEngine::seeded(seed);
            match engine.place(&Profile::default(), &mut Cycle::new(&cluster), &preemptor()) {
                Outcome::Rejected(diagnosis) => diagnosis.nominated.map(|node| node.to_string()),
                other => panic!("{other:?}"),
            }
        })
        .collect();
    assert_eq!(chosen.len(), 4, "{chosen:?}");
}
