//! What explanations say, and what they cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::engine::{Engine, EngineKind, FastEngine};
use crate::outcome::Outcome;
use crate::plugin::{Cycle, Filter, Plugin, Score};
use crate::queue::Moment;
use crate::testing::{asking, cluster, node};
use crate::verdict::Verdict;
use crate::view::ClusterView;
use crate::{Profile, Sampling, Scheduler};

fn three() -> ClusterView {
    let sized = |name: &str, cpu: &str| json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}}});
    cluster([sized("small", "1"), sized("large", "4"), sized("larger", "8")])
}

#[test]
fn each_plugin_says_its_part_about_each_node() {
    let (cluster, pod, profile) = (three(), asking("p", "2", "1Gi"), Profile::default());
    let explanation = FastEngine::seeded(0).explain(&profile, &cluster, &pod);
    let told: BTreeMap<String, _> =
        explanation.nodes().map(|node| (node.node.name().to_string(), (node.reached, node.chosen))).collect();
    assert_eq!(
        told,
        BTreeMap::from([
            ("small".to_owned(), (Reached::Filter, false)),
            ("large".to_owned(), (Reached::Scored, false)),
            ("larger".to_owned(), (Reached::Scored, true)),
        ])
    );
    let small = explanation.node("small").unwrap();
    let filters: Vec<_> = explanation.filters().collect();
    assert_eq!(small.filters.iter().map(|filter| filter.plugin).collect::<Vec<_>>(), filters);
    let reasons: Vec<_> =
        small.filters.iter().filter_map(|one| Some((one.plugin, one.said.reasons()?))).collect();
    assert_eq!(reasons, [("NodeResourcesFit", "Insufficient cpu".to_owned())]);
    assert!(small.scores.is_empty() && small.total.is_none());
    let larger = explanation.node("larger").unwrap();
    let fit = larger.scores.iter().find(|score| score.plugin == "NodeResourcesFit").unwrap();
    // A quarter of the processors and an eighth of the memory: (75 + 87) / 2.
    assert_eq!((fit.raw, fit.normalised, fit.weighted()), (Points(81), Points(81), 81));
    let sum: i64 = larger.scores.iter().map(NodeScore::weighted).sum();
    assert_eq!(larger.total, Some(sum));
    let taints = larger.scores.iter().find(|score| score.plugin == "TaintToleration").unwrap();
    assert_eq!((taints.raw, taints.normalised, taints.weighted()), (Points(0), Points(100), 300));
    let quiet: Vec<_> = explanation.scorers().filter(|one| !one.scored).map(|one| one.plugin).collect();
    assert!(quiet.contains(&"InterPodAffinity"), "{quiet:?}");
    let skipped = explanation.pre_filters().iter().filter(|one| one.said == PreFilterSaid::Skipped);
    assert!(skipped.map(|one| one.plugin).any(|plugin| plugin == "NodePorts"));
}

#[test]
fn the_only_node_that_would_do_is_not_scored() {
    let (cluster, pod, profile) = (three(), asking("p", "6", "1Gi"), Profile::default());
    let explanation = FastEngine::seeded(0).explain(&profile, &cluster, &pod);
    let larger = explanation.node("larger").unwrap();
    assert_eq!((larger.reached, larger.chosen, larger.total), (Reached::Feasible, true, None));
    let none = asking("q", "60", "1Gi");
    let explanation = FastEngine::seeded(0).explain(&profile, &cluster, &none);
    assert_eq!(explanation.chosen(), None);
    assert!(explanation.nodes().all(|node| node.reached == Reached::Filter));
}

#[test]
fn room_that_is_promised_to_others_is_told_apart() {
    let (mut cluster, profile) = (three(), Profile::default());
    cluster.nominate(asking("first", "7", "1Gi"), &NodeName::from("larger"));
    let pod = asking("p", "2", "1Gi");
    let explanation = FastEngine::seeded(0).explain(&profile, &cluster, &pod);
    let larger = explanation.node("larger").unwrap();
    let fit = larger.filters.iter().find(|one| one.plugin == "NodeResourcesFit").unwrap();
    assert!(
        matches!(&fit.said, FilterSaid::RefusedBesidePromised(why) if why.reasons == ["Insufficient cpu"])
    );
    assert_eq!(explanation.chosen().map(|node| &**node), Some("large"));
}

#[test]
fn nodes_that_were_not_looked_at_are_told_apart() {
    let nodes = (0..300).map(|index| json!({"metadata": {"name": format!("n{index}")}}));
    let (cluster, pod) = (cluster(nodes), asking("p", "1", "1Gi"));
    let profile = Profile::default().sampling(Sampling::Percent(40));
    let mut engine = FastEngine::seeded(3);
    for _ in 0..3 {
        let explanation = engine.explain(&profile, &cluster, &pod);
        let scored = explanation.nodes().filter(|node| node.reached == Reached::Scored).count();
        let rest = explanation.nodes().filter(|node| node.reached == Reached::NotLookedAt).count();
        assert_eq!((scored, rest), (120, 180));
        let chosen = explanation.chosen().cloned();
        let outcome = engine.place(&profile, &mut Cycle::new(&cluster), &pod);
        assert!(matches!(outcome, Outcome::Chosen(choice) if Some(&choice.node) == chosen.as_ref()));
    }
}

/// Counts how often it is asked.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl Plugin for Counting {
    fn name(&self) -> &str {
        "Counting"
    }
}

impl Filter for Counting {
    fn filter(&self, _: &Cycle<'_>, _: &PodView, node: &NodeView) -> Verdict {
        self.0.fetch_add(1, Ordering::Relaxed);
        assert!(&**node.name() != "cursed", "cursed");
        Verdict::Pass
    }
}

impl Score for Counting {
    fn score(&self, _: &Cycle<'_>, _: &PodView, _: &NodeView) -> Points {
        self.0.fetch_add(1, Ordering::Relaxed);
        Points(7)
    }
}

#[derive(Debug, Default)]
struct Listener(Mutex<Vec<(String, Option<String>)>>);

impl Explain for Listener {
    fn wants(&self, pod: &PodView) -> bool {
        &*pod.key.name == "wanted"
    }

    fn explained(&self, explanation: &Explanation<'_>) {
        let chosen = explanation.chosen().map(ToString::to_string);
        self.0.lock().unwrap().push((explanation.pod().key.to_string(), chosen));
    }
}

#[test]
fn who_wants_no_explanation_has_no_plugin_asked_once_more() {
    let counting = Arc::new(Counting::default());
    let profile = Profile::default().filter(counting.clone()).score(counting.clone(), 1);
    let asked = |listener: Option<Arc<Listener>>, pod: &str| {
        let mut scheduler =
            Scheduler::default().profiles(vec![profile.clone()]).engine(EngineKind::Reference);
        if let Some(listener) = listener {
            scheduler = scheduler.explain(listener);
        }
        let (mut dispatcher, now) = (scheduler.dispatcher().unwrap(), Moment::default());
        three().nodes().for_each(|node| dispatcher.node_applied((**node.facts()).clone(), now));
        dispatcher.pod_applied((*asking(pod, "1", "1Gi")).clone(), now);
        let before = counting.0.load(Ordering::Relaxed);
        assert!(dispatcher.next(now).is_some());
        counting.0.load(Ordering::Relaxed) - before
    };
    let listener = Arc::new(Listener::default());
    assert_eq!(asked(None, "wanted"), 6, "once as a filter and once as a scorer for each node");
    assert_eq!(asked(Some(listener.clone()), "other"), 6);
    assert_eq!(asked(Some(listener.clone()), "wanted"), 12);
    assert_eq!(*listener.0.lock().unwrap(), [("default/wanted".to_owned(), Some("larger".to_owned()))]);
}

#[test]
fn a_plugin_that_breaks_is_named_and_the_others_speak() {
    let mut cluster = three();
    cluster.set_node(node(json!({"metadata": {"name": "cursed"}})));
    let (pod, profile) = (asking("p", "1", "1Gi"), Profile::default().filter(Counting::default()));
    let explanation = FastEngine::seeded(0).explain(&profile, &cluster, &pod);
    let failure = explanation.failure().unwrap();
    assert_eq!(failure.plugin.as_deref(), Some("Counting"));
    let cursed = explanation.node("cursed").unwrap();
    let failed: Vec<_> =
        cursed.filters.iter().filter(|one| matches!(one.said, FilterSaid::Failed(_))).collect();
    assert_eq!(failed.iter().map(|one| one.plugin).collect::<Vec<_>>(), ["Counting"]);
    assert_eq!(explanation.chosen(), None);
}

#[test]
fn a_hundred_thousand_nodes_are_told_one_at_a_time_from_a_few_numbers_each() {
    const NODES: usize = 100_000;
    let mut cluster = ClusterView::default();
    let model = node(json!({}));
    for index in 0..NODES {
        let mut facts = (*model).clone();
        facts.name = NodeName::from(format!("n{index}").as_str());
        facts.unschedulable = index % 10 == 0;
        cluster.set_node(Arc::new(facts));
    }
    let (pod, profile) = (asking("p", "1", "1Gi"), Profile::default());
    let explanation = FastEngine::seeded(0).explain(&profile, &cluster, &pod);
    // All that is kept: a place for each node, and two numbers for each node and scorer.
    let scorers = explanation.scorers().filter(|scorer| scorer.scored).count();
    assert!(explanation.looked.bytes() <= NODES * (16 + 2 * 8 * scorers), "{}", explanation.looked.bytes());
    let (mut scored, mut refused, mut chosen) = (0, 0, 0);
    for node in explanation.nodes() {
        scored += usize::from(node.reached == Reached::Scored && node.scores.len() == scorers);
        refused += usize::from(
            node.filters.iter().any(|one| one.plugin == "NodeUnschedulable" && one.said.reasons().is_some()),
        );
        chosen += usize::from(node.chosen);
    }
    assert_eq!((scored, refused, chosen), (NODES * 9 / 10, NODES / 10, 1));
}
